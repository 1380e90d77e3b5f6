"""TLS on listeners: versions, certificates by name, tickets, client certificates, reload; with Python's ssl, curl, httpx
and openssl as clients, and a certificate authority made here."""

import contextlib
import datetime
import json
import re
import resource
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import httpx
import pytest
import tlslite
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.x509 import ocsp
from tlslite.api import HandshakeSettings
from tlslite.constants import KeyUpdateMessageType
from websockets.sync.client import connect

from harness import configuration
from harness.authority import Authority
from harness.kernel import Kernel
from harness.process import command
from harness.tokens import b64, bearer, token
from harness.waiting import wait_until
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
        end = time.monotonic() + 20
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
    assert ended.wait(30)
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


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_keys_of_tickets_change(secure, authority, tmp_path, version):
    """A key makes tickets for four hours; a ticket of the key before is taken up for eight hours, and then no more."""
    kernel = Kernel(tmp_path)
    proxy = secure(workers=2, env=kernel.environment)

    def visit(hours, *options):
        """What openssl says of a connection that many hours after the start, with these of its options."""
        kernel.set(step=round(hours * 3600))
        run = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.secure}", f"-{version}", "-CAfile", str(authority.file),
             "-servername", "usher.test", "-ign_eof", *map(str, options)],
            input=b"GET /public/x HTTP/1.1\r\nHost: usher.test\r\nConnection: close\r\n\r\n", capture_output=True, timeout=20)
        assert b"HTTP/1.1 200" in run.stdout, run.stdout + run.stderr
        return run.stdout

    def is_taken_up(hours, session):
        words = visit(hours, "-sess_in", session)
        assert (b"Reused, TLS" in words) != (b"New, TLS" in words), words
        return b"Reused, TLS" in words

    def session_of(hours):
        file = tmp_path / f"session-{hours}"
        visit(hours, "-sess_out", file)
        return file

    def key_name(session):
        text = subprocess.run(["openssl", "sess_id", "-in", session, "-noout", "-text"], capture_output=True, text=True, check=True).stdout
        return re.search(r"TLS session ticket:\s+0000 - ((?:[0-9a-f]{2}[ -]){16})", text)[1]

    first, second, third = session_of(0), session_of(3.9), session_of(4.1)
    assert key_name(first) == key_name(second) != key_name(third)
    assert is_taken_up(4.1, first) and is_taken_up(4.1, third)
    assert is_taken_up(7.9, first) and not is_taken_up(8.1, first)
    fourth = session_of(8.2)
    assert len({key_name(session) for session in (first, third, fourth)}) == 3
    assert is_taken_up(8.2, third) and not is_taken_up(12.3, third)


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


def update_keys(proxy, times: int) -> bytes:
    """The answer to a client that changes its keys so many times before it asks; empty where it is cut."""
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = (3, 4)
    with Client(proxy.secure) as client, contextlib.suppress(ConnectionError, tlslite.errors.TLSError):
        connection = tlslite.TLSConnection(client.sock)
        connection.handshakeClientCert(serverName="usher.test", settings=settings)
        for _ in range(times):
            for _ in connection.send_keyupdate_request(KeyUpdateMessageType.update_not_requested):
                pass
        connection.sendall(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
        return bytes(connection.recv(1000))
    return b""


def test_keys_may_be_updated(secure):
    assert update_keys(secure(), 30).startswith(b"HTTP/1.1 200 OK")


def test_keys_that_are_updated_without_end(secure, authority):
    """Each update is dearer for us than for the client, and OpenSSL would read on for as long as they come."""
    proxy = secure()
    assert update_keys(proxy, 200) == b""
    with Secure(proxy.secure, authority.client_context()) as client:
        assert ask(client).status == 200


class Crumbs(Secure):
    """A client that makes its TLS records itself."""

    def __init__(self, port, context, tmp_path):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.keylog_filename = str(tmp_path / "keys")
        super().__init__(port, context)
        lines = (line.split() for line in (tmp_path / "keys").read_text().splitlines())
        secret = next(bytes.fromhex(line[2]) for line in lines if line[0] == "CLIENT_TRAFFIC_SECRET_0")
        digest, key_bytes = (hashes.SHA384(), 32) if "SHA384" in self.sock.cipher()[0] else (hashes.SHA256(), 16)

        def expand(label: bytes, count: int) -> bytes:
            label = b"tls13 " + label
            return HKDFExpand(digest, count, struct.pack("!HB", count, len(label)) + label + b"\0").derive(secret)

        self.cipher, self.vector, self.number = AESGCM(expand(b"key", key_bytes)), int.from_bytes(expand(b"iv", 12), "big"), 0

    def record(self, data: bytes) -> bytes:
        head = b"\x17\x03\x03" + struct.pack("!H", len(data) + 17)
        self.number += 1
        return head + self.cipher.encrypt((self.vector ^ self.number - 1).to_bytes(12, "big"), data + b"\x17", head)

    def crumbs(self, data: bytes) -> bytes:
        """As many empty records before each byte as OpenSSL takes."""
        return b"".join(b"".join(self.record(b"") for _ in range(31)) + self.record(bytes([byte])) for byte in data)

    def send_records(self, data: bytes) -> None:
        with socket.socket(fileno=self.sock.detach()) as raw:
            raw.sendall(data)


# Whoever waits for a worker that is held up does so each time, and what else the machine does only adds to it.
TRIALS = 8


def slowest_answer(proxy, meanwhile) -> tuple[float, float]:
    """How long others wait at most while that is done, and how long it takes."""
    worker = threading.Thread(target=meanwhile)
    slowest = 0.0
    with proxy.client() as client:
        assert ask(client).status == 200
        began_all = time.monotonic()
        worker.start()
        while worker.is_alive():
            began = time.monotonic()
            assert ask(client).status == 200
            slowest = max(slowest, time.monotonic() - began)
    return slowest, time.monotonic() - began_all


@pytest.mark.parametrize("before, after", [
    (b"POST /public/x HTTP/1.1\r\nHost: usher.test\r\nContent-Length: 100000\r\n\r\n", b""),
    (b"POST /nowhere HTTP/1.1\r\nHost: usher.test\r\nContent-Length: 100000\r\n\r\n", b""),
    (b"", b"GET /public/x HTTP/1.1\r\nHost: usher.test\r\nX-Long: "),
], ids=["body", "body that nobody wants", "head"])
def test_records_of_one_byte_do_not_stop_others(secure, authority, tmp_path, before, after):
    """A read gave as much as there was room for, however many records that took: 65 KB of body were two seconds."""
    proxy = secure(limits="[limits]\ndrain_timeout = \"100ms\"")

    def attack(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        client = Crumbs(proxy.secure, authority.client_context(), folder)
        client.sock.setblocking(True)
        first = client.record(before) if before else b""
        flood = first + client.crumbs(after + b"x" * 30_000)
        return slowest_answer(proxy, lambda: client.send_records(flood))
    assert any(slowest < whole / 2 for slowest, whole in map(attack, range(TRIALS)))


@pytest.mark.parametrize("empty", [0, 31])
def test_a_handshake_in_records_of_one_byte_does_not_stop_others(secure, authority, empty):
    """OpenSSL goes through a whole message in one step: 130 KB of ClientHello were 21 MB, and two seconds."""
    proxy = secure()
    hello = b"\x01" + struct.pack("!I", 131_000)[1:] + b"\x03\x03" + bytes(130_000)
    flood = b"".join(b"\x16\x03\x01\0\0" * empty + b"\x16\x03\x01\0\x01" + bytes([byte]) for byte in hello)

    def send():
        with socket.create_connection(("127.0.0.1", proxy.secure)) as raw, contextlib.suppress(ConnectionError):
            raw.sendall(flood)

    assert any(slowest_answer(proxy, send)[0] < 0.5 for _ in range(TRIALS))
    with Secure(proxy.secure, authority.client_context()) as client:
        assert ask(client).status == 200


# Strangers

def test_a_handshake_that_comes_slowly_is_cut(secure, authority):
    proxy = secure(limits='\n[limits]\nhandshake_timeout = "3s"\n')
    started = time.monotonic()
    with Client(proxy.secure) as idle, Client(proxy.secure) as slow:
        slow.send(b"\x16\x03\x01\x02\x00\x01")
        assert idle.ended(9) and slow.ended(9)
    assert 2.5 < time.monotonic() - started < 9
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
        end = time.monotonic() + 20
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
        assert not failures and slowest < 9


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


# Client certificates

IDENTITY = """
[identity]
headers = { "X-User-Id" = "sub", "X-Client-Subject" = "tls.subject", "X-Client-San" = "tls.san", "X-Client-Print" = "tls.fingerprint" }
"""
FORGED = {"X-Client-Subject": "CN=evil", "x_client_san": "URI:evil", "X-Client.Print": "00", "X-SSL-Client-Cert": "evil",
          "X-Forwarded-Client-Cert": "evil"}


def identity(request):
    return {name: request.headers.get(name) for name in ("x-client-subject", "x-client-san", "x-client-print")}


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_required_certificate(secure, authority, pairs, own_backend, version):
    proxy = secure(tls=f'tls.client_ca = "{authority.file}"', preamble="", more=IDENTITY)
    version = getattr(ssl.TLSVersion, version)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with Secure(proxy.secure, authority.client_context(version=version)) as client:
            ask(client)
    assert not own_backend.requests
    alice = pairs["alice"]
    session = None
    context = authority.client_context(alice, version=version)
    for reused in (False, True):
        with Secure(proxy.secure, context, session=session) as client:
            assert ask(client, headers=FORGED).status == 200
            assert client.sock.session_reused == reused
            session = client.sock.session
        assert identity(own_backend.last) == {
            "x-client-subject": "CN=alice,O=Acme\\, Inc.", "x-client-san": "DNS:alice.clients.test,URI:spiffe://test/alice",
            "x-client-print": alice.fingerprint}
        for name in ("x_client_san", "x-client.print", "x-ssl-client-cert", "x-forwarded-client-cert"):
            assert name not in own_backend.last.headers
        assert len(own_backend.last.headers.all("x-client-subject")) == 1


def test_an_optional_certificate_and_none(secure, authority, pairs, own_backend):
    """H6: without a certificate nothing that names one arrives, on either listener."""
    proxy = secure(tls=f'tls.client_ca = "{authority.file}"\ntls.client_auth = "optional"', more=IDENTITY)
    with Secure(proxy.secure, authority.client_context()) as client:
        assert ask(client, headers=FORGED).status == 200
    assert set(identity(own_backend.last).values()) == {None}
    assert proxy.get("/public/x", FORGED).status == 200
    assert set(identity(own_backend.last).values()) == {None}
    with Secure(proxy.secure, authority.client_context(pairs["alice"])) as client:
        assert ask(client, "/api/x", bearer(token(sub="u1"))).status == 200
    assert own_backend.last.user == ["u1"]
    assert identity(own_backend.last)["x-client-print"] == pairs["alice"].fingerprint


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_j20_a_token_bound_to_a_certificate_is_good_on_its_connections_alone(secure, authority, pairs, own_backend, version):
    """RFC 8705 section 3: also where the token is remembered, and where the session is taken up again."""
    version = getattr(ssl.TLSVersion, version)
    proxy = secure(tls=f'tls.client_ca = "{authority.file}"\ntls.client_auth = "optional"')
    thumbprint = b64(bytes.fromhex(pairs["alice"].fingerprint))
    bound = bearer(token(sub="alice", cnf={"x5t#S256": thumbprint}))
    other = authority.sign("mallory", ["mallory.clients.test"], client=True)
    alice = authority.client_context(pairs["alice"], version=version)

    def refused():
        count = len(own_backend.requests)
        for context in (authority.client_context(version=version), authority.client_context(other, version=version)):
            with Secure(proxy.secure, context) as client:
                answer = ask(client, "/api/x", bound)
                assert answer.status == 401 and answer.json()["code"] == "token_invalid"
        assert proxy.get("/api/x", bound).status == 401
        assert len(own_backend.requests) == count

    refused()
    session = None
    for _ in range(2):
        with Secure(proxy.secure, alice, session=session) as client:
            for _ in range(2):
                assert ask(client, "/api/x", bound).status == 200
                assert own_backend.last.user == ["alice"]
            assert client.sock.session_reused == (session is not None)
            session = client.sock.session
        refused()
    proxy.wait_log(detail="token_wrong_certificate")
    with Secure(proxy.secure, alice) as client:
        for cnf in ({"x5t#S256": thumbprint, "jkt": b64(bytes(range(32)))}, {"x5t#S256": thumbprint + "="}, {"x5t#S256": [thumbprint]},
                    {"x5t": thumbprint}):
            assert ask(client, "/api/x", bearer(token(sub="alice", cnf=cnf))).status == 401, cnf
        assert ask(client, "/api/x", bearer(token(sub="alice"))).status == 200, "not bound, good anywhere"


def test_a_connection_does_not_outlive_its_certificate(secure, authority, own_backend):
    proxy = secure(tls=f'protocols = ["h2", "http/1.1"]\ntls.client_ca = "{authority.file}"', more=IDENTITY)
    brief = authority.sign("brief", ["brief.clients.test"], client=True, days=(-1, 8 / 86_400))
    context = authority.client_context(brief)
    # By itself httpx gives up a connection that was idle for five seconds: the proxy has to.
    kept = httpx.Limits(keepalive_expiry=60)
    with (Secure(proxy.secure, context) as client,
          httpx.Client(http2=True, verify=authority.client_context(brief), limits=kept) as streams):
        assert ask(client).status == 200
        assert streams.get(f"https://localhost:{proxy.secure}/public/x").http_version == "HTTP/2"
        assert {r.headers.get("x-client-print") for r in own_backend.requests} == {brief.fingerprint}
        time.sleep(max(0, brief.certificate.not_valid_after_utc.timestamp() - time.time()) + 1.1)
        count = len(own_backend.requests)
        client.send(b"GET /public/late HTTP/1.1\r\nHost: usher.test\r\n\r\n")
        assert ended(client)
        with pytest.raises(httpx.TransportError):
            streams.get(f"https://localhost:{proxy.secure}/public/late")
        assert len(own_backend.requests) == count


@pytest.mark.parametrize("bad", ["stranger", "expired", "server-usage", "nul"])
def test_certificates_that_do_not_hold(secure, authority, own_backend, tmp_path, bad):
    """F8 among them: a name with a NUL ends the connection before it is a name."""
    proxy = secure(tls=f'tls.client_ca = "{authority.file}"\ntls.client_auth = "optional"', more=IDENTITY)
    pair = {
        "stranger": lambda: Authority(tmp_path, "stranger").sign("x", ["x.test"], client=True),
        "expired": lambda: authority.sign("gone", ["x.test"], client=True, days=(-9, -1)),
        "server-usage": lambda: authority.sign("server-usage", ["x.test"]),
        "nul": lambda: authority.sign(
            "nul", [], common_name="nul", client=True,
            raw_names=[x509.UniformResourceIdentifier("spiffe://good.test\0.evil/a")]),
    }[bad]()
    with pytest.raises((ssl.SSLError, ConnectionError, Closed)):
        with Secure(proxy.secure, authority.client_context(pair)) as client:
            ask(client)
    assert not own_backend.requests


# Files that change

def wait_certificate(proxy, authority, wanted, timeout=30):
    end = time.monotonic() + timeout
    context = authority.client_context()
    while time.monotonic() < end:
        with Secure(proxy.secure, context) as client:
            if client.peer().serial_number == wanted:
                return True
        time.sleep(0.05)
    return False


def test_a_new_pair_is_used_and_no_connection_is_dropped(secure, authority, pairs, tmp_path):
    authority_folder = authority.folder
    pair = authority.sign("rolling", ["usher.test"])
    pairs["rolling"] = pair
    proxy = secure(names=("rolling",))
    old = pair.certificate.serial_number
    with Secure(proxy.secure, authority.client_context()) as client:
        assert client.peer().serial_number == old
        renewed = authority.sign("rolling", ["usher.test"])
        assert renewed.cert_file == authority_folder / "rolling.pem"
        assert wait_certificate(proxy, authority, renewed.certificate.serial_number)
        assert ask(client).status == 200
    proxy.wait_said(b"certificates loaded")


def test_a_new_pair_is_no_reason_to_reload(secure, authority, pairs):
    """With `watch` one change did both; a reload takes an expired one, too, and none while the pair does not fit."""
    pairs["once"] = authority.sign("once", ["usher.test"])
    proxy = secure(names=("once",), tls=f'tls.client_ca = "{authority.file}"\ntls.client_auth = "optional"', preamble="watch = true\n")
    renewed = authority.sign("once", ["usher.test"])
    assert wait_certificate(proxy, authority, renewed.certificate.serial_number)
    authority.sign("once", ["usher.test"], days=(-9, -1))
    proxy.wait_said(b"has expired")
    time.sleep(1)
    assert wait_certificate(proxy, authority, renewed.certificate.serial_number)
    said = bytes(proxy.errors)
    assert b"a file of the configuration has changed" not in said and b"configuration reloaded" not in said, said
    assert said.count(b"certificates loaded") == 1


def test_a_certificate_that_is_not_there_yet_is_waited_for(secure, authority, pairs):
    """A configuration that is not in force has nobody else to look after its certificates."""
    pairs["soon"] = authority.sign("soon", ["usher.test"])
    proxy = secure(preamble="watch = true\n")
    content = pairs["soon"].cert_file.read_bytes()
    pairs["soon"].cert_file.unlink()
    proxy.file.write_text(proxy.file.read_text().replace(pairs["main"].toml(), pairs["soon"].toml()))
    proxy.wait_said(b"configuration not changed")
    pairs["soon"].cert_file.write_bytes(content)
    assert wait_certificate(proxy, authority, pairs["soon"].certificate.serial_number)


def test_a_certificate_that_is_named_twice_is_one_series(secure):
    proxy = secure(names=("main", "main"))
    lines = [line for line in proxy.admin_request("/metrics").body.splitlines() if line.startswith(b"usher_tls_certificate_expiry_timestamp_seconds{")]
    assert len(lines) == 1, lines


def test_a_new_pair_that_no_descriptor_was_left_for_is_read_later(secure, authority, pairs):
    """It has not changed again, and is used all the same."""
    pairs["late"] = authority.sign("late", ["usher.test"])
    proxy = secure(names=("late",))
    limits = resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    proxy.stand_still()  # both files change before it looks again
    renewed = authority.sign("late", ["usher.test"])
    proxy.signal(signal.SIGCONT)
    proxy.wait_said(b"certificates not changed")
    time.sleep(1.1)
    assert bytes(proxy.errors).count(b"certificates not changed") == 1
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, limits)
    assert wait_certificate(proxy, authority, renewed.certificate.serial_number)


@pytest.mark.parametrize("bad, reason", [
    ("mismatch", b"does not belong"), ("garbage", b"holds no certificate"), ("expired", b"has expired"),
    ("missing", b"cannot read"),
])
def test_a_bad_pair_keeps_the_old_one_and_says_why(secure, authority, pairs, bad, reason):
    stem = f"bad-{bad}"
    pair = authority.sign(stem, ["usher.test"])
    pairs[stem] = pair
    proxy = secure(names=(stem,))
    other = authority.sign("unrelated", ["usher.test"])
    match bad:
        case "mismatch": pair.key_file.write_bytes(other.key_file.read_bytes())
        case "garbage": pair.cert_file.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        case "expired": authority.sign(stem, ["usher.test"], days=(-9, -1))
        case "missing": pair.key_file.unlink()
    end = time.monotonic() + 20
    while reason not in bytes(proxy.errors) and time.monotonic() < end:
        time.sleep(0.02)
    assert reason in bytes(proxy.errors), bytes(proxy.errors)
    with Secure(proxy.secure, authority.client_context()) as client:
        assert client.peer().serial_number == pair.certificate.serial_number
        assert ask(client).status == 200
    # SIGHUP reads the same files, and keeps what runs as well; but for "expired", which is only warned of.
    proxy.signal(signal.SIGHUP)
    time.sleep(0.3)
    if bad != "expired":
        with Secure(proxy.secure, authority.client_context()) as client:
            assert client.peer().serial_number == pair.certificate.serial_number


def test_an_expired_pair_keeps_no_other_one_from_renewal(secure, authority, pairs):
    """It is only warned of at the start; and what replaces it has to be no better."""
    pairs["late"] = authority.sign("late-renewal", ["late.test"], days=(-10, -1))
    pairs["timely"] = authority.sign("timely-renewal", ["usher.test"])
    proxy = secure(names=("late", "timely"))
    renewed = authority.sign("timely-renewal", ["usher.test"])
    assert wait_certificate(proxy, authority, renewed.certificate.serial_number)
    renewed.cert_file.write_bytes(b"nobody")
    proxy.wait_said(b"holds no certificate")
    authority.sign("late-renewal", ["late.test"], days=(-9, -2))
    wait_until(lambda: proxy.errors.count(b"certificates loaded") >= 2)
    late = authority.sign("late-renewal", ["usher.test"], days=(-1, 9))
    # As the first it is for whoever asks for no name that there is, and now for this one.
    assert wait_certificate(proxy, authority, late.certificate.serial_number)
    refusals = [line for line in bytes(proxy.errors).splitlines() if b"certificates not changed" in line]
    assert not any(b"has expired" in line for line in refusals), refusals


def test_sighup_with_another_certificate(secure, authority, pairs):
    proxy = secure(names=("main",))
    with Secure(proxy.secure, authority.client_context()) as before:
        proxy.file.write_text(proxy.file.read_text().replace(pairs["main"].toml(), pairs["rsa"].toml()))
        proxy.signal(signal.SIGHUP)
        assert wait_certificate(proxy, authority, pairs["rsa"].certificate.serial_number)
        assert ask(before).status == 200


def ended(client):
    """True where the connection ends by itself."""
    try:
        return client.reader.some() == b""
    except TimeoutError:
        return False
    except (Closed, OSError):
        return True


@pytest.mark.parametrize("change", ["authority", "file", "required"])
def test_other_rules_for_clients_end_the_connections_of_the_old_ones(secure, authority, pairs, own_backend, tmp_path, change):
    """Who was let in by an authority that is trusted no more, or without a certificate that is needed now, asks anew."""
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes(authority.file.read_bytes())
    other = Authority(tmp_path, "new")
    optional = change == "required"
    proxy = secure(tls=f'tls.client_ca = "{trusted}"\ntls.client_auth = "{"optional" if optional else "required"}"', more=IDENTITY)
    context = authority.client_context(None if optional else pairs["alice"])
    with Secure(proxy.secure, context) as idle, Secure(proxy.secure, context) as busy, proxy.client() as plain:
        assert ask(idle).status == ask(busy).status == plain.request("GET", "/public/x", host="usher.test").status == 200
        assert identity(own_backend.requests[0])["x-client-print"] == (None if optional else pairs["alice"].fingerprint)
        busy.send(b"POST /public/x HTTP/1.1\r\nHost: usher.test\r\nContent-Length: 1\r\n\r\n")
        own_backend.wait_requests(4)
        text = proxy.file.read_text()
        match change:
            case "authority": proxy.file.write_text(text.replace(str(trusted), str(other.file)))
            case "file": trusted.write_bytes(other.file.read_bytes())
            case "required": proxy.file.write_text(text.replace('"optional"', '"required"'))
        if change != "file":
            proxy.signal(signal.SIGHUP)
        proxy.wait_said(b"certificates loaded" if change == "file" else b"configuration reloaded")
        count = len(own_backend.requests)
        assert ended(idle)
        # What was under way ends as it began.
        busy.send(b"x")
        assert busy.response().status == 200
        assert ended(busy)
        assert len(own_backend.requests) == count
        assert plain.request("GET", "/public/x", host="usher.test").status == 200, "this listener is as it was"


def test_other_rules_for_clients_end_connections_of_http2(secure, authority, pairs, own_backend, tmp_path):
    other = Authority(tmp_path, "new")
    proxy = secure(tls=f'protocols = ["h2"]\ntls.client_ca = "{authority.file}"', more=IDENTITY)
    url = f"https://localhost:{proxy.secure}/public/x"
    with httpx.Client(http2=True, verify=authority.client_context(pairs["alice"])) as client:
        assert client.get(url).status_code == 200
        proxy.file.write_text(proxy.file.read_text().replace(str(authority.file), str(other.file)))
        proxy.signal(signal.SIGHUP)
        proxy.wait_said(b"configuration reloaded")
        end = time.monotonic() + 20
        with pytest.raises(httpx.TransportError):
            while time.monotonic() < end:
                assert client.get(url).status_code == 200
                time.sleep(0.05)


# OCSP and HSTS

def staple(authority, pair, days):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=pair.certificate, issuer=authority.certificate, algorithm=hashes.SHA1(),
        cert_status=ocsp.OCSPCertStatus.GOOD, this_update=now - datetime.timedelta(days=3),
        next_update=now + datetime.timedelta(days=days), revocation_time=None, revocation_reason=None,
    ).responder_id(ocsp.OCSPResponderEncoding.HASH, authority.certificate)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_an_ocsp_response_is_stapled(secure, authority, pairs, tmp_path):
    file = tmp_path / "main.ocsp"
    file.write_bytes(staple(authority, pairs["main"], 3))
    proxy = secure(tls=f'tls.ocsp = "{file}"')
    run = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.secure}", "-status", "-CAfile", str(authority.file),
         "-servername", "usher.test"], input=b"", capture_output=True, timeout=20)
    assert b"OCSP Response Status: successful" in run.stdout and b"Cert Status: good" in run.stdout, run.stdout[-600:]


def shown_status(proxy, authority) -> bytes:
    """What openssl says of the response that is stapled."""
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.secure}", "-status", "-CAfile", str(authority.file),
         "-servername", "usher.test"], input=b"", capture_output=True, timeout=60).stdout


def test_an_ocsp_response_that_is_out_of_date_keeps_nothing_from_being_used(secure, authority, pairs, tmp_path):
    """It is not stapled, and warned of: neither the start, nor a reload, nor a renewed certificate waits for a new one."""
    pairs["stale"] = authority.sign("stale", ["usher.test"])
    file = tmp_path / "stale.ocsp"
    file.write_bytes(staple(authority, pairs["stale"], -1))
    proxy = secure(names=("stale",), tls=f'tls.ocsp = "{file}"')
    proxy.wait_said(b"out of date")
    assert b"OCSP response: no response sent" in shown_status(proxy, authority)
    assert b"usher_tls_certificate_expiry_timestamp_seconds{" in proxy.admin_request("/metrics").body
    proxy.signal(signal.SIGHUP)
    proxy.wait_said(b"configuration reloaded")
    renewed = authority.sign("stale", ["usher.test"])
    assert wait_certificate(proxy, authority, renewed.certificate.serial_number)
    assert b"OCSP response: no response sent" in shown_status(proxy, authority)
    file.write_bytes(staple(authority, renewed, 3))
    wait_until(lambda: b"Cert Status: good" in shown_status(proxy, authority))


def test_a_renewed_certificate_waits_for_the_response_about_the_old_one_no_longer_than_it_holds(
        secure, authority, pairs, tmp_path):
    """Nobody looked at the files again, for none of them had changed: the old one was shown until it had expired, and after."""
    pairs["renewed"] = authority.sign("renewed", ["usher.test"])
    file = tmp_path / "renewed.ocsp"
    file.write_bytes(staple(authority, pairs["renewed"], 8 / 86400))
    proxy = secure(names=("renewed",), tls=f'tls.ocsp = "{file}"')
    renewed = authority.sign("renewed", ["usher.test"])
    proxy.wait_said(b"certificates not changed")
    assert wait_certificate(proxy, authority, renewed.certificate.serial_number)
    assert bytes(proxy.errors).count(b"certificates not changed") == 1, "said once"


@pytest.mark.parametrize("days, refused", [(3, True), (-1, False)], ids=["in time", "out of date"])
def test_an_ocsp_response_for_another_certificate(authority, pairs, tmp_path, days, refused):
    """One that holds is a mistake, which clients would stumble over; one that does not is shown to nobody."""
    file, text = tmp_path / "other.ocsp", tmp_path / "usher.toml"
    file.write_bytes(staple(authority, pairs["other"], days))
    text.write_text(f"""
[listen.a]
address = "127.0.0.1:1"
tls.certificates = [{pairs["main"].toml()[:-1]}, ocsp = "{file}" }}]

[upstream.u]
servers = ["127.0.0.1:2"]

[[route]]
path = "/"
auth = "none"
upstream = "u"
""")
    run = command("check", "--config", str(text))
    said = run.stdout + run.stderr
    assert (run.returncode != 0) == refused, said
    assert ("the OCSP response is none" if refused else "is out of date") in said


@pytest.mark.parametrize("value, expected", [
    ('"365d"', "max-age=31536000"),
    ('{ max_age = "2d", include_subdomains = true, preload = true }', "max-age=172800; includeSubDomains; preload"),
])
def test_hsts_over_tls_alone(secure, authority, own_backend, value, expected):
    proxy = secure(tls=f"tls.hsts = {value}")
    with Secure(proxy.secure, authority.client_context()) as client:
        for target, status in (("/public/x", 200), ("/api/x", 401), ("/nothing", 404)):
            answer = ask(client, target)
            assert answer.status == status
            assert answer.headers.all("strict-transport-security") == [expected]
        # What the backend says itself counts, once.
        own_backend.script = lambda e: e.reply(200, b"", [("Strict-Transport-Security", "max-age=5")])
        assert ask(client).headers.all("strict-transport-security") == ["max-age=5"]
    own_backend.clear()
    for target in ("/public/x", "/api/x"):
        assert not proxy.get(target).headers.all("strict-transport-security")


# From plain to secure

REDIRECT = configuration.SMALL + """
[[route]]
path = "/moved/**"
auth = "none"
redirect = "https:{to}"
"""


@pytest.mark.parametrize("target, host, location", [
    ("/moved/a?b=c&d=%20", "usher.test", "https://usher.test:9443/moved/a?b=c&d=%20"),
    ("/moved/", "usher.test:8080", "https://usher.test:9443/moved/"),
    ("/moved/x", "[::1]:80", "https://[::1]:9443/moved/x"),
    ("http://other.test/moved/y", "other.test", "https://other.test:9443/moved/y"),
])
def test_a_route_that_redirects(secure, own_backend, target, host, location):
    proxy = secure(text=REDIRECT, to=9443)
    with proxy.client() as client:
        for method in ("GET", "HEAD", "POST"):
            answer = client.request(method, target, {}, b"x" if method == "POST" else None, host)
            assert answer.status == 308 and answer.headers.all("location") == [location]
            assert answer.body == b""
    assert not own_backend.requests


def test_over_tls_a_redirect_would_be_for_ever(secure, authority, own_backend):
    proxy = secure(text=REDIRECT, to=9443)
    with Secure(proxy.secure, authority.client_context()) as client:
        assert ask(client, "/moved/x").status == 404
    assert not own_backend.requests


def test_a_redirect_behind_a_proxy_that_speaks_tls(start, own_backend):
    proxy = start(own_backend, REDIRECT, to=443, listen='trusted_proxies = ["127.0.0.1/32"]')
    assert proxy.get("/moved/x", {"X-Forwarded-Proto": "https"}).status == 404
    assert proxy.get("/moved/x", {"Forwarded": "for=203.0.113.9;proto=https"}).status == 404
    assert proxy.get("/moved/x", {"Forwarded": "for=203.0.113.9;proto=http"}).status == 308
    twice = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "a"), ("X-Forwarded-Host", "b")]
    assert proxy.get("/moved/x", twice).status == 404
    assert proxy.get("/moved/x", [("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")]).status == 308
    assert proxy.get("/moved/x", {"X-Forwarded-Proto": "http"}).headers.get("location") == "https://usher.test/moved/x"


def test_a_strangers_word_about_the_scheme_is_not_believed(start, own_backend):
    proxy = start(own_backend, REDIRECT, to=443)
    assert proxy.get("/moved/x", {"X-Forwarded-Proto": "https"}).status == 308


def test_a_listener_that_redirects_everything(start, own_backend, authority):
    proxy = start(own_backend, listen='mode = "redirect"')
    for target, headers in (("/api/x", bearer(token())), ("/public/x", {}), ("/nothing", {})):
        answer = proxy.get(target, headers)
        assert answer.status == 308 and answer.headers.get("location") == f"https://usher.test{target}"
    assert proxy.get("/a/../b").status == 400
    assert proxy.get("//evil.test/x").status in (400, 308)
    assert not own_backend.requests


@pytest.mark.parametrize("host", ["evil.test/x", "a@b", "a b", "a\\b"])
def test_a_redirect_goes_to_no_other_host(start, own_backend, host):
    proxy = start(own_backend, listen='mode = "redirect"')
    assert proxy.get("/x", host=host).status == 400


# HTTP/2 by ALPN


def test_http2_by_alpn(secure, authority, own_backend):
    context = authority.client_context()
    proxy = secure(plain='protocols = ["h2"]\n', tls='protocols = ["h2", "http/1.1"]')
    with httpx.Client(http2=True, verify=context) as client:
        answer = client.get(f"https://localhost:{proxy.secure}/api/x", headers=bearer(token()))
        assert answer.status_code == 200 and answer.http_version == "HTTP/2" and answer.json()["user"] == ["alice"]
        assert own_backend.last.headers.get("x-forwarded-proto") == "https"
        answer = client.post(f"https://localhost:{proxy.secure}/public/x", content=b"z" * 500_000)
        assert answer.json()["body"] == "z" * 500_000
    with httpx.Client(http2=False, verify=authority.client_context()) as client:
        answer = client.get(f"https://localhost:{proxy.secure}/public/x")
        assert answer.status_code == 200 and answer.http_version == "HTTP/1.1"


def test_no_http2_where_alpn_does_not_say_so(secure, authority):
    """The preface of prior knowledge is nothing on a listener with TLS."""
    proxy = secure(tls='protocols = ["h2", "http/1.1"]')
    with Secure(proxy.secure, authority.client_context()) as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.response().status in (400, 505)


def test_a_client_certificate_on_every_stream(secure, authority, pairs, own_backend):
    proxy = secure(tls=f'protocols = ["h2"]\ntls.client_ca = "{authority.file}"', more=IDENTITY)
    with httpx.Client(http2=True, verify=authority.client_context(pairs["alice"])) as client:
        for _ in range(3):
            answer = client.get(f"https://localhost:{proxy.secure}/public/x", headers=FORGED)
            assert answer.http_version == "HTTP/2"
            assert identity(own_backend.last)["x-client-print"] == pairs["alice"].fingerprint
            assert len(own_backend.last.headers.all("x-client-subject")) == 1
            assert "alice" in identity(own_backend.last)["x-client-subject"]
