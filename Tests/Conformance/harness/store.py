"""A real redis-server for a test: started on a port of its own, stopped, frozen, killed and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from .ports import free_port

SERVER = shutil.which("redis-server") or shutil.which("valkey-server")


class StoreError(Exception):
    """The server answered with an error; its words."""


class Store:
    """One server. `call("GET", "x")` asks it; `lines` are further lines of its configuration."""

    def __init__(self, folder: Path, *lines: str, port: int | None = None, tls=None, authority=None):
        self.folder, self.port = folder, port or free_port()
        self.tls, self.authority = tls, authority
        text = ["save ''", "appendonly no", f"dir {folder}", "daemonize no", "bind 127.0.0.1", "protected-mode no", *lines]
        if tls:
            # the tests themselves ask without TLS, on a port that the proxy does not know
            self.plain = free_port()
            text += [f"port {self.plain}", f"tls-port {self.port}", f"tls-cert-file {tls.cert_file}",
                     f"tls-key-file {tls.key_file}", f"tls-ca-cert-file {authority.file}", "tls-auth-clients no"]
        else:
            self.plain = self.port
            text += [f"port {self.port}"]
        self.file = folder / f"redis-{self.port}.conf"
        self.file.write_text("\n".join(text) + "\n")
        self.process: subprocess.Popen | None = None

    def start(self) -> "Store":
        self.process = subprocess.Popen([SERVER, str(self.file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        stdin=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            assert self.process.poll() is None, f"{SERVER} ended with {self.process.poll()}"
            try:
                socket.create_connection(("127.0.0.1", self.plain), 1).close()
                return self
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("the store does not listen")

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)

    def __enter__(self) -> "Store":
        return self.start()

    def __exit__(self, *_) -> None:
        self.kill()

    def call(self, *words, auth: tuple[str, ...] = ()):
        """One command; errors are raised."""
        with socket.create_connection(("127.0.0.1", self.plain), 20) as connection:
            stream = connection.makefile("rb")
            if auth:
                connection.sendall(encode("AUTH", *auth))
                decode(stream)
            connection.sendall(encode(*words))
            return decode(stream)


def encode(*words) -> bytes:
    parts = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def decode(stream):
    line = stream.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise StoreError(rest.decode())
    if kind == b"+":
        return rest.decode()
    if kind == b":":
        return int(rest)
    if kind == b"$":
        if rest == b"-1":
            return None
        data = stream.read(int(rest) + 2)
        return data[:-2]
    assert kind == b"*", line
    return None if rest == b"-1" else [decode(stream) for _ in range(int(rest))]
