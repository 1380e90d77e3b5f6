"""A backend that records every byte, request and connection, and answers as each test scripts it."""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Callable

from .ports import free_port
from .standin import stop_listening
from .waiting import PATIENCE_SECONDS
from .wire import Closed, Headers, Reader, WireError


@dataclass
class Recorded:
    """One request as it stood on the wire."""

    method: str
    target: str
    version: str
    headers: Headers
    head: bytes
    connection: int
    at: float
    body: bytes = b""
    trailers: Headers = field(default_factory=Headers)
    framing: str = "none"
    complete: bool = False

    @property
    def user(self) -> list[str]:
        return self.headers.all("x-user-id")

    @property
    def head_without_id(self) -> bytes:
        """For what looks for a few letters or digits that must not be there: each number comes up in some request's id."""
        return re.sub(rb"(?im)^x-request-id:.*\r\n", b"", self.head)


class Exchange:
    """One request on one connection, given to the script; everything it does is on the raw socket."""

    def __init__(self, backend: "Backend", sock: socket.socket, reader: Reader, request: Recorded):
        self.backend, self.sock, self.reader, self.request = backend, sock, reader, request
        self.closed = False

    def read_body(self) -> bytes:
        request = self.request
        if request.complete:
            return request.body
        if "transfer-encoding" in request.headers:
            request.framing = "chunked"
            request.body, request.trailers = self.reader.chunked()
        elif length := request.headers.get("content-length"):
            request.framing = "length"
            request.body = self.reader.exactly(int(length))
        request.complete = True
        return request.body

    def drain(self) -> int:
        """Reads the body without keeping it, for bodies that are larger than memory; returns its length."""
        total, request = 0, self.request
        if length := request.headers.get("content-length"):
            while total < int(length):
                if not self.reader.buffer:
                    self.reader._fill()
                take = min(len(self.reader.buffer), int(length) - total)
                self.reader.buffer = self.reader.buffer[take:]
                total += take
        elif "transfer-encoding" in request.headers:
            while size := int(self.reader.until(b"\r\n").split(b";")[0], 16):
                left = size
                while left:
                    if not self.reader.buffer:
                        self.reader._fill()
                    take = min(len(self.reader.buffer), left)
                    self.reader.buffer = self.reader.buffer[take:]
                    left -= take
                self.reader.exactly(2)
                total += size
            while self.reader.until(b"\r\n") != b"\r\n":
                pass
        request.complete = True
        return total

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def close(self) -> None:
        self.closed = True
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def reset(self) -> None:
        self.closed = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def gone(self, timeout: float = 20) -> bool:
        """True where the proxy closes this connection within `timeout` seconds."""
        self.sock.settimeout(timeout)
        try:
            return self.reader.some() == b""
        except (TimeoutError, socket.timeout):
            return False

    def reply(self, status: int = 200, body: bytes = b"", headers=(), reason: str = "OK") -> None:
        fields = "".join(f"{n}: {v}\r\n" for n, v in headers)
        head = f"HTTP/1.1 {status} {reason}\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
        self.send(head.encode("latin-1") + body)

    def echo(self) -> None:
        """200 with what arrived, as JSON."""
        request, body = self.request, self.read_body()
        document = {
            "method": request.method,
            "target": request.target,
            "headers": request.headers.lines,
            "user": request.user,
            "body": body.decode("latin-1"),
        }
        payload = b"" if request.method == "HEAD" else json.dumps(document).encode()
        self.reply(200, payload, [("Content-Type", "application/json")])


Script = Callable[[Exchange], None]


def slow_at(target: str, seconds: float) -> Script:
    """Echoes everything, but what asks for `target` only after so many seconds."""

    def answer(exchange: Exchange) -> None:
        exchange.read_body()
        if exchange.request.target == target:
            time.sleep(seconds)
        exchange.echo()

    return answer


class Witness(Reader):
    """Tells whether it has something in its hands that is not on record yet."""

    def __init__(self, sock: socket.socket, log: bytearray | None = None):
        super().__init__(sock, log)
        self.is_holding = self.reads_head = False

    def _fill(self) -> None:
        self.is_holding = False
        # What TLS has deciphered is nowhere to be seen.
        if not isinstance(self.sock, ssl.SSLSocket) and (seconds := self.sock.gettimeout()) != 0 and self.sock.fileno() >= 0:
            # Until something comes, which whoever looks sees in the kernel, it has nothing.
            poll = select.poll()
            poll.register(self.sock, select.POLLIN)
            if not poll.poll(None if seconds is None else seconds * 1000):
                raise TimeoutError("timed out")
        self.is_holding = True
        try:
            super()._fill()
        finally:
            self.is_holding = self.reads_head


def has_something_to_read(sock: socket.socket) -> bool:
    """Bytes, or the end."""
    try:
        sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return True
    except OSError:
        return False


# A script that does not read what has come to it holds nobody up for longer.
SETTLING_SECONDS = 2


class Backend:
    """`with Backend() as backend`: listens on `port`; `script` is called for each request head that arrives."""

    def __init__(self, port: int | None = None):
        self.port = port or free_port()
        self.lock = threading.Lock()
        self.requests: list[Recorded] = []
        self.received = bytearray()
        self.recording = True
        self.errors: list[str] = []
        self.connections = 0
        self.script: Script = Exchange.echo
        self._open: set[socket.socket] = set()
        self._witnesses: set[Witness] = set()
        self._stopping = False
        self._listen()

    def _listen(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self) -> None:
        self._stopping = True
        stop_listening(self.listener)
        self.close_connections()

    def restart(self) -> None:
        self._stopping = False
        self._listen()

    def close_connections(self) -> None:
        """What a backend does with idle keep-alive connections, at the worst moment if the test says so."""
        with self.lock:
            open_now = list(self._open)
        for sock in open_now:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def clear(self) -> None:
        """Forget what was recorded and answer with the echo again. Pooled connections stay. What is in the kernel by now belongs
        to what was before: it is read first, each connection by its own thread, and forgotten as well."""
        end, found = time.monotonic() + SETTLING_SECONDS, 0
        while found < 2 and time.monotonic() < end:  # twice: a connection that was just accepted is nobody's for a moment
            found = found + 1 if self._is_settled() else 0
            time.sleep(0.001)
        with self.lock:
            self.requests.clear()
            self.received.clear()
            self.errors.clear()
            self.recording = True
            self.script = Exchange.echo

    def _is_settled(self) -> bool:
        """Nobody waits to be accepted, nothing to be read or to be put on record, and who has ended is gone."""
        if self.listener.fileno() >= 0 and select.select([self.listener], [], [], 0)[0]:
            return False
        with self.lock:
            open_now, witnesses = list(self._open), list(self._witnesses)
        # In this order: a thread has what it has read in its hands before it is gone from the kernel.
        return not any(map(has_something_to_read, open_now)) and not any(witness.is_holding for witness in witnesses)

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                number = self.connections
                self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Witness(sock, log=self.received)
        with self.lock:
            self._witnesses.add(reader)
        try:
            while True:
                reader.log = self.received if self.recording else None
                request = self._read_head(reader, number)
                reader.log = self.received if self.recording else None
                exchange = Exchange(self, sock, reader, request)
                self.script(exchange)
                if exchange.closed:
                    return
                if not request.complete:
                    exchange.read_body()
        except (Closed, OSError):
            pass
        except Exception as error:
            # What the proxy sent is not HTTP: a finding, kept for the test's teardown.
            self.errors.append(f"{type(error).__name__}: {error}")
        finally:
            with self.lock:
                self._open.discard(sock)
                self._witnesses.discard(reader)
            sock.close()

    def _read_head(self, reader: Reader, number: int) -> Recorded:
        reader.reads_head = True
        head = reader.until(b"\r\n\r\n")
        line, _, fields = head.partition(b"\r\n")
        parts = line.split(b" ")
        if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
            raise WireError(f"bad request line {line!r}")
        method, target, version = (p.decode("latin-1") for p in parts)
        headers = Headers.parse(fields)
        if "content-length" in headers and "transfer-encoding" in headers:
            raise WireError("a request framed twice")
        if len(headers.all("host")) != 1:
            raise WireError(f"Host lines: {headers.all('host')}")
        request = Recorded(method, target, version, headers, head, number, time.monotonic())
        if "content-length" not in headers and "transfer-encoding" not in headers:
            request.complete = True
        with self.lock:
            self.requests.append(request)
        reader.reads_head = reader.is_holding = False
        return request

    # What tests ask.

    @property
    def last(self) -> Recorded:
        assert self.requests, "nothing arrived at the backend"
        return self.requests[-1]

    def wait_requests(self, count: int, timeout: float = PATIENCE_SECONDS) -> list[Recorded]:
        end = time.monotonic() + timeout
        while len(self.requests) < count and time.monotonic() < end:
            time.sleep(0.005)
        assert len(self.requests) >= count, f"{len(self.requests)} requests arrived, {count} expected"
        return self.requests
