"""WebSocket to backends that speak HTTP/2, by extended CONNECT (RFC 8441): hypercorn as a real one, and one that does as
a test says."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import subprocess
import sys
import threading
import time

import h2.settings
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from harness import configuration
from harness.authority import Authority
from harness.http2 import CANCEL, REFUSED_STREAM, Connection
from harness.http2backend import HTTP2Backend
from harness.ports import free_port
from harness.tokens import bearer, token
from harness.wire import Client
from test_http2 import Chat

UPSTREAM = 'protocol = "h2"\n'
LISTEN = 'protocols = ["h2", "http/1.1"]'
TAKES_TUNNELS = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))

APPLICATION = """
async def app(scope, receive, send):
    assert scope["type"] == "websocket" and scope["http_version"] == "2", scope
    user = dict(scope["headers"]).get(b"x-user-id", b"nobody").decode()
    await receive()
    if scope["path"].endswith("no"):
        return await send({"type": "websocket.close"})
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0]})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "who":
            await send({"type": "websocket.send", "text": user})
        elif message.get("text") == "end":
            await send({"type": "websocket.close", "code": 4001, "reason": "as you say"})
        else:
            await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
"""


class Peer:
    """A server that is a process of its own."""

    def __init__(self, port):
        self.port = port


@pytest.fixture(scope="module")
def hypercorn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hypercorn")
    (folder / "chat.py").write_text(APPLICATION)
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", "chat:app"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:
        end = time.monotonic() + 90
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < end and process.poll() is None, process.communicate(timeout=5)
                time.sleep(0.05)
        yield Peer(port)
        process.terminate()


@pytest.fixture
def real(start, hypercorn):
    return start(hypercorn, upstream=UPSTREAM, listen=LISTEN)


@pytest.fixture
def backend():
    with HTTP2Backend(settings=TAKES_TUNNELS) as backend:
        backend.on_request = lambda wire, seen: None
        yield backend
        assert not backend.errors, backend.errors


@pytest.fixture
def proxy(start, backend):
    text = configuration.SMALL.replace("secret =", 'leeway = "0s"\nsecret =')
    return start(backend, text, upstream=UPSTREAM, listen=LISTEN)


def wait(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def ws(proxy, path="/public/ws", **more):
    # hypercorn answers a Close frame, and leaves the stream open: nobody waits for its end here.
    return connect(f"ws://127.0.0.1:{proxy.port}{path}", proxy=None, max_size=1 << 24, close_timeout=0.2, **more)


def text_frame(text: bytes, mask=False) -> bytes:
    return Frame(Opcode.TEXT, text).serialize(mask=mask)


# A real server.

def test_messages_in_both_directions(real):
    with ws(real, subprotocols=["chat"]) as client:
        assert client.subprotocol == "chat"
        for size in (0, 1, 200, 70_000, 1 << 20):
            client.send(b"z" * size)
            assert client.recv(10) == b"z" * size


def test_who_is_proven_to_it(real):
    headers = bearer(token(sub="alice")) | {"X-User-Id": "mallory"}
    with ws(real, "/api/ws", additional_headers=headers) as client:
        client.send("who")
        assert client.recv(5) == "alice"
    with pytest.raises(Exception, match="401"):
        ws(real, "/api/ws")


def test_its_close_arrives(real):
    with ws(real) as client:
        client.send("end")
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(5)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you say")
    assert real.wait_log(path="/public/ws")["reason"] == "upgraded"


def test_a_refusal_of_the_application(real):
    with pytest.raises(Exception, match="403"):
        ws(real, "/public/no")


def test_clients_of_http2(real):
    with Connection(real.port) as connection:
        chat = Chat(connection)
        assert chat.opened() == 200
        chat.talks()
        connection.data(chat.stream, Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True), end=True)
        chat.expect(Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=False))


def test_many_at_once_share_connections(real):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(ws(real)) for _ in range(10)]
        for number, client in enumerate(clients):
            client.send(f"{number}")
        assert [client.recv(5) for client in clients] == [f"{number}" for number in range(10)]
    metrics = real.admin_request("/metrics").body.decode()
    assert "usher_upstream_connects_total 1\n" in metrics


# A server that does as it is told.

def test_what_the_backend_sees_and_the_client_gets(proxy, backend):
    backend.on_head = lambda wire, seen: wire.head(
        seen.stream, 200, ("sec-websocket-accept", "nonsense"), ("content-length", "5"), ("x-of", "backend"))
    with Client(proxy.port) as client:
        answer = client.request("GET", "/public/ws?a=b", (
            *HANDSHAKE, ("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Extensions", "x"), ("X-User-Id", "mallory")), None, "h.test")
        seen = backend.last
        assert (seen[":method"], seen[":protocol"], seen[":scheme"], seen[":path"], seen[":authority"]) == (
            "CONNECT", "websocket", "http", "/public/ws?a=b", "h.test")
        assert seen.all("sec-websocket-version") == ["13"] and seen.all("sec-websocket-extensions") == ["x"]
        for name in ("sec-websocket-key", "connection", "upgrade", "x-user-id", "host"):
            assert seen.all(name) == [], name
        proof = base64.b64encode(hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        assert answer.status == 101 and answer.headers.all("sec-websocket-accept") == [proof]
        assert answer.headers.get("upgrade") == "websocket" and answer.headers.get("x-of") == "backend"
        assert answer.headers.all("content-length") == []


def test_F1_nothing_passes_before_the_backend_agrees(proxy, backend):
    def refuse(wire, seen):
        time.sleep(0.3)
        wire.answer(seen.stream, b"no", 400)

    backend.on_head = refuse
    with Client(proxy.port) as client:
        head = "".join(f"{name}: {value}\r\n" for name, value in (*HANDSHAKE, ("Sec-WebSocket-Key", KEY)))
        client.send(f"GET /public/ws HTTP/1.1\r\nHost: h\r\n{head}\r\nGET /public/next HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        backend.on_request = lambda wire, seen: wire.answer(seen.stream, b"next")
        answers = [client.response(), None]
        backend.on_head = lambda wire, seen: None
        answers[1] = client.response()
    assert [(a.status, a.body) for a in answers] == [(400, b"no"), (200, b"next")]
    assert backend.requests[0].body == b"" and backend.requests[1][":path"] == "/public/next"
    # The stream of the handshake is not over from this side before it is reset, which came before the next request.
    assert backend.requests[0].reset == CANCEL


def test_F1_content_behind_an_extended_connect(proxy, backend):
    backend.on_head = lambda wire, seen: wire.head(seen.stream, 200)
    with Connection(proxy.port) as connection:
        chat = Chat(connection, "/public/ws", ("content-length", "5"))
        connection.data(chat.stream, b"early", end=True)
        assert chat.opened() == 400
    assert backend.requests == []


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_backend_that_takes_no_tunnels_is_501(start, http2):
    with HTTP2Backend() as backend:
        proxy = start(backend, upstream=UPSTREAM, listen=LISTEN)
        if http2:
            with Connection(proxy.port) as connection:
                assert Chat(connection).opened() == 501
        else:
            with Client(proxy.port) as client:
                for _ in range(2):
                    answer = client.request("GET", "/public/ws", (*HANDSHAKE, ("Sec-WebSocket-Key", KEY)), None, "h")
                    assert answer.status == 501 and answer.problem["code"] == "not_implemented"
                assert client.request("GET", "/public/x", (), None, "h").status == 200, "the connection goes on"
        line = proxy.wait_log(path="/public/ws")
        assert line["detail"] == "server_takes_no_websocket"
        assert all(seen[":method"] == "GET" for seen in backend.requests)


@pytest.mark.parametrize("keys", [[], [KEY, KEY], ["short"]], ids=["none", "two", "short"])
def test_a_handshake_that_cannot_be_answered(proxy, backend, keys):
    with Client(proxy.port) as client:
        answer = client.request("GET", "/public/ws", (*HANDSHAKE, *(("Sec-WebSocket-Key", key) for key in keys)), None, "h")
    assert answer.status == 400 and backend.requests == []


def test_a_key_that_is_named_by_connection(proxy, backend):
    """What Connection names stays here; the proof is of the client's key all the same."""
    backend.on_head = lambda wire, seen: wire.head(seen.stream)
    with Client(proxy.port) as client:
        answer = client.request("GET", "/public/ws", (
            ("Connection", "Upgrade, Sec-WebSocket-Key"), *HANDSHAKE[1:], ("Sec-WebSocket-Key", KEY)), None, "h")
    assert answer.status == 101 and answer.headers.get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_refused_stream_is_sent_again(proxy, backend):
    def head(wire, seen):
        if len(backend.requests) == 1:
            wire.reset(seen.stream, REFUSED_STREAM)
        else:
            wire.head(seen.stream)
            wire.data(seen.stream, text_frame(b"again"), end=False)

    backend.on_head = head
    with ws(proxy) as client:
        assert client.recv(5) == "again"
    assert len(backend.requests) == 2


def test_each_side_ends_by_itself(proxy, backend):
    backend.on_head = lambda wire, seen: wire.head(seen.stream)
    with Client(proxy.port) as client:
        assert client.request("GET", "/public/ws", (*HANDSHAKE, ("Sec-WebSocket-Key", KEY)), None, "h").status == 101
        client.send(b"last words")
        client.sock.shutdown(socket.SHUT_WR)
        wait(lambda: backend.last.ended)
        assert backend.last.body == b"last words"
        backend.wires[0].data(backend.last.stream, b"of mine too")
        assert client.reader.rest() == b"of mine too"
    assert backend.last.reset is None
    assert proxy.wait_log(path="/public/ws")["reason"] == "upgraded"


def test_what_follows_the_backends_end_arrives(proxy, backend):
    """The backend has said all, the client has not: its last bytes and its end are no reset."""
    def head(wire, seen):
        wire.head(seen.stream)
        wire.data(seen.stream, b"done")

    backend.on_head = head
    with Client(proxy.port) as client:
        assert client.request("GET", "/public/ws", (*HANDSHAKE, ("Sec-WebSocket-Key", KEY)), None, "h").status == 101
        assert client.reader.rest() == b"done"
        client.send(b"goodbye")
        client.sock.shutdown(socket.SHUT_WR)
        wait(lambda: backend.last.ended)
    assert (backend.last.body, backend.last.reset) == (b"goodbye", None)


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_reset_of_the_backend_ends_the_tunnel(proxy, backend, http2):
    backend.on_head = lambda wire, seen: wire.head(seen.stream)
    if http2:
        with Connection(proxy.port) as connection:
            chat = Chat(connection)
            assert chat.opened() == 200
            backend.wires[0].reset(backend.last.stream, CANCEL)
            assert connection.wait(lambda: chat.answer.reset == CANCEL)
    else:
        with ws(proxy) as client:
            backend.wires[0].reset(backend.last.stream, CANCEL)
            with pytest.raises(ConnectionClosed):
                client.recv(5)
    assert proxy.wait_log(path="/public/ws")["reason"] == "upstream_truncated"


def test_a_client_that_leaves_resets_the_stream(proxy, backend):
    backend.on_head = lambda wire, seen: wire.head(seen.stream)
    with Client(proxy.port) as client:
        assert client.request("GET", "/public/ws", (*HANDSHAKE, ("Sec-WebSocket-Key", KEY)), None, "h").status == 101
        client.reset()
    wait(lambda: backend.last.reset is not None or backend.last.ended)


def test_a_tunnel_ends_with_its_token(proxy, backend):
    backend.on_head = lambda wire, seen: wire.head(seen.stream)
    with ws(proxy, "/api/ws", additional_headers=bearer(token(sub="alice", exp=int(time.time()) + 5))) as client:
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(20)
    assert closed.value.rcvd.reason == "the token has expired"
    wait(lambda: backend.last.reset == CANCEL)


def test_back_pressure_in_both_directions(start):
    with HTTP2Backend(settings=TAKES_TUNNELS, credit=False) as backend:
        backend.on_head = lambda wire, seen: wire.head(seen.stream)
        proxy = start(backend, upstream=UPSTREAM, listen=LISTEN)
        with Client(proxy.port) as client:
            assert client.request("GET", "/public/ws", (*HANDSHAKE, ("Sec-WebSocket-Key", KEY)), None, "h").status == 101
            client.sock.settimeout(1)
            sent = 0
            with pytest.raises(TimeoutError):
                while sent < 64 << 20:
                    sent += client.sock.send(bytes(65536))
            wait(lambda: len(backend.last.body) >= 65_535)
            assert len(backend.last.body) == 65_535, "one window"
            before = proxy.memory("VmHWM")
            written = []

            def write():
                with contextlib.suppress(Exception):
                    while len(written) < 1024:
                        backend.wires[0].data(backend.last.stream, bytes(65536), end=False)
                        written.append(65536)

            threading.Thread(target=write, daemon=True).start()
            time.sleep(1)
            assert proxy.memory("VmHWM") - before < 4 << 20
            assert len(written) < 1024, "what no client reads is not read from the backend"
            client.sock.settimeout(20)
            taken = 0
            while taken < 1 << 20:
                taken += len(client.sock.recv(65536))
        backend.wires[0].close()


def test_over_tls(start, tmp_path):
    authority = Authority(tmp_path)
    context = authority.sign("backend", ["localhost"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(context.cert_file, context.key_file)
    server.set_alpn_protocols(["h2"])
    with HTTP2Backend(settings=TAKES_TUNNELS, context=server) as backend:
        backend.on_head = lambda wire, seen: (
            wire.head(seen.stream), wire.data(seen.stream, text_frame(b"hello"), end=False))
        text = configuration.SMALL.replace("127.0.0.1:{backend}", "localhost:{backend}")
        proxy = start(backend, text, upstream=UPSTREAM + f'tls = {{ ca = "{authority.file}" }}')
        with ws(proxy) as client:
            assert client.recv(5) == "hello"
            assert backend.last[":scheme"] == "https"


# Tunnels that nobody ends.

PATIENT = '\n[limits]\nbody_timeout = "4s"\nidle_timeout = "60s"\n'


@pytest.fixture
def patient(start, backend):
    return start(backend, configuration.SMALL + PATIENT, upstream=UPSTREAM, listen=LISTEN)


def test_a_stream_that_stays_open_behind_its_close_frame(patient, backend):
    """Both sides have said Close, and the server leaves its stream open: the tunnel does not outlive it by `idle_timeout`."""
    def head(wire, seen):
        wire.head(seen.stream)
        wire.data(seen.stream, Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=False), end=False)

    backend.on_head = head
    with Connection(patient.port) as connection:
        chat = Chat(connection)
        assert chat.opened() == 200
        chat.expect(b"\x88\x02\x03\xe8")
        connection.data(chat.stream, Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True))
        begun = time.monotonic()
        assert connection.answer(chat.stream).ended and chat.answer.body == b"\x88\x02\x03\xe8"
        assert 0.5 < time.monotonic() - begun < 19
    assert patient.wait_log(path="/public/ws")["reason"] == "upgraded"
    wait(lambda: backend.last.reset == CANCEL)


def test_a_tunnel_that_one_side_has_ended(patient, backend):
    backend.on_head = lambda wire, seen: wire.head(seen.stream)
    with Client(patient.port) as client:
        assert client.request("GET", "/public/ws", (*HANDSHAKE, ("Sec-WebSocket-Key", KEY)), None, "h").status == 101
        client.sock.shutdown(socket.SHUT_WR)
        wait(lambda: backend.last.ended)
        for _ in range(3):
            time.sleep(1.6)
            backend.wires[0].data(backend.last.stream, b"\x81\x01x", end=False)
        assert client.reader.exactly(9) == b"\x81\x01x" * 3, "as long as the other has something to say"
        begun = time.monotonic()
        assert client.reader.rest()[:1] == b"\x88"
        assert time.monotonic() - begun < 19


def test_an_open_tunnel_may_be_silent_for_longer(patient, backend):
    backend.on_head = lambda wire, seen: wire.head(seen.stream)
    with Client(patient.port) as client:
        assert client.request("GET", "/public/ws", (*HANDSHAKE, ("Sec-WebSocket-Key", KEY)), None, "h").status == 101
        time.sleep(6)
        backend.wires[0].data(backend.last.stream, b"\x81\x01x", end=False)
        assert client.reader.exactly(3) == b"\x81\x01x"
