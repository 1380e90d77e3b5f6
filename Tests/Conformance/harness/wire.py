"""HTTP/1.1 over a raw socket: nothing is sent that the test did not write, nothing received is hidden.

The reader is strict on purpose. A proxy whose answer it cannot parse is a proxy with a bug.
"""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass, field


class WireError(Exception):
    """What arrived is not an HTTP/1.1 message."""


class Closed(WireError):
    """The peer closed before the message was complete; `partial` is what did arrive."""

    def __init__(self, partial: bytes = b""):
        super().__init__(f"connection closed after {partial[-200:]!r}")
        self.partial = partial


@dataclass
class Headers:
    """Field lines in the order in which they arrived, names with their case kept."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.lines if key.lower() == name.lower()]

    def get(self, name: str, default: str | None = None) -> str | None:
        values = self.all(name)
        return values[0] if values else default

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))

    def names(self) -> list[str]:
        return [key.lower() for key, _ in self.lines]

    @staticmethod
    def parse(block: bytes) -> "Headers":
        lines = []
        for line in block.split(b"\r\n"):
            if not line:
                continue
            match = re.fullmatch(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*", line, re.S)
            if not match or re.search(rb"[\r\n\0]", match[2]):
                raise WireError(f"bad field line {line!r}")
            lines.append((match[1].decode("ascii"), match[2].decode("latin-1")))
        return Headers(lines)


class Reader:
    """Buffered reads from a socket; every byte is also appended to `log` where one is given."""

    def __init__(self, sock: socket.socket, log: bytearray | None = None):
        self.sock, self.log, self.buffer = sock, log, b""

    def _fill(self) -> None:
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed(self.buffer)
        if self.log is not None:
            self.log += data
        self.buffer += data

    def until(self, mark: bytes, limit: int = 1 << 20) -> bytes:
        while (at := self.buffer.find(mark)) < 0:
            if len(self.buffer) > limit:
                raise WireError(f"no {mark!r} within {limit} bytes")
            self._fill()
        end = at + len(mark)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    def exactly(self, count: int) -> bytes:
        parts, missing = [], count
        while missing:
            if not self.buffer:
                self._fill()
            part, self.buffer = self.buffer[:missing], self.buffer[missing:]
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def some(self) -> bytes:
        """What is there, at least one byte; empty at the end of the stream."""
        if not self.buffer:
            try:
                self._fill()
            except Closed:
                return b""
        data, self.buffer = self.buffer, b""
        return data

    def rest(self) -> bytes:
        parts = []
        while data := self.some():
            parts.append(data)
        return b"".join(parts)

    def chunked(self) -> tuple[bytes, Headers]:
        """A chunked body without extensions, and its trailers."""
        parts = []
        while True:
            line = self.until(b"\r\n")
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}(;[^\r\n]*)?\r\n", line):
                raise WireError(f"bad chunk size line {line!r}")
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            parts.append(self.exactly(size))
            if (end := self.exactly(2)) != b"\r\n":
                raise WireError(f"chunk ends with {end!r}")
        trailers = b""
        while (line := self.until(b"\r\n")) != b"\r\n":
            trailers += line
        return b"".join(parts), Headers.parse(trailers)


@dataclass
class Response:
    status: int
    reason: str
    version: str
    headers: Headers
    body: bytes = b""
    trailers: Headers = field(default_factory=Headers)
    framing: str = "none"

    def json(self):
        return json.loads(self.body)

    @property
    def problem(self) -> dict:
        """The problem document of an answer that the proxy made itself."""
        assert self.headers.get("content-type") == "application/problem+json", (self.status, self.headers.lines)
        return self.json()

    @property
    def closes(self) -> bool:
        tokens = [t.strip().lower() for v in self.headers.all("connection") for t in v.split(",")]
        return "close" in tokens or (self.version == "HTTP/1.0" and "keep-alive" not in tokens)


def read_head(reader: Reader) -> Response:
    block = reader.until(b"\r\n\r\n")
    line, _, fields = block.partition(b"\r\n")
    match = re.fullmatch(rb"(HTTP/1\.[01]) ([0-9]{3}) ([^\r\n\0]*)", line)
    if not match:
        raise WireError(f"bad status line {line!r}")
    return Response(int(match[2]), match[3].decode("latin-1"), match[1].decode(), Headers.parse(fields))


def read_body(reader: Reader, response: Response, method: str) -> Response:
    lengths, codings = response.headers.all("content-length"), response.headers.all("transfer-encoding")
    if lengths and codings:
        raise WireError("an answer framed twice")
    if method == "HEAD" or response.status in (204, 304) or response.status < 200:
        return response
    if codings:
        if [c.lower() for c in codings] != ["chunked"]:
            raise WireError(f"transfer-encoding {codings}")
        response.framing = "chunked"
        response.body, response.trailers = reader.chunked()
    elif lengths:
        if len(lengths) != 1 or not re.fullmatch(r"[0-9]+", lengths[0]):
            raise WireError(f"content-length {lengths}")
        response.framing = "length"
        response.body = reader.exactly(int(lengths[0]))
    else:
        response.framing = "close"
        response.body = reader.rest()
    return response


class Client:
    """One connection to the proxy."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout: float = 20):
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Go away with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def try_send(self, data: bytes) -> None:
        """Send what may already be unwelcome: the proxy is free to have closed."""
        try:
            self.sock.sendall(data)
        except OSError:
            pass

    def head(self) -> Response:
        return read_head(self.reader)

    def body(self, response: Response, method: str = "GET") -> Response:
        return read_body(self.reader, response, method)

    def response(self, method: str = "GET") -> Response:
        """The next final answer; interim ones before it are skipped (101 counts as final)."""
        while True:
            response = read_head(self.reader)
            if response.status >= 200 or response.status == 101:
                return read_body(self.reader, response, method)

    def ended(self, timeout: float = 9) -> bool:
        """True where nothing more comes and the proxy closes within `timeout` seconds."""
        self.sock.settimeout(timeout)
        try:
            return self.reader.some() == b""
        except (TimeoutError, socket.timeout):
            return False

    def quiet(self, seconds: float = 0.2) -> bool:
        """True where neither a byte nor the end of the stream comes for that long."""
        if self.reader.buffer:
            return False
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(1)
        except (TimeoutError, socket.timeout):
            self.sock.settimeout(20)
            return True
        self.reader.buffer += data
        return False

    def request(self, method: str, target: str, headers=(), body: bytes | None = None, host="usher.test") -> Response:
        self.send(render(method, target, headers, body, host))
        return self.response(method)


def render(method: str, target: str, headers=(), body: bytes | None = None, host: str | None = "usher.test") -> bytes:
    """A request's bytes; field names and values are sent as they stand (latin-1)."""
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    lines = [f"{method} {target} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in pairs]
    if body is not None and not any(n.lower() in ("content-length", "transfer-encoding") for n, _ in pairs):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def chunk(*parts: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n" + trailers + b"\r\n"
