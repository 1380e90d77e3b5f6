"""Requests as bytes, and a client that counts answers: for runs where each request is to be known."""

from __future__ import annotations

import re
import socket

FIELDS = (
    "Host: tasks.example\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n"
    "Accept: application/json\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "X-User-Id: evil\r\n"
)

# What large bodies are read into.
SCRATCH = bytearray(1 << 20)


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
