"""Answers that go on, and whether they have ended."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from .backend import Exchange


def endless_at_stream(exchange: Exchange) -> None:
    """An answer that does not end by itself where the path ends with `/stream`; else what arrived."""
    if not exchange.request.target.endswith("/stream"):
        return exchange.echo()
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
    exchange.gone(60)


@contextlib.contextmanager
def stream(proxy, target: str, headers: dict[str, str]) -> Iterator[socket.socket]:
    """The connection of a request whose answer has begun."""
    with proxy.client() as client:
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        client.send(f"GET {target} HTTP/1.1\r\nHost: usher.test\r\n{fields}\r\n".encode())
        received = b""
        while b"data: 1\n\n\r\n" not in received:
            data = client.sock.recv(4096)
            assert data, f"{target}: {received!r}"
            received += data
        yield client.sock


def has_been_cut(connection: socket.socket, seconds: float) -> bool:
    """True where the connection ends within that time, behind what is not the whole answer."""
    connection.settimeout(seconds)
    try:
        data = connection.recv(4096)
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    assert data == b"", "cut, so that nobody takes it for whole"
    return True
