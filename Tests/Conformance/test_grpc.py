"""gRPC through the proxy with grpcio on both sides: unary and streaming calls, deadlines, trailers, and the proxy's own
refusals as status codes of gRPC."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time

import grpc
import h2.settings
import pytest

from harness import configuration
from harness.http2 import INTERNAL_ERROR, Connection, get
from harness.http2backend import HTTP2Backend
from harness.tokens import token

LISTEN = 'protocols = ["h2", "http/1.1"]'
UPSTREAM = 'protocol = "h2"\n'
MORE = """
[[route]]
path = "/test.Echo/Scoped"
auth = "main"
scopes = ["calls"]
upstream = "backend"

[[route]]
path = "/test.Echo/**"
auth = "main"
upstream = "backend"

[[route]]
path = "/test.Brief/**"
auth = "main"
upstream = "backend"
timeout = "3s"

[[route]]
path = "/test.Limited/**"
auth = "main"
upstream = "backend"
rate_limit = "one"

[rate_limit.one]
key = "user"
requests = 1
per = "60s"
burst = 1

[[route]]
path = "/test.Small/**"
auth = "main"
max_body = "1KiB"
upstream = "backend"
"""


class Servicer(grpc.GenericRpcHandler):
    def __init__(self):
        self.metadata: list[dict] = []
        self.cancelled = threading.Event()
        self.remaining: list[float] = []

    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        self.metadata.append(dict(details.invocation_metadata))
        return {
            "Unary": lambda: grpc.unary_unary_rpc_method_handler(self.unary),
            "Scoped": lambda: grpc.unary_unary_rpc_method_handler(self.unary),
            "Fail": lambda: grpc.unary_unary_rpc_method_handler(self.fail),
            "Slow": lambda: grpc.unary_unary_rpc_method_handler(self.slow),
            "Down": lambda: grpc.unary_stream_rpc_method_handler(self.down),
            "Up": lambda: grpc.stream_unary_rpc_method_handler(self.up),
            "Both": lambda: grpc.stream_stream_rpc_method_handler(self.both),
            "Endless": lambda: grpc.unary_stream_rpc_method_handler(self.endless),
        }.get(name, lambda: None)()

    def unary(self, request, context):
        self.remaining.append(context.time_remaining())
        context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last", "2"),))
        return request

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: ü")

    def slow(self, request, context):
        time.sleep(9)
        return request

    def down(self, request, context):
        for n in range(50):
            yield request + str(n).encode()

    def up(self, requests, context):
        return b"".join(requests)

    def both(self, requests, context):
        for request in requests:
            yield request * 2

    def endless(self, request, context):
        context.add_callback(self.cancelled.set)
        while context.is_active():
            yield b"tick"
            time.sleep(0.05)


class Server:
    def __init__(self):
        self.servicer = Servicer()
        self.grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(20))
        self.grpc.add_generic_rpc_handlers((self.servicer,))
        self.port = self.grpc.add_insecure_port("127.0.0.1:0")
        self.grpc.start()

    def stop(self):
        self.grpc.stop(None).wait()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def proxy(start, server):
    return start(server, configuration.SMALL + MORE, upstream=UPSTREAM, listen=LISTEN)


@pytest.fixture
def channel(proxy):
    with grpc.insecure_channel(f"127.0.0.1:{proxy.port}") as channel:
        yield channel


def alice(**claims):
    return (("authorization", f"Bearer {token(sub='alice', **claims)}"),)


def refused(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value


def test_unary(channel, server):
    response, call = channel.unary_unary("/test.Echo/Unary").with_call(b"hello", metadata=(*alice(), ("x-user-id", "mallory"), ("x-own", "v")))
    assert response == b"hello" and call.code() == grpc.StatusCode.OK
    assert dict(call.initial_metadata())["x-first"] == "1" and dict(call.trailing_metadata())["x-last"] == "2"
    seen = server.servicer.metadata[-1]
    assert seen["x-user-id"] == "alice" and seen["x-own"] == "v" and "authorization" not in seen


def test_many_calls_and_large_messages(channel):
    unary = channel.unary_unary("/test.Echo/Unary")
    body = bytes(range(256)) * 8000
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: unary(body + bytes([n]), metadata=alice()), range(16)))
    assert all(answer == body + bytes([n]) for n, answer in enumerate(answers))


def test_streaming(channel):
    assert list(channel.unary_stream("/test.Echo/Down")(b"n", metadata=alice())) == [b"n%d" % n for n in range(50)]
    assert channel.stream_unary("/test.Echo/Up")(iter([b"a", b"b" * 100_000, b"c"]), metadata=alice()) == b"a" + b"b" * 100_000 + b"c"


def test_both_ways_in_turn(channel):
    """Each answer comes before the next request is sent: nothing waits for the end of a message."""
    said = threading.Semaphore(1)

    def requests():
        for n in range(10):
            assert said.acquire(timeout=30)
            yield b"%d" % n

    answers = []
    for answer in channel.stream_stream("/test.Echo/Both")(requests(), metadata=alice()):
        answers.append(answer)
        said.release()
    assert answers == [b"%d%d" % (n, n) for n in range(10)]


def test_the_servers_own_status(channel):
    error = refused(lambda: channel.unary_unary("/test.Echo/Fail")(b"", metadata=alice()))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION and error.details() == "not now: ü"
    error = refused(lambda: channel.unary_unary("/test.Echo/Nothing")(b"", metadata=alice()))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED


def test_deadlines(channel, server):
    """gRPC's client rounds the timeout that it writes up: 30 s have come as 30.1."""
    channel.unary_unary("/test.Echo/Unary")(b"", metadata=alice(), timeout=30)
    assert 15 < server.servicer.remaining[-1] <= 31
    began = time.monotonic()
    assert refused(lambda: channel.unary_unary("/test.Echo/Slow")(b"", metadata=alice(), timeout=0.3)).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 5


def test_a_client_that_cancels(channel, server):
    call = channel.unary_stream("/test.Echo/Endless")(b"", metadata=alice())
    assert next(call) == b"tick"
    call.cancel()
    assert server.servicer.cancelled.wait(30)


# What the proxy says itself.


def test_no_token_is_unauthenticated(channel, server, proxy):
    for metadata in ((), (("authorization", "Bearer x.y.z"),)):
        error = refused(lambda: channel.unary_unary("/test.Echo/Unary")(b"", metadata=metadata))
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED
        assert dict(error.initial_metadata() or ()) | dict(error.trailing_metadata() or ())
    for kind in (channel.unary_stream, ):
        assert refused(lambda: list(kind("/test.Echo/Down")(b""))).code() == grpc.StatusCode.UNAUTHENTICATED
    assert refused(lambda: channel.stream_unary("/test.Echo/Up")(iter([b"a"]))).code() == grpc.StatusCode.UNAUTHENTICATED
    assert server.servicer.metadata == []
    assert proxy.wait_log(reason="token_missing")["status"] == 200


def test_other_refusals(channel, server):
    assert refused(lambda: channel.unary_unary("/test.Echo/Scoped")(b"", metadata=alice())).code() == grpc.StatusCode.PERMISSION_DENIED
    assert channel.unary_unary("/test.Echo/Scoped")(b"x", metadata=alice(scope="calls")) == b"x"
    assert refused(lambda: channel.unary_unary("/nowhere.At/All")(b"")).code() == grpc.StatusCode.UNIMPLEMENTED
    assert refused(lambda: channel.unary_unary("/test.Small/Unary")(b"x" * 5000, metadata=alice())).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    limited = channel.unary_unary("/test.Limited/Unary")
    assert limited(b"x", metadata=alice()) == b"x"
    assert refused(lambda: limited(b"x", metadata=alice())).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused(lambda: channel.unary_unary("/test.Brief/Slow")(b"", metadata=alice())).code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_server_that_is_gone_is_unavailable(channel, server):
    assert channel.unary_unary("/test.Echo/Unary")(b"x", metadata=alice()) == b"x"
    server.stop()
    assert refused(lambda: channel.unary_unary("/test.Echo/Unary")(b"", metadata=alice())).code() == grpc.StatusCode.UNAVAILABLE


# An answer that has begun ends with a status too.


def endless(channel, path, **claims):
    """The messages that came, and the error that ended them."""
    messages = []

    def read():
        for message in channel.unary_stream(path)(b"", metadata=alice(**claims)):
            messages.append(message)
    return messages, refused(read)


def test_a_token_that_expires_in_the_middle_is_unauthenticated(start, server):
    text = configuration.SMALL.replace("secret =", 'leeway = "0s"\nsecret =') + MORE
    proxy = start(server, text, upstream=UPSTREAM, listen=LISTEN)
    with grpc.insecure_channel(f"127.0.0.1:{proxy.port}") as channel:
        messages, error = endless(channel, "/test.Echo/Endless", exp=int(time.time()) + 5)
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED and error.details() == "the token has expired"
        assert messages and set(messages) == {b"tick"}
        assert server.servicer.cancelled.wait(30), "the backend is told"
        assert proxy.wait_log(reason="token_expired")["status"] == 200
        assert channel.unary_unary("/test.Echo/Unary")(b"x", metadata=alice()) == b"x", "the connection goes on"


def test_a_route_that_ends_in_the_middle_is_deadline_exceeded(channel):
    messages, error = endless(channel, "/test.Brief/Endless")
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and messages


def test_a_backend_that_breaks_off_in_the_middle_is_unavailable(start):
    with HTTP2Backend() as backend:
        def answer(wire, seen):
            wire.head(seen.stream, 200, ("content-type", "application/grpc"))
            wire.data(seen.stream, b"\0\0\0\0\4tick" + b"\0\0\0\0\4ti", end=False)
            time.sleep(0.2)
            wire.close()

        backend.on_request = answer
        proxy = start(backend, configuration.SMALL + MORE, upstream=UPSTREAM, listen=LISTEN)
        with grpc.insecure_channel(f"127.0.0.1:{proxy.port}") as channel:
            messages, error = endless(channel, "/test.Echo/Down")
    assert messages == [b"tick"] and error.code() == grpc.StatusCode.UNAVAILABLE


def test_readers_that_are_slow_are_told_the_status_too(start):
    """The time of calls is over while frames of theirs wait for a client that does not read."""
    with HTTP2Backend() as backend:
        def answer(wire, seen):
            wire.head(seen.stream, 200, ("content-type", "application/grpc"))
            with contextlib.suppress(Exception):
                wire.h2.send_data(seen.stream, b"\0\0\x80\0\0" + bytes(16_000))
                wire.h2.send_data(seen.stream, bytes(16_000))
                wire.flush()

        backend.on_request = answer
        proxy = start(backend, configuration.SMALL + MORE, upstream=UPSTREAM, listen=LISTEN)
        wide = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: (1 << 31) - 1}
        with Connection(proxy.port, wide, receive_buffer=4096) as connection:
            connection.h2.increment_flow_control_window(1 << 30)
            ask = get("/test.Brief/Down", "POST", "h", "http", ("content-type", "application/grpc"), *alice())
            streams = [connection.start(ask) for _ in range(100)]
            time.sleep(4)
            answers = [connection.answer(stream) for stream in streams]
    assert [answer.reset for answer in answers] == [None] * 100
    assert {(answer.trailers or answer.headers).get("grpc-status") for answer in answers} == {"4"}
    assert any(answer.trailers for answer in answers), "none of them had begun in time"


def test_an_answer_that_is_none_of_grpc_is_cut(start):
    """Trailers would make the half of a page look whole."""
    with HTTP2Backend() as backend:
        def answer(wire, seen):
            wire.head(seen.stream, 200, ("content-type", "text/plain"))
            wire.data(seen.stream, b"half", end=False)
            time.sleep(0.2)
            wire.close()

        backend.on_request = answer
        proxy = start(backend, configuration.SMALL + MORE, upstream=UPSTREAM, listen=LISTEN)
        with Connection(proxy.port) as connection:
            stream = connection.start(get("/public/x", "POST", "h", "http", ("content-type", "application/grpc")), end=True)
            answer = connection.answers[stream]
            assert connection.wait(lambda: answer.reset is not None or answer.ended)
            assert answer.reset == INTERNAL_ERROR and not answer.ended and answer.trailers is None
