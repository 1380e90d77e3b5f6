"""Backends made of other people's parsers: each says what requests it saw."""

from __future__ import annotations

import asyncio
import http.server
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import h11
import uvicorn

from .backend import Backend
from .ports import free_port
from .standin import stop_listening


@dataclass
class Seen:
    """A request as a parser understood it; names in lower case, values as latin-1."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes


class H11Backend:
    """h11, which is strict."""

    def __init__(self):
        self.seen: list[Seen] = []
        self.port = free_port()
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        connection = h11.Connection(h11.SERVER)
        head, body = None, b""
        with sock:
            while True:
                event = connection.next_event()
                match event:
                    case h11.NEED_DATA:
                        if not self._receive(connection, sock):
                            return
                    case h11.Request():
                        head, body = event, b""
                    case h11.Data():
                        body += bytes(event.data)
                    case h11.EndOfMessage():
                        self.seen.append(Seen(
                            head.method.decode(), head.target.decode("latin-1"),
                            [(n.decode().lower(), v.decode("latin-1")) for n, v in head.headers], body))
                        self._answer(connection, sock)
                        if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                            return
                        connection.start_next_cycle()
                    case _:
                        return

    @staticmethod
    def _receive(connection, sock) -> bool:
        try:
            data = sock.recv(65536)
        except OSError:
            return False
        connection.receive_data(data)
        return data != b""

    @staticmethod
    def _answer(connection, sock):
        for event in (h11.Response(status_code=200, headers=[("Content-Length", "0")]), h11.EndOfMessage()):
            sock.sendall(connection.send(event))

    def stop(self):
        stop_listening(self.listener)


class UvicornBackend:
    """uvicorn on httptools (llhttp, the parser of Node.js)."""

    def __init__(self):
        self.seen: list[Seen] = []
        self.port = free_port()

        async def application(scope, receive, send):
            await self._application(scope, receive, send)

        self.server = uvicorn.Server(uvicorn.Config(
            application, port=self.port, http="httptools", log_level="error", lifespan="off", loop="asyncio",
            proxy_headers=False))
        threading.Thread(target=lambda: asyncio.run(self.server.serve()), daemon=True).start()
        end = time.monotonic() + 30
        while not self.server.started and time.monotonic() < end:
            time.sleep(0.02)

    async def _application(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        self.seen.append(Seen(
            scope["method"], (scope["raw_path"] + query).decode("latin-1"),
            [(n.decode().lower(), v.decode("latin-1")) for n, v in scope["headers"]], body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def stop(self):
        self.server.should_exit = True


class StandardLibraryBackend:
    """Python's http.server: lenient, old, and everywhere. It leaves chunks to its user."""

    def __init__(self):
        self.seen: list[Seen] = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), self._handler(self.seen))
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def _handler(seen):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name):
                if name.startswith("do_"):
                    return self.record
                raise AttributeError(name)

            def record(self):
                body = b""
                if self.headers.get("transfer-encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.read(2)
                    while self.rfile.readline() != b"\r\n":
                        pass
                elif length := self.headers.get("content-length"):
                    body = self.rfile.read(int(length))
                fields = [(n.lower(), str(v)) for n, v in self.headers.raw_items()]
                seen.append(Seen(self.command, self.path, fields, body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        return Handler

    def stop(self):
        self.server.shutdown()


class NginxBackend:
    """nginx, which passes on what it understood to a recording backend."""

    TEXT = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0; underscores_in_headers on; ignore_invalid_headers off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; large_client_header_buffers 8 32k;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{backend}; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""

    def __init__(self, folder: Path):
        self.backend = Backend().__enter__()
        self.backend.script = lambda exchange: (exchange.read_body(), exchange.reply())
        self.port = free_port()
        file = folder / "nginx.conf"
        file.write_text(self.TEXT.format(folder=folder, port=self.port, backend=self.backend.port))
        self.process = subprocess.Popen([shutil.which("nginx") or "nginx", "-p", folder, "-c", file])
        end = time.monotonic() + 30
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", self.port)) and time.monotonic() < end:
                time.sleep(0.02)

    @property
    def seen(self) -> list[Seen]:
        assert not self.backend.errors, self.backend.errors
        return [
            Seen(r.method, r.target, [(n.lower(), v) for n, v in r.headers.lines], r.body) for r in self.backend.requests]

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.backend.stop()
