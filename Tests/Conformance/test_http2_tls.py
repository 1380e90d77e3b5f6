"""HTTP/2 over TLS, frame by frame: what a client may take its time for, what it is told when it takes too long, and who waits for
whose handshake."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import select
import signal
import socket
import ssl
import threading
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from harness import authority as authorities
from harness import configuration
from harness.authority import Authority
from harness.http2 import (
    END_STREAM, GOAWAY, NO_ERROR, PREFACE, SETTINGS, Connection, Raw, frame)
from harness.ports import free_port
from harness.tokens import bearer, token
from harness.wire import Client, render

LISTEN = """
protocols = ["h2", "http/1.1"]

[listen.secure]
address = "127.0.0.1:{secure}"
protocols = ["h2", "http/1.1"]
tls.certificates = [{pair}]
"""
ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SHORT = '[limits]\nheader_timeout = "3s"\nidle_timeout = "8s"\nbody_timeout = "3s"\n'


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure(start, own_backend, authority):
    def run(limits=SHORT, kind="ec", text=configuration.SMALL, **more):
        port = free_port()
        pair = authority.sign(f"main-{kind}", ["usher.test"], kind=kind)
        proxy = start(own_backend, text + limits, listen=LISTEN.format(secure=port, pair=pair.toml()), **more)
        proxy.secure = port
        return proxy
    return run


def context_of(authority, *protocols) -> ssl.SSLContext:
    context = authority.client_context()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def connect(proxy, authority, kind=Raw, protocols=("h2",), **more):
    """A connection behind its handshake; nothing of HTTP/2 is sent yet."""
    quiet = {Raw: {"handshake": False}, Connection: {"start": False}, Client: {}}
    wire = kind(proxy.secure, **quiet[kind], **more)
    wire.sock = context_of(authority, *protocols).wrap_socket(wire.sock, server_hostname="usher.test", suppress_ragged_eofs=False)
    assert wire.sock.selected_alpn_protocol() == (protocols[0] if protocols else None)
    return wire


# What a slow client gets.


def test_a_preface_that_comes_late_is_served(secure, authority):
    """A client that is busy after its handshake has as long as one without TLS, and is not told that it misbehaves."""
    with connect(secure(), authority, Connection) as connection:
        time.sleep(4)
        connection.h2.initiate_connection()
        connection.flush()
        assert connection.get("/public/x").status == 200
        assert not connection.goaways


def test_no_preface_at_all_is_an_idle_connection(secure, authority):
    with connect(secure(), authority, timeout=20) as raw:
        begun = time.monotonic()
        assert raw.connection_error() == NO_ERROR
        assert 5 < time.monotonic() - begun < 18


def test_a_preface_that_does_not_end(secure, authority):
    with connect(secure(), authority) as raw:
        raw.send(PREFACE[:10])
        begun = time.monotonic()
        assert raw.connection_error() == NO_ERROR
        assert 1.5 < time.monotonic() - begun < 9


@pytest.mark.parametrize("cut", [1, 23])
def test_the_preface_in_two_pieces(secure, authority, cut):
    with connect(secure(), authority) as raw:
        raw.send(PREFACE[:cut])
        time.sleep(0.3)
        raw.send(PREFACE[cut:] + frame(SETTINGS) + raw.headers(1))
        assert raw.status(1) == 200


def test_a_head_that_does_not_end_names_the_streams_before_it(secure, authority):
    """Nothing was done about a request whose head did not come whole: its client may send it again elsewhere."""
    with connect(secure(), authority) as raw:
        raw.send(PREFACE + frame(SETTINGS) + raw.headers(1))
        assert raw.status(1) == 200
        raw.send(raw.headers(3, flags=END_STREAM))
        last = None
        while found := raw.next(GOAWAY):
            last = found[3]
        assert last[:8] == b"\0\0\0\1" + bytes(4), last


# Who waits for whom.


def test_an_answer_does_not_wait_for_the_signatures_of_others(secure, authority, own_backend, monkeypatch):
    """What is ready when the proxy comes to a handshake is written before it: an answer came first, then eight hellos."""
    monkeypatch.setitem(authorities.__dict__, "make_key", lambda kind, number=0: rsa.generate_private_key(65537, 4096))
    proxy = secure(limits="", kind="rsa", workers=1)
    context = context_of(authority)

    answered = threading.Event()

    def answer_when_stopped(exchange):
        proxy.stand_still()
        exchange.echo()
        answered.set()
    own_backend.script = answer_when_stopped
    with Client(proxy.port) as client:
        hellos = [greeted(proxy, context) for _ in range(8)]
        time.sleep(0.3)
        client.send(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answered.wait(30)
        for sock, hello in hellos:
            sock.sendall(hello)
        time.sleep(0.1)
        waiting = {client.sock: "answer"} | {sock: "hello" for sock, _ in hellos}
        proxy.signal(signal.SIGCONT)
        first = [waiting[sock] for sock in select.select(list(waiting), [], [], 10)[0]]
        assert "answer" in first, "it left first; some hellos may be here, too, by the time that somebody looks"
        assert client.response().status == 200
        for sock, _ in hellos:
            sock.close()


def greeted(proxy, context) -> tuple[socket.socket, bytes]:
    """A connection, and the first flight that is to be sent on it."""
    outgoing = ssl.MemoryBIO()
    session = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="usher.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return socket.create_connection(("127.0.0.1", proxy.secure), 5), outgoing.read()


# Tunnels.


WS_FRAME = b"\x82\x7e\x03\xe4" + bytes(996)


def test_the_close_frame_of_a_tunnel_whose_client_was_slow(secure, authority, own_backend):
    """The token expires while a record with the ends of many frames is encrypted that the client has not taken: all of them
    come, and then Close."""
    strict = configuration.SMALL.replace("secret =", 'leeway = "0s"\nsecret =')
    proxy = secure(limits="", text=strict)

    def script(exchange):
        accept = base64.b64encode(hashlib.sha1(exchange.request.headers.get("sec-websocket-key").encode() + ACCEPT).digest())
        exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                      b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        with contextlib.suppress(OSError):
            # A pause: what is read after it is read, and encrypted, in large pieces.
            exchange.send(WS_FRAME * 100)
            time.sleep(0.2)
            exchange.send(WS_FRAME * 20_000)
        exchange.gone()
    own_backend.script = script
    with connect(proxy, authority, Client, ("http/1.1",), timeout=20) as client:
        client.reader.sock = client.sock
        time.sleep(1 - time.time() % 1)
        client.send(render("GET", "/api/ws", {
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} | bearer(token(exp=(end := int(time.time()) + 4)))))
        assert client.head().status == 101
        # It has expired, and the Close frame has two seconds to leave.
        time.sleep(max(0, end + 0.4 - time.time()))
        everything = client.reader.rest()
    count = everything.rfind(WS_FRAME) // len(WS_FRAME) + 1
    close = everything[count * len(WS_FRAME):]
    assert everything.startswith(WS_FRAME * count) and 100 < count < 20_100, (count, len(everything))
    assert close[:1] == b"\x88" and close[2:4] == b"\x03\xf0", close[:40]
