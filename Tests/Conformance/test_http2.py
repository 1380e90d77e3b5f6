"""HTTP/2 for clients (RFC 9113), with prior knowledge: requests, bodies, flow control, the end of streams and connections.

The rules about identities and paths run over HTTP/2 in test_http2_rules.py, frames that break the protocol in
test_http2_frames.py, clients that mean harm in test_http2_abuse.py.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import threading
import time

import httpx
import pytest
from websockets.frames import Frame, Opcode
from websockets.sync.server import serve

from harness import configuration
from harness.delivery import was_read
from harness.http2 import (
    CANCEL, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INTERNAL_ERROR, NO_ERROR, PREFACE, PROTOCOL_ERROR, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, Connection, Raw, frame, get)
from harness.metrics import Metrics
from harness.ports import free_port
from harness.tokens import bearer, token
from harness.waiting import wait_until
from harness.wire import Client, chunk

LISTEN = 'protocols = ["h2", "http/1.1"]'
SHORT = """
[limits]
body_timeout = "3s"
header_timeout = "3s"
idle_timeout = "3s"
drain_timeout = "8s"

[[route]]
path = "/slow/**"
auth = "none"
upstream = "backend"
timeout = "400ms"

[[route]]
path = "/small/**"
auth = "none"
upstream = "backend"
max_body = "10KiB"
"""


# Tokens end on time.
STRICT = configuration.SMALL.replace("secret =", 'leeway = "0s"\nsecret =')


@pytest.fixture
def proxy(start, own_backend):
    return start(own_backend, STRICT, listen=LISTEN)


@pytest.fixture
def short(start, own_backend):
    return start(own_backend, STRICT + SHORT, listen=LISTEN)


@pytest.fixture
def connection(proxy):
    with Connection(proxy.port) as connection:
        yield connection


def authorised(**claims):
    return ("authorization", bearer(token(**claims))["Authorization"])


# Requests and answers.


def test_a_request_and_its_answer(proxy, connection):
    answer = connection.get("/public/x?y=z", ("user-agent", "test"), ("x-forwarded-for", "1.2.3.4"))
    assert answer.status == 200 and answer.ended
    request = proxy.backend.last
    assert (request.method, request.target, request.version) == ("GET", "/public/x?y=z", "HTTP/1.1")
    assert request.headers.get("host") == "usher.test"
    assert request.headers.get("via") == "2 usher"
    assert request.headers.get("x-forwarded-for") == "127.0.0.1", "H8"
    assert request.headers.get("x-forwarded-proto") == "http"
    assert request.headers.get("x-request-id") == answer.headers.get("x-request-id")
    assert request.headers.get("user-agent") == "test" and request.framing == "none"
    line = proxy.wait_log(path="/public/x")
    assert line["status"] == 200 and line["method"] == "GET" and line["reason"] == "ok"


def test_a_token_and_its_user(proxy, connection):
    assert connection.get("/api/x").status == 401
    answer = connection.get("/api/x", authorised())
    assert answer.status == 200 and proxy.backend.last.user == ["alice"]
    assert len(proxy.backend.requests) == 1
    assert "authorization" not in proxy.backend.last.headers


def test_a_refusal_says_what_one_of_http1_says(proxy, connection):
    over2, over1 = connection.get("/api/x"), proxy.get("/api/x")
    drop = {"x-request-id", "date"}
    assert over2.problem == over1.problem
    assert {(n, v) for n, v in over2.headers.lines if n not in drop} == {
        (n.lower(), v) for n, v in over1.headers.lines if n.lower() not in drop}
    assert proxy.backend.requests == []


def test_many_streams_at_once(proxy, connection):
    gate = threading.Event()

    def script(exchange):
        gate.wait(60)
        exchange.echo()

    proxy.backend.script = script
    streams = [connection.start(get(f"/public/{n}")) for n in range(40)]
    proxy.backend.wait_requests(40)
    gate.set()
    for number, stream in enumerate(streams):
        assert connection.answer(stream).json()["target"] == f"/public/{number}"


def test_streams_share_pooled_connections(proxy, connection):
    for number in range(20):
        assert connection.get(f"/public/{number}").status == 200
    assert proxy.backend.connections == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_methods(proxy, connection, method):
    answer = connection.request(get("/public/x", method))
    assert answer.status == 200 and answer.reset is None
    assert proxy.backend.last.method == method
    if method == "HEAD":
        assert answer.body == b"" and answer.headers.get("content-length") is not None
    if method == "POST":
        assert proxy.backend.last.headers.get("content-length") == "0"


@pytest.mark.parametrize("status, authority, more", [
    (417, "usher.test", ("expect", "the-unexpected")),
    (400, "usher.test:port", ("accept", "*/*")),
    (431, "usher.test", ("x-large", "v" * 70_000)),
], ids=["expectation", "authority", "size"])
def test_HEAD_that_is_refused_gets_no_content(proxy, connection, status, authority, more):
    answer = connection.request(get("/public/x", "HEAD", authority, "http", more))
    assert (answer.status, bytes(answer.body), answer.reset) == (status, b"", None)
    # The method of one stream says nothing about the next.
    answer = connection.request(get("/public/x", "GET", authority, "http", more))
    assert answer.status == status and answer.problem["status"] == status


def test_HEAD_that_is_refused_before_its_method_is_read(proxy, connection):
    fields = get("/" + "x" * 20_000, "HEAD", "usher.test", "http")
    answer = connection.request(sorted(fields, key=lambda field: field[0] != ":path"))
    assert (answer.status, bytes(answer.body), answer.reset) == (414, b"", None)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_content(proxy, connection, status):
    proxy.backend.script = lambda e: e.send(b"HTTP/1.1 %d X\r\nETag: \"a\"\r\n\r\n" % status)
    answer = connection.get("/public/x")
    assert answer.status == status and answer.body == b"" and answer.headers.get("etag") == '"a"'
    proxy.backend.script = lambda e: e.echo()
    assert connection.get("/public/x").status == 200


def test_hop_by_hop_fields_of_an_answer_stay_behind(proxy, connection):
    proxy.backend.script = lambda e: e.send(
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Secret\r\nKeep-Alive: timeout=5\r\nX-Secret: 1\r\n"
        b"Transfer-Encoding: chunked\r\nX-Kept: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n" + chunk(b"abc"))
    answer = connection.get("/public/x")
    assert answer.body == b"abc" and answer.headers.all("set-cookie") == ["a=1", "b=2"]
    assert answer.headers.get("x-kept") == "1"
    assert not {"connection", "keep-alive", "x-secret", "transfer-encoding"} & set(answer.headers.names())


def test_an_answer_without_length_ends_with_its_stream(proxy, connection):
    def script(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 100_000)
        exchange.close()

    proxy.backend.script = script
    answer = connection.get("/public/x")
    assert answer.ended and len(answer.body) == 100_000


def test_a_truncated_answer_is_never_taken_for_whole(proxy, connection):
    def script(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        exchange.close()

    proxy.backend.script = script
    answer = connection.get("/public/x")
    # The head may be dropped with the rest: nothing was sent of it when the answer broke off.
    assert answer.status in (0, 200) and not answer.ended and answer.reset == INTERNAL_ERROR
    proxy.backend.script = lambda e: e.echo()
    assert connection.get("/public/x").status == 200, "the other streams go on"


def test_interim_answers(proxy, connection):
    def script(exchange):
        exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        exchange.echo()

    proxy.backend.script = script
    answer = connection.get("/public/x")
    assert answer.status == 200
    assert [(s, h.get("link")) for s, h in answer.interim] == [(103, "</a.css>")]


def test_interim_answers_that_a_client_does_not_read(proxy):
    """What nobody reads is bounded for all streams of a connection together; the answers themselves come whole."""
    streams, hints, done = 50, 60, []
    # Larger than the table of HPACK, and of letters that only grow by its code: each takes its size in memory.
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"{|}~" * 1250 + b"\r\n\r\n"

    def script(exchange):
        exchange.send(hint * hints)
        exchange.echo()
        done.append(exchange.sock)

    proxy.backend.script = script
    with Connection(proxy.port, receive_buffer=4096) as connection:
        started = [connection.start(get(f"/public/{number}")) for number in range(streams)]
        wait_until(lambda: len(done) == streams and was_read(*done))
        answers = [connection.answer(stream) for stream in started]
    assert all(answer.status == 200 and answer.json()["method"] == "GET" for answer in answers)
    assert 0 < sum(len(answer.interim) for answer in answers) < streams * hints, "the kernel holds some 4 MiB of 15"


def test_expect_continue(proxy, connection):
    stream = connection.start(get("/public/x", "POST", "usher.test", "http", ("expect", "100-continue")), end=False)
    assert connection.wait(lambda: connection.answers[stream].interim)
    assert connection.answers[stream].interim[0][0] == 100
    connection.data(stream, b"body", end=True)
    assert connection.answer(stream).json()["body"] == "body"
    assert "expect" not in proxy.backend.last.headers


def test_expect_continue_of_a_refused_request(proxy, connection):
    stream = connection.start(get("/api/x", "POST", "usher.test", "http", ("expect", "100-continue")), end=False)
    answer = connection.answer(stream)
    assert answer.status == 401 and answer.interim == [] and proxy.backend.requests == []


def test_a_large_head(proxy, connection):
    pairs = [(f"x-field-{n}", "v" * 300) for n in range(90)]
    answer = connection.request(get("/public/x", "GET", "usher.test", "http", *pairs))
    assert answer.status == 200
    assert proxy.backend.last.headers.get("x-field-89") == "v" * 300


@pytest.mark.parametrize("count", [150, 204])
def test_a_large_head_of_an_answer(proxy, count):
    lines = b"".join(b"X-Field-%d: %s\r\n" % (n, b"v" * 300) for n in range(count))
    proxy.backend.script = lambda e: e.send(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 2\r\n\r\nok")
    with Connection(proxy.port) as connection:
        connection.h2.decoder.max_header_list_size = 1 << 20
        answer = connection.get("/public/x")
    assert answer.status == 200 and answer.headers.get(f"x-field-{count - 1}") == "v" * 300 and answer.body == b"ok"


# Bodies.


@pytest.mark.parametrize("size", [0, 1, 16_384, 65_535, 65_536, 1_000_000])
@pytest.mark.parametrize("length", [True, False], ids=["length", "no-length"])
def test_bodies_in_both_directions(proxy, connection, size, length):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]

    def script(exchange):
        received = exchange.read_body()
        exchange.reply(200, received)

    proxy.backend.script = script
    more = [("content-length", str(size))] if length else []
    answer = connection.request(get("/public/x", "POST", "usher.test", "http", *more), body)
    assert answer.status == 200 and bytes(answer.body) == body
    assert proxy.backend.last.body == body
    if length:
        assert proxy.backend.last.framing == ("length" if size else "length")


def test_a_small_body_without_length_is_sent_with_one(proxy, connection):
    """All of it is here when the request is decided on: a backend gets a length rather than chunks."""
    raw = Raw(proxy.port)
    raw.send(raw.headers(1, get("/public/x", "POST"), flags=4) + b"\0\0\5\0\1\0\0\0\1hello")
    assert raw.status(1) == 200
    assert proxy.backend.last.framing == "length" and proxy.backend.last.body == b"hello"


def test_a_body_that_comes_in_pieces(proxy, connection):
    stream = connection.start(get("/public/x", "POST"), end=False)
    proxy.backend.wait_requests(1)
    for piece in (b"one", b"two", b"three"):
        connection.data(stream, piece)
        time.sleep(0.02)
    connection.h2.end_stream(stream)
    connection.flush()
    assert connection.answer(stream).json()["body"] == "onetwothree"
    assert proxy.backend.last.framing == "chunked"


def test_trailers_pass_in_both_directions(proxy, connection):
    def script(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(
            b"answer", trailers=b"Grpc-Status: 0\r\nContent-Length: 5\r\nX-Sum: 42\r\n"))

    proxy.backend.script = script
    stream = connection.start(get("/public/x", "POST", "usher.test", "http", ("te", "trailers")), end=False)
    connection.data(stream, b"question")
    connection.trailers(stream, [("x-check", "7"), ("x-user-id", "evil"), ("authorization", "evil")])
    answer = connection.answer(stream)
    assert answer.body == b"answer" and answer.ended
    assert answer.trailers.lines == [("grpc-status", "0"), ("x-sum", "42")]
    assert proxy.backend.last.body == b"question"
    assert [(n.lower(), v) for n, v in proxy.backend.last.trailers.lines] == [("x-check", "7")]


def test_trailers_right_behind_the_head(proxy, connection):
    raw = Raw(proxy.port)
    raw.send(raw.headers(1, get("/public/x", "POST"), flags=4) + raw.headers(1, [("x-check", "1")]))
    assert raw.status(1) == 200
    assert proxy.backend.last.trailers.get("x-check") == "1" and proxy.backend.last.body == b""


def test_a_body_beyond_the_limit(short):
    with Connection(short.port) as connection:
        answer = connection.request(get("/small/x", "POST", "usher.test", "http", ("content-length", "20000")), b"x" * 20_000)
        assert answer.status == 413 and short.backend.requests == []
        stream = connection.start(get("/small/y", "POST"), end=False)
        connection.data(stream, b"x" * 20_000, end=True)
        assert connection.answer(stream).status == 413
        assert connection.get("/public/x").status == 200


def test_an_answer_before_the_end_of_the_body(proxy, connection):
    """RFC 9113 §8.1: the rest of the request is not wanted, and the client is told with NO_ERROR."""
    def script(exchange):
        exchange.reply(200, b"enough")
        exchange.read_body()

    proxy.backend.script = script
    stream = connection.start(get("/public/x", "POST"), end=False)
    answer = connection.answers[stream]
    assert connection.wait(lambda: answer.reset is not None)
    assert answer.status == 200 and answer.body == b"enough" and answer.reset == NO_ERROR
    assert connection.get("/api/x").status == 401


# Flow control.


def test_a_stream_without_window_blocks_no_other(proxy):
    proxy.backend.script = lambda e: e.reply(200, b"x" * (300_000 if e.request.target == "/public/big" else 10))
    with Connection(proxy.port, update_windows=False) as connection:
        connection.h2.increment_flow_control_window(10_000_000)
        connection.flush()
        big = connection.start(get("/public/big"))
        assert connection.wait(lambda: len(connection.answers[big].body) == 65_535)
        for _ in range(5):
            assert connection.get("/public/small").body == b"x" * 10
        assert len(connection.answers[big].body) == 65_535
        connection.h2.increment_flow_control_window(10_000_000, big)
        connection.flush()
        assert len(connection.answer(big).body) == 300_000


def test_back_pressure_towards_the_backend(proxy):
    """A client that takes nothing stops the reading of the backend: no answer is kept in memory."""
    sent = [0]

    def script(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
        exchange.sock.settimeout(1)
        try:
            while sent[0] < 200_000_000:
                exchange.send(b"x" * 65_536)
                sent[0] += 65_536
        except OSError:
            pass
        exchange.close()

    proxy.backend.script = script
    with Connection(proxy.port, update_windows=False) as connection:
        stream = connection.start(get("/public/x"))
        connection.wait(lambda: len(connection.answers[stream].body) == 65_535)

        def stands_still():
            before = sent[0]
            time.sleep(0.3)
            return sent[0] == before
        wait_until(stands_still)
        assert sent[0] < 20_000_000
        assert proxy.memory("VmHWM") < 100_000_000


def test_an_upload_that_moves_on_gets_a_wider_window(proxy):
    """With 64 KiB it would make 640 KB a second over a way of 100 ms."""
    proxy.backend.script = lambda exchange: exchange.reply(200, str(exchange.drain()).encode())
    with Connection(proxy.port) as connection:
        stream = connection.start(get("/public/x", "POST"), end=False)
        assert connection.h2.local_flow_control_window(stream) == 65_535
        connection.data(stream, b"x" * 300_000)
        assert connection.wait(lambda: connection.h2.local_flow_control_window(stream) > 130_000)
        connection.data(stream, b"y" * 500_000, end=True)
        assert int(connection.answer(stream).body) == 800_000


def test_back_pressure_towards_the_client(proxy):
    """A backend that takes nothing: the client's window stays shut."""
    gate = threading.Event()

    def script(exchange):
        gate.wait(60)
        exchange.reply(200, str(exchange.drain()).encode())

    proxy.backend.script = script
    with Connection(proxy.port) as connection:
        stream = connection.start(get("/public/x", "POST"), end=False)
        total = pauses = 0
        # What the sockets between the proxy and the backend take, and a window.
        while pauses < 10 and total < 50_000_000:
            room = min(connection.h2.local_flow_control_window(stream), 16_384)
            if room == 0:
                try:
                    connection.read(0.1)
                except TimeoutError:
                    pauses += 1
                continue
            pauses = 0
            connection.h2.send_data(stream, b"x" * room)
            connection.flush()
            total += room
        assert connection.h2.local_flow_control_window(stream) == 0 and total < 50_000_000
        other = connection.start(get("/api/x"))
        assert connection.answer(other).status == 401, "the others go on"
        gate.set()
        connection.h2.end_stream(stream)
        connection.flush()
        assert int(connection.answer(stream).body) == total


def test_a_large_download(proxy):
    body = bytes(range(256)) * 40_000
    proxy.backend.script = lambda e: e.reply(200, body)
    with Connection(proxy.port) as connection:
        streams = [connection.start(get(f"/public/{n}")) for n in range(3)]
        for stream in streams:
            assert bytes(connection.answer(stream).body) == body


# The end of streams.


def test_a_client_that_resets_cancels_the_request(proxy, connection):
    gone = threading.Event()

    def script(exchange):
        if exchange.request.target == "/public/long":
            if exchange.gone():
                gone.set()
        else:
            exchange.echo()

    proxy.backend.script = script
    stream = connection.start(get("/public/long"))
    proxy.backend.wait_requests(1)
    connection.reset(stream)
    assert gone.wait(30), "the backend's connection is closed"
    assert connection.get("/public/x").status == 200
    assert proxy.wait_log(path="/public/long")["reason"] == "client_closed"


def test_a_client_that_leaves_cancels_all_its_requests(proxy):
    gone = []
    proxy.backend.script = lambda e: gone.append(e.gone())
    connection = Connection(proxy.port)
    for number in range(5):
        connection.start(get(f"/public/{number}"))
    proxy.backend.wait_requests(5)
    connection.close()
    end = time.monotonic() + 30
    while len(gone) < 5 and time.monotonic() < end:
        time.sleep(0.02)
    assert gone == [True] * 5


def test_a_stream_ends_with_its_token(proxy, connection):
    def ticking(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                exchange.send(b"4\r\ntick\r\n")
                time.sleep(0.05)
        except OSError:
            exchange.close()

    proxy.backend.script = ticking
    stream = connection.start(get("/api/x", "GET", "usher.test", "http", authorised(exp=int(time.time()) + 5)))
    answer = connection.answer(stream)
    assert answer.status == 200 and not answer.ended and answer.reset == CANCEL
    assert proxy.wait_log(path="/api/x")["reason"] == "token_expired"
    proxy.backend.script = lambda e: e.echo()
    assert connection.get("/public/x").status == 200


def test_a_route_timeout(short):
    short.backend.script = lambda e: time.sleep(1)
    with Connection(short.port) as connection:
        answer = connection.get("/slow/x")
        assert answer.status == 504


def test_a_stalled_body(short):
    with Connection(short.port) as connection:
        stream = connection.start(get("/public/x", "POST"), end=False)
        connection.data(stream, b"some")
        answer = connection.answer(stream)
        assert answer.status == 408 and connection.get("/api/x").status == 401


def test_a_client_that_takes_nothing_of_a_stream(short):
    """F6: a window that stays shut ends the stream, not the connection."""
    short.backend.script = lambda e: e.reply(200, b"x" * 300_000 if "big" in e.request.target else b"ok")
    with Connection(short.port, update_windows=False) as connection:
        connection.h2.increment_flow_control_window(10_000_000)
        connection.flush()
        streams = [connection.start(get(f"/public/big{n}")) for n in range(3)]
        for stream in streams:
            assert connection.answer(stream).reset == CANCEL
        assert connection.get("/public/x").body == b"ok"


def test_a_small_answer_that_is_not_taken(short):
    short.backend.script = lambda e: e.reply(200, b"x" * 1000)
    with Connection(short.port, settings={4: 0}) as connection:
        stream = connection.start(get("/public/x"))
        answer = connection.answer(stream)
        assert answer.status == 200 and answer.body == b"" and answer.reset == CANCEL


# The end of connections.


def test_an_idle_connection_ends_with_goaway(short):
    with Connection(short.port) as connection:
        assert connection.get("/api/x").status == 401
        assert connection.ended(20)
        assert connection.goaways[-1][0] == NO_ERROR


def test_a_connection_in_use_is_not_idle(short):
    """Not even where usher answers by itself, and no stream outlives the turn that it came in."""
    with Connection(short.port) as connection:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            assert connection.get("/api/x").status == 401
            time.sleep(0.05)
        assert not connection.goaways


def test_pings_keep_no_connection_alive(short):
    with Connection(short.port) as connection:
        begun = time.monotonic()
        while not connection.closed and time.monotonic() - begun < 20:
            connection.h2.ping(b"12345678") if not connection.goaway else None
            connection.flush()
            try:
                connection.read(0.1)
            except TimeoutError:
                pass
        assert connection.closed and connection.pings > 1


def test_a_head_that_does_not_end(short):
    raw = Raw(short.port)
    raw.send(raw.headers(1, flags=1))
    assert raw.connection_error() == NO_ERROR, "slow is no misbehaviour"


def test_each_head_has_its_own_time(short):
    """The end of one often comes with the beginning of the next: no read ends outside of a head, and none of them is slow."""
    def script(exchange):
        if exchange.request.target == "/public/late":
            time.sleep(6)
        exchange.reply(200, b"late")

    short.backend.script = script
    with Raw(short.port) as raw:
        raw.send(raw.headers(1, get("/public/late")))
        rest = b""
        for stream in range(3, 23, 2):
            head = raw.headers(stream, [*get("/public/x"), ("x-number", str(stream))])
            assert raw.send(rest + head[:15])
            rest = head[15:]
            time.sleep(0.5)
        raw.send(rest)
        assert raw.status(1) == 200, "after more than header_timeout"


def test_a_preface_that_does_not_end(short):
    raw = Raw(short.port, handshake=False)
    raw.send(b"PRI * HTTP/2.0\r\n")
    begun = time.monotonic()
    assert raw.read() is None and 2.5 < time.monotonic() - begun < 9


def test_a_client_that_goes_away(proxy):
    """GOAWAY of the client: what is under way is finished, then the connection ends."""
    raw = Raw(proxy.port)
    raw.send(raw.headers(1) + frame(GOAWAY, 0, 0, bytes(8)))
    assert raw.status(1) == 200
    assert raw.connection_error() in (None, NO_ERROR) and raw.closed


def test_drain(short):
    gate = threading.Event()

    def script(exchange):
        gate.wait(60)
        exchange.echo()

    short.backend.script = script
    with Raw(short.port) as raw, Raw(short.port) as idle:
        raw.send(raw.headers(1))
        short.backend.wait_requests(1)
        short.signal(signal.SIGTERM)
        assert raw.next(GOAWAY)[3] == b"\x7f\xff\xff\xff" + bytes(4), "first the announcement"
        assert raw.next(GOAWAY)[3] == b"\0\0\0\1" + bytes(4), "then the last stream"
        gate.set()
        assert raw.status(1) == 200
        assert raw.connection_error() in (None, NO_ERROR) and idle.connection_error() == NO_ERROR
    assert short.wait() == 0


def test_requests_between_the_two_goaways_are_served(start, own_backend):
    """There is a second between them. Where this process has needed more than half of it, it was no trial."""
    def is_served() -> bool | None:
        proxy = start(own_backend, STRICT + SHORT, listen=LISTEN)
        with Raw(proxy.port) as raw:
            begun = time.monotonic()
            proxy.signal(signal.SIGTERM)
            assert raw.next(GOAWAY)[3][:4] == b"\x7f\xff\xff\xff"
            raw.send(raw.headers(1))
            is_trial = time.monotonic() - begun < 0.5
            while (found := raw.read()) and found[0] != HEADERS:
                pass
        assert proxy.wait() == 0
        return (found is not None and raw.decoder.decode(found[3])[0] == (":status", "200")) if is_trial else None

    outcome = next((served for served in (is_served() for _ in range(8)) if served is not None), None)
    assert outcome, "not served, or the machine was too busy for each trial"


def content_bytes(raw: Raw) -> int:
    return sum(len(found[3]) for found in raw.frames if found[0] == DATA)


def test_what_came_while_the_last_word_waited_is_not_forwarded(start, own_backend):
    """The GOAWAY that names the last stream waits behind a download: what it leaves out may be sent again by its client."""
    size = 12_000_000

    def script(exchange):
        exchange.read_body()
        exchange.reply(200, b"x" * size if exchange.request.target == "/public/big" else b"done")

    own_backend.script = script
    proxy = start(own_backend, STRICT + '[limits]\ndrain_timeout = "100s"\nbody_timeout = "60s"\n', listen=LISTEN)
    with Raw(proxy.port, receive_buffer=8192, timeout=60) as raw:
        raw.send(frame(SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff") + frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\0\0"))
        raw.send(raw.headers(1, get("/public/big")))
        own_backend.wait_requests(1)
        time.sleep(0.5)
        proxy.signal(signal.SIGTERM)
        # Longer than usher leaves between the announcement and the last word; where it did not, the POST is served.
        time.sleep(1.5)
        raw.send(raw.headers(3, [*get("/public/pay", "POST"), ("content-length", "5")], END_HEADERS) + frame(DATA, END_STREAM, 3, b"money"))
        time.sleep(0.5)
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        while raw.read():
            pass
    assert content_bytes(raw) == size + (len(b"done") if any(f[0] == DATA and f[2] == 3 for f in raw.frames) else 0)
    last = min(int.from_bytes(f[3][:4], "big") for f in raw.frames if f[0] == GOAWAY)
    is_answered = any(f[0] == HEADERS and f[2] == 3 for f in raw.frames)
    is_forwarded = "/public/pay" in [r.target for r in own_backend.requests]
    assert (is_forwarded, is_answered) == (last >= 3, last >= 3)
    assert proxy.wait() == 0


SLOW = """
[limits]
idle_timeout = "{idle}"
body_timeout = "{body}"
drain_timeout = "100s"
"""


def start_slow_reader(proxy, size) -> Raw:
    """A client that has begun to read its answer, and stops; the rest is with the kernel."""
    proxy.backend.script = lambda e: e.reply(200, b"x" * size)
    raw = Raw(proxy.port, receive_buffer=32768, timeout=60)
    raw.send(frame(SETTINGS, 0, 0, b"\0\4\0\x80\0\0") + frame(WINDOW_UPDATE, 0, 0, b"\0\x80\0\0"))
    raw.send(raw.headers(1, get("/public/big")))
    while content_bytes(raw) < 100_000:
        assert raw.read()
    return raw


@pytest.mark.parametrize("why", ["drain", "idle"])
def test_who_reads_slowly_gets_its_answer_whole(start, own_backend, why):
    """Its windows meet a socket that usher has closed: the kernel resets the connection, and destroys what is under way."""
    proxy = start(own_backend, STRICT + SLOW, listen=LISTEN, idle="1s" if why == "idle" else "60s", body="60s")
    with start_slow_reader(proxy, 1_000_000) as raw:
        if why == "drain":
            proxy.signal(signal.SIGTERM)
        time.sleep(5)
        raw.send(frame(WINDOW_UPDATE, 0, 0, b"\0\1\0\0"))
        time.sleep(0.3)
        while raw.read():
            pass
    assert content_bytes(raw) == 1_000_000
    if why == "drain":
        assert proxy.wait() == 0


def test_who_takes_nothing_of_its_answer_loses_the_connection(start, own_backend):
    """It is all with the kernel, and usher has nothing more to write: `body_timeout` holds all the same."""
    proxy = start(own_backend, STRICT + SLOW, listen=LISTEN, idle="1s", body="2s")
    with start_slow_reader(proxy, 1_000_000):
        wait_until(lambda: Metrics(proxy)["usher_connections_open"] == 0, 60)


WIDE = frame(SETTINGS, 0, 0, b"\0\4\x40\0\0\0") + frame(WINDOW_UPDATE, 0, 0, b"\x40\0\0\0")
QUICK = '[limits]\nbody_timeout = "3s"\n'


def test_who_reads_slowly_without_a_pause_is_not_cut_off(start, own_backend):
    """The kernel asks for more only when a third of its megabytes has gone: between two writes lies more than `body_timeout`. An
    answer that is whole meanwhile waits for the same connection."""
    size = 12_000_000
    own_backend.script = lambda e: e.reply(200, b"x" * (size if e.request.target == "/public/big" else 100))
    proxy = start(own_backend, STRICT + QUICK, listen=LISTEN)
    with Raw(proxy.port, receive_buffer=65536, timeout=20) as raw:
        raw.send(WIDE + raw.headers(1, get("/public/big")))
        begun, count = time.monotonic(), 0
        while (elapsed := time.monotonic() - begun) < 8:
            if count == 0 and elapsed > 0.5:
                raw.send(raw.headers(3, get("/public/small")))
            data = raw.sock.recv(6554)
            assert data
            raw.buffer += data
            count += elapsed > 0.5
            time.sleep(0.05)
        while sum(bool(flags & END_STREAM) for kind, flags, *_ in raw.frames if kind == DATA) < 2:
            assert raw.read() and raw.frames[-1][0] != RST_STREAM
    assert content_bytes(raw) == size + 100


def test_who_does_not_read_is_told_from_who_has_gone(start, own_backend):
    own_backend.script = lambda e: e.reply(200, b"x" * 30_000_000)
    proxy = start(own_backend, STRICT + QUICK, listen=LISTEN)
    with Raw(proxy.port, receive_buffer=65536) as raw:
        raw.send(WIDE + raw.headers(1, get("/public/a")) + raw.headers(3, get("/public/b")))
        lines = [proxy.wait_log(path=path) for path in ("/public/a", "/public/b")]
        assert [line["reason"] for line in lines] == ["request_timeout"] * 2
        assert all(2900 < line["duration_ms"] < 15_000 for line in lines)


def test_reload_keeps_connections(proxy, connection):
    assert connection.get("/public/x").status == 200
    proxy.file.write_text(proxy.file.read_text().replace('path = "/public/**"', 'path = "/open/**"'))
    proxy.signal(signal.SIGHUP)
    end = time.monotonic() + 30
    while connection.get("/open/x").status != 200:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert connection.get("/public/x").status == 404


ENDS = {
    "reset at once": lambda raw: raw.send(raw.headers(1, flags=4) + frame(RST_STREAM, 0, 1, bytes(4))),
    "reset a little later": lambda raw: (
        raw.send(raw.headers(1, flags=4)), time.sleep(0.05), raw.send(frame(RST_STREAM, 0, 1, bytes(4)))),
    "gone with a request": lambda raw: raw.send(raw.headers(1)),
    "gone with a body": lambda raw: raw.send(raw.headers(1, get("/public/x", "POST"), 4)),
    "gone after an answer": lambda raw: (raw.send(raw.headers(1)), raw.status(1)),
    "malformed": lambda raw: raw.send(raw.headers(1, [*get(), ("Upper", "1")])),
    "goaway": lambda raw: raw.send(frame(GOAWAY, 0, 0, bytes(8))),
    "broken frame": lambda raw: raw.send(frame(0, 0, 0, b"x")),
    "refused": lambda raw: (raw.send(raw.headers(1, get("/api/x", "POST"), 4)), raw.status(1)),
}


def test_nothing_is_left_of_streams_and_connections(short):
    """However they end: a drain has nobody to wait for."""
    for end in ENDS.values():
        for _ in range(3):
            with Raw(short.port) as raw:
                end(raw)
    time.sleep(0.2)
    begun = time.monotonic()
    short.signal(signal.SIGTERM)
    assert short.wait(10) == 0 and time.monotonic() - begun < 9
    assert b"cutting off" not in bytes(short.errors)


# Which version.


def test_http1_on_the_same_listener(proxy):
    assert proxy.get("/public/x").status == 200
    with proxy.client() as client:
        client.send(b"GET /pub")
        time.sleep(0.05)
        client.send(b"lic/x HTTP/1.1\r\nHost: a\r\n\r\nP")
        assert client.response().status == 200
        client.send(b"OST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert client.response().status == 200


@pytest.mark.parametrize("cut", [1, 3, 15, 18, 23])
def test_the_preface_in_two_pieces(proxy, cut):
    raw = Raw(proxy.port, handshake=False)
    raw.send(PREFACE[:cut])
    time.sleep(0.03)
    raw.send(PREFACE[cut:] + frame(SETTINGS) + raw.headers(1))
    assert raw.status(1) == 200


def test_a_method_that_begins_like_the_preface(proxy):
    assert proxy.request("PRINT", "/public/x").status == 200
    with proxy.client() as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
        assert client.response().status in (400, 404, 505)


def test_a_listener_for_http2_alone(start, own_backend):
    proxy = start(own_backend, listen='protocols = ["h2"]')
    with Connection(proxy.port) as connection:
        assert connection.get("/public/x").status == 200
    raw = Raw(proxy.port, handshake=False)
    raw.send(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert raw.connection_error() == PROTOCOL_ERROR


def test_no_http2_where_it_is_not_configured(start, own_backend):
    proxy = start(own_backend)
    with proxy.client() as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.response().status in (400, 505)


def test_behind_a_proxy_header(start, own_backend):
    proxy = start(own_backend, listen=LISTEN + '\nproxy_protocol = true\ntrusted_proxies = ["127.0.0.1"]')
    connection = Connection(proxy.port, start=False)
    connection.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\n")
    connection.h2.initiate_connection()
    connection.flush()
    assert connection.get("/public/x").status == 200
    assert own_backend.last.headers.get("x-forwarded-for") == "192.0.2.7"


def test_the_limit_of_connections_counts_no_streams(start, own_backend):
    proxy = start(own_backend, configuration.SMALL + "[limits]\nconnections = 2\n", listen=LISTEN)
    with Connection(proxy.port) as one, Connection(proxy.port) as two:
        streams = [one.start(get(f"/public/{n}")) for n in range(30)]
        assert all(one.answer(s).status == 200 for s in streams)
        assert two.get("/public/x").status == 200


# Fields and pseudo-header fields.


def test_cookie_crumbs_are_joined(proxy, connection):
    connection.get("/public/x", ("cookie", "a=1"), ("x-between", "1"), ("cookie", "b=2"), ("cookie", "c=3"))
    assert proxy.backend.last.headers.all("cookie") == ["a=1; b=2; c=3"]


def test_a_token_in_a_cookie_crumb(start, own_backend):
    text = configuration.SMALL.replace('audience = ["https://api.test"]', 'audience = ["https://api.test"]\ntoken_from = ["cookie:sid"]')
    proxy = start(own_backend, text, listen=LISTEN)
    with Connection(proxy.port) as connection:
        answer = connection.get("/api/x", ("cookie", "a=1"), ("cookie", f"sid={token()}"), ("cookie", "b=2"))
        assert answer.status == 200 and own_backend.last.user == ["alice"]
        assert own_backend.last.headers.all("cookie") == ["a=1; b=2"]
        two = connection.get("/api/x", ("cookie", f"sid={token()}"), ("cookie", f"sid={token(subject='bob')}"))
        assert two.status == 400


def test_host_in_place_of_authority(proxy, connection):
    answer = connection.request([(":method", "GET"), (":scheme", "http"), (":path", "/public/x"), ("host", "other.test")])
    assert answer.status == 200 and proxy.backend.last.headers.get("x-forwarded-host") == "other.test"


def test_host_beside_the_same_authority(proxy, connection):
    assert connection.get("/public/x", ("host", "USHER.test")).status == 200
    assert proxy.backend.last.headers.all("host") == ["usher.test"]


def test_a_request_without_a_host(proxy, connection):
    answer = connection.request([(":method", "GET"), (":scheme", "http"), (":path", "/public/x")])
    assert answer.reset == PROTOCOL_ERROR or answer.status == 400
    assert proxy.backend.requests == []


def test_te_with_trailers_is_taken(proxy, connection):
    assert connection.get("/public/x", ("te", "trailers")).status == 200


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_P8_methods_that_are_refused(proxy, connection, method):
    fields = [(":method", "CONNECT"), (":authority", "usher.test:80")] if method == "CONNECT" else get("/public/x", method)
    assert connection.request(fields).status == 405
    assert proxy.backend.requests == [] and connection.get("/api/x").status == 401


# WebSocket (RFC 8441).


class Chat:
    """Frames of WebSocket on a stream."""

    def __init__(self, connection, path="/public/ws", *more, protocol="websocket"):
        self.connection = connection
        self.stream = connection.start(
            [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":authority", "usher.test"),
             (":path", path), ("sec-websocket-version", "13"), *more], end=False)
        self.answer = connection.answers[self.stream]

    def opened(self):
        assert self.connection.wait(lambda: self.answer.status or self.answer.reset is not None)
        return self.answer.status

    def send(self, text: bytes):
        self.connection.data(self.stream, Frame(Opcode.TEXT, text).serialize(mask=True))

    def expect(self, data: bytes):
        assert self.connection.wait(lambda: data in self.answer.body), bytes(self.answer.body)

    def talks(self):
        """What is said comes back, short and long."""
        for text in [*(b"hello %d" % number for number in range(5)), b"z" * 60_000]:
            self.send(text)
            self.expect(text)


@contextlib.contextmanager
def cut_tunnel(start, backend, text=configuration.SMALL):
    """A tunnel whose server has broken off behind 3,000 bytes, of which a window of 100 let few out; the proxy and the client."""
    def script(exchange):
        exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + b"x" * 3000)
        wait_until(lambda: was_read(exchange.sock))  # a reset would destroy it in the proxy's kernel
        exchange.reset()
        broken.set()

    broken = threading.Event()
    backend.script = script
    proxy = start(backend, text, listen=LISTEN)
    with Raw(proxy.port) as raw:
        raw.send(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\x64"))
        raw.send(raw.headers(1, [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "usher.test"),
            (":path", "/public/ws"), ("sec-websocket-version", "13")], 4))
        assert raw.status(1) == 200 and broken.wait(20)
        yield proxy, raw


def test_what_a_backend_said_before_it_broke_off_reaches_a_stream(start, own_backend):
    """It waits for the client's window, and the reset behind it (RFC 8441, 5): not in its place."""
    with cut_tunnel(start, own_backend) as (_, raw):
        time.sleep(0.3)
        raw.send(frame(WINDOW_UPDATE, 0, 1, b"\0\0\xff\xff"))
        assert raw.stream_error(1) == INTERNAL_ERROR
    assert content_bytes(raw) == 3000


def test_a_tunnel_that_was_cut_is_not_held_by_a_client_that_talks(start, own_backend):
    """Its window stays closed, so that the last words cannot leave, and nobody reads what it says."""
    with cut_tunnel(start, own_backend, configuration.SMALL + '[limits]\nbody_timeout = "4s"\n') as (proxy, raw):
        server = {"upstream": "backend", "server": f"127.0.0.1:{own_backend.port}"}
        wait_until(lambda: Metrics(proxy)["usher_upstream_server_connections", server] == 0)
        end = time.monotonic() + 6
        while time.monotonic() < end:
            raw.send(frame(DATA, 0, 1, b"x"))
            time.sleep(0.2)
        assert raw.stream_error(1) == INTERNAL_ERROR
        assert proxy.wait_log(path="/public/ws")["reason"] == "upstream_truncated"


@pytest.fixture
def sockets(start, own_backend):
    seen = []

    def handle(socket):
        seen.append(socket.request.headers)
        for message in socket:
            socket.send(message)

    text = STRICT.replace("127.0.0.1:{backend}", "127.0.0.1:{sockets}") + SHORT
    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = start(own_backend, text, listen=LISTEN, sockets=server.socket.getsockname()[1])
        proxy.seen = seen
        yield proxy
        server.shutdown()


def test_websocket_over_extended_connect(sockets):
    with Connection(sockets.port) as connection:
        assert connection.wait(lambda: connection.settings_seen)
        assert connection.h2.remote_settings.get(8) == 1, "SETTINGS_ENABLE_CONNECT_PROTOCOL"
        chat = Chat(connection, "/public/ws", ("sec-websocket-key", "client's own"))
        assert chat.opened() == 200
        assert "sec-websocket-accept" not in chat.answer.headers and "upgrade" not in chat.answer.headers
        chat.talks()
        assert len(sockets.seen[0].get_all("Sec-WebSocket-Key")) == 1
        connection.data(chat.stream, Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True), end=True)
        assert connection.answer(chat.stream).ended
        assert sockets.wait_log(path="/public/ws")["reason"] == "upgraded"


def test_websocket_needs_its_token(sockets):
    with Connection(sockets.port) as connection:
        refused = Chat(connection, "/api/ws")
        assert refused.opened() == 401 and sockets.seen == []
        chat = Chat(connection, "/api/ws", authorised())
        assert chat.opened() == 200
        chat.send(b"x")
        chat.expect(b"x")
        assert sockets.seen[0]["X-User-Id"] == "alice"


def test_websocket_ends_with_its_token(sockets):
    with Connection(sockets.port) as connection:
        chat = Chat(connection, "/api/ws", authorised(exp=int(time.time()) + 5))
        assert chat.opened() == 200
        end = time.monotonic() + 20
        while not chat.answer.ended and time.monotonic() < end:
            chat.send(b"x")
            time.sleep(0.1)
            try:
                connection.read(0.01)
            except TimeoutError:
                pass
        assert chat.answer.ended and b"the token has expired" in chat.answer.body


def test_another_protocol_is_refused(sockets):
    with Connection(sockets.port) as connection:
        chat = Chat(connection, protocol="connect-udp")
        assert chat.opened() == 405 and sockets.seen == []


@pytest.mark.parametrize("status", [200, 204, 299])
def test_F1_a_backend_that_answers_without_switching(proxy, status):
    """2xx would tell the client that its tunnel is open, and the content that frames have come (RFC 8441 §5)."""
    proxy.backend.script = lambda exchange: exchange.reply(status, b"" if status == 204 else b"no frames")
    with Connection(proxy.port) as connection:
        chat = Chat(connection)
        assert chat.opened() == 501
        assert connection.wait(lambda: chat.answer.ended or chat.answer.reset is not None)
        assert b"no frames" not in chat.answer.body
        assert connection.get("/api/x").status == 401, "the connection goes on"
    assert proxy.wait_log(status=501)["detail"] == "server_takes_no_websocket"


@pytest.mark.parametrize("status", [302, 403, 426, 503])
def test_F1_a_backend_that_refuses_to_switch(proxy, status):
    proxy.backend.script = lambda exchange: exchange.reply(status, b"no")
    with Connection(proxy.port) as connection:
        chat = Chat(connection)
        assert chat.opened() == status
        assert connection.wait(lambda: chat.answer.ended)
        assert bytes(chat.answer.body) == b"no", "an ordinary answer, that ends the stream"


def test_F1_nothing_passes_before_the_backend_switches(proxy):
    def script(exchange):
        time.sleep(0.2)
        exchange.reply(400, b"no")

    proxy.backend.script = script
    with Connection(proxy.port) as connection:
        chat = Chat(connection)
        chat.send(b"early")
        assert chat.opened() == 400
    assert b"early" not in bytes(proxy.backend.received) and bytes(proxy.backend.received).endswith(b"\r\n\r\n")


def test_F1_content_behind_an_extended_connect(proxy):
    """A handshake tells the backend of no content: what came with it would be the next request there."""
    smuggled = b"GET /public/next HTTP/1.1\r\nHost: a\r\nX-User-Id: root\r\n\r\n"
    with Connection(proxy.port) as connection:
        chat = Chat(connection, "/public/ws", ("content-length", str(len(smuggled))))
        connection.data(chat.stream, smuggled, end=True)
        assert chat.opened() == 400
        assert connection.wait(lambda: chat.answer.ended or chat.answer.reset is not None)
        assert connection.get("/public/after").status == 200, "the connection goes on"
    assert b"root" not in bytes(proxy.backend.received) and b"/public/ws" not in bytes(proxy.backend.received)
    assert proxy.wait_log(status=400)["detail"] == "body_not_allowed"


def test_a_malformed_stream_does_not_end_its_neighbours(short):
    """What nghttp2 refuses by itself is a head that is over, not one that is still to come."""
    def script(exchange):
        time.sleep(4.5)
        exchange.reply(200, b"late")

    short.backend.script = script
    with Raw(short.port) as raw:
        raw.send(raw.headers(1) + raw.headers(3, [*get(), ("content-length", "5")]))
        assert raw.next(RST_STREAM)[2] == 3
        assert raw.next(HEADERS, GOAWAY)[::2] == (HEADERS, 1), "after more than header_timeout"


def test_no_stream_on_a_listener_that_is_gone(start, own_backend):
    """It would be decided on as if it had come by another listener, with whom that one trusts."""
    more = '[listen.more]\naddress = "127.0.0.1:{more}"\nprotocols = ["h2"]\n'
    proxy = start(own_backend, STRICT + more, listen=LISTEN, more=(port := free_port()))
    with Raw(port) as raw:
        text = proxy.file.read_text()
        proxy.file.write_text(text[:text.index("[listen.more]")])
        with Client(proxy.admin) as client:
            assert client.request("POST", "/reload", {}, b"", host=f"127.0.0.1:{proxy.admin}").status == 200
        # The worker may hear of it a moment after the answer has left.
        for stream in range(1, 100, 2):
            raw.send(raw.headers(stream))
            if (heard := raw.next(HEADERS, RST_STREAM))[0] == RST_STREAM:
                break
            time.sleep(0.1)
        assert heard == (RST_STREAM, 0, stream, b"\0\0\0\x07"), "REFUSED_STREAM: try again elsewhere"


# Real clients.


def test_httpx(proxy):
    with httpx.Client(http1=False, http2=True) as client:
        answer = client.get(f"http://127.0.0.1:{proxy.port}/api/x", headers=bearer(token()))
        assert answer.status_code == 200 and answer.http_version == "HTTP/2" and answer.json()["user"] == ["alice"]
        answer = client.post(f"http://127.0.0.1:{proxy.port}/public/x", content=b"z" * 300_000)
        assert answer.json()["body"] == "z" * 300_000


def test_curl(proxy, tmp_path):
    (tmp_path / "body").write_bytes(b"q" * 200_000)
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--http2-prior-knowledge", "--data-binary", f"@{tmp_path}/body",
         "--write-out", "\n%{http_version} %{http_code}", f"http://127.0.0.1:{proxy.port}/public/x"],
        capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    document, _, status = done.stdout.rpartition("\n")
    assert status == "2 200" and json.loads(document)["body"] == "q" * 200_000


@pytest.mark.skipif(not shutil.which("h2load"), reason="h2load is in the package nghttp2-client")
def test_h2load(proxy):
    proxy.backend.recording = False
    proxy.backend.script = lambda e: e.reply(200, b"ok")
    done = subprocess.run(
        ["h2load", "-n3000", "-c5", "-m30", "-H", f"Authorization: Bearer {token()}",
         f"http://127.0.0.1:{proxy.port}/api/x"], capture_output=True, text=True, timeout=60)
    assert "3000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout


@pytest.mark.skipif(not shutil.which("nghttp"), reason="nghttp is in the package nghttp2-client")
def test_nghttp(proxy):
    done = subprocess.run(
        ["nghttp", "--no-dep", "-v", *[f"http://127.0.0.1:{proxy.port}/public/{n}" for n in range(4)]],
        capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and done.stdout.count(":status: 200") == 4, done.stdout
