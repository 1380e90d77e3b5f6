"""The witness itself: a recording backend that lost bytes would prove nothing."""

import socket
import time

import pytest

from harness import smoke
from harness.http2backend import HTTP2Backend
from harness.ports import FEWEST, outside, part, refusing_port


def test_harness():
    smoke.main()


@pytest.mark.parametrize("ephemeral", ["32768\t60999\n", "16000 65535", "49152 65535", "10000 32767", "1024 65535"])
def test_ports_are_handed_out_once(ephemeral):
    """The kernel takes none of them for an outgoing connection where there is a choice, nor do two workers."""
    low, high = map(int, ephemeral.split())
    ports = outside(ephemeral)
    assert len(ports) >= FEWEST and (low == 1024 or not set(ports) & set(range(low, high + 1)))
    parts = [part(ports, worker, 3) for worker in range(3)]
    assert all(len(each) > 600 for each in parts)
    assert sum(map(len, parts)) == len(set().union(*parts)) <= len(ports)


def test_nobody_gets_a_port_that_refuses():
    port = refusing_port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with pytest.raises(OSError):
        socket.create_server(("127.0.0.1", port))


def test_a_backend_that_is_closed_listens_no_more():
    """Its thread is in `accept`, and must not take one more connection."""
    with HTTP2Backend() as backend:
        time.sleep(0.1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", backend.port))
