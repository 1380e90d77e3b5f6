"""HTTP/1.1 on both sides: connections, framings, interim answers, pools, failures of the backend."""

import threading
import time

import httpx
import pytest

from harness.tokens import bearer, token
from harness.wire import WireError, chunk, render

PUBLIC = "/public/x"


def answer_with(data: bytes, close=False):
    """A script: read the request, send exactly these bytes."""
    def script(exchange):
        exchange.read_body()
        exchange.send(data)
        if close:
            exchange.close()
    return script


# Connections of clients

def test_keep_alive(proxy, backend):
    with proxy.client() as client:
        for n in range(20):
            assert client.request("GET", f"/public/{n}").json()["target"] == f"/public/{n}"
    assert len(backend.requests) == 20


def test_connection_close_is_honoured(proxy):
    with proxy.client() as client:
        answer = client.request("GET", PUBLIC, {"Connection": "close"})
        assert answer.status == 200 and answer.closes and client.ended()


def test_connection_close_among_others(proxy):
    with proxy.client() as client:
        assert client.request("GET", PUBLIC, {"Connection": "x-a , Close, x-b"}).closes and client.ended()


def test_half_close_after_the_request(proxy):
    import socket
    with proxy.client() as client:
        client.send(render("GET", PUBLIC))
        client.sock.shutdown(socket.SHUT_WR)
        assert client.response().status == 200
        assert client.ended()


def test_pipelining_keeps_order(proxy, backend):
    slow = threading.Event()

    def script(exchange):
        if exchange.request.target == "/public/0":
            slow.wait(2)
        exchange.echo()
    backend.script = script
    with proxy.client() as client:
        client.send(b"".join(render("GET", f"/public/{n}") for n in range(10)))
        time.sleep(0.1)
        slow.set()
        assert [client.response().json()["target"] for _ in range(10)] == [f"/public/{n}" for n in range(10)]


def test_pipelining_with_bodies_and_local_answers(proxy):
    with proxy.client() as client:
        client.send(render("POST", "/public/1", {}, b"one") + render("GET", "/nothing")
                    + render("POST", "/public/2", {"Transfer-Encoding": "chunked"}) + chunk(b"t", b"wo")
                    + render("GET", "/tasks") + render("HEAD", "/public/3") + render("GET", "/public/4"))
        assert client.response().json()["body"] == "one"
        assert client.response().status == 404
        assert client.response().json()["body"] == "two"
        assert client.response().status == 401
        assert client.response("HEAD").status == 200
        assert client.response().json()["target"] == "/public/4"


def test_pipelining_hundreds(proxy):
    with proxy.client() as client:
        client.send(b"".join(render("GET", f"/public/{n}") for n in range(300)))
        assert [client.response().json()["target"] for _ in range(300)] == [f"/public/{n}" for n in range(300)]


def test_pipelining_stops_at_connection_close(proxy, backend):
    with proxy.client() as client:
        client.send(render("GET", "/public/1", {"Connection": "close"}) + render("GET", "/public/2"))
        assert client.response().status == 200
        assert client.ended()
    assert [r.target for r in backend.requests] == ["/public/1"]


@pytest.mark.parametrize("keep", [False, True], ids=["plain", "keep-alive"])
def test_http_1_0_client(proxy, backend, keep):
    with proxy.client() as client:
        client.send(b"GET /public/x HTTP/1.0\r\nHost: usher.test\r\n" + (b"Connection: keep-alive\r\n" if keep else b"") + b"\r\n")
        answer = client.response()
        assert answer.status == 200 and answer.framing in ("length", "close")
        if not keep:
            assert client.ended()
        elif not answer.closes:
            client.send(b"GET /public/y HTTP/1.0\r\nHost: usher.test\r\n\r\n")
            assert client.response().status == 200
    assert backend.requests[0].version == "HTTP/1.1"


def test_http_1_0_client_never_gets_chunks(proxy, backend):
    """RFC 9112 §6.1: no Transfer-Encoding in an answer to HTTP/1.0."""
    backend.script = answer_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"hello", b" world"))
    with proxy.client() as client:
        client.send(b"GET /public/x HTTP/1.0\r\nHost: usher.test\r\n\r\n")
        answer = client.response()
    assert answer.framing in ("close", "length") and answer.body == b"hello world"


def test_http_1_0_without_host(proxy):
    """RFC 9112 §3.2 asks for Host from HTTP/1.1 on; the backend gets one in any case."""
    with proxy.client() as client:
        client.send(b"GET /public/x HTTP/1.0\r\n\r\n")
        assert client.response().status in (200, 400)


# Bodies, both ways

@pytest.mark.parametrize("size", [0, 1, 100, 8191, 8192, 65536, 65537, 1_000_000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_request_bodies(proxy, backend, size, framing):
    body = bytes(n % 251 for n in range(size))
    with proxy.client() as client:
        if framing == "length":
            client.send(render("POST", PUBLIC, {}, body))
        else:
            parts = [body[at:at + 4099] for at in range(0, size, 4099)]
            client.send(render("POST", PUBLIC, {"Transfer-Encoding": "chunked"}) + chunk(*parts))
        assert client.response().status == 200
    assert backend.last.body == body
    assert backend.last.framing in (framing, "none" if not size else framing)


@pytest.mark.parametrize("size", [0, 1, 100, 8191, 8192, 65536, 65537, 1_000_000])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_response_bodies(proxy, backend, size, framing):
    body = bytes(n % 251 for n in range(size))
    if framing == "length":
        script = answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body)
    elif framing == "chunked":
        parts = [body[at:at + 4099] for at in range(0, size, 4099)]
        script = answer_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(*parts))
    else:
        script = answer_with(b"HTTP/1.1 200 OK\r\n\r\n" + body, close=True)
    backend.script = script
    with proxy.client() as client:
        assert client.request("GET", PUBLIC).body == body
        backend.script = lambda exchange: exchange.echo()
        # nothing but a close-delimited relay may end the client's connection
        if framing != "close":
            assert client.request("GET", "/public/next").status == 200


def test_chunks_of_one_byte(proxy, backend):
    body = b"The quick brown fox" * 20
    backend.script = answer_with(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(*[body[i:i + 1] for i in range(len(body))]))
    assert proxy.get(PUBLIC).body == body


def test_body_while_it_is_sent(proxy, backend):
    """Streaming: the backend sees the first part before the client has sent the last, and the other way round."""
    seen, arrived = threading.Event(), threading.Event()

    def script(exchange):
        line = exchange.reader.until(b"\r\n")
        exchange.reader.exactly(int(line, 16) + 2)
        seen.set()
        while exchange.reader.until(b"\r\n") != b"0\r\n":
            pass
        exchange.reader.until(b"\r\n")
        exchange.request.complete = True
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        arrived.wait(30)
        exchange.send(b"3\r\ntwo\r\n0\r\n\r\n")
    backend.script = script
    with proxy.client() as client:
        client.send(render("POST", PUBLIC, {"Transfer-Encoding": "chunked"}) + b"5\r\nfirst\r\n")
        assert seen.wait(30), "the first chunk waits for the rest"
        client.send(b"4\r\nlast\r\n0\r\n\r\n")
        answer = client.head()
        assert client.reader.until(b"one\r\n").endswith(b"one\r\n"), "the answer waits for its end"
        arrived.set()
        assert client.reader.chunked()[0] == b"two"
        assert answer.status == 200


def test_request_trailers(proxy, backend):
    with proxy.client() as client:
        client.send(render("POST", PUBLIC, {"Transfer-Encoding": "chunked", "Trailer": "X-Sum", "TE": "trailers"})
                    + chunk(b"hello", trailers=b"X-Sum: 42\r\n"))
        assert client.response().status == 200
    assert backend.last.body == b"hello"
    assert backend.last.trailers.all("x-sum") == ["42"]


@pytest.mark.parametrize("field", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: evil.test",
                                   b"Authorization: Bearer x", b"Connection: close"])
def test_trailers_that_would_be_framing(proxy, backend, field):
    """RFC 9110 §6.5.1: such fields mean nothing in a trailer; they are refused or dropped, never forwarded."""
    with proxy.client() as client:
        client.send(render("POST", PUBLIC, {"Transfer-Encoding": "chunked"}) + chunk(b"hello", trailers=field + b"\r\n"))
        answer = client.response()
    if answer.status == 200:
        assert not backend.last.trailers.lines
    else:
        assert answer.status == 400


def test_trailers_that_connection_names(proxy, backend):
    """RFC 9110 §7.6.1: neither a field nor a trailer that an option names is passed on. Which of the trailers that is nobody remembers:
    none is. `TE` says nothing of them."""
    backend.script = answer_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: X-Sum\r\n\r\n"
                                 + chunk(b"hello", trailers=b"X-Sum: 42\r\n"))
    with proxy.client() as client:
        for options, expected in [("X-Sum", []), ("keep-alive, x-other, x-sum", []), ("keep-alive, TE", ["42"])]:
            client.send(render("POST", PUBLIC, {"Transfer-Encoding": "chunked", "Connection": options, "TE": "trailers"})
                        + chunk(b"hello", trailers=b"X-Sum: 42\r\n"))
            answer = client.response()
            assert answer.status == 200 and answer.body == b"hello" and not answer.trailers.lines
            assert backend.last.body == b"hello" and backend.last.trailers.all("x-sum") == expected, options


def test_response_trailers(proxy, backend):
    backend.script = answer_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                                 + chunk(b"hello", trailers=b"X-Sum: 42\r\n"))
    with proxy.client() as client:
        answer = client.request("GET", PUBLIC, {"TE": "trailers"})
        assert answer.body == b"hello" and answer.trailers.all("x-sum") == ["42"]
        assert client.request("GET", PUBLIC).status == 200


@pytest.mark.parametrize("head", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
def test_head_has_no_body(proxy, backend, head):
    backend.script = answer_with(head)
    with proxy.client() as client:
        answer = client.request("HEAD", PUBLIC)
        if b"1000" in head:
            assert answer.headers.get("content-length") == "1000"
        backend.script = lambda exchange: exchange.echo()
        assert client.request("GET", "/public/next").json()["target"] == "/public/next"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("fields", [b"", b"ETag: \"x\"\r\n"])
def test_answers_without_body(proxy, backend, status, fields):
    backend.script = answer_with(b"HTTP/1.1 %d X\r\n" % status + fields + b"\r\n")
    with proxy.client() as client:
        answer = client.request("GET", PUBLIC)
        assert answer.status == status
        assert "transfer-encoding" not in answer.headers
        assert "content-length" not in answer.headers or status == 304
        backend.script = lambda exchange: exchange.echo()
        assert client.request("GET", "/public/next").status == 200


def test_304_with_length_of_what_would_have_been(proxy, backend):
    backend.script = answer_with(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n")
    with proxy.client() as client:
        assert client.request("GET", PUBLIC).status == 304
        backend.script = lambda exchange: exchange.echo()
        assert client.request("GET", "/public/next").status == 200


def test_status_and_fields_pass_unchanged(proxy, backend):
    backend.script = answer_with(
        b"HTTP/1.1 418 I'm a teapot\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Odd: a, b\r\nServer: pot\r\n"
        b"WWW-Authenticate: Basic realm=\"x\"\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Length: 5\r\n\r\nshort")
    answer = proxy.get(PUBLIC)
    assert (answer.status, answer.reason, answer.body) == (418, "I'm a teapot", b"short")
    assert answer.headers.all("set-cookie") == ["a=1", "b=2"]
    assert answer.headers.all("x-odd") == ["a, b"] and answer.headers.all("server") == ["pot"]
    assert answer.headers.all("www-authenticate") == ['Basic realm="x"']
    assert answer.headers.all("date") == ["Tue, 15 Nov 1994 08:12:31 GMT"]


def test_empty_reason(proxy, backend):
    backend.script = answer_with(b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok")
    assert proxy.get(PUBLIC).body == b"ok"


def test_hop_by_hop_fields_of_the_answer_stay_here(proxy, backend):
    backend.script = answer_with(b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=1\r\n"
                                 b"Proxy-Connection: x\r\nX-Stays: 1\r\nContent-Length: 0\r\n\r\n")
    with proxy.client() as client:
        answer = client.request("GET", PUBLIC)
        for name in ("x-hop", "keep-alive", "proxy-connection"):
            assert name not in answer.headers
        assert answer.headers.get("x-stays") == "1"


# Expect and interim answers

def test_expect_continue(proxy, backend):
    """RFC 9110 §10.1.1: the 100 is the backend's, or the proxy's own; the client gets one before it sends."""
    def script(exchange):
        if "expect" in exchange.request.headers:
            exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        exchange.echo()
    backend.script = script
    with proxy.client() as client:
        client.send(render("POST", PUBLIC, {"Content-Length": 5, "Expect": "100-continue"}))
        assert client.head().status == 100
        client.send(b"hello")
        assert client.response().json()["body"] == "hello"


def test_expect_continue_refused_by_the_backend(proxy, backend):
    def script(exchange):
        exchange.reply(413, b"no", reason="Content Too Large")
        exchange.close()
    backend.script = script
    with proxy.client() as client:
        client.send(render("POST", PUBLIC, {"Content-Length": 5, "Expect": "100-continue"}))
        answer = client.head()
        if answer.status == 100:  # the proxy's own
            client.try_send(b"hello")
            answer = client.head()
        assert answer.status == 413


def test_expect_continue_of_an_impatient_client(proxy, backend):
    """RFC 9110 §10.1.1: the client may send the body without waiting."""
    with proxy.client() as client:
        client.send(render("POST", PUBLIC, {"Expect": "100-continue"}, b"hello"))
        assert client.response().json()["body"] == "hello"
        assert client.request("GET", "/public/next").status == 200


def test_unknown_expectation(proxy):
    answer = proxy.request("POST", PUBLIC, {"Expect": "200-ok"}, b"x")
    assert answer.status in (200, 417)


def test_interim_answers_are_relayed(proxy, backend):
    backend.script = answer_with(b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n"
                                 b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with proxy.client() as client:
        client.send(render("GET", PUBLIC))
        hints = client.head()
        assert hints.status == 103 and hints.headers.get("link") == "</s.css>; rel=preload"
        assert client.head().status == 102
        assert client.response().body == b"ok"


def test_interim_answers_are_not_sent_to_http_1_0(proxy, backend):
    """RFC 9110 §15.2."""
    backend.script = answer_with(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with proxy.client() as client:
        client.send(b"GET /public/x HTTP/1.0\r\nHost: usher.test\r\n\r\n")
        assert client.head().status == 200


def test_endless_interim_answers(proxy, backend):
    """response_timeout is the time to the final head: a backend that only ever says 103 does not put it off."""
    ended = threading.Event()

    def script(exchange):
        if exchange.request.target != "/quick":
            return exchange.echo()
        try:
            while not ended.wait(0.05):
                exchange.send(b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n")
        finally:
            exchange.close()
    backend.script = script
    started = time.monotonic()
    with proxy.client() as client:
        client.send(render("GET", "/quick"))
        try:
            while (answer := client.head()).status == 103:
                assert time.monotonic() - started < 9, "103 for ever, and response_timeout is 500 ms"
            assert answer.status in (502, 504)
        except WireError:
            pass  # closed
        finally:
            ended.set()


def test_a_101_that_nobody_asked_for(proxy, backend):
    backend.script = answer_with(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nbytes")
    with proxy.client() as client:
        assert client.request("GET", PUBLIC).status == 502


# The pool

def test_pooled_connections_are_used_again(proxy, backend):
    proxy.get(PUBLIC)
    before = backend.connections
    for _ in range(30):
        proxy.get(PUBLIC)  # a new client connection each time
    assert backend.connections - before <= 1
    assert len({r.connection for r in backend.requests}) <= 2


def test_pooled_connection_closed_while_idle(proxy, backend):
    for method, body in (("GET", None), ("POST", b"x")) * 3:
        assert proxy.request(method, PUBLIC, {}, body).status == 200
        backend.close_connections()
        time.sleep(0.05)  # the proxy has been told, and drops it
        assert proxy.request(method, PUBLIC, {}, body).status == 200


def close_once(backend, when=lambda exchange: True, read=True):
    """Closes the connection in the face of the first request that is not the first of its connection."""
    state = {"closed": 0, "seen": set()}

    def script(exchange):
        number = exchange.request.connection
        if not state["closed"] and number in state["seen"] and when(exchange):
            state["closed"] += 1
            if read:
                exchange.read_body()
            exchange.close()
            return
        state["seen"].add(number)
        exchange.echo()
    backend.script = script
    return state


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_stale_pooled_connection_is_retried_for_idempotent_methods(proxy, backend, method):
    state = close_once(backend)
    assert proxy.request(method, PUBLIC).status == 200
    answer = proxy.request(method, PUBLIC)
    assert state["closed"] == 1 and answer.status == 200


def test_stale_pooled_connection_is_not_retried_for_post(proxy, backend):
    """The backend may have acted on it. One request, one try, 502."""
    state = close_once(backend)
    assert proxy.request("POST", PUBLIC, {}, b"one").status == 200
    answer = proxy.request("POST", "/public/post", {}, b"two")
    assert state["closed"] == 1 and answer.status == 502
    assert answer.problem["code"].startswith("upstream_")
    assert [r.target for r in backend.requests].count("/public/post") == 1


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("PUT", 200), ("DELETE", 200), ("POST", 502), ("PATCH", 502)])
def test_fresh_connection_lost_before_an_answer(start, own_backend, method, status, reset):
    """Once more where twice is the same as once, though no other request was on the connection."""
    def script(exchange):
        exchange.read_body()
        if len(own_backend.requests) > 1:
            return exchange.echo()
        (exchange.reset if reset else exchange.close)()
    own_backend.script = script
    proxy = start(own_backend)
    body = b"body" if method in ("PUT", "POST", "PATCH") else b""
    answer = proxy.request(method, PUBLIC, {}, body)
    assert answer.status == status
    assert [request.body for request in own_backend.requests] == [body] * (2 if status == 200 else 1)


@pytest.mark.parametrize("method, fields, begins, status, sent", [
    ("GET", "Connection: close", "", 200, 2), ("DELETE", "Connection: close", "", 200, 2),
    # Not twice, and not where the server goes on, or has begun to answer: then it is an answer.
    ("POST", "Connection: close", "", 408, 1), ("GET", "X: y", "", 408, 1),
    ("GET", "Connection: close", "HTTP/1.1 103 Early Hints\r\n\r\n", 408, 1)])
def test_a_408_that_crosses_the_request_is_no_answer(proxy, backend, method, fields, begins, status, sent):
    """A server that gives up on an idle connection says so, then closes; RFC 9110 section 15.5.9."""
    def script(exchange):
        if exchange.request.target == "/public/late" and exchange.request.connection == backend.requests[0].connection:
            exchange.read_body()
            exchange.send(f"{begins}HTTP/1.1 408 Request Timeout\r\n{fields}\r\nContent-Length: 0\r\n\r\n".encode())
            return exchange.close()
        exchange.echo()

    backend.close_connections()
    time.sleep(0.05)
    backend.clear()
    backend.script = script
    assert proxy.get(PUBLIC).status == 200
    assert proxy.request(method, "/public/late").status == status
    assert [r.target for r in backend.requests].count("/public/late") == sent


def test_a_408_on_a_fresh_connection_is_the_answer(proxy, backend):
    def script(exchange):
        exchange.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        exchange.close()
    backend.close_connections()
    time.sleep(0.05)
    backend.clear()
    backend.script = script
    assert proxy.get(PUBLIC).status == 408 and len(backend.requests) == 1


def test_retry_happens_once(proxy, backend):
    backend.script = lambda exchange: exchange.close()
    answer = proxy.get(PUBLIC)
    assert answer.status == 502
    assert 1 <= len(backend.requests) <= 2


def test_no_retry_after_the_answer_began(proxy, backend):
    def script(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        exchange.close()
    backend.script = script
    with proxy.client() as client:
        with pytest.raises(WireError):
            client.request("GET", PUBLIC)
    assert len(backend.requests) == 1


def test_connection_with_unread_answer_is_not_reused(proxy, backend):
    """A backend that keeps talking after its answer poisons no other request."""
    def script(exchange):
        exchange.read_body()
        if exchange.request.target == "/public/chatty":
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                          b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        else:
            exchange.echo()
    backend.script = script
    for n in range(5):
        assert proxy.get("/public/chatty").body == b"ok"
        assert proxy.get(f"/public/{n}").json()["target"] == f"/public/{n}"


def test_late_talk_on_an_idle_connection(proxy, backend):
    def script(exchange):
        exchange.echo()
        if exchange.request.target == "/public/late":
            time.sleep(0.1)
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
            said.set()
    said = threading.Event()
    backend.script = script
    assert proxy.get("/public/late").status == 200
    assert said.wait(30)
    for n in range(3):
        assert proxy.get(f"/public/{n}").json()["target"] == f"/public/{n}"


def test_connection_close_of_the_backend(proxy, backend):
    def script(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        exchange.close()
    backend.script = script
    with proxy.client() as client:
        for _ in range(5):
            answer = client.request("GET", PUBLIC)
            assert answer.body == b"ok" and not answer.closes, "the backend's close is the backend's matter"
    assert len({r.connection for r in backend.requests}) == 5


def test_http_1_0_backend(proxy, backend):
    def script(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.0 200 OK\r\n\r\nold body")
        exchange.close()
    backend.script = script
    with proxy.client() as client:
        answer = client.request("GET", PUBLIC)
        assert answer.body == b"old body" and answer.version == "HTTP/1.1"


# Backends that fail

def test_upstream_down(proxy):
    answer = proxy.get("/nobody")
    assert answer.status in (502, 503)
    assert answer.problem["code"] == "upstream_unavailable"


def test_upstream_down_post_with_body(proxy):
    with proxy.client() as client:
        answer = client.request("POST", "/nobody", {}, b"x" * 1000)
        assert answer.status in (502, 503)
        if not answer.closes:
            assert client.request("GET", PUBLIC).status == 200


def test_upstream_back_again(proxy, backend):
    assert proxy.get(PUBLIC).status == 200
    backend.stop()
    try:
        assert proxy.get(PUBLIC).status in (502, 503)
    finally:
        backend.restart()
    end = time.monotonic() + 40
    while proxy.get(PUBLIC).status != 200:  # passive ejection may hold for a moment
        assert time.monotonic() < end
        time.sleep(0.1)


def test_response_timeout(proxy, backend):
    released = threading.Event()

    def script(exchange):
        if exchange.request.target == "/quick":
            released.wait(20)
            exchange.close()
        else:
            exchange.echo()
    backend.script = script
    started = time.monotonic()
    answer = proxy.get("/quick")
    elapsed = time.monotonic() - started
    released.set()
    assert answer.status == 504 and answer.problem["code"] == "upstream_timeout"
    assert 0.4 < elapsed < 9, elapsed
    assert len(backend.requests) == 1, "a timeout is not retried"


MALFORMED = {
    "not HTTP": b"hello\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "framed twice": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello",
    "huge length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhello",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
    "space before colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "no colon": b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 0\r\n\r\n",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "head of 200 KB": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\nContent-Length: 0\r\n\r\n",
    "cut in the head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "nothing": b"",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_answer_is_502(proxy, backend, name):
    backend.script = answer_with(MALFORMED[name], close=True)
    with proxy.client() as client:
        answer = client.request("POST", PUBLIC, {}, b"x")
        assert answer.status == 502, (answer.status, answer.headers.lines)
        assert answer.problem["code"].startswith("upstream_")
        assert b"evil" not in answer.body
        backend.script = lambda exchange: exchange.echo()
        if not answer.closes:
            assert client.request("GET", "/public/next").status == 200
    assert proxy.get("/public/next").status == 200


TRUNCATED = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "no end of trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "bad chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n\r\n",
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_truncated_answer_is_never_complete(proxy, backend, name):
    """RFC 9112 §8: the client must be able to see that it was cut."""
    backend.script = answer_with(TRUNCATED[name], close=True)
    with proxy.client() as client:
        client.send(render("POST", PUBLIC, {}, b"x"))
        try:
            assert client.response().status == 502
        except WireError:
            pass
    backend.script = lambda exchange: exchange.echo()
    assert proxy.get("/public/after").status == 200


@pytest.mark.parametrize("name", [name for name in TRUNCATED if name != "length"])
def test_truncated_answer_has_no_end_for_http_1_0(proxy, backend, name):
    """Where only the connection's end is the body's, an orderly one would say that nothing is missing. By HTTP/1.0 asks nginx
    where nobody tells it otherwise."""
    backend.script = answer_with(TRUNCATED[name], close=True)
    with proxy.client() as client:
        client.send(b"GET /public/x HTTP/1.0\r\nHost: usher.test\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while client.sock.recv(65536):
                pass
    backend.script = lambda exchange: exchange.echo()
    assert proxy.get("/public/after").status == 200


def test_whole_answer_has_an_end_for_http_1_0(proxy, backend):
    backend.script = answer_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", close=True)
    with proxy.client() as client:
        client.send(b"GET /public/x HTTP/1.0\r\nHost: usher.test\r\n\r\n")
        answer = b""
        while piece := client.sock.recv(65536):
            answer += piece
        assert answer.endswith(b"\r\n\r\nhello")


def test_backend_answers_before_the_body_is_complete(proxy, backend):
    """The answer goes through; the rest of the body poisons neither connection."""
    def script(exchange):
        if exchange.request.target == "/public/early":
            exchange.reply(403, b"early", reason="Forbidden")
            exchange.close()
        else:
            exchange.echo()
    backend.script = script
    with proxy.client() as client:
        client.try_send(render("POST", "/public/early", {"Content-Length": 5_000_000}) + b"x" * 1000)
        answer = client.response("POST")
        assert answer.status == 403 and answer.body == b"early"
        inner = render("GET", "/public/smuggled")
        client.try_send(inner * 20)
        # what follows is still the body: closed, or eaten, but never answered as a request
        client.sock.settimeout(0.5)
        try:
            assert client.reader.some() == b""
        except TimeoutError:
            pass
    assert "/public/smuggled" not in [r.target for r in backend.requests]
    assert proxy.get("/public/next").status == 200


def test_backend_answers_early_and_keeps_the_connection(proxy, backend):
    """The backend has not read the body: its connection must not serve another request."""
    def script(exchange):
        if exchange.request.target == "/public/early":
            exchange.reply(200, b"early")
            exchange.gone(5)
            exchange.close()
        else:
            exchange.echo()
    backend.script = script
    with proxy.client() as client:
        client.send(render("POST", "/public/early", {"Content-Length": 100}) + b"x" * 10)
        assert client.response("POST").body == b"early"
    for n in range(3):
        assert proxy.get(f"/public/{n}").json()["target"] == f"/public/{n}"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_gone_cancels_the_backend_request(proxy, backend, how):
    gone = threading.Event()

    def script(exchange):
        if exchange.request.target == "/public/slow":
            if exchange.gone(20):
                gone.set()
            exchange.close()
        else:
            exchange.echo()
    backend.script = script
    client = proxy.client()
    client.send(render("GET", "/public/slow"))
    backend.wait_requests(1)
    client.close() if how == "close" else client.reset()
    assert gone.wait(20), "the backend goes on working for nobody"
    assert proxy.get(PUBLIC).status == 200


def test_client_gone_while_it_reads_the_answer(proxy, backend):
    ended = threading.Event()

    def script(exchange):
        if exchange.request.target != "/public/stream":
            return exchange.echo()
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(100_000):
                exchange.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        except OSError:
            ended.set()
        exchange.close()
    backend.script = script
    client = proxy.client()
    client.send(render("GET", "/public/stream"))
    client.head()
    client.reset()
    assert ended.wait(30)


def test_events_arrive_one_by_one(proxy, backend):
    """Server-sent events: no buffering until more comes."""
    step = threading.Semaphore(0)

    def script(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n in range(5):
            step.acquire(timeout=30)
            exchange.send(chunk(b"data: %d\n\n" % n).removesuffix(b"0\r\n\r\n"))
        exchange.send(b"0\r\n\r\n")
    backend.script = script
    with proxy.client() as client:
        client.send(render("GET", PUBLIC))
        client.head()
        for n in range(5):
            step.release()
            assert client.reader.until(b"data: %d\n\n\r\n" % n)


# Clients that others wrote

def test_httpx(proxy):
    with httpx.Client(base_url=f"http://127.0.0.1:{proxy.port}", headers=bearer(token())) as client:
        for _ in range(5):
            assert client.get("/tasks").json()["user"] == ["alice"]
        assert client.post("/tasks", json={"a": 1}).json()["body"] == '{"a":1}'
        assert client.post("/tasks", content=(part for part in (b"a", b"b"))).json()["body"] == "ab"
        assert client.head("/tasks").status_code == 200


def test_curl(proxy):
    import subprocess
    done = subprocess.run(
        ["curl", "-sS", "-w", "%{http_code}", "-H", f"Authorization: Bearer {token()}", "-H", "Expect: 100-continue", "-d", "x=1",
         f"http://127.0.0.1:{proxy.port}/tasks"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and done.stdout.endswith("200"), done
