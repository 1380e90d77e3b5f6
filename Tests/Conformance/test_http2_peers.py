"""Both sides of a stream at odds: tunnels and calls whose client and backend end, reset, stall and leave at any moment, and
backends that answer an extended CONNECT in odd ways. Whatever they do, nothing of a request is left behind."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import time

import h2.exceptions
import h2.settings
import pytest

from harness import configuration
from harness.http2 import CANCEL, Connection, get
from harness.http2backend import HTTP2Backend
from harness.waiting import wait_until
from harness.wire import Client
from test_http2 import Chat
from test_http2_websocket import HANDSHAKE, KEY, TAKES_TUNNELS

UPSTREAM = 'protocol = "h2"\n'
LISTEN = 'protocols = ["h2", "http/1.1"]'
LIMITS = '\n[limits]\nbody_timeout = "1s"\nidle_timeout = "2s"\nheader_timeout = "1s"\n'
CALL = ("content-type", "application/grpc")


@pytest.fixture
def backend():
    with HTTP2Backend(settings=TAKES_TUNNELS) as backend:
        backend.on_request = lambda wire, seen: None
        yield backend


@pytest.fixture
def proxy(start, backend):
    return start(backend, configuration.SMALL + LIMITS, upstream=UPSTREAM + 'response_timeout = "2s"\n', listen=LISTEN)


def metric(proxy, name: str) -> int:
    return int(re.search(rf"^{name} (\d+)$", proxy.admin_request("/metrics").body.decode(), re.M)[1])


def expect_nothing_left(proxy, seconds=30):
    wait_until(lambda: metric(proxy, "usher_requests_in_flight") == 0, seconds)
    wait_until(lambda: metric(proxy, "usher_connections_open") == 0, seconds)
    wait_until(lambda: metric(proxy, "usher_buffer_bytes") == 0, seconds)


def at_odds(dice):
    """What a backend does with a stream: a head, some content, and one of many ends."""
    def act(wire, seen):
        time.sleep(dice.choice([0, 0, 0.02]))
        is_call = seen["content-type"] == "application/grpc"
        with wire.lock, contextlib.suppress(h2.exceptions.ProtocolError, OSError, KeyError):
            first = dice.random()
            if first < 0.05:
                return wire.reset(seen.stream, dice.choice([0, 2, 7, 8]))
            wire.head(seen.stream, dice.choice([200, 200, 200, 403, 500]), *([CALL] if is_call else []), end=first > 0.95)
            for _ in range(dice.randrange(5)):
                room = min(wire.h2.local_flow_control_window(seen.stream), 16_000)
                wire.h2.send_data(seen.stream, dice.choice([b"\x81\x01x", b"\x88\x02\x03\xe8", b"\x82\x7e\x10\0" + bytes(4096), b"\x82\x7f"])[:room])
                wire.flush()
                time.sleep(dice.choice([0, 0.005]))
            end = dice.random()
            if end < 0.25:
                wire.h2.end_stream(seen.stream)
            elif end < 0.45:
                wire.trailers(seen.stream, ("grpc-status", "0"))
            elif end < 0.65:
                wire.reset(seen.stream, dice.choice([0, 2, 8, 11]))
            elif end < 0.7:
                wire.goaway(seen.stream, 0)
            elif end < 0.75:
                wire.close()
            wire.flush()
    return act


def multiplexed(dice, proxy):
    with Connection(proxy.port, settings={4: dice.choice([0, 1, 1000, 65_535, 1 << 20])}, update_windows=dice.random() < 0.7) as connection:
        live = []
        for _ in range(40):
            step = dice.random()
            with contextlib.suppress(TimeoutError, KeyError, OSError, h2.exceptions.ProtocolError):
                if step < 0.2 and len(live) < 60:
                    live.append(Chat(connection).stream)
                elif step < 0.35 and len(live) < 60:
                    live.append(connection.start(get("/public/x", "POST", "h", "http", CALL), end=dice.random() < 0.3))
                elif step < 0.6 and live:
                    stream = dice.choice(live)
                    room = min(connection.h2.local_flow_control_window(stream), 16_000)
                    connection.h2.send_data(
                        stream, dice.choice([b"", b"\x88\x82\0\0\0\0\x03\xe8", bytes(9000)])[:max(room, 0)], end_stream=dice.random() < 0.3)
                elif step < 0.68 and live:
                    connection.h2.reset_stream(live.pop(dice.randrange(len(live))), dice.choice([0, 2, CANCEL]))
                elif step < 0.78 and live:
                    connection.h2.increment_flow_control_window(dice.choice([1, 3000, 100_000]), dice.choice(live))
                else:
                    connection.read(0.01)
                connection.flush()


def upgraded(dice, proxy):
    with Client(proxy.port) as client, contextlib.suppress(Exception):
        client.send(b"GET /public/ws HTTP/1.1\r\nHost: h\r\n" + b"".join(
            f"{name}: {value}\r\n".encode() for name, value in (*HANDSHAKE, ("Sec-WebSocket-Key", KEY))) + b"\r\n")
        if dice.random() < 0.8:
            client.head()
        for _ in range(dice.randrange(4)):
            client.send(dice.choice([b"\x88\x82\0\0\0\0\x03\xe8", bytes(9000), b"\x81"]))
        if dice.random() < 0.5:
            client.sock.shutdown(socket.SHUT_WR)
        if dice.random() < 0.5:
            client.sock.settimeout(0.1)
            client.sock.recv(65536)
        if dice.random() < 0.3:
            client.reset()


@pytest.mark.parametrize("seed", range(4))
def test_both_sides_at_random(proxy, backend, seed):
    dice = random.Random(seed)
    backend.on_head = at_odds(random.Random(seed + 1000))
    for _ in range(8):
        multiplexed(dice, proxy)
        upgraded(dice, proxy)
    expect_nothing_left(proxy)
    backend.on_head = lambda wire, seen: None
    backend.on_request = lambda wire, seen: wire.answer(seen.stream)
    with Connection(proxy.port) as connection:
        assert connection.get("/public/x").status == 200


# Odd answers to an extended CONNECT.


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("more", [(), (("content-length", "0"),)], ids=["bare", "with-a-length"])
def test_a_tunnel_that_ends_with_its_head(proxy, backend, http2, more):
    backend.on_head = lambda wire, seen: wire.head(seen.stream, 200, *more, end=True)
    if http2:
        with Connection(proxy.port) as connection:
            chat = Chat(connection)
            assert chat.opened() == 200 and connection.wait(lambda: chat.answer.ended)
            assert chat.answer.body == b""
    else:
        with Client(proxy.port) as client:
            answer = client.request("GET", "/public/ws", (*HANDSHAKE, ("Sec-WebSocket-Key", KEY)), None, "h")
            assert answer.status == 101 and client.reader.rest() == b""
    expect_nothing_left(proxy)


@pytest.mark.parametrize("fields", [(("content-length", "5"),), (("sec-websocket-accept", "forged"),), (("transfer-encoding", "chunked"),)],
                         ids=["length", "accept", "transfer-encoding"])
def test_what_a_tunnels_head_may_not_say(proxy, backend, fields):
    """A length has no meaning for a tunnel (RFC 9110 §9.3.6), an accept of the backend's own proves nothing."""
    def head(wire, seen):
        with wire.lock:
            wire.h2.config.validate_outbound_headers = False
            wire.head(seen.stream, 200, *fields)
            with contextlib.suppress(h2.exceptions.ProtocolError):
                wire.h2.send_data(seen.stream, b"\x81\x01a" + b"\x81\x01b" * 10)
                wire.flush()
    backend.on_head = head
    with Client(proxy.port) as client:
        answer = client.request("GET", "/public/ws", (*HANDSHAKE, ("Sec-WebSocket-Key", KEY)), None, "h")
        if answer.status == 101:
            assert "content-length" not in answer.headers and answer.headers.get("sec-websocket-accept") != "forged"
            assert client.reader.exactly(33) == b"\x81\x01a" + b"\x81\x01b" * 10
        else:
            assert answer.status == 502
    expect_nothing_left(proxy)
