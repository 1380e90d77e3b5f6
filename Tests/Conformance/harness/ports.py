"""Free loopback ports.

The proxy listens with SO_REUSEPORT, so two tests that picked the same port would not see an error but each
other's requests. Ports are therefore handed out below the ephemeral range, every pytest worker from its own.
"""

import collections
import itertools
import os
import random
import socket

_worker = int("".join(c for c in os.environ.get("PYTEST_XDIST_WORKER", "gw0") if c.isdigit()) or 0)
_first = 10000 + (_worker % 10) * 2000
_offset = random.Random(os.getpid()).randrange(2000)
_count = itertools.count()
# A name that other test runs on this machine see as taken, for the ports that may be in use.
_reserved = collections.deque(maxlen=300)


def _reserve(port: int) -> bool:
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0usher-test-port-{port}")
    except OSError:
        name.close()
        return False
    if len(_reserved) == _reserved.maxlen:
        _reserved[0].close()
    _reserved.append(name)
    return True


def free_port() -> int:
    for _ in range(2000):
        port = _first + (_offset + next(_count)) % 2000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if _reserve(port):
                return port
    raise RuntimeError("no free port")
