"""Large bodies through a proxy, and what they cost it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from . import requests
from .processes import LOAD_CORE, CPU, Process

CHUNK = 1 << 16


def download(proxy: Process, token: str, size: int, before: tuple[str, ...] = ()) -> CPU:
    """Seconds of CPU that the proxy spends on a body of so many bytes for the client."""
    return _measured(proxy, "download", token, size, before)


def upload(proxy: Process, token: str, size: int, before: tuple[str, ...] = ()) -> CPU:
    """The same for a body from the client."""
    return _measured(proxy, "upload", token, size, before)


def _measured(proxy: Process, direction: str, token: str, size: int, first: tuple[str, ...]) -> CPU:
    before = proxy.cpu()
    subprocess.run(
        [*first, "taskset", "-c", LOAD_CORE, sys.executable, "-m", "rig.bulk", direction, str(proxy.port), str(size)],
        check=True, cwd=Path(__file__).resolve().parent.parent, env=os.environ | {"TOKEN": token})
    return proxy.cpu() - before


def main() -> None:
    direction, port, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    connection = requests.Connection(port)
    if direction == "download":
        status = connection.ask(requests.get(os.environ["TOKEN"], f"/{size}"))
    else:
        head = requests.post(os.environ["TOKEN"], 0).replace(b"Length: 0", f"Length: {size}".encode())
        connection.socket.sendall(head)
        piece = bytes(CHUNK)
        for _ in range(size // CHUNK):
            connection.socket.sendall(piece)
        status = connection.ask(b"")
    if status != 200:
        raise SystemExit(f"{direction}: status {status}")


if __name__ == "__main__":
    main()
