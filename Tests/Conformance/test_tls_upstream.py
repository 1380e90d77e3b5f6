"""TLS to upstreams: verified by default, by name and authority; a server that does not prove itself gets nothing."""

import contextlib
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import tlslite
from cryptography import x509
from tlslite.constants import KeyUpdateMessageType

from harness import configuration
from harness.authority import Authority
from harness.backend import Backend
from harness.tokens import bearer, token
from harness.waiting import wait_until


class TLSBackend(Backend):
    """The recording backend behind TLS; `sessions` says of each connection whether its session was taken up again."""

    def __init__(self, context: ssl.SSLContext):
        self.context = context
        self.sessions: list[bool] = []
        self.names: list[str | None] = []
        self.peers: list[dict | None] = []
        self.refused = 0
        context.sni_callback = lambda sock, name, _: self.names.append(name)
        super().__init__()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            secure = self.context.wrap_socket(sock, server_side=True)
        except (ssl.SSLError, OSError):
            self.refused += 1
            sock.close()
            return
        self.sessions.append(secure.session_reused)
        self.peers.append(secure.getpeercert())
        with self.lock:
            self._open.add(secure)
        super()._serve(secure, number)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def run(start, authority):
    """`run(pair, tls)`: a proxy before a TLS backend with that certificate."""
    backends = []

    def go(pair, tls='{{ ca = "{ca}", server_name = "tasks.internal" }}', clients=None, workers=1, upstream="", text=None):
        backend = TLSBackend(authority.server_context(pair, clients))
        backends.append(backend)
        settings = f"tls = {tls}".replace("{ca}", str(authority.file)).replace("{{", "{").replace("}}", "}")
        proxy = start(backend, text or configuration.SMALL, workers=workers, upstream=settings + "\n" + upstream)
        return proxy, backend

    yield go
    for backend in backends:
        backend.stop()


def test_a_server_that_proves_its_name(run, authority):
    proxy, backend = run(authority.sign("good", ["tasks.internal"]))
    with proxy.client() as client:
        for _ in range(3):
            assert client.request("GET", "/api/x", bearer(token(sub="u1")), None, "usher.test").status == 200
    assert backend.names == ["tasks.internal"] and len(backend.sessions) == 1
    assert [r.user for r in backend.requests] == [["u1"]] * 3


def test_the_name_is_that_of_the_server_where_none_is_given(run, authority):
    """An IP address is proven too, and never sent as a name (RFC 6066, 3)."""
    proxy, backend = run(authority.sign("address", ["127.0.0.1"]), tls='{{ ca = "{ca}" }}')
    assert proxy.get("/public/x").status == 200
    assert backend.names == [None]


@pytest.mark.parametrize("bad, detail", [
    ("expired", "server_certificate_expired"), ("name", "server_certificate_for_another_name"),
    ("authority", "server_certificate_of_unknown_authority"), ("self-signed", "server_certificate_self_signed"),
    ("not-yet", "server_certificate_not_yet_valid"), ("system", "server_certificate_of_unknown_authority"),
    # The subject's name is nobody's proof (RFC 9525, 6.3): here it is that of a person's certificate.
    ("subject", "server_certificate_for_another_name"), ("mail", "server_certificate_for_another_name"),
])
def test_a_server_that_does_not_gets_nothing(run, authority, tmp_path, bad, detail):
    pair = {
        "expired": lambda: authority.sign("expired", ["tasks.internal"], days=(-9, -1)),
        "not-yet": lambda: authority.sign("not-yet", ["tasks.internal"], days=(2, 9)),
        "name": lambda: authority.sign("name", ["other.internal"]),
        "subject": lambda: authority.sign("subject", [], common_name="tasks.internal"),
        "mail": lambda: authority.sign(
            "mail", [], common_name="tasks.internal", raw_names=[x509.RFC822Name("me@tasks.internal")]),
        "authority": lambda: Authority(tmp_path, "unknown").sign("x", ["tasks.internal"]),
        "self-signed": lambda: authority.sign("self", ["tasks.internal"], self_signed=True),
        "system": lambda: authority.sign("system", ["127.0.0.1"]),
    }[bad]()
    proxy, backend = run(pair, **({"tls": "true"} if bad == "system" else {}))
    answer = proxy.get("/public/x")
    assert answer.status == 503 and answer.problem["code"] == "upstream_unavailable"
    assert proxy.wait_log(status=503)["detail"] == detail
    assert not backend.requests and not bytes(backend.received)
    # A POST too: nothing was sent, and it may be tried again.
    assert proxy.request("POST", "/public/x", body=b"x").status == 503
    assert not backend.requests


def test_a_client_certificate_is_shown(run, authority):
    pair = authority.sign("strict", ["tasks.internal"])
    me = authority.sign("proxy", ["usher.internal"], common_name="usher", client=True)
    proxy, backend = run(
        pair, clients=authority.file,
        tls=f'{{{{ ca = "{{ca}}", server_name = "tasks.internal", certificate = "{me.cert_file}", key = "{me.key_file}" }}}}')
    assert proxy.get("/public/x").status == 200
    assert ("commonName", "usher") in [part for rdn in backend.peers[0]["subject"] for part in rdn]


def test_without_the_client_certificate_that_is_asked_for(run, authority):
    proxy, backend = run(authority.sign("strict", ["tasks.internal"]), clients=authority.file)
    # TLS 1.3: the server refuses after our side is done; either way nothing is answered by it.
    assert proxy.get("/public/x").status in (502, 503)
    assert not backend.requests


def test_sessions_are_taken_up_again(run, authority):
    proxy, backend = run(authority.sign("good", ["tasks.internal"]), upstream='idle_timeout = "50ms"')
    for _ in range(4):
        assert proxy.get("/public/x").status == 200
        time.sleep(0.6)
    assert backend.sessions[0] is False and backend.sessions[1:] == [True] * (len(backend.sessions) - 1)
    assert len(backend.sessions) >= 3


def test_large_bodies_in_both_directions(run, authority):
    proxy, backend = run(authority.sign("good", ["tasks.internal"]))
    sent = bytes(range(256)) * 4096 * 6  # 6 MiB
    backend.recording = False
    backend.script = lambda e: e.reply(200, e.read_body())
    answer = proxy.request("POST", "/public/x", body=sent)
    assert answer.status == 200 and answer.body == sent


def test_an_answer_to_the_end_of_the_connection_must_end_in_words(run, authority):
    """Without close_notify somebody else may have cut it: the client must not take the half for the whole."""
    proxy, backend = run(authority.sign("good", ["tasks.internal"]))

    def cut(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
        exchange.closed = True
        socket.socket.shutdown(exchange.sock, socket.SHUT_RDWR)  # below TLS

    def whole(exchange):
        exchange.read_body()
        exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole")
        exchange.closed = True
        try:
            exchange.sock.unwrap().close()
        except (ssl.SSLError, OSError):
            pass

    backend.script = cut
    with proxy.client() as client:
        client.send(b"GET /public/x HTTP/1.1\r\nHost: usher.test\r\n\r\n")
        head = client.head()
        assert head.status == 200
        with pytest.raises(Exception):
            client.body(head)
    assert proxy.wait_log(reason="upstream_truncated")
    backend.script = whole
    assert proxy.get("/public/x").body == b"whole"


def test_a_server_that_speaks_no_tls(start, authority, own_backend):
    text = configuration.SMALL
    proxy = start(own_backend, text, upstream=f'tls = {{ ca = "{authority.file}", server_name = "tasks.internal" }}')
    started = time.monotonic()
    threading.Timer(0.3, own_backend.close_connections).start()
    assert proxy.get("/public/x").status == 503
    assert time.monotonic() - started < 9
    assert not own_backend.requests
    own_backend.errors.clear()


def test_a_handshake_takes_no_longer_than_a_connect_may(start, authority):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        class Nobody:
            port = silent.getsockname()[1]
        proxy = start(Nobody, upstream=f'connect_timeout = "300ms"\ntls = {{ ca = "{authority.file}", server_name = "x.test" }}')
        started = time.monotonic()
        assert proxy.get("/public/x").status == 503
        assert 0.2 < time.monotonic() - started < 9


def test_another_server_is_tried(start, authority):
    good = TLSBackend(authority.server_context(authority.sign("good2", ["tasks.internal"])))
    bad = TLSBackend(authority.server_context(authority.sign("bad2", ["other.internal"])))
    try:
        text = configuration.SMALL.replace(
            'servers = ["127.0.0.1:{backend}"]', f'servers = ["127.0.0.1:{good.port}", "127.0.0.1:{bad.port}"]\nbalance = "round-robin"')
        proxy = start(good, text, upstream=f'tls = {{ ca = "{authority.file}", server_name = "tasks.internal" }}')
        for _ in range(4):
            assert proxy.request("POST", "/public/x", body=b"x").status == 200
        assert not bad.requests and bad.refused > 0
    finally:
        good.stop()
        bad.stop()


# Health checks: over the same TLS as requests, with the same demands

HEALTH = 'health = {{ path = "/health", interval = "100ms", timeout = "5s", healthy_after = 1, unhealthy_after = 2 }}'.replace("{{", "{").replace("}}", "}")


def test_health_checks_go_over_tls(run, authority):
    """The page decides, and nothing in the clear reaches the server."""
    proxy, backend = run(authority.sign("checked", ["tasks.internal"]), upstream=HEALTH)
    down = threading.Event()

    def script(exchange):
        exchange.read_body()
        exchange.reply(500 if down.is_set() and exchange.request.target == "/health" else 200, b"")
    backend.script = script
    wait_until(lambda: sum(r.target == "/health" for r in backend.requests) >= 3)
    assert set(backend.names) == {"tasks.internal"} and not any(backend.sessions), "each check sees the certificate"
    assert b"unhealthy" not in proxy.errors and backend.refused == 0
    down.set()
    proxy.wait_said("status 500")
    wait_until(lambda: proxy.get("/public/x").status == 503)
    down.clear()
    proxy.wait_said("healthy again")
    wait_until(lambda: proxy.get("/public/x").status == 200)


def test_a_health_check_shows_the_client_certificate(run, authority):
    me = authority.sign("checker", ["usher.internal"], common_name="checker", client=True)
    proxy, backend = run(
        authority.sign("strict", ["tasks.internal"]), clients=authority.file, upstream=HEALTH,
        tls=f'{{{{ ca = "{{ca}}", server_name = "tasks.internal", certificate = "{me.cert_file}", key = "{me.key_file}" }}}}')
    wait_until(lambda: len(backend.peers) >= 3)
    assert all(("commonName", "checker") in [part for rdn in peer["subject"] for part in rdn] for peer in backend.peers)
    assert b"unhealthy" not in proxy.errors


@pytest.mark.parametrize("names, days, reason", [
    (["other.internal"], (-1, 30), b"hostname mismatch"), (["tasks.internal"], (-9, -1), b"certificate has expired")])
def test_a_server_that_proves_nothing_is_unhealthy(run, authority, names, days, reason):
    proxy, backend = run(authority.sign(f"bad{days[1]}", names, days=days), upstream=HEALTH)
    wait_until(lambda: b"server is unhealthy" in proxy.errors)
    proxy.wait_said(reason)
    assert not backend.requests and not bytes(backend.received)


def test_a_server_that_never_shakes_hands_is_unhealthy(start, authority):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        class Nobody:
            port = silent.getsockname()[1]
        proxy = start(Nobody, upstream=f'tls = {{ ca = "{authority.file}", server_name = "x.test" }}\n{HEALTH}')
        wait_until(lambda: b"no answer in time" in proxy.errors)
        assert proxy.get("/public/x").status == 503


# The files of an upstream are watched like those of a listener

def test_a_new_authority_is_taken_without_a_reload(run, authority, tmp_path):
    other = Authority(tmp_path, "next")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.file.read_bytes())
    proxy, backend = run(authority.sign("before", ["tasks.internal"]), tls=f'{{{{ ca = "{trusted}", server_name = "tasks.internal" }}}}')
    with proxy.client() as client:
        assert client.request("GET", "/public/x").status == 200
        pair = other.sign("after", ["tasks.internal"])
        backend.context.load_cert_chain(pair.cert_file, pair.key_file)
        trusted.write_bytes(b"")  # half-written: nothing changes
        wait_until(lambda: b"certificates not changed" in proxy.errors)
        assert client.request("GET", "/public/x").status == 200
        trusted.write_bytes(other.file.read_bytes())
        wait_until(lambda: b"certificates loaded" in proxy.errors)
        # the connection that the old authority vouched for is not used again
        assert client.request("GET", "/public/x").status == 200
    assert len(backend.sessions) == 2
    trusted.write_bytes(authority.file.read_bytes())
    wait_until(lambda: proxy.errors.count(b"certificates loaded") == 2)
    wait_until(lambda: proxy.get("/public/x").status == 503)
    assert proxy.wait_log(status=503)["detail"] == "server_certificate_of_unknown_authority"


def test_an_expired_client_certificate_keeps_no_new_authority_out(run, authority, tmp_path):
    other = Authority(tmp_path, "next")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.file.read_bytes())
    me = authority.sign("expired-me", ["usher.internal"], days=(-9, -1), client=True)
    proxy, backend = run(
        authority.sign("before-expired", ["tasks.internal"]),
        tls=f'{{{{ ca = "{trusted}", server_name = "tasks.internal", certificate = "{me.cert_file}", key = "{me.key_file}" }}}}')
    assert proxy.get("/public/x").status == 200
    pair = other.sign("after-expired", ["tasks.internal"])
    backend.context.load_cert_chain(pair.cert_file, pair.key_file)
    trusted.write_bytes(other.file.read_bytes())
    proxy.wait_said(b"certificates loaded")
    wait_until(lambda: proxy.get("/public/x").status == 200)


def test_a_new_client_certificate_is_shown_and_requests_under_way_finish(run, authority):
    me = authority.sign("rotating", ["usher.internal"], common_name="first", client=True)
    proxy, backend = run(
        authority.sign("strict", ["tasks.internal"]), clients=authority.file, upstream=HEALTH,
        tls=f'{{{{ ca = "{{ca}}", server_name = "tasks.internal", certificate = "{me.cert_file}", key = "{me.key_file}" }}}}')
    go = threading.Event()

    def script(exchange):
        exchange.read_body()
        if exchange.request.target == "/public/slow":
            go.wait(60)
        exchange.reply(200, b"done")
    backend.script = script
    with proxy.client() as client:
        client.send(b"GET /public/slow HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: any(r.target == "/public/slow" for r in backend.requests))
        next_one = authority.sign("second", ["usher.internal"], common_name="second", client=True)
        me.key_file.write_bytes(next_one.key_file.read_bytes())
        time.sleep(0.7)  # the pair does not fit: the old one is used on
        assert proxy.get("/public/x").status == 200
        me.cert_file.write_bytes(next_one.cert_file.read_bytes())
        wait_until(lambda: b"certificates loaded" in proxy.errors)
        go.set()
        assert client.response().body == b"done"
        before = len(backend.peers)
        assert client.request("GET", "/public/x").status == 200
    wait_until(lambda: len(backend.peers) > before + 2)
    assert all(("commonName", "second") in [part for rdn in peer["subject"] for part in rdn] for peer in backend.peers[before + 1:])


@pytest.mark.parametrize("updates", [5, 60])
def test_half_an_answer_before_a_flood_is_not_whole(start, authority, updates):
    """A body to the end of the connection ends with close_notify alone, and not where the server's keys change so often
    that nobody reads on."""
    pair = authority.sign("flood", ["tasks.internal"])
    certificate = tlslite.X509CertChain()
    certificate.parsePemList(Path(pair.cert_file).read_text())
    key = tlslite.parsePEMKey(Path(pair.key_file).read_text(), private=True)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError, tlslite.errors.TLSError), listener.accept()[0] as sock:
            connection = tlslite.TLSConnection(sock)
            connection.handshakeServer(certChain=certificate, privateKey=key, alpn=[b"http/1.1"])
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
            for _ in range(updates):
                for _ in connection.send_keyupdate_request(KeyUpdateMessageType.update_not_requested):
                    pass
            connection.sendall(b" and half")
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        proxy = start(None, configuration.SMALL.replace("{backend}", str(listener.getsockname()[1])),
                      upstream=f'tls = {{ ca = "{authority.file}", server_name = "tasks.internal" }}')
        with proxy.client() as client:
            client.send(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while piece := client.sock.recv(65536):
                answer += piece
                if answer.endswith(b"\r\n0\r\n\r\n"):
                    break
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n0\r\n\r\n") == (updates < 32), answer
