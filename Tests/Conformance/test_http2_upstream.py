"""HTTP/2 towards backends (`protocol = "h2"`): by prior knowledge and by ALPN, many streams on a connection, and backends
that misbehave."""

from __future__ import annotations

import concurrent.futures
import contextlib
import random
import re
import select
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import h2.settings
import httpx
import pytest

from harness import configuration
from harness.authority import Authority
from harness.delivery import has_arrived, was_read
from harness.http2 import CANCEL, INTERNAL_ERROR, REFUSED_STREAM, Connection, frame, get
from harness.http2backend import HTTP2Backend
from harness.metrics import Metrics
from harness.tokens import bearer, token
from harness.wire import render

UPSTREAM = 'protocol = "h2"\n'
LISTEN = 'protocols = ["h2", "http/1.1"]'


@pytest.fixture
def backend():
    with HTTP2Backend() as backend:
        yield backend
        assert not backend.errors, backend.errors


@pytest.fixture
def proxy(start, backend):
    return start(backend, upstream=UPSTREAM, listen=LISTEN)


def wait(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def client(**more):
    return httpx.Client(http1=False, http2=True, timeout=10, **more)


# Requests and answers.


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_request_and_its_answer(proxy, backend, http2):
    with httpx.Client(http1=not http2, http2=http2) as http:
        answer = http.get(f"http://127.0.0.1:{proxy.port}/api/alice/x?y=z", headers=bearer(token(sub="alice")) | {
            "x-user-id": "mallory", "x_user_id": "mallory", "connection": "keep-alive"} if not http2 else
            bearer(token(sub="alice")) | {"x-user-id": "mallory"})
    assert answer.status_code == 200 and answer.text == "hello"
    seen = backend.last
    assert (seen[":method"], seen[":path"], seen[":scheme"]) == ("GET", "/api/alice/x?y=z", "http")
    assert seen[":authority"] == f"127.0.0.1:{proxy.port}"
    assert seen.all("x-user-id") == ["alice"]
    for name in ("authorization", "host", "connection", "transfer-encoding", "upgrade", "x_user_id"):
        assert seen.all(name) == [], name


def test_no_token_no_stream(proxy, backend):
    with client() as http:
        assert http.get(f"http://127.0.0.1:{proxy.port}/api/alice/x").status_code == 401
        assert http.get(f"http://127.0.0.1:{proxy.port}/api/bob/x", headers=bearer(token(sub="a") + "x")).status_code == 401
    assert backend.requests == []


def test_many_streams_share_a_connection(proxy, backend):
    backend.on_request = lambda wire, seen: (time.sleep(0.2), wire.answer(seen.stream, seen[":path"].encode()))
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: httpx.get(f"http://127.0.0.1:{proxy.port}/public/{n}").text, range(20)))
    assert answers == [f"/public/{n}" for n in range(20)]
    assert backend.connections == 1


def test_host_of_the_server(start, backend):
    proxy = start(backend, upstream=UPSTREAM + "preserve_host = false")
    httpx.get(f"http://127.0.0.1:{proxy.port}/public/x")
    assert backend.last[":authority"] == f"127.0.0.1:{backend.port}" and backend.last.all("host") == []


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_long_bodies_both_ways(proxy, backend, http2):
    backend.on_request = lambda wire, seen: wire.answer(seen.stream, seen.body)
    body = bytes(range(256)) * 8000
    with httpx.Client(http1=not http2, http2=http2, timeout=20) as http:
        assert http.post(f"http://127.0.0.1:{proxy.port}/public/x", content=body).content == body
        pieces = (body[at:at + 70_000] for at in range(0, len(body), 70_000))
        assert http.post(f"http://127.0.0.1:{proxy.port}/public/x", content=pieces).content == body


def test_head_and_no_content(proxy, backend):
    backend.on_request = lambda wire, seen: wire.head(
        seen.stream, 204 if seen[":path"].endswith("none") else 200, ("content-length", "5") if seen[":method"] == "HEAD" else ("x", "y"), end=True)
    assert httpx.head(f"http://127.0.0.1:{proxy.port}/public/x").headers["content-length"] == "5"
    answer = httpx.get(f"http://127.0.0.1:{proxy.port}/public/none")
    assert answer.status_code == 204 and "content-length" not in answer.headers
    answer = httpx.get(f"http://127.0.0.1:{proxy.port}/public/x")
    assert answer.status_code == 200 and answer.headers["content-length"] == "0"


def test_trailers_both_ways(proxy, backend):
    def answer(wire, seen):
        wire.head(seen.stream)
        wire.data(seen.stream, b"part", end=False)
        wire.trailers(seen.stream, ("x-sum", "7"))

    backend.on_request = answer
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as sock:
        sock.sendall(
            b"POST /public/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-End: yes\r\nX-User-Id: mallory\r\n\r\n")
        raw = b""
        while data := sock.recv(65536):
            raw += data
    assert b"x-sum: 7\r\n" in raw.lower() and b"part" in raw
    assert backend.last.body == b"abc" and backend.last.trailers == [("x-end", "yes")]
    with Connection(proxy.port) as connection:
        answer = connection.get("/public/x")
        assert answer.body == b"part" and answer.trailers.get("x-sum") == "7"


@pytest.mark.parametrize("content", [b"hello", b""], ids=["5", "0"])
@pytest.mark.parametrize("kind", ["application/grpc", "text/plain"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_trailers_of_an_answer_with_a_length(proxy, backend, kind, content, method):
    """Both may be there (RFC 9113, 8.1), and Go's server writes the length by itself. The status of a call is in its trailers."""
    is_read = threading.Event()

    def answer(wire, seen):
        wire.head(seen.stream, 200, ("content-type", kind), ("content-length", str(len(content))))
        wire.data(seen.stream, content, end=False)
        assert is_read.wait(30)
        wire.trailers(seen.stream, ("grpc-status", "0"), ("x-user-id", "mallory"), ("x-sum", "7"))

    backend.on_request = answer
    with Connection(proxy.port) as connection:
        stream = connection.start(get("/public/x", method, "usher.test", "http", ("content-type", kind), ("te", "trailers")))
        told = connection.answers[stream]
        assert connection.wait(lambda: told.status and told.body == content), told
        is_read.set()
        assert connection.answer(stream).ended and told.reset is None and told.body == content
        assert told.headers.get("content-length") == str(len(content))
        assert told.trailers and (told.trailers.get("grpc-status"), told.trailers.get("x-sum")) == ("0", "7"), told
        # All of it at once.
        told = connection.request(get("/public/x", method, "usher.test", "http", ("content-type", kind), ("te", "trailers")))
        assert told.ended and told.body == content and told.trailers and told.trailers.get("grpc-status") == "0", told
    # Where HTTP/1.1 has no place for them, they are dropped, and nobody waits for them.
    is_read.clear()
    with proxy.client() as client:
        client.send(render(method, "/public/x"))
        response = client.response(method)
        assert (response.status, response.body, response.headers.get("content-length")) == (200, content, str(len(content)))
        is_read.set()
        client.send(render(method, "/public/x"))
        assert client.response(method).body == content
    wait(lambda: len(backend.requests) == 4)
    assert {seen.connection for seen in backend.requests} == {1}


@pytest.mark.parametrize("content", [b"hello", b""], ids=["5", "0"])
def test_trailers_of_a_request_with_a_length(proxy, backend, content):
    with Connection(proxy.port) as connection:
        for is_late in (False, True):
            length = ("content-length", str(len(content)))
            stream = connection.start(get("/public/x", "POST", "usher.test", "http", length), end=False)
            connection.data(stream, content)
            if is_late:
                wait(lambda: len(backend.requests) == 2 and backend.last.body == content)
            connection.trailers(stream, [("x-check", "7"), ("x-user-id", "mallory")])
            assert connection.answer(stream).status == 200
            seen = backend.last
            assert (seen.body, seen.trailers, seen.all("content-length")) == (content, [("x-check", "7")], [str(len(content))])
        # What breaks the length, or the limit, does not pass for whole.
        stream = connection.start(get("/public/x", "POST", "usher.test", "http", ("content-length", "9")), end=False)
        connection.data(stream, b"short")
        wait(lambda: len(backend.requests) == 3 and backend.last.body == b"short")
        connection.trailers(stream, [("x-check", "7")])
        assert connection.answer(stream).reset is not None
        wait(lambda: backend.last.reset is not None)
        assert not backend.last.ended


@pytest.mark.parametrize("has_trailers", [False, True], ids=["end", "trailers"])
@pytest.mark.parametrize("content", [b"hell", b"hello!"], ids=["shorter", "longer"])
def test_an_answer_that_has_not_the_length_it_says_does_not_end_well(proxy, backend, content, has_trailers):
    is_read = threading.Event()

    def answer(wire, seen):
        wire.head(seen.stream, 200, ("content-length", "5"))
        wire.data(seen.stream, content[:4], end=False)
        assert is_read.wait(30)
        wire.data(seen.stream, content[4:], end=not has_trailers)
        if has_trailers:
            wire.trailers(seen.stream, ("x-sum", "7"))

    backend.on_request = answer
    with Connection(proxy.port) as connection:
        stream = connection.start(get())
        told = connection.answers[stream]
        assert connection.wait(lambda: told.body == b"hell"), told
        is_read.set()
        assert connection.answer(stream).reset == INTERNAL_ERROR and not told.ended and told.body == b"hell" and told.trailers is None


def test_interim_answers(proxy, backend):
    def answer(wire, seen):
        wire.head(seen.stream, 103, ("link", "</a>; rel=preload"))
        wire.answer(seen.stream, b"done")

    backend.on_request = answer
    assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x").text == "done"


def test_websocket_is_refused(proxy, backend):
    answer = httpx.get(f"http://127.0.0.1:{proxy.port}/public/x", headers={
        "connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert answer.status_code == 501 and backend.requests == []


def test_over_tls(start, tmp_path):
    authority = Authority(tmp_path)
    context = authority.server_context(authority.sign("good", ["tasks.internal"]))
    context.set_alpn_protocols(["h2"])
    with HTTP2Backend(context=context) as backend:
        proxy = start(backend, upstream=UPSTREAM + f'tls = {{ ca = "{authority.file}", server_name = "tasks.internal" }}')
        assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x").text == "hello"
        assert backend.last[":scheme"] == "https"


def test_a_server_that_agrees_on_nothing_gets_nothing(start, tmp_path):
    """Without ALPN nobody knows what it speaks (RFC 9113, 3.2)."""
    authority = Authority(tmp_path)
    with HTTP2Backend(context=authority.server_context(authority.sign("good", ["tasks.internal"]))) as backend:
        proxy = start(backend, upstream=UPSTREAM + f'tls = {{ ca = "{authority.file}", server_name = "tasks.internal" }}')
        assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x").status_code == 503
        assert proxy.wait_log(status=503)["detail"] == "server_speaks_no_http2" and backend.requests == []


# Limits of the server.


def test_the_servers_stream_limit(start):
    with HTTP2Backend(settings={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 3}) as backend:
        proxy = start(backend, upstream=UPSTREAM + "max_connections = 1")
        open_now, most, lock = 0, 0, threading.Lock()

        def answer(wire, seen):
            nonlocal open_now, most
            with lock:
                open_now += 1
                most = max(most, open_now)
            time.sleep(0.1)
            with lock:
                open_now -= 1
            wire.answer(seen.stream)

        backend.on_request = answer
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda n: httpx.get(f"http://127.0.0.1:{proxy.port}/public/{n}", timeout=60).status_code, range(12)))
        assert answers == [200] * 12
        assert most <= 3 and backend.connections == 1 and not backend.errors


def test_a_low_limit_opens_further_connections(start):
    with HTTP2Backend(settings={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 2}) as backend:
        proxy = start(backend, upstream=UPSTREAM)
        go = threading.Event()

        def answer(wire, seen):
            if len(backend.requests) >= 5:
                go.set()
            go.wait(10)
            wire.answer(seen.stream)

        backend.on_request = answer
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: proxy.get(f"/public/{n}").status, range(8)))
        assert answers == [200] * 8 and backend.connections >= 3 and not backend.errors


def test_a_limit_that_the_server_lowers(start):
    """SETTINGS_MAX_CONCURRENT_STREAMS holds from when it comes: what has no room on the connection gets another one, and does
    not wait for as long as others take."""
    go = threading.Event()
    with HTTP2Backend() as backend:
        def answer(wire, seen):
            if seen[":path"] == "/public/long":
                with wire.lock:
                    wire.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1})
                wire.flush()
                threading.Thread(target=lambda: (go.wait(60), wire.answer(seen.stream)), daemon=True).start()
            else:
                wire.answer(seen.stream)
        backend.on_request = answer
        proxy = start(backend, upstream=UPSTREAM)
        with proxy.client() as slow:
            slow.send(render("GET", "/public/long"))
            wait(lambda: backend.requests)
            wait(lambda: backend.wires[0].acknowledged == 2)
            assert proxy.get("/public/x").status == 200 and not go.is_set(), "the other one is still under way"
            assert backend.connections == 2
            go.set()
            assert slow.response().status == 200


def test_those_who_come_and_leave_end_nobody_elses_request(start):
    """The head of a request that waits for a stream stays with its connection when its client has left: so many of them, and
    the next ones are told that there is no room, while what the server works on goes on."""
    go = threading.Event()
    with HTTP2Backend() as backend:
        def answer(wire, seen):
            with wire.lock:
                wire.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1})
            wire.flush()
            threading.Thread(target=lambda: (go.wait(90), wire.answer(seen.stream)), daemon=True).start()
        backend.on_request = answer
        proxy = start(backend, upstream=UPSTREAM + "max_connections = 1", workers=1)
        with proxy.client() as slow:
            slow.send(render("POST", "/public/long", {"Content-Length": "0"}))
            wait(lambda: backend.requests)
            wait(lambda: backend.wires[0].acknowledged == 2)
            for _ in range(25):
                together = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(20)]
                for sock in together:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.sendall(render("GET", "/public/x"))
                wait(lambda: was_read(*together))  # noqa: B023 - a reset destroys what was not read yet
                for sock in together:
                    sock.close()
            assert proxy.get("/public/y").status == 503
            failures = re.findall(r"usher_upstream_server_failures_total\{.*\} (\d+)",
                                  proxy.admin_request("/metrics").body.decode())
            assert failures == ["0"], "the server has done nothing wrong"
            go.set()
            assert slow.response().status == 200


def test_a_request_that_finds_no_stream_in_time_is_not_the_servers_fault(start):
    """Another has the only one that the server takes: 503, which says that nothing was sent, and not 504."""
    done = threading.Event()
    with HTTP2Backend(settings={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as backend:
        def answer(wire, seen):
            wire.head(seen.stream)
            done.wait(60)
            wire.data(seen.stream, b"long")

        backend.on_request = answer
        proxy = start(backend, upstream=UPSTREAM + 'max_connections = 1\nresponse_timeout = "4s"')
        with proxy.client() as slow:
            slow.send(render("GET", "/public/long"))
            assert slow.head().status == 200
            refused = proxy.request("POST", "/public/x", (), b"x")
            assert (refused.status, refused.problem["code"]) == (503, "overloaded")
            failures = re.findall(r"usher_upstream_server_failures_total\{.*\} (\d+)",
                                  proxy.admin_request("/metrics").body.decode())
            assert failures == ["0"], "the server has done nothing wrong"
            done.set()
            assert slow.reader.until(b"0\r\n\r\n").endswith(b"long\r\n0\r\n\r\n")
        assert [seen[":path"] for seen in backend.requests] == ["/public/long"]


def test_a_server_that_takes_no_stream_at_all_is_at_fault(start):
    """Nobody else has what it does not give: 504, counted as its failure, and not the 503 of those who wait for others."""
    with HTTP2Backend(settings={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 0}) as backend:
        proxy = start(backend, upstream=UPSTREAM + 'response_timeout = "2s"')
        refused = proxy.get("/public/x")
        assert (refused.status, refused.problem["code"]) == (504, "upstream_timeout")
        # It is counted behind the answer's last byte.
        wait(lambda: re.search(rb"^usher_upstream_server_failures_total\{.*\} 1$", proxy.admin_request("/metrics").body, re.M))
        assert backend.requests == []


# A connection that is not there any more, and says so to nobody.


def test_requests_with_less_time_than_the_server_doubt_their_connection_too(start):
    """Each ends by its route's `timeout` before `response_timeout`: all would go where nobody is, for as long as the kernel
    hopes, a quarter of an hour."""
    with HTTP2Backend() as backend:
        backend.on_request = lambda wire, seen: wire.number > 1 and wire.answer(seen.stream, b"second")
        text = configuration.SMALL.replace('path = "/public/**"', 'path = "/public/**"\ntimeout = "2s"')
        proxy = start(backend, text, upstream=UPSTREAM + 'response_timeout = "1h"')
        began, statuses = time.monotonic(), []
        while len(statuses) < 10 and 200 not in statuses:
            statuses.append(proxy.get("/public/x").status)
        assert statuses[-1] == 200 and statuses[:-1] == [504] * (len(statuses) - 1), statuses
        # One alone may be slow: what tells is that nothing came for five seconds.
        assert time.monotonic() - began >= 5 and backend.connections == 2, (statuses, backend.connections)


def test_the_kernel_asks_whether_a_server_is_there(start, backend):
    """All streams may be silent, and those who wait for one send nothing: who has vanished is noticed by nothing else."""
    def seconds_left() -> list[float]:
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
        # 02 is keepalive; 00 is none, and 01 what is sent again for a moment.
        return [int(row[5][3:], 16) / 100 for row in rows
                if row[2:4] == [f"0100007F:{backend.port:04X}", "01"] and row[5].startswith("02:")]

    proxy = start(backend, upstream=UPSTREAM + 'idle_timeout = "1h"')
    assert proxy.get("/public/x").status == 200
    found = []
    wait(lambda: found.extend(seconds_left()) or found)
    assert found[0] <= 16


# Retries only where nothing was processed.


def test_a_refused_stream_is_sent_again(proxy, backend):
    def answer(wire, seen):
        if len(backend.requests) == 1:
            wire.reset(seen.stream, REFUSED_STREAM)
        else:
            wire.answer(seen.stream, seen.body)

    backend.on_request = answer
    assert httpx.post(f"http://127.0.0.1:{proxy.port}/public/x", content=b"once").text == "once"
    assert len(backend.requests) == 2
    metrics = Metrics(proxy)
    assert metrics["usher_upstream_retries_total"] == 1
    assert metrics["usher_upstream_retried_total", {"upstream": "backend"}] == 1


def test_a_request_with_trailers_is_not_sent_again_without_them(proxy, backend):
    """The content is kept until the answer comes, the trailers are not."""
    backend.on_request = lambda wire, seen: (
        wire.reset(seen.stream, REFUSED_STREAM) if len(backend.requests) == 1 else wire.answer(seen.stream, seen.body))
    with Connection(proxy.port) as connection:
        stream = connection.start(get("/public/x", "PUT", "usher.test", "http", ("te", "trailers")), end=False)
        connection.data(stream, b"content")
        connection.trailers(stream, [("x-check", "7")])
        assert connection.answer(stream).status == 503
    assert [seen.trailers for seen in backend.requests] == [[("x-check", "7")]]


def test_other_resets_are_not_sent_again(proxy, backend):
    backend.on_request = lambda wire, seen: wire.reset(seen.stream, INTERNAL_ERROR)
    assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x").status_code == 502
    assert httpx.post(f"http://127.0.0.1:{proxy.port}/public/x", content=b"x").status_code == 502
    assert len(backend.requests) == 2


def test_always_refused_is_503(proxy, backend):
    backend.on_request = lambda wire, seen: wire.reset(seen.stream, REFUSED_STREAM)
    assert httpx.post(f"http://127.0.0.1:{proxy.port}/public/x", content=b"x").status_code == 503
    assert len(backend.requests) == 2


def test_goaway_mid_flight(proxy, backend):
    """Streams above the last one go elsewhere, also POST; those below get their answers."""
    first = threading.Event()

    def answer(wire, seen):
        if wire.number > 1:
            return wire.answer(seen.stream, b"second")
        if seen.stream == 1:
            first.set()
            wait(lambda: len(backend.requests) >= 2)
            wire.goaway(1)
            time.sleep(0.3)
            wire.answer(seen.stream, b"first")

    backend.on_request = answer
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        one = pool.submit(httpx.get, f"http://127.0.0.1:{proxy.port}/public/1")
        first.wait(30)
        two = pool.submit(httpx.post, f"http://127.0.0.1:{proxy.port}/public/2", content=b"x")
        assert (one.result().text, two.result().text) == ("first", "second")
    assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/3").text == "second"
    assert backend.connections == 2


def test_what_waits_for_a_stream_goes_elsewhere_when_the_server_says_goaway(start):
    """It was refused only when a stream of that connection ended, while later requests were served on another one."""
    with HTTP2Backend(settings={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as backend:
        done = threading.Event()

        def answer(wire, seen):
            if seen[":path"] == "/public/long":
                wire.head(seen.stream)
                done.wait(90)
                wire.data(seen.stream, b"long")
            else:
                wire.answer(seen.stream)

        backend.on_request = answer
        proxy = start(backend, upstream=UPSTREAM + 'max_connections = 1\nresponse_timeout = "30s"')
        with proxy.client() as slow, proxy.client(60) as waits:
            slow.send(render("GET", "/public/long"))
            assert slow.head().status == 200
            waits.send(render("POST", "/public/waits", {"Content-Length": "1"}, b"x"))
            time.sleep(0.5)
            backend.wires[0].goaway(1)
            assert waits.response().status == 200
            done.set()
            assert slow.reader.until(b"0\r\n\r\n").endswith(b"long\r\n0\r\n\r\n")
        assert [seen[":path"] for seen in backend.requests] == ["/public/long", "/public/waits"] and backend.connections == 2


def test_what_waits_for_a_stream_goes_elsewhere_when_its_connection_is_doubted(start):
    """The server has gone without a word: what would be sent behind the request that has told so has another one's chance."""
    with HTTP2Backend(settings={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as backend:
        said = threading.Event()

        def answer(wire, seen):
            if wire.number > 1 or seen[":path"] == "/public/early":
                wire.answer(seen.stream)
                said.set()

        backend.on_request = answer
        proxy = start(backend, upstream=UPSTREAM + 'max_connections = 1\nresponse_timeout = "8s"', workers=1)
        # What the connection says ends with this answer's stream, and not with its content: that would be a word behind a request.
        assert proxy.get("/public/early").status == 200 and said.wait(30)
        with proxy.client(60) as first, proxy.client(60) as waits:
            first.send(render("POST", "/public/first", {"Content-Length": "1"}, b"x"))
            wait(lambda: len(backend.requests) == 2)
            time.sleep(3)
            waits.send(render("POST", "/public/waits", {"Content-Length": "1"}, b"x"))
            assert (first.response().status, waits.response().status) == (504, 200)
        assert [(seen.connection, seen[":path"]) for seen in backend.requests] == [
            (1, "/public/early"), (1, "/public/first"), (2, "/public/waits")]


def test_what_was_moved_from_a_doubted_connection_is_not_taken_for_who_was_too_late(start):
    """Those behind the first are given up in the same turn; a slot that this frees is one's that has just been moved, whose
    connection was closed for it."""
    with HTTP2Backend(settings={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as backend:
        backend.on_request = lambda wire, seen: (
            None if wire.number == 1 and "hang" in seen[":path"] else wire.answer(seen.stream))
        proxy = start(backend, upstream=UPSTREAM + 'max_connections = 1\nresponse_timeout = "2s"\nretries = 1', workers=1)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            # The order in which slots are free again turns.
            assert [answer.status for answer in pool.map(proxy.get, [f"/public/{n}" for n in range(3)])] == [200] * 3
            late = [pool.submit(proxy.get, f"/public/hang{n}") for n in range(3) if not time.sleep(0.005)]
            time.sleep(1)
            assert proxy.get("/public/later").status == 200
            assert {answer.result().status for answer in late} <= {200, 503, 504}
        assert Metrics(proxy)["usher_upstream_connect_failures_total"] == 0


def test_a_lost_connection_is_not_taken_for_refusal(proxy, backend):
    assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/0").status_code == 200
    backend.on_request = lambda wire, seen: wire.close()
    assert httpx.post(f"http://127.0.0.1:{proxy.port}/public/x", content=b"x").status_code == 502
    assert [seen[":path"] for seen in backend.requests] == ["/public/0", "/public/x"]


def test_what_waited_for_a_stream_of_a_lost_connection_is_sent_again(start):
    """The server takes one request at a time, and its connection breaks: of the other nothing was sent yet, whatever its
    method."""
    with HTTP2Backend(settings={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as backend:
        proxy = start(backend, upstream=UPSTREAM + "max_connections = 1")
        assert proxy.get("/public/0").status == 200
        begun, go = threading.Event(), threading.Event()

        def answer(wire, seen):
            if wire.number > 1:
                return wire.answer(seen.stream, b"second")
            begun.set()
            go.wait(30)
            wire.close()

        backend.on_request = answer
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            one = pool.submit(proxy.request, "POST", "/public/1", (), b"x")
            assert begun.wait(30)
            two = pool.submit(proxy.request, "POST", "/public/2", (), b"x")
            wait(lambda: Metrics(proxy)["usher_requests_in_flight"] == 2)
            go.set()
            assert (one.result().status, two.result().status, two.result().body) == (502, 200, b"second")
        assert [seen[":path"] for seen in backend.requests] == ["/public/0", "/public/1", "/public/2"]


def test_a_connection_that_was_idle_and_closed(proxy, backend):
    assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/0").status_code == 200
    backend.wires[0].goaway(1)
    backend.wires[0].close()
    assert httpx.post(f"http://127.0.0.1:{proxy.port}/public/x", content=b"x").status_code == 200


# Resets and breaks.


def test_a_reset_in_the_middle_reaches_the_client(proxy, backend):
    def answer(wire, seen):
        wire.head(seen.stream)
        wire.data(seen.stream, b"half", end=False)
        assert is_read.acquire(timeout=30)
        wire.reset(seen.stream, CANCEL if seen[":path"].endswith("c") else 11)

    is_read = threading.Semaphore(0)
    backend.on_request = answer
    with Connection(proxy.port) as connection:
        for path, code in [("/public/c", CANCEL), ("/public/d", 11)]:
            stream = connection.start(get(path))
            assert connection.wait(lambda: connection.answers[stream].body == b"half")  # noqa: B023
            is_read.release()
            assert connection.answer(stream).reset == code
    with pytest.raises(httpx.RemoteProtocolError), httpx.stream("GET", f"http://127.0.0.1:{proxy.port}/public/c") as answer:
        for piece in answer.iter_raw():
            assert piece == b"half"
            is_read.release()


def test_what_came_with_the_end_of_a_connection_is_passed_on(proxy, backend):
    """A close without a byte looks like an idle connection's, and clients would send the request again."""
    def answer(wire, seen):
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        wire.head(seen.stream)
        wire.data(seen.stream, b"half", end=False)
        wire.sock.shutdown(socket.SHUT_WR)

    backend.on_request = answer
    with proxy.client() as client:
        client.send(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
        client.sock.settimeout(20)
        assert client.sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert client.ended(20)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_what_a_server_said_before_a_write_failed_is_heard(start, tmp_path, secure):
    """A write meets the reset of a connection whose last bytes are not read yet: the answer of one request, and a GOAWAY by
    which the others were never seen (RFC 9113, 6.8). Those who ask come first, as many as the kernel tells of at once."""
    count, begun, go, gone = 300, threading.Event(), threading.Event(), threading.Event()

    def answer(wire, seen):
        if not seen[":path"].endswith("first"):
            return wire.answer(seen.stream)
        begun.set()
        go.wait(30)
        wire.answer(seen.stream, b"whole")
        wire.goaway(seen.stream)
        wait(lambda: has_arrived(wire.sock))
        wire.sock.shutdown(socket.SHUT_RD)  # nobody reads from it any more, so that it can be closed
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.sock.close()
        gone.set()

    context, upstream = None, UPSTREAM
    if secure:
        authority = Authority(tmp_path)
        context = authority.server_context(authority.sign("good", ["tasks.internal"]))
        context.set_alpn_protocols(["h2"])
        upstream += f'tls = {{ ca = "{authority.file}", server_name = "tasks.internal" }}'
    with HTTP2Backend(context=context) as backend, contextlib.ExitStack() as stack:
        backend.on_request = answer
        proxy = start(backend, upstream=upstream)
        first, *others = [stack.enter_context(proxy.client()) for _ in range(1 + count)]
        first.send(render("POST", "/public/first", body=b"x"))
        assert begun.wait(30)
        wait(lambda: Metrics(proxy)["usher_connections_open"] >= 1 + count)
        proxy.stand_still()
        for number, other in enumerate(others):
            other.send(render("POST", f"/public/{number}", body=b"x"))
        go.set()
        assert gone.wait(30)
        proxy.signal(signal.SIGCONT)
        answers = [asked.response() for asked in (first, *others)]
    assert [answer.status for answer in answers] == [200] * (1 + count)
    assert answers[0].body == b"whole"


def test_a_client_that_leaves_cancels(proxy, backend):
    backend.on_request = lambda wire, seen: wire.head(seen.stream)
    with httpx.Client() as http, http.stream("GET", f"http://127.0.0.1:{proxy.port}/public/x"):
        pass
    wait(lambda: backend.last.reset == CANCEL)
    backend.on_request = lambda wire, seen: wire.answer(seen.stream)
    assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x").text == "hello" and backend.connections == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_server_ends_its_stream_when_it_likes(proxy, backend, http2, method):
    """A reset behind an answer that is whole says that the client has left: a handler that is still at work is cancelled, and some
    servers count resets and end the connection for all."""
    is_answered = threading.Event()

    def answer(wire, seen):
        if seen[":path"] != "/public/late":
            return wire.answer(seen.stream)
        wire.head(seen.stream, 200, ("content-length", "5"))
        if method == "GET":
            wire.data(seen.stream, b"hello", end=False)
        assert is_answered.wait(30)
        with wire.lock:
            wire.h2.end_stream(seen.stream)

    backend.on_request = answer
    if http2:
        with Connection(proxy.port) as connection:
            stream = connection.start(get("/public/late", method))
            told = connection.answers[stream]
            content = b"hello" if method == "GET" else b""
            assert connection.wait(lambda: told.status == 200 and told.body == content), told
            assert connection.get().body == b"hello"
            is_answered.set()
            assert connection.answer(stream).ended and told.reset is None
            assert connection.get().body == b"hello"
    else:
        with proxy.client() as client:
            client.send(render(method, "/public/late"))
            told = client.response(method)  # it does not wait for the end of the stream
            assert (told.status, told.headers.get("content-length")) == (200, "5")
            client.send(render("GET", "/public/x"))
            assert client.response().body == b"hello"
            is_answered.set()
            client.send(render("GET", "/public/x"))
            assert client.response().body == b"hello"
    # The resets of what came before the last request would have come before it.
    assert [(seen.connection, seen.reset) for seen in backend.requests] == [(1, None)] * 3


def test_a_server_that_never_ends_its_stream(start):
    """It has as long as it may be silent in the middle of a body; the stream counts among those that it takes meanwhile."""
    limits = '\n[limits]\nbody_timeout = "1s"\n'
    order = []

    def answer(wire, seen):
        order.append([one.reset for one in backend.requests[:-1]])
        wire.head(seen.stream, 200, ("content-length", "5"))
        wire.data(seen.stream, b"hello", end=False)

    with HTTP2Backend(settings={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as backend:
        backend.on_request = answer
        proxy = start(backend, configuration.SMALL + limits, upstream=UPSTREAM + "max_connections = 1")
        with proxy.client() as client:
            for _ in range(3):
                client.send(render("GET", "/public/x"))
                assert client.response().body == b"hello"
        wait(lambda: [seen.reset for seen in backend.requests] == [CANCEL] * 3)
        assert order == [[], [CANCEL], [CANCEL] * 2] and backend.connections == 1 and not backend.errors


@pytest.mark.parametrize("ending", ["reset", "close", "stop"])
def test_what_ends_a_stream_that_was_answered(proxy, backend, ending):
    """A reset, the end of the connection and that of the proxy, while the server has not ended it: no answer suffers."""
    is_read = threading.Event()

    def answer(wire, seen):
        wire.head(seen.stream, 200, ("content-length", "5"))
        wire.data(seen.stream, b"hello", end=False)
        if seen[":path"] == "/public/first":
            assert is_read.wait(30)
            wire.reset(seen.stream, INTERNAL_ERROR) if ending == "reset" else wire.close() if ending == "close" else None

    def count():
        return sum(value for (name, _), value in Metrics(proxy).samples.items() if name == "usher_upstream_server_connections")

    backend.on_request = answer
    with proxy.client() as client:
        client.send(render("GET", "/public/first"))
        assert client.response().body == b"hello"
        wait(lambda: count() == 1)
        is_read.set()
        if ending != "stop":
            wait(lambda: count() == 0)
        client.send(render("GET", "/public/x"))
        assert client.response().body == b"hello"
    assert proxy.stop() == 0


def test_a_client_that_breaks_off_its_upload_cancels(proxy, backend):
    """At once, and not when the body's time is up: the break is found by whoever keeps what came of the body."""
    with proxy.client() as http:
        http.send(b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegun")
        wait(lambda: backend.requests and backend.last.body == b"begun")
        http.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line = proxy.wait_log(path="/public/x")
    assert line["reason"] == "client_closed", line
    wait(lambda: backend.last.reset == CANCEL)


@pytest.mark.parametrize("request_", [
    b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /public/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"], ids=["none", "length", "chunked"])
def test_a_client_that_leaves_with_its_request_cancels(proxy, backend, request_):
    """The end of its connection lies behind the body already when that is sent: whoever looks for more of the body must not take
    it, since nothing tells of it twice."""
    assert proxy.get("/public/first").status == 200
    backend.on_request = lambda wire, seen: None
    leaving = proxy.client()
    proxy.stand_still()
    leaving.send(request_)
    leaving.close()
    proxy.signal(signal.SIGCONT)
    wait(lambda: backend.last[":path"] == "/public/x" and backend.last.reset == CANCEL)
    assert proxy.wait_log(path="/public/x")["reason"] == "client_closed"


def test_an_answer_before_the_requests_end(proxy, backend):
    backend.on_head = lambda wire, seen: wire.answer(seen.stream, b"no", 413)
    backend.on_request = lambda wire, seen: None
    with Connection(proxy.port) as connection:
        stream = connection.start(get("/public/x", "POST"), end=False)
        answer = connection.answer(stream)
        assert answer.status == 413 and answer.body == b"no"
    wait(lambda: backend.last.reset is not None)


@pytest.mark.parametrize("junk", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 64, b"\0\0\x04\x08\0\0\0\0\0\0\0\0\0", b""], ids=["HTTP/1.1", "zeros", "no SETTINGS", "end"])
def test_who_speaks_no_http2_is_not_there(start, junk):
    with HTTP2Backend() as backend:
        backend.on_connect = lambda sock: (sock.recv(4096), sock.sendall(junk), False)[2]
        proxy = start(backend, upstream=UPSTREAM + "retries = 0")
        assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x").status_code == 503


def test_who_says_nothing_is_not_there(start):
    with HTTP2Backend() as backend:
        backend.on_connect = lambda sock: (time.sleep(3), False)[1]
        proxy = start(backend, upstream=UPSTREAM + 'connect_timeout = "300ms"')
        began = time.monotonic()
        assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x").status_code == 503
        assert time.monotonic() - began < 9


def test_garbage_in_the_middle(proxy, backend):
    assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/0").status_code == 200

    def junk(wire, seen):
        with wire.lock:
            wire.sock.sendall(b"\xff" * 64)

    backend.on_request = junk
    assert httpx.post(f"http://127.0.0.1:{proxy.port}/public/x", content=b"x").status_code == 502
    backend.on_request = lambda wire, seen: wire.answer(seen.stream)
    assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/0").status_code == 200


@pytest.mark.parametrize("fields", [[("connection", "close")], [("x", "a\r\nx-user-id: b")], [(":path", "/")], [("transfer-encoding", "chunked")]],
                         ids=["connection", "CRLF", "pseudo-field", "transfer-encoding"])
def test_malformed_heads_are_502(proxy, backend, fields):
    """F5: no field of a backend's becomes another line."""

    def answer(wire, seen):
        with wire.lock:
            wire.h2.config.validate_outbound_headers = False
            wire.h2.config.normalize_outbound_headers = False
            wire.h2.send_headers(seen.stream, [(":status", "200"), *fields], end_stream=True)
            wire.flush()

    backend.on_request = answer
    assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x").status_code == 502


def test_a_stalled_window_ends_in_time(start):
    """A backend that takes nothing of an upload, and one that gives nothing, do not hold a request for ever."""
    limits = '\n[limits]\nbody_timeout = "2s"\n'
    with HTTP2Backend(credit=False) as backend:
        backend.on_request = lambda wire, seen: None
        proxy = start(backend, configuration.SMALL + limits, upstream=UPSTREAM + 'response_timeout = "2s"')
        assert httpx.post(f"http://127.0.0.1:{proxy.port}/public/x", content=b"x" * 1_000_000, timeout=10).status_code == 504
        assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x", timeout=10).status_code == 504
        backend.gives_credit = True
        backend.on_request = lambda wire, seen: wire.answer(seen.stream)
        assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x", timeout=10).status_code == 200


def test_what_is_left_of_an_upload_does_not_end_its_answer(start):
    """The server has stopped taking it, answers, and resets the stream without an error (RFC 9113, 8.1): how long it took nothing
    says nothing about how long the client may read."""
    limits = '\n[limits]\nbody_timeout = "5s"\n'
    body = bytes(range(256)) * 200

    is_stuck = threading.Event()

    def answer(wire, seen):
        assert is_stuck.wait(30)
        wire.answer(seen.stream, body, 413)
        wire.reset(seen.stream, 0)

    with HTTP2Backend(credit=False) as backend:
        backend.on_head = lambda wire, seen: threading.Thread(target=answer, args=(wire, seen), daemon=True).start()
        proxy = start(backend, configuration.SMALL + limits, upstream=UPSTREAM, listen=LISTEN)
        window = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 16_384}
        with Connection(proxy.port, settings=window, update_windows=False) as client:
            stream = client.start(get("/public/x", "POST"), end=False)
            client.data(stream, bytes(131_000))  # twice a window: one is the server's, one stays with the proxy
            wait(lambda: backend.requests and len(backend.last.body) == 65_535)
            is_stuck.set()
            told = client.answers[stream]
            assert client.wait(lambda: len(told.body) == 16_384), told
            for _ in range(20):  # a pause is over with each, and together they are longer than one may be
                time.sleep(0.4)
                client.h2.increment_flow_control_window(1000, stream)
                client.flush()
            client.h2.increment_flow_control_window(len(body), stream)
            client.flush()
            assert client.answer(stream).status == 413 and told.ended and bytes(told.body) == body, told


@pytest.mark.memory
def test_a_server_that_does_not_read_gets_no_end_of_requests(start):
    """Each that is given up leaves its head behind until it would be written."""
    is_over = threading.Event()

    def deaf(sock):
        sock.sendall(frame(4, 0, 0, b""))
        is_over.wait(30)
        return False

    lines = "".join(f"h{number}: {'z' * 900}\r\n" for number in range(30))
    head = f"GET /public/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode()
    reset = struct.pack("ii", 1, 0)
    with HTTP2Backend() as backend:
        backend.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        backend.on_connect = deaf
        proxy = start(backend, upstream=UPSTREAM + "max_connections = 1")

        def are_taken(together):
            in_flight = re.search(rb"^usher_requests_in_flight (\d+)$", proxy.admin_request("/metrics").body, re.M)
            return int(in_flight[1]) >= len(together) or select.select(together, [], [], 0)[0]

        def ask_and_leave(count):
            for _ in range(count // 20):
                together = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(20)]
                for sock in together:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                    sock.sendall(head)
                wait(lambda: are_taken(together))  # noqa: B023
                for sock in together:
                    sock.close()

        def is_refused():
            with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
                sock.settimeout(0.5)
                sock.sendall(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
                try:
                    return sock.recv(4096).startswith(b"HTTP/1.1 503")
                except TimeoutError:
                    return False
        ask_and_leave(200)
        before = proxy.memory()
        # 14 MB of heads are enough to fill the queue, where none leaves before it is submitted.
        rounds = next((number for number in range(15) if ask_and_leave(200) or is_refused()), None)
        assert rounds is not None, "it was never refused"
        ask_and_leave(1000)
        grown = proxy.memory() - before
        is_over.set()
    assert grown < 24 << 20, grown


def test_a_server_that_does_not_read_loses_its_connection(start):
    """What a request leaves behind, a connection full of bytes that nobody takes, ends with `body_timeout`, as a client's does."""
    limits = '\n[limits]\nbody_timeout = "300ms"\n'
    is_over, has_ended = threading.Event(), []

    def deaf(sock):
        # SETTINGS with the largest window, and as large a one for all streams.
        sock.sendall(frame(4, 0, 0, b"\0\4\x7f\xff\xff\xff") + frame(8, 0, 0, (0x7FFF0000).to_bytes(4, "big")))
        is_over.wait(20)
        sock.settimeout(20)
        try:
            while sock.recv(1 << 20):
                pass
            has_ended.append(True)
        except ConnectionResetError:
            has_ended.append(True)
        except TimeoutError:
            has_ended.append(False)
        return False

    with HTTP2Backend() as backend:
        backend.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        backend.on_connect = deaf
        proxy = start(backend, configuration.SMALL + limits, upstream=UPSTREAM + "idle_timeout = \"1h\"")
        assert httpx.post(f"http://127.0.0.1:{proxy.port}/public/x", content=bytes(8_000_000), timeout=10).status_code == 504
        time.sleep(1)
        is_over.set()
        deadline = time.monotonic() + 30
        while not has_ended and time.monotonic() < deadline:
            time.sleep(0.05)
        assert has_ended == [True]


def test_a_slow_client_holds_nobody_up(proxy, backend):
    """Its answer waits in its own window; others on the same connection pass."""
    backend.on_request = lambda wire, seen: wire.answer(seen.stream, b"x" * (8_000_000 if seen[":path"].endswith("big") else 5))
    with httpx.Client(timeout=20) as http, http.stream("GET", f"http://127.0.0.1:{proxy.port}/public/big") as slow:
        time.sleep(0.3)
        for _ in range(5):
            assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x").text == "xxxxx"
        assert sum(len(piece) for piece in slow.iter_raw()) == 8_000_000
    assert backend.connections == 1


def test_reload_and_drain(start, backend):
    proxy = start(backend, upstream=UPSTREAM)
    assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x").status_code == 200
    assert proxy.stop() == 0
    wait(lambda: backend.goaways >= 1)


def test_health_checks_speak_http2(start, backend):
    """A server that says it is ill is not asked; the check itself proves nobody (U5)."""
    backend.on_request = lambda wire, seen: wire.answer(seen.stream, b"", 503 if ill and seen[":path"] == "/health" else 200)
    ill = True
    proxy = start(backend, upstream=UPSTREAM + 'health = { path = "/health", interval = "1s", timeout = "500ms", healthy_after = 1, unhealthy_after = 1 }'.replace("{", "{").replace("}", "}"))
    wait(lambda: httpx.get(f"http://127.0.0.1:{proxy.port}/public/x").status_code == 503)
    checked = next(seen for seen in backend.requests if seen[":path"] == "/health")
    assert checked[":method"] == "GET" and checked["x-user-id"] is None and checked["user-agent"].startswith("usher/")
    ill = False
    wait(lambda: httpx.get(f"http://127.0.0.1:{proxy.port}/public/x").status_code == 200)


@pytest.mark.parametrize("seed", range(8))
def test_any_frames_in_any_order(start, seed):
    """Whatever a backend sends: its requests end, and the proxy serves the next one."""
    chance = random.Random(seed)

    def junk(wire, seen):
        with wire.lock:
            for _ in range(200):
                kind, flags = chance.choice([0, 0, 1, 1, 2, 3, 4, 6, 7, 8, 9, 5, 77]), chance.choice([0, 1, 4, 5, 8, 0xFF])
                payload = chance.choice([b"", b"\x88", b"\x88\x00\x01x\x01y", chance.randbytes(chance.randrange(40)), b"\0" * 8, b"\0\0\0\1"])
                wire.sock.sendall(frame(kind, flags, chance.choice([0, seen.stream, seen.stream, 2, 999]), payload))
        wire.close()

    with HTTP2Backend() as backend:
        proxy = start(backend, upstream=UPSTREAM + 'response_timeout = "4s"', listen=LISTEN)
        for _ in range(3):
            backend.on_request = backend.on_head = junk
            try:
                answer = httpx.post(f"http://127.0.0.1:{proxy.port}/public/x", content=b"x" * 3000, timeout=10)
                assert answer.status_code in (200, 502, 503, 504)
            except httpx.RemoteProtocolError:
                pass
            backend.on_head = lambda wire, seen: None
            backend.on_request = lambda wire, seen: wire.answer(seen.stream)
            assert httpx.get(f"http://127.0.0.1:{proxy.port}/public/x", timeout=10).text == "hello"
