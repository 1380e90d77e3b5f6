"""Free loopback ports.

The proxy listens with SO_REUSEPORT, so two tests that picked the same port would not see an error but each
other's requests. Ports are therefore handed out where the kernel takes none for outgoing connections, every pytest
worker from a part of its own.
"""

import collections
import itertools
import os
import random
import socket
from pathlib import Path

FEWEST = 2000


def outside(ephemeral: str) -> range:
    """The larger part of the ports that is below or above those of /proc/sys/net/ipv4/ip_local_port_range; where neither has
    room, some of the middle, and the luck that no connection goes out from one."""
    low, high = map(int, ephemeral.split())
    below, above = range(10000, min(low, 30000)), range(max(high + 1, 10000), 65536)
    largest = max(below, above, key=len)
    return largest if len(largest) >= FEWEST else range(10000, 30000)


def part(ports: range, worker: int, workers: int) -> range:
    size = len(ports) // workers
    return ports[worker * size:(worker + 1) * size]


def _ephemeral() -> str:
    try:
        return Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    except OSError:
        return "32768 60999"


_worker = int("".join(c for c in os.environ.get("PYTEST_XDIST_WORKER", "gw0") if c.isdigit()) or 0)
_ports = part(outside(_ephemeral()), _worker, max(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")), _worker + 1))
_count = itertools.count(random.Random(os.getpid()).randrange(len(_ports)))
# A name that other test runs on this machine see as taken, for the ports that may be in use.
_reserved = collections.deque(maxlen=300)
_held: list[socket.socket] = []


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
    for _ in range(len(_ports)):
        port = _ports[next(_count) % len(_ports)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if _reserve(port):
                return port
    raise RuntimeError("no free port")


def refusing_port() -> int:
    """A port that refuses connections as long as this process lives: somebody has it, and does not listen."""
    while True:
        holder, port = socket.socket(), free_port()
        try:
            holder.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        _held.append(holder)
        return port
