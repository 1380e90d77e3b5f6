"""Requests as bytes, and clients that count answers: for runs where each request is to be known."""

from __future__ import annotations

import re
import socket
import ssl

import h2.config
import h2.connection
import h2.events

FIELDS = (
    "Host: tasks.example\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
    "Accept: application/json\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "X-User-Id: evil\r\n"
)

# What large bodies are read into.
SCRATCH = bytearray(1 << 16)


def get(token: str | None, path: str = "/api/tasks/1") -> bytes:
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\n{FIELDS}{authorization}\r\n".encode()


def post(token: str, size: int, path: str = "/api/tasks") -> bytes:
    head = f"POST {path} HTTP/1.1\r\n{FIELDS}Authorization: Bearer {token}\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + b"x" * size


class Connection:
    """A keep-alive connection, one request at a time."""

    def __init__(self, port: int, source: str | None = None):
        self.socket = socket.create_connection(("127.0.0.1", port), 60, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> int:
        """Sends a request, reads the whole answer, which has a Content-Length, and gives its status."""
        self.socket.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.socket.recv(65536)
            if not piece:
                raise SystemExit(f"the connection ended in a head: {head!r}")
            head += piece
        head, rest = head.split(b"\r\n\r\n", 1)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if not length:
            raise SystemExit(f"no Content-Length in: {head!r}")
        self.skip(int(length[1]) - len(rest))
        return int(head[9:12])

    def skip(self, left: int) -> None:
        while left > 0:
            count = self.socket.recv_into(SCRATCH, min(left, len(SCRATCH)))
            if count == 0:
                raise SystemExit("the connection ended in a body")
            left -= count

    def close(self) -> None:
        self.socket.close()


class MultiplexedConnection:
    """A connection that speaks HTTP/2, with prior knowledge or by ALPN, one request at a time."""

    def __init__(self, port: int, is_secure: bool = False):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.scheme = "https" if is_secure else "http"
        if is_secure:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket)
        self.session = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.session.initiate_connection()

    def ask(self, request: bytes) -> int:
        """Sends a request without a body, given as text of HTTP/1.1, reads the whole answer, and gives its status."""
        line, *fields = request.decode().removesuffix("\r\n\r\n").split("\r\n")
        method, path, _ = line.split(" ")
        pairs = [(name.lower(), value) for name, value in (field.split(": ", 1) for field in fields)]
        stream = self.session.get_next_available_stream_id()
        self.session.send_headers(stream, [
            (":method", method), (":scheme", self.scheme), (":path", path), (":authority", dict(pairs)["host"]),
            *(pair for pair in pairs if pair[0] != "host")], end_stream=True)
        status = 0
        while True:
            self.socket.sendall(self.session.data_to_send())
            data = self.socket.recv(65536)
            if not data:
                raise SystemExit("the connection ended in an answer")
            for event in self.session.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    self.session.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamReset):
                    raise SystemExit(f"the stream was reset: {event.error_code}")
                elif isinstance(event, h2.events.StreamEnded):
                    return status

    def close(self) -> None:
        self.socket.close()
