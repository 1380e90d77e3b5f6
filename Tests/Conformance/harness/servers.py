"""Backends that are processes of their own, so that they can be killed, stopped and started again; and a DNS server."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

SCRIPT = r"""
import http.server, os, socket, socketserver, sys
name, address, state = sys.argv[1:]

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    def do_GET(self):
        try:
            wanted = dict(line.split() for line in open(state))
        except OSError:
            wanted = {}
        kind = "health" if self.path.startswith("/health") else "status"
        body = name.encode()
        self.send_response(int(wanted.get(kind, 200)))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Connection", str(id(self.connection)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self):
        return "-"
    def log_message(self, *_):
        pass

class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True
    address_family = socket.AF_UNIX if address.startswith("/") else socket.AF_INET

if address.startswith("/"):
    if os.path.exists(address):
        os.unlink(address)
    server = Server(address, Handler)
else:
    host, port = address.rsplit(":", 1)
    server = Server((host, int(port)), Handler)
print("ready", flush=True)
server.serve_forever()
"""


class Server:
    """`with Server(folder, "a", "127.0.0.1:8001") as a`: answers every GET with its name."""

    def __init__(self, folder: Path, name: str, address: str):
        self.name, self.address = name, address
        self.state = Path(folder) / f"{name}.state"
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(self, *_) -> None:
        self.kill()

    def start(self) -> "Server":
        end = time.monotonic() + 30
        while True:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, self.name, self.address, str(self.state)], stdout=subprocess.PIPE)
            if self.process.stdout.readline() == b"ready\n":
                return self
            assert time.monotonic() < end, f"no server at {self.address}"
            time.sleep(0.05)

    def kill(self) -> None:
        """As kill -9: its connections are reset, and nobody listens any more."""
        if self.process:
            self.process.kill()
            self.process.wait(5)
            self.process.stdout.close()
            self.process = None

    def stop(self) -> None:
        """It hangs: the kernel takes connections, and nobody answers."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def answers(self, **kinds: int) -> None:
        """What it answers from now on: `status=500`, `health=503`; the rest with 200."""
        fresh = self.state.with_suffix(".new")
        fresh.write_text("".join(f"{kind} {status}\n" for kind, status in kinds.items()))
        fresh.rename(self.state)


def with_hosts(folder: Path, text: str) -> tuple[str, ...]:
    """What goes before a command that is to see this as its /etc/hosts; skips where there is no mount namespace to be had."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    hosts = folder / "hosts"
    hosts.write_text(text)
    return ("unshare", "-m", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")


class NameServer:
    """A DNS server for one name on 127.53.x.1, port 53 (root). `addresses` may change at any time; None: SERVFAIL."""

    def __init__(self):
        self.addresses: list[str] | None = []
        self.questions = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for host in (f"127.53.{(os.getpid() + step) % 250}.1" for step in range(250)):
            try:
                self.sock.bind((host, 53))
                self.host = host
                break
            except OSError:
                continue
        else:
            raise RuntimeError("no address for a name server")

    def __enter__(self) -> "NameServer":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.sock.close()

    def _serve(self) -> None:
        while True:
            try:
                data, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            self.questions += 1
            try:
                self.sock.sendto(self._answer(data), peer)
            except OSError:
                return

    def _answer(self, data: bytes) -> bytes:
        end = data.index(b"\0", 12) + 1
        question = data[12:end + 4]
        kind = struct.unpack("!H", question[-4:-2])[0]
        addresses = self.addresses
        found = [a for a in addresses or [] if kind == 1]
        code = 2 if addresses is None else 0 if addresses else 3
        records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(a) for a in found)
        return data[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(found), 0, 0) + question + records
