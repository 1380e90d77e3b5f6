"""Answers that come bit by bit: each byte is passed on when it comes, trailers pass, and whoever leaves is noticed."""

import signal
import socket
import threading
import time

import httpx
import pytest

from harness import configuration
from harness.tokens import bearer, token
from harness.waiting import wait_until
from harness.wire import Closed, render

EVENTS = (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
          b"Transfer-Encoding: chunked\r\n\r\n")


def in_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def step_by_step(exchange, pieces, go: threading.Semaphore):
    """Sends one piece for each time that the client says so."""
    for piece in pieces:
        assert go.acquire(timeout=20)
        exchange.send(piece)


# Byte by byte

def test_events_arrive_when_they_are_sent(proxy, backend):
    go = threading.Semaphore(0)

    def script(exchange):
        exchange.send(EVENTS)
        step_by_step(exchange, [in_chunk(b"data: %d\n\n" % n) for n in range(20)] + [b"0\r\n\r\n"], go)
    backend.script = script
    with proxy.client() as client:
        client.send(render("GET", "/public/events", {"Accept": "text/event-stream"}))
        assert client.head().headers.get("content-type") == "text/event-stream"
        for n in range(20):
            go.release()
            # The next is only sent when this one has come: a proxy that gathers would hang here.
            assert client.reader.until(b"\n\n\r\n") == in_chunk(b"data: %d\n\n" % n)
        go.release()
        assert client.reader.until(b"\r\n\r\n") == b"0\r\n\r\n"
        backend.clear()
        assert client.request("GET", "/public/again").status == 200


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_single_bytes(proxy, backend, framing):
    text = b"one by one"
    go = threading.Semaphore(0)

    def script(exchange):
        if framing == "chunked":
            exchange.send(EVENTS)
            step_by_step(exchange, [in_chunk(text[i:i + 1]) for i in range(len(text))], go)
            exchange.send(b"0\r\n\r\n")
            return
        length = b"Content-Length: %d\r\n" % len(text) if framing == "length" else b""
        exchange.send(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
        step_by_step(exchange, [text[i:i + 1] for i in range(len(text))], go)
        if framing == "close":
            exchange.close()
    backend.script = script
    with proxy.client() as client:
        client.send(render("GET", "/public/bytes"))
        head = client.head()
        for i in range(len(text)):
            go.release()
            if "transfer-encoding" in head.headers:
                assert client.reader.until(b"\r\n") == b"1\r\n"
                assert client.reader.exactly(3) == text[i:i + 1] + b"\r\n"
            else:
                assert client.reader.exactly(1) == text[i:i + 1]


@pytest.mark.parametrize("split", [1, 2, 3, 5, 7])
def test_chunks_that_come_in_pieces(proxy, backend, split):
    """The backend's chunk headers and data are torn anywhere; the content arrives all the same, and at once."""
    whole = EVENTS + b"".join(in_chunk(b"data: %d\n\n" % n) for n in range(10)) + b"0\r\n\r\n"

    def script(exchange):
        for start in range(0, len(whole), split):
            exchange.send(whole[start:start + split])
            time.sleep(0.0005)
    backend.script = script
    answer = proxy.get("/public/torn")
    assert answer.body == b"".join(b"data: %d\n\n" % n for n in range(10))


def test_an_upload_arrives_when_it_is_sent(proxy, backend):
    """The request's direction is not gathered either."""
    seen = threading.Semaphore(0)

    def script(exchange):
        for n in range(10):
            assert exchange.reader.until(b"\r\n") == b"1\r\n"
            assert exchange.reader.exactly(3) == b"%d\r\n" % n
            seen.release()
        assert exchange.reader.until(b"\r\n\r\n") == b"0\r\n\r\n"
        exchange.request.complete = True
        exchange.reply(200, b"thanks")
    backend.script = script
    with proxy.client() as client:
        client.send(render("POST", "/public/upload", {"Transfer-Encoding": "chunked"}))
        for n in range(10):
            client.send(in_chunk(b"%d" % n))
            assert seen.acquire(timeout=20)
        client.send(b"0\r\n\r\n")
        assert client.response().body == b"thanks"


def test_both_directions_at_once(proxy, backend):
    """The answer begins before the request ends: each chunk comes back before the next is sent."""
    def script(exchange):
        exchange.send(EVENTS)
        for _ in range(10):
            size = exchange.reader.until(b"\r\n")
            exchange.send(size + exchange.reader.exactly(int(size, 16) + 2))
        exchange.reader.until(b"\r\n\r\n")
        exchange.request.complete = True
        exchange.send(b"0\r\n\r\n")
    backend.script = script
    with proxy.client() as client:
        client.send(render("POST", "/public/echo", {"Transfer-Encoding": "chunked"}))
        for n in range(10):
            client.send(in_chunk(b"message %d" % n))
            if n == 0:
                assert client.head().status == 200
            assert client.reader.exactly(len(in_chunk(b"message %d" % n))) == in_chunk(b"message %d" % n)
        client.send(b"0\r\n\r\n")
        assert client.reader.until(b"\r\n\r\n") == b"0\r\n\r\n"


def test_a_pause_longer_than_body_timeout(start, own_backend):
    """A backend may be silent for as long as the route's timeout allows."""
    proxy = start(own_backend, configuration.SMALL + '\n[limits]\nbody_timeout = "200ms"\n')

    def script(exchange):
        exchange.send(EVENTS + in_chunk(b"first"))
        time.sleep(0.8)
        exchange.send(in_chunk(b"second") + b"0\r\n\r\n")
    own_backend.script = script
    assert proxy.get("/public/x").body == b"firstsecond"


def test_a_real_client(proxy, backend):
    taken = threading.Semaphore(0)

    def script(exchange):
        exchange.send(EVENTS)
        for n in range(5):
            exchange.send(in_chunk(b"data: %d\n\n" % n))
            assert taken.acquire(timeout=20), "the next one is said when this one has arrived"
        exchange.send(b"0\r\n\r\n")
    backend.script = script
    lines = []
    with httpx.stream("GET", f"http://127.0.0.1:{proxy.port}/public/events", timeout=20) as answer:
        for line in answer.iter_lines():
            if line:
                lines.append(line)
                taken.release()
    assert lines == [f"data: {n}" for n in range(5)]


# Trailers

def test_trailers_pass_in_both_directions(proxy, backend):
    def script(exchange):
        exchange.read_body()
        exchange.send(EVENTS + in_chunk(b"x") + b"0\r\nX-Checksum: 42\r\nContent-Length: 7\r\n\r\n")
    backend.script = script
    with proxy.client() as client:
        client.send(render("POST", "/public/t", {"Transfer-Encoding": "chunked", "TE": "trailers"})
                    + b"1\r\nx\r\n0\r\nX-Sum: 1\r\nX-User-Id: evil\r\nAuthorization: Bearer evil\r\n\r\n")
        answer = client.response()
    assert answer.trailers.lines == [("X-Checksum", "42")]
    assert backend.last.trailers.lines == [("X-Sum", "1")]


# Whoever leaves

@pytest.mark.parametrize("how", ["close", "reset", "half-close"])
def test_a_client_that_leaves_cancels_the_request(proxy, backend, how):
    gone = []

    def script(exchange):
        started = time.monotonic()
        gone.append(exchange.gone(20) and time.monotonic() - started)
    backend.script = script
    with proxy.client() as client:
        client.send(render("GET", f"/public/cancelled-{how}"))
        backend.wait_requests(1)
        if how == "half-close":
            client.sock.shutdown(socket.SHUT_WR)
        elif how == "reset":
            client.reset()
        else:
            client.close()
        wait_until(lambda: gone)
    assert gone[0] is not False and gone[0] < 15
    assert proxy.wait_log(path=f"/public/cancelled-{how}")["reason"] == "client_closed"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_a_stream(proxy, backend, how):
    """Between two events nobody writes to the client: its going away shows all the same."""
    gone = []

    def script(exchange):
        exchange.send(EVENTS + in_chunk(b"data: 1\n\n"))
        gone.append(exchange.gone(20))
    backend.script = script
    with proxy.client() as client:
        client.send(render("GET", f"/public/left-{how}"))
        assert client.head().status == 200
        client.reader.until(b"\n\n\r\n")
        client.reset() if how == "reset" else client.close()
        wait_until(lambda: gone)
    assert gone == [True]
    assert proxy.wait_log(path=f"/public/left-{how}")["reason"] == "client_closed"


def test_a_client_that_leaves_an_upload(proxy, backend):
    gone = []

    def script(exchange):
        exchange.reader.exactly(5)
        gone.append(exchange.gone(20))
    backend.script = script
    with proxy.client() as client:
        client.send(render("POST", "/public/upload-left", {"Content-Length": "100"}) + b"12345")
        backend.wait_requests(1)
        client.reset()
        wait_until(lambda: gone)
    assert gone == [True]


def test_a_backend_that_breaks_off_a_stream(proxy, backend):
    backend.script = lambda exchange: (exchange.send(EVENTS + in_chunk(b"data: 1\n\n")), exchange.close())
    with proxy.client() as client:
        client.send(render("GET", "/public/torn"))
        with pytest.raises(Closed):
            client.response()


# stream_lifetime

LIFETIME = configuration.SMALL.replace("secret =", 'leeway = "0s"\nsecret =') + """
[[route]]
path = "/unlimited/**"
auth = "main"
upstream = "backend"
timeout = "off"
stream_lifetime = "unlimited"

[[route]]
path = "/stream/**"
auth = "main"
upstream = "backend"
timeout = "off"
stream_lifetime = "token"

[[route]]
path = "/either/**"
auth = "optional:main"
upstream = "backend"
"""


def soon() -> int:
    """When a token expires that lives long enough for what is begun with it."""
    return int(time.time()) + 4


def expiring(end: int):
    return bearer(token(exp=end))


def ticking(exchange, seconds=12.0):
    exchange.send(EVENTS)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        exchange.send(in_chunk(b"tick"))
        time.sleep(0.05)
    exchange.send(b"0\r\n\r\n")


@pytest.fixture
def strict(start, own_backend):
    return start(own_backend, LIFETIME)


@pytest.mark.parametrize("path", ["/stream/x", "/api/x", "/either/x"])
@pytest.mark.parametrize("silent", [False, True])
def test_a_stream_ends_with_its_token(strict, path, silent):
    def quiet(exchange):
        exchange.send(EVENTS + in_chunk(b"tick"))
        exchange.gone(20)
    strict.backend.script = quiet if silent else ticking
    with strict.client() as client:
        client.send(render("GET", path, expiring(end := soon())))
        assert client.head().status == 200
        data = client.reader.rest()
        assert end - 0.1 < time.time() < end + 5
    assert b"tick" in data and not data.endswith(b"0\r\n\r\n"), "it is cut, and does not look whole"
    assert strict.wait_log(path=path)["reason"] == "token_expired"


def test_what_came_while_the_process_stood_still_is_too_late(strict):
    """The token ends meanwhile. When the process goes on, it hears of the server's bytes before it looks at the time."""
    go = threading.Event()

    def script(exchange):
        exchange.send(EVENTS + in_chunk(b"before"))
        go.wait(20)
        exchange.send(in_chunk(b"after") + b"0\r\n\r\n")
        exchange.gone()
    strict.backend.script = script
    with strict.client() as client:
        client.send(render("GET", "/stream/x", expiring(end := soon())))
        assert client.head().status == 200
        assert client.reader.until(b"before\r\n")
        strict.stand_still()
        go.set()
        time.sleep(max(0, end + 1 - time.time()))
        strict.signal(signal.SIGCONT)
        assert client.reader.rest() == b""
    assert strict.wait_log(path="/stream/x")["reason"] == "token_expired"


def test_a_fast_stream_ends_with_its_token(strict):
    """A backend that never pauses and a client that always reads."""
    def flood(exchange):
        exchange.send(EVENTS)
        data = in_chunk(b"x" * 65536)
        while True:
            exchange.send(data)
    strict.backend.script = flood
    with strict.client() as client:
        client.send(render("GET", "/stream/x", expiring(end := soon())))
        assert client.head().status == 200
        while client.reader.some():
            assert time.time() < end + 5
        assert time.time() > end - 0.1


def test_a_stream_that_may_outlive_its_token(strict):
    strict.backend.script = lambda exchange: ticking(exchange, 6)
    with strict.client() as client:
        client.send(render("GET", "/unlimited/x", expiring(soon())))
        assert client.response().body.startswith(b"tick")


@pytest.mark.parametrize("hint", [b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_no_request_is_sent_again_with_a_token_that_has_ended(strict, hint):
    """What may outlive its token is an answer; a 1xx is none."""
    end = soon()

    def script(exchange):
        if len(strict.backend.requests) > 1:
            return exchange.reply(200)
        exchange.send(hint)
        time.sleep(max(0, end + 0.5 - time.time()))
        exchange.close()
    strict.backend.script = script
    with strict.client() as client:
        client.send(render("GET", "/unlimited/x", expiring(end)))
        answer = client.response()
        assert (answer if answer.status >= 200 else client.response()).status == 401
    assert len(strict.backend.requests) == 1


def test_a_stream_of_nobody_has_no_such_end(strict):
    strict.backend.script = lambda exchange: ticking(exchange, 2)
    assert strict.get("/either/x").status == 200


def test_an_answer_that_comes_after_the_end_is_whole(strict):
    """The token held when the request came; a short answer is not torn."""
    end = soon()

    def late(exchange):
        time.sleep(max(0, end + 0.2 - time.time()))
        exchange.reply(200, b"x" * 100_000)
    strict.backend.script = late
    answer = strict.get("/api/x", expiring(end))
    assert answer.status == 200 and len(answer.body) == 100_000
