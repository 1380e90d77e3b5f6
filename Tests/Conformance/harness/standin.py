"""What the stand-ins of other servers have in common: they listen, go away and come back at the same port."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self

from .ports import free_port


def stop_listening(listener: socket.socket) -> None:
    """Closed alone, a listener stays with the thread in `accept`, and one connection more is that thread's: the next test's, if
    its own listener gets the number of the descriptor and a signal lets the call begin anew."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


class StandIn:
    """A thread for each connection, which runs `_serve`; to be entered, so that it goes away at the end."""

    # Whether connections end with the server when it goes away.
    cuts = True

    def __init__(self, host: str = "127.0.0.1", port: int | None = None):
        self.host, self.port = host, port or free_port()
        self.connections = 0
        self._open: list[socket.socket] = []
        self._guard = threading.Lock()
        self._listener: socket.socket | None = None
        self.up()

    def up(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host.strip("[]"), self.port), family=family, backlog=512)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def down(self) -> None:
        if self._listener:
            stop_listening(self._listener)
            self._listener = None
        with self._guard:
            for connection in self._open if self.cuts else []:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._guard:
                self.connections += 1
                self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.down()


class Endless(StandIn):
    """Behind whatever the client says first it sends the same bytes for ever, as fast as the kernel copies them."""

    def __init__(self, folder: Path, piece: bytes):
        self.file = folder / "endless"
        self.file.write_bytes(piece * (16_000_000 // len(piece)))
        super().__init__()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, open(self.file, "rb") as opened:
            connection.recv(65536)
            while True:
                connection.sendfile(opened, 0)
