"""TLS on listeners: versions, certificates by name, tickets, client certificates, reload; with Python's ssl, curl, httpx
and openssl as clients, and a certificate authority made here."""

import contextlib
import datetime
import json
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from websockets.sync.client import connect

from harness import configuration
from harness.authority import Authority
from harness.tokens import bearer, token
from harness.wire import Client, Closed, read_head, read_body

LISTEN = """
[listen.secure]
address = "127.0.0.1:{secure}"
tls.certificates = [{certificates}]
{tls}
"""


class Secure(Client):
    """A client whose bytes go through Python's ssl."""

    def __init__(self, port, context, name="usher.test", session=None, timeout=10, before=b""):
        super().__init__(port, timeout=timeout)
        if before:
            self.sock.sendall(before)
        self.raw = self.sock
        self.sock = context.wrap_socket(
            self.sock, server_hostname=name, session=session, suppress_ragged_eofs=False)
        self.reader.sock = self.sock

    def peer(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.sock.getpeercert(binary_form=True))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pairs(authority):
    return {
        "main": authority.sign("main", ["usher.test", "localhost", "127.0.0.1"]),
        "rsa": authority.sign("rsa", ["usher.test", "localhost"], kind="rsa"),
        "other": authority.sign("other", ["other.test"]),
        "wild": authority.sign("wild", ["*.wild.test"]),
        "alice": authority.sign(
            "alice", ["alice.clients.test", "spiffe://test/alice"], common_name="alice", organization="Acme, Inc.",
            client=True),
    }


@pytest.fixture
def secure(start, own_backend, authority, pairs):
    """`secure(tls="…", names=["main"])` runs a proxy with a TLS listener beside the plain one."""

    def run(tls="", names=("main",), workers=1, more="", limits="", text=None, preamble="", plain="", **fill):
        from harness.ports import free_port
        port = free_port()
        listen = plain + LISTEN.format(
            secure=port, certificates=", ".join(pairs[name].toml() for name in names), tls=tls) + more + limits
        proxy = start(own_backend, text or configuration.SMALL, workers=workers, listen=listen, preamble=preamble, **fill)
        proxy.secure = port
        return proxy

    return run


def ask(client, target="/public/x", headers=(), body=None, method="GET"):
    return client.request(method, target, headers, body, "usher.test")


# Requests

def test_a_request_and_the_next_over_one_connection(secure, authority, own_backend):
    proxy = secure()
    with Secure(proxy.secure, authority.client_context()) as client:
        assert client.sock.version() == "TLSv1.3"
        for count in range(3):
            assert ask(client).status == 200
        assert ask(client, "/api/x").status == 401
        assert ask(client, "/api/x", bearer(token(sub="u1"))).status == 200
    assert len({r.connection for r in own_backend.requests}) == 1
    last = own_backend.last
    assert last.user == ["u1"]
    assert last.headers.all("x-forwarded-proto") == ["https"]
    assert "proto=https" in last.headers.get("forwarded")
    proxy.get("/public/x")
    assert own_backend.last.headers.all("x-forwarded-proto") == ["http"]


def test_real_clients(secure, authority):
    proxy = secure()
    curl = subprocess.run(
        ["curl", "-sS", "--cacert", str(authority.file), "--resolve", f"usher.test:{proxy.secure}:127.0.0.1",
         "-w", "%{http_code} %{ssl_verify_result}", "-o", "/dev/null", f"https://usher.test:{proxy.secure}/public/x"],
        capture_output=True, text=True, timeout=20)
    assert curl.stdout == "200 0", curl.stderr
    with httpx.Client(verify=authority.client_context()) as client:
        for _ in range(2):
            assert client.get(f"https://localhost:{proxy.secure}/public/x").status_code == 200


def test_large_bodies_in_both_directions(secure, authority, own_backend):
    proxy = secure()
    sent = bytes(range(256)) * 4096 * 8  # 8 MiB
    own_backend.recording = False
    own_backend.script = lambda e: e.reply(200, e.read_body())
    with Secure(proxy.secure, authority.client_context()) as client:
        answer = ask(client, body=sent, method="POST")
        assert answer.status == 200 and answer.body == sent
        assert ask(client).status == 200


def test_a_client_that_reads_slowly_gets_every_byte(secure, authority, own_backend):
    proxy = secure()
    payload = bytes(range(251)) * 80_000  # 20 MB, more than the kernel keeps
    own_backend.script = lambda e: e.reply(200, payload)
    context = authority.client_context()
    with Client(proxy.secure) as plain:
        plain.sock = plain.reader.sock = context.wrap_socket(plain.sock, server_hostname="usher.test")
        plain.send(b"GET /public/x HTTP/1.1\r\nHost: usher.test\r\n\r\n")
        time.sleep(0.3)
        received = plain.response()
        assert received.body == payload


def test_many_small_writes_of_one_request(secure, authority):
    """One byte in each record: a read must not wait for an event that came already."""
    proxy = secure()
    with Secure(proxy.secure, authority.client_context()) as client:
        for byte in b"GET /public/x HTTP/1.1\r\nHost: usher.test\r\n\r\n":
            client.sock.sendall(bytes([byte]))
        assert client.response().status == 200


def test_pipelined_requests_in_one_record(secure, authority, own_backend):
    proxy = secure()
    one = b"GET /public/%d HTTP/1.1\r\nHost: usher.test\r\n\r\n"
    with Secure(proxy.secure, authority.client_context()) as client:
        client.send(b"".join(one % n for n in range(40)))
        for _ in range(40):
            assert client.response().status == 200
    assert [r.target for r in own_backend.requests] == [f"/public/{n}" for n in range(40)]


def test_websocket(secure, authority):
    from test_websocket import Server
    server = Server()
    try:
        proxy = secure(text=configuration.SMALL.replace("{backend}", str(server.port)))
        with connect(f"wss://localhost:{proxy.secure}/public/echo", ssl=authority.client_context()) as socket_:
            for size in (5, 70_000, 300_000):
                socket_.send("x" * size)
                assert socket_.recv() == "x" * size
        end = time.monotonic() + 5
        while not server.closed and time.monotonic() < end:
            time.sleep(0.02)
        assert server.closed == [("/public/echo", 1000)]
    finally:
        server.stop()


# The end of a stream

def test_a_body_that_breaks_off_is_not_ended_with_close_notify(secure, authority, own_backend):
    proxy = secure()

    def script(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        exchange.close()

    own_backend.script = script
    with Secure(proxy.secure, authority.client_context()) as client:
        client.send(b"GET /public/x HTTP/1.0\r\nHost: usher.test\r\n\r\n")
        data = b""
        with pytest.raises((ssl.SSLError, ConnectionError)):
            while True:
                piece = client.sock.recv(65536)
                if not piece:
                    break
                data += piece
        assert data.endswith(b"half")


def test_a_body_to_the_end_of_the_connection_ends_with_close_notify(secure, authority, own_backend):
    proxy = secure()

    def script(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole")
        exchange.close()

    own_backend.script = script
    with Secure(proxy.secure, authority.client_context()) as client:
        client.send(b"GET /public/x HTTP/1.0\r\nHost: usher.test\r\n\r\n")
        data = b""
        while piece := client.sock.recv(65536):  # raises where close_notify is missing
            data += piece
        assert data.endswith(b"whole")


def test_a_truncated_upload_never_looks_whole(secure, authority, own_backend):
    proxy = secure()
    ended = threading.Event()

    def script(exchange):
        try:
            exchange.read_body()
            exchange.reply(200)
        except Closed:
            ended.set()
            raise

    own_backend.script = script
    with Secure(proxy.secure, authority.client_context()) as client:
        client.send(b"POST /public/x HTTP/1.1\r\nHost: usher.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        own_backend.wait_requests(1)
        client.raw.close() if client.raw.fileno() >= 0 else client.sock.close()
        client.sock.close()
    assert ended.wait(5)
    assert not own_backend.last.complete


# The handshake

@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_versions(secure, authority, version):
    proxy = secure()
    context = authority.client_context(version=getattr(ssl.TLSVersion, version))
    with Secure(proxy.secure, context) as client:
        assert ask(client).status == 200


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_versions_are_refused(secure, authority, version):
    proxy = secure()
    context = authority.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    with pytest.raises(ssl.SSLError, match="(?i)alert protocol version"):
        Secure(proxy.secure, context)


def test_tls_13_alone(secure, authority):
    proxy = secure(tls='tls.minimum_version = "1.3"')
    with pytest.raises(ssl.SSLError, match="(?i)protocol version"):
        Secure(proxy.secure, authority.client_context(version=ssl.TLSVersion.TLSv1_2))
    with Secure(proxy.secure, authority.client_context()) as client:
        assert ask(client).status == 200


@pytest.mark.parametrize("name, expected", [
    ("usher.test", "usher.test"), ("USHER.test", "usher.test"), ("other.test", "other.test"),
    ("a.wild.test", "*.wild.test"), ("a.b.wild.test", "usher.test"), ("wild.test", "usher.test"),
    ("unknown.test", "usher.test"), (None, "usher.test"),
], ids=["exact", "case", "second", "wildcard", "two-labels", "bare", "unknown", "none"])
def test_certificates_by_name(secure, authority, name, expected):
    proxy = secure(names=("main", "other", "wild"))
    context = authority.client_context()
    context.check_hostname = False
    with Secure(proxy.secure, context, name) as client:
        names = client.peer().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName)[0] == expected
        assert ask(client).status == 200


@pytest.mark.parametrize("kind, ciphers", [("ec", "ECDHE-ECDSA-AES128-GCM-SHA256"), ("rsa", "ECDHE-RSA-AES128-GCM-SHA256")])
def test_rsa_and_ecdsa_side_by_side(secure, authority, kind, ciphers):
    proxy = secure(names=("rsa", "main"))
    context = authority.client_context(version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(ciphers)
    with Secure(proxy.secure, context) as client:
        key = client.peer().public_key()
        assert type(key).__name__.lower().startswith(("ec", "elliptic") if kind == "ec" else "rsa"), type(key)


def test_alpn(secure, authority):
    proxy = secure()
    for offered in (["http/1.1"], ["h2", "http/1.1"], None):
        with Secure(proxy.secure, authority.client_context(alpn=offered)) as client:
            assert client.sock.selected_alpn_protocol() == ("http/1.1" if offered else None)
            assert ask(client).status == 200
    with pytest.raises(ssl.SSLError, match="(?i)no application protocol"):
        Secure(proxy.secure, authority.client_context(alpn=["spdy/3"]))


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_sessions_are_taken_up_by_every_worker(secure, authority, version):
    proxy = secure(workers=2)
    context = authority.client_context(version=getattr(ssl.TLSVersion, version))
    session = None
    reused = []
    for _ in range(16):
        with Secure(proxy.secure, context, session=session) as client:
            assert ask(client).status == 200
            reused.append(client.sock.session_reused)
            session = client.sock.session
    assert reused == [False] + [True] * 15, reused
    metrics = proxy.admin_request("/metrics").body.decode()
    assert "usher_tls_handshakes_total 16" in metrics and "usher_tls_resumptions_total 15" in metrics


def test_without_tickets_nothing_is_taken_up(secure, authority):
    proxy = secure(tls="tls.tickets = false")
    context = authority.client_context()
    session = None
    for _ in range(3):
        with Secure(proxy.secure, context, session=session) as client:
            assert ask(client).status == 200
            assert not client.sock.session_reused
            session = client.sock.session


def test_no_renegotiation_and_no_compression(secure, authority):
    proxy = secure()
    run = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.secure}", "-tls1_2", "-CAfile", str(authority.file),
         "-servername", "usher.test"],
        input=b"R\n", capture_output=True, timeout=20)
    output = run.stdout + run.stderr
    assert b"Compression: NONE" in output
    assert b"no renegotiation" in output.lower() or b"no_renegotiation" in output.lower(), output[-800:]
    with Secure(proxy.secure, authority.client_context()) as client:
        assert ask(client).status == 200


# Strangers

def test_a_handshake_that_comes_slowly_is_cut(secure, authority):
    proxy = secure(limits='\n[limits]\nhandshake_timeout = "500ms"\n')
    started = time.monotonic()
    with Client(proxy.secure) as idle, Client(proxy.secure) as slow:
        slow.send(b"\x16\x03\x01\x02\x00\x01")
        assert idle.ended(5) and slow.ended(5)
    assert 0.3 < time.monotonic() - started < 3
    with Secure(proxy.secure, authority.client_context()) as client:
        assert ask(client).status == 200


@pytest.mark.parametrize("data", [
    b"\x00" * 64, b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", b"SSH-2.0-x\r\n", b"\x80\x2e\x01\x00\x02" + b"\x00" * 43,
    b"\x16\x03\x01\xff\xff" + b"\x01" * 70000, b"\x15\x03\x01\x00\x02\x02\x28",
], ids=["zeros", "empty-hello", "ssh", "ssl2", "long-record", "alert"])
def test_garbage_ends_the_connection_and_nothing_else(secure, authority, own_backend, data):
    proxy = secure()
    with Client(proxy.secure) as client:
        client.try_send(data)
        end = time.monotonic() + 5
        client.sock.settimeout(5)
        with contextlib.suppress(ConnectionError):
            while client.sock.recv(4096):
                assert time.monotonic() < end
    with Secure(proxy.secure, authority.client_context()) as client:
        assert ask(client).status == 200
    assert len(own_backend.requests) == 1


def test_plain_http_on_the_tls_port_is_told_so(secure, own_backend):
    proxy = secure()
    with Client(proxy.secure) as client:
        client.send(b"GET /public/x HTTP/1.1\r\nHost: usher.test\r\n\r\n")
        answer = client.response()
        assert answer.status == 400 and answer.problem["code"] == "bad_request"
        assert client.ended()
    assert not own_backend.requests
    assert proxy.wait_log(status=400)["detail"] == "plain_http"


def test_tls_on_the_plain_port_is_refused(secure, authority, own_backend):
    proxy = secure()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Secure(proxy.port, authority.client_context())
    assert not own_backend.requests


def test_hundreds_of_handshakes_do_not_stop_a_client_that_has_one(secure, authority):
    proxy = secure()
    context = authority.client_context()
    with Secure(proxy.secure, context) as client:
        assert ask(client).status == 200
        failures = []

        def storm():
            for _ in range(15):
                try:
                    with Secure(proxy.secure, context) as other:
                        assert ask(other).status == 200
                except Exception as error:
                    failures.append(error)

        threads = [threading.Thread(target=storm) for _ in range(8)]
        for thread in threads:
            thread.start()
        slowest = 0.0
        while any(thread.is_alive() for thread in threads):
            began = time.monotonic()
            assert ask(client).status == 200
            slowest = max(slowest, time.monotonic() - began)
        assert not failures and slowest < 2


def test_proxy_protocol_comes_before_tls(secure, authority, own_backend):
    proxy = secure(tls='proxy_protocol = true\ntrusted_proxies = ["127.0.0.1/32"]')
    header = b"PROXY TCP4 192.0.2.9 192.0.2.1 5000 443\r\n"
    with Secure(proxy.secure, authority.client_context(), before=header) as client:
        assert ask(client).status == 200
    assert own_backend.last.headers.get("x-forwarded-for") == "192.0.2.9"
    assert own_backend.last.headers.get("x-forwarded-proto") == "https"


def test_proxy_protocol_and_the_first_flight_in_one_piece(secure, authority, own_backend):
    proxy = secure(tls='proxy_protocol = true\ntrusted_proxies = ["127.0.0.1/32"]')
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = authority.client_context().wrap_bio(incoming, outgoing, server_hostname="usher.test")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    with Client(proxy.secure) as client:
        client.send(b"PROXY TCP4 192.0.2.9 192.0.2.1 5000 443\r\n" + outgoing.read())
        while True:
            incoming.write(client.sock.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                session.do_handshake()
                break
        session.write(b"GET /public/x HTTP/1.1\r\nHost: usher.test\r\n\r\n")
        client.send(outgoing.read())
        own_backend.wait_requests(1)
