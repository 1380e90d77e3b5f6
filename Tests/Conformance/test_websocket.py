"""WebSocket (RFC 6455): tunnelled after the backend's 101 and not before; with a real client and a real server, and
over raw sockets where the order of bytes matters."""

import contextlib
import os
import random
import signal
import socket
import struct
import threading
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

from harness import configuration
from harness.delivery import was_read
from harness.tokens import bearer, token
from harness.waiting import wait_until
from harness.wire import Closed, render

ROUTES = """
[limits]
{limits}

[[route]]
path = "/short/**"
auth = "none"
upstream = "backend"
timeout = "500ms"
"""

HANDSHAKE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
SWITCH = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


class Server:
    """The `websockets` server: echoes, unless the path says otherwise."""

    def __init__(self):
        self.requests = []
        self.closed = []
        self.server = serve(self._handle, "127.0.0.1", 0, max_size=None, compression="deflate")
        self.port = self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _handle(self, socket):
        self.requests.append(socket.request)
        path = socket.request.path
        try:
            if path.endswith("/ticks"):
                while True:
                    socket.send("tick")
                    time.sleep(0.02)
            if path.endswith("/bye"):
                socket.close(4000, "bye")
                return
            for message in socket:
                socket.send(message)
        except ConnectionClosed:
            pass
        finally:
            self.closed.append((path, socket.close_code))

    def stop(self):
        self.server.shutdown()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def ws(start, server):
    return start(server, configuration.SMALL + ROUTES, limits="")


def url(proxy, path):
    return f"ws://127.0.0.1:{proxy.port}{path}"


def open_ws(proxy, path="/api/echo", **more):
    more.setdefault("additional_headers", bearer(token()))
    return connect(url(proxy, path), max_size=None, **more)


def raw_handshake(client, target="/public/ws", headers=None, behind=b""):
    client.send(render("GET", target, HANDSHAKE | (headers or {})) + behind)


def frame(payload: bytes, opcode=2, fin=True) -> bytes:
    """A frame of a server: no mask."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 65536 else b"\x7f" + struct.pack(">Q", size)
    return bytes([opcode | (0x80 if fin else 0)]) + length + payload


# A real client and a real server

def test_messages_in_both_directions(ws, server):
    with open_ws(ws) as client:
        for message in ["hello", b"\0\1\2", "", "ü" * 1000]:
            client.send(message)
            assert client.recv(timeout=20) == message
    request = server.requests[-1]
    assert request.headers["X-User-Id"] == "alice"
    assert "Authorization" not in request.headers
    assert request.headers.get_all("Connection") == ["upgrade"] and request.headers.get_all("Upgrade") == ["websocket"]


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("size", [125, 126, 65535, 65536, 3 << 20])
def test_large_messages(ws, size, compression):
    payload = random.Random(size).randbytes(size)
    with open_ws(ws, compression=compression) as client:
        client.send(payload)
        assert client.recv(timeout=20) == payload


def test_fragmented_messages(ws):
    parts = [os.urandom(n) for n in (1, 70_000, 0, 5, 200_000, 125)]
    with open_ws(ws) as client:
        for _ in range(3):
            client.send(iter(parts))
            assert client.recv(timeout=20) == b"".join(parts)


def test_many_small_messages(ws):
    with open_ws(ws) as client:
        receiver_got = []

        def receive():
            for _ in range(2000):
                receiver_got.append(client.recv(timeout=20))
        receiver = threading.Thread(target=receive)
        receiver.start()
        for n in range(2000):
            client.send(str(n))
        receiver.join(30)
    assert receiver_got == [str(n) for n in range(2000)]


def test_pings_are_the_backends_matter(ws):
    with open_ws(ws) as client:
        assert client.ping().wait(20)


def test_the_backends_close_arrives(ws):
    with open_ws(ws, "/api/bye") as client:
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=20)
    assert closed.value.rcvd.code == 4000 and closed.value.rcvd.reason == "bye"


def test_the_clients_close_arrives(ws, server):
    with open_ws(ws) as client:
        client.close(4001)
    wait_until(lambda: server.closed)
    assert server.closed == [("/api/echo", 4001)]


def test_a_client_that_goes_away(ws, server):
    with ws.client() as client:
        raw_handshake(client, "/api/ticks", bearer(token()))
        assert client.head().status == 101
        client.reset()
    wait_until(lambda: server.closed)


def test_the_access_log_line_comes_at_the_end(ws):
    with open_ws(ws, "/api/logged") as client:
        client.send("x" * 1000)
        client.recv(timeout=20)
        time.sleep(0.1)
        assert not [line for line in ws.log_lines() if line["path"] == "/api/logged"]
    line = ws.wait_log(path="/api/logged")
    assert line["status"] == 101 and line["reason"] == "upgraded" and line["user"] == "alice"


def test_many_tunnels_at_once(ws):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_ws(ws)) for _ in range(50)]
        for n, client in enumerate(clients):
            client.send(f"message {n}")
        for n, client in enumerate(clients):
            assert client.recv(timeout=20) == f"message {n}"


# Who may open one

@pytest.mark.parametrize("headers", [{}, bearer("x.y.z"), bearer(token(audience="https://else.test"))])
def test_no_token_no_tunnel(ws, server, headers):
    with pytest.raises(InvalidStatus) as refused:
        open_ws(ws, additional_headers=headers)
    assert refused.value.response.status_code == 401
    assert not server.requests


def test_no_route_no_tunnel(ws, server):
    with pytest.raises(InvalidStatus) as refused:
        open_ws(ws, "/nothing")
    assert refused.value.response.status_code == 404 and not server.requests


def test_an_identity_of_the_clients_own_never_passes(ws, server):
    with open_ws(ws, additional_headers=bearer(token()) | {"X-User-Id": "evil", "X_User_Id": "evil"}):
        wait_until(lambda: server.requests)
    assert server.requests[-1].headers.get_all("X-User-Id") == ["alice"]
    assert "X_User_Id" not in server.requests[-1].headers


# Time

def test_the_routes_timeout_ends_with_the_101(ws):
    with open_ws(ws, "/short/echo") as client:
        time.sleep(1)
        client.send("still here")
        assert client.recv(timeout=20) == "still here"


def test_an_idle_tunnel_ends(start, server):
    proxy = start(server, configuration.SMALL + ROUTES, limits='idle_timeout = "5s"')
    with open_ws(proxy, "/public/echo", ping_interval=None) as client:
        for _ in range(4):
            time.sleep(1.5)
            client.send("x")
            assert client.recv(timeout=20) == "x"
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=20)
        assert closed.value.rcvd.code == 1001
    assert proxy.wait_log(path="/public/echo")["reason"] == "idle_timeout"


def test_a_drain_says_going_away(start, server):
    proxy = start(server, configuration.SMALL + ROUTES, limits='drain_timeout = "8s"')
    with open_ws(proxy) as client:
        client.send("before")
        assert client.recv(timeout=20) == "before"
        started = time.monotonic()
        proxy.signal(signal.SIGTERM)
        time.sleep(0.3)
        client.send("while it drains")
        assert client.recv(timeout=20) == "while it drains"
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=20)
        assert closed.value.rcvd.code == 1001 and time.monotonic() - started > 1
    assert proxy.wait() == 0
    assert proxy.wait_log(path="/api/echo")["reason"] == "shut_down"


# F1 and RFC 9110 §7.8: what is a tunnel and what is not

@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nno",
    b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
])
def test_F1_without_101_what_follows_is_the_next_request(proxy, backend, answer):
    backend.script = lambda exchange: exchange.send(answer)
    with proxy.client() as client:
        raw_handshake(client, behind=render("GET", "/tasks", {"X-User-Id": "evil"}))
        assert client.response().body == b"no"
        assert client.response().status == 401
    assert [r.target for r in backend.requests] == ["/public/ws"]
    assert b"evil" not in bytes(backend.received)


def test_F1_nothing_passes_before_the_101(proxy, backend):
    switch = threading.Event()
    seen = []

    def script(exchange):
        exchange.sock.settimeout(0.5)
        try:
            seen.append(exchange.sock.recv(1))
        except TimeoutError:
            pass
        exchange.sock.settimeout(20)
        exchange.send(SWITCH)
        seen.append(exchange.reader.exactly(len(early)))
        switch.set()
        exchange.close()
    early = b"\x82\x80early bytes of the tunnel"
    backend.script = script
    with proxy.client() as client:
        raw_handshake(client, behind=early)
        assert client.head().status == 101
        assert switch.wait(20)
    assert seen == [early], "they are the tunnel's once the backend has switched, and not a byte before"


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c, websocket\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.0 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
])
def test_a_101_that_does_not_match_is_502(proxy, backend, answer):
    backend.script = lambda exchange: exchange.send(answer)
    with proxy.client() as client:
        raw_handshake(client)
        assert client.response().status == 502


def test_an_unasked_101_is_502(proxy, backend):
    backend.script = lambda exchange: exchange.send(SWITCH)
    assert proxy.get("/public/x").status == 502


@pytest.mark.parametrize("method, headers, body", [
    ("POST", {}, b""),
    ("POST", {}, b"body"),
    ("GET", {}, b"body"),
    ("GET", {"Connection": "keep-alive"}, None),
    ("GET", {"Upgrade": "h2c"}, None),
    ("GET", {"Upgrade": "websocket2"}, None),
    ("OPTIONS", {}, None),
    ("HEAD", {}, None),
])
def test_what_is_no_handshake_goes_on_without_upgrade(proxy, backend, method, headers, body):
    with proxy.client() as client:
        client.send(render(method, "/public/ws", HANDSHAKE | headers, body))
        assert client.response(method).status == 200
    arrived = backend.last.headers
    assert "upgrade" not in arrived and "connection" not in arrived


def test_HTTP10_has_no_upgrade(proxy, backend):
    with proxy.client() as client:
        client.send(b"GET /public/ws HTTP/1.0\r\nHost: usher.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert client.response().status == 200
    assert "upgrade" not in backend.last.headers


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_P8_no_other_tunnel(proxy, method):
    with proxy.client() as client:
        client.send(render(method, "/public/ws", HANDSHAKE, None) + b"bytes")
        assert client.response().status == 405 and client.ended()
    proxy.assert_nothing_arrived()


def test_further_protocols_are_not_offered(proxy, backend):
    backend.script = lambda exchange: (exchange.send(SWITCH), exchange.close())
    with proxy.client() as client:
        raw_handshake(client, headers={"Upgrade": "h2c, WebSocket", "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA"})
        answer = client.head()
    assert answer.status == 101 and answer.headers.all("upgrade") == ["websocket"]
    assert backend.last.headers.all("upgrade") == ["websocket"] and "http2-settings" not in backend.last.headers
    assert backend.last.headers.all("connection") == ["upgrade"]


# Half-close, breaks and back pressure

def tunnel(backend, script):
    """The backend switches, then runs the script."""
    def run(exchange):
        exchange.send(SWITCH)
        script(exchange)
    backend.script = run


def test_the_client_half_closes(proxy, backend):
    def script(exchange):
        exchange.send(b"got " + exchange.reader.rest())
        exchange.close()
    tunnel(backend, script)
    with proxy.client() as client:
        raw_handshake(client)
        assert client.head().status == 101
        client.send(b"all of it")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.reader.rest() == b"got all of it"


def test_the_backend_half_closes(proxy, backend):
    got = []

    def script(exchange):
        exchange.send(b"my last words")
        exchange.sock.shutdown(socket.SHUT_WR)
        got.append(exchange.reader.rest())
        exchange.close()
    tunnel(backend, script)
    with proxy.client() as client:
        raw_handshake(client)
        assert client.head().status == 101
        assert client.reader.rest() == b"my last words"
        client.send(b"yours are heard")
        client.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: got)
    assert got == [b"yours are heard"]


def test_a_backend_that_breaks_off(proxy, backend):
    tunnel(backend, lambda exchange: exchange.reset())
    with proxy.client() as client:
        raw_handshake(client)
        try:
            assert client.head().status == 101
        except Closed:
            pass
        assert client.ended()


@pytest.mark.parametrize("how", ["breaks off", "ends, and takes no more"])
def test_what_a_backend_said_last_reaches_a_client_that_goes_on_talking(proxy, backend, how):
    """The kernel had it for a client that did not read for a while. Closed at once, with bytes of the client's that nobody takes
    any more, the connection was reset, and what the backend had said was lost."""
    words, flooded = 300_000, threading.Event()

    def script(exchange):
        exchange.send(b"x" * words)
        if how != "breaks off":
            exchange.sock.shutdown(socket.SHUT_WR)
        flooded.wait(30)
        wait_until(lambda: was_read(exchange.sock))  # a reset would destroy it in the proxy's kernel
        exchange.reset()
    tunnel(backend, script)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        sock.connect(("127.0.0.1", proxy.port))
        sock.sendall(render("GET", "/public/ws", HANDSHAKE))
        sock.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while True:
                sock.send(b"\0" * 65536)
        flooded.set()
        time.sleep(0.5)
        sock.settimeout(20)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := sock.recv(65536):
                got += piece
    assert len(got.partition(b"\r\n\r\n")[2]) == words


def test_back_pressure_in_both_directions(proxy, backend):
    """Neither side reads: the proxy holds a bounded part, and the writers stand still."""
    standing = threading.Event()

    def flood(sock):
        sock.settimeout(0.5)
        sent = 0
        try:
            while sent < 200 << 20:
                sent += sock.send(b"\0" * 65536)
        except TimeoutError:
            pass
        return sent

    amounts = {}

    def script(exchange):
        exchange.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        amounts["backend"] = flood(exchange.sock)
        standing.wait(30)
        exchange.close()
    tunnel(backend, script)
    before = proxy.memory("VmHWM")
    with proxy.client() as client:
        raw_handshake(client)
        assert client.head().status == 101
        amounts["client"] = flood(client.sock)
        wait_until(lambda: "backend" in amounts)
        standing.set()
    assert amounts["client"] < 100 << 20 and amounts["backend"] < 100 << 20
    assert proxy.memory("VmHWM") - before < 8 << 20


def test_bytes_arrive_one_by_one(proxy, backend):
    def script(exchange):
        while data := exchange.reader.some():
            exchange.send(data)
    tunnel(backend, script)
    with proxy.client() as client:
        raw_handshake(client)
        assert client.head().status == 101
        for n in range(200):
            client.send(bytes([n]))
            assert client.reader.exactly(1) == bytes([n])


# stream_lifetime

def soon() -> int:
    """When a token expires that lives long enough for what is begun with it, where its issuer grants no leeway."""
    return int(time.time()) + 4


def expiring(end: int, **more):
    return bearer(token(exp=end, **more))


def sleep_until(moment: float) -> None:
    time.sleep(max(0, moment - time.time()))


@pytest.fixture
def strict(start, server):
    text = configuration.SMALL.replace('secret =', 'leeway = "0s"\nsecret =') + ROUTES + """
[[route]]
path = "/unlimited/**"
auth = "main"
upstream = "backend"
stream_lifetime = "unlimited"
"""
    return start(server, text, limits="")


@pytest.mark.parametrize("path", ["/api/echo", "/api/ticks"])
def test_a_tunnel_ends_with_its_token(strict, server, path):
    with open_ws(strict, path, additional_headers=expiring(end := soon())) as client:
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                client.recv(timeout=20)
        assert closed.value.rcvd.code == 1008 and "expired" in closed.value.rcvd.reason
        assert end - 0.1 < time.time() < end + 5
    assert strict.wait_log(path=path)["reason"] == "token_expired"
    wait_until(lambda: server.closed)


def test_a_tunnel_that_may_outlive_its_token(strict):
    with open_ws(strict, "/unlimited/echo", additional_headers=expiring(end := soon())) as client:
        sleep_until(end + 1)
        client.send("still here")
        assert client.recv(timeout=20) == "still here"


def test_the_leeway_counts(ws):
    with open_ws(ws, additional_headers=expiring(int(time.time()) - 10)) as client:
        client.send("within the leeway of 30 s")
        assert client.recv(timeout=20)


@pytest.fixture
def strict_raw(start, own_backend):
    text = configuration.SMALL.replace('secret =', 'leeway = "0s"\nsecret =')
    return start(own_backend, text)


def test_the_close_frame_comes_between_two_frames(strict_raw):
    """The token expires in the middle of a frame: the rest of it comes first."""
    payload, end = os.urandom(100_000), soon()

    def script(exchange):
        whole = frame(payload)
        exchange.send(whole[:50_000])
        sleep_until(end + 0.5)
        exchange.send(whole[50_000:] + frame(b"never seen"))
        exchange.gone()
    tunnel(strict_raw.backend, script)
    with strict_raw.client() as client:
        raw_handshake(client, "/api/ws", expiring(end))
        assert client.head().status == 101
        everything = client.reader.rest()
    assert everything[:len(payload) + 10] == frame(payload)
    close = everything[len(payload) + 10:]
    assert close[:1] == b"\x88" and close[1] == len(close) - 2 and struct.unpack(">H", close[2:4]) == (1008,)


def test_frames_that_came_while_the_process_stood_still_are_too_late(strict_raw):
    go, ended, got = threading.Event(), threading.Event(), bytearray()

    def script(exchange):
        exchange.send(frame(b"before"))
        go.wait(20)
        exchange.send(frame(b"after"))
        got.extend(exchange.reader.rest())
        ended.set()
    tunnel(strict_raw.backend, script)
    with strict_raw.client() as client:
        raw_handshake(client, "/api/ws", expiring(end := soon()))
        assert client.head().status == 101
        assert client.reader.until(b"before")
        strict_raw.stand_still()
        client.send(b"late")
        go.set()
        sleep_until(end + 1)
        strict_raw.signal(signal.SIGCONT)
        rest = client.reader.rest()
    assert rest[:1] == b"\x88" and struct.unpack(">H", rest[2:4]) == (1008,)
    assert ended.wait(20)
    assert bytes(got) == b"", "nor does anything of the client's pass"


def test_a_frame_that_never_ends_is_cut(strict_raw):
    tunnel(strict_raw.backend, lambda exchange: (exchange.send(frame(b"x" * 1000)[:500]), exchange.gone(20)))
    with strict_raw.client() as client:
        raw_handshake(client, "/api/ws", expiring(end := soon()))
        assert client.head().status == 101
        assert client.reader.rest() == frame(b"x" * 1000)[:500]
        assert end - 0.1 < time.time() < end + 8


def test_nothing_of_the_clients_passes_after_the_end(strict_raw):
    """While the last frame towards the client is awaited, the client has no say any more."""
    got, ended = bytearray(), threading.Event()

    def script(exchange):
        exchange.send(frame(b"x" * 1000)[:500])
        exchange.sock.settimeout(20)
        got.extend(exchange.reader.rest())
        ended.set()
    tunnel(strict_raw.backend, script)
    with strict_raw.client() as client:
        raw_handshake(client, "/api/ws", expiring(end := soon()))
        assert client.head().status == 101
        client.send(b"before")
        sleep_until(end + 0.5)
        client.try_send(b"after")
        client.reader.rest()
    assert ended.wait(20)
    assert bytes(got) == b"before"
