"""Free loopback ports.

The proxy listens with SO_REUSEPORT, so two tests that picked the same port would not see an error but each
other's requests. Ports are therefore handed out below the ephemeral range, every pytest worker from its own.
"""

import itertools
import os
import random
import socket

_worker = int("".join(c for c in os.environ.get("PYTEST_XDIST_WORKER", "gw0") if c.isdigit()) or 0)
_first = 10000 + (_worker % 10) * 2000
_offset = random.Random(os.getpid()).randrange(2000)
_count = itertools.count()


def free_port() -> int:
    for _ in range(2000):
        port = _first + (_offset + next(_count)) % 2000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")
