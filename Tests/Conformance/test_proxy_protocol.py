"""The PROXY protocol, versions 1 and 2, on a listener; Unix sockets and IPv6 on both sides; X-Forwarded-*."""

import contextlib
import os
import signal
import socket
import struct
import threading
import time

import pytest

from harness import configuration
from harness.backend import Backend
from harness.ports import free_port
from harness.standin import StandIn
from harness.tokens import bearer, token
from harness.waiting import wait_until
from harness.wire import Client, Reader, read_body, read_head, render

GREETED = 'trusted_proxies = ["127.0.0.0/8"]\nproxy_protocol = true'
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command=0x21, family=0x11, block=None, extra=b"", length=None) -> bytes:
    if block is None:
        block = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + struct.pack(">HH", 1234, 80)
    block += extra
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(block) if length is None else length) + block


def v6_block(source="2001:db8::7"):
    return socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + struct.pack(">HH", 1, 2)


@pytest.fixture
def greeted(start, own_backend):
    return start(own_backend, configuration.SMALL + '\n[limits]\nheader_timeout = "3s"\n', listen=GREETED)


GOOD = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 80\r\n", "192.0.2.7"),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 1234 80\r\n", "2001:db8::7"),
    "v1 TCP6 in full": (b"PROXY TCP6 2001:0DB8:0:0:0:0:0:7 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 0\r\n", "2001:db8::7"),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v1 UNKNOWN and more": (b"PROXY UNKNOWN ffff::1 whatever 1 2 3\r\n", "127.0.0.1"),
    "v2 TCP4": (v2(), "192.0.2.7"),
    "v2 TCP6": (v2(family=0x21, block=v6_block()), "2001:db8::7"),
    "v2 LOCAL": (v2(command=0x20, family=0, block=b""), "127.0.0.1"),
    "v2 LOCAL with a block": (v2(command=0x20), "127.0.0.1"),
    "v2 UNSPEC": (v2(family=0, block=b"whatever"), "127.0.0.1"),
    "v2 Unix": (v2(family=0x31, block=b"\0" * 216), "127.0.0.1"),
    "v2 with TLVs": (v2(extra=b"\x01\x00\x02h2\x04\x00\x01\x00"), "192.0.2.7"),
    "v2 large": (v2(extra=b"\x04" + struct.pack(">H", 3000) + b"\0" * 3000), "192.0.2.7"),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_source_is_the_client(greeted, name):
    header, source = GOOD[name]
    with greeted.client() as client:
        client.send(header + render("GET", "/public/first"))
        assert client.response().status == 200
        assert client.request("GET", "/public/second").status == 200
    for request in greeted.backend.requests:
        assert request.headers.all("x-forwarded-for") == [source]
        wanted = f'"[{source}]"' if ":" in source else source
        assert f"for={wanted};" in request.headers.get("forwarded")
    assert greeted.wait_log(path="/public/first")["client"] == source


@pytest.mark.parametrize("name", ["v1 TCP4", "v2 TCP6", "v2 with TLVs"])
def test_byte_by_byte(greeted, name):
    header, source = GOOD[name]
    with greeted.client() as client:
        for byte in header:
            client.send(bytes([byte]))
            time.sleep(0.001)
        assert client.request("GET", "/public/x").status == 200
    assert greeted.backend.last.headers.all("x-forwarded-for") == [source]


BAD = {
    "none": render("GET", "/public/x"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
    "lower case": b"proxy TCP4 192.0.2.7 198.51.100.1 1234 80\r\n",
    "no protocol": b"PROXY \r\n",
    "UDP": b"PROXY UDP4 192.0.2.7 198.51.100.1 1234 80\r\n",
    "one address": b"PROXY TCP4 192.0.2.7 1234 80\r\n",
    "a zero in front": b"PROXY TCP4 192.0.2.07 198.51.100.1 1234 80\r\n",
    "256": b"PROXY TCP4 192.0.2.256 198.51.100.1 1234 80\r\n",
    "v6 as TCP4": b"PROXY TCP4 2001:db8::7 198.51.100.1 1234 80\r\n",
    "v4 as TCP6": b"PROXY TCP6 192.0.2.7 198.51.100.1 1234 80\r\n",
    "port 65536": b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 80\r\n",
    "port with sign": b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 80\r\n",
    "no port": b"PROXY TCP4 192.0.2.7 198.51.100.1 1234\r\n",
    "one word more": b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 80 x\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.7 198.51.100.1 1234 80\r\n",
    "tab": b"PROXY\tTCP4 192.0.2.7 198.51.100.1 1234 80\r\n",
    "bare LF": b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 80\n",
    "bare CR": b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 80\rX",
    "two gaps": b"PROXY TCP6 2001::db8::7 2001:db8::1 1234 80\r\n",
    "nowhere": b"PROXY TCP6 :: 2001:db8::1 1234 80\r\n",
    "too long": b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
    "v2 version 1": v2(command=0x11),
    "v2 command 2": v2(command=0x22),
    "v2 datagram": v2(family=0x12),
    "v2 short block": v2(block=b"\0" * 11),
    "v2 short v6 block": v2(family=0x21, block=b"\0" * 35),
    "v2 huge": v2(length=65535),
    "v2 nowhere": v2(family=0x21, block=v6_block("::")),
    "v2 broken signature": SIGNATURE[:11] + b"\r" + v2()[12:],
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_header_gets_no_answer(greeted, name):
    with greeted.client() as client:
        client.try_send(BAD[name] + render("GET", "/public/x"))
        assert client.ended(), "closed without a byte"
    assert not greeted.backend.requests


def test_a_header_that_does_not_come(greeted):
    for start in (b"", b"PROXY TCP4 192.0.2.7", SIGNATURE):
        with greeted.client() as client:
            client.send(start)
            began = time.monotonic()
            assert client.ended()
            assert 0.5 < time.monotonic() - began < 9


@pytest.mark.parametrize("protocols", ['["http/1.1"]', '["http/1.1", "h2"]'])
def test_behind_its_header_a_connection_may_be_idle(start, own_backend, protocols):
    """A proxy that passes bytes on writes its header when its client connects, whose first request may come much later."""
    text = configuration.SMALL + '\n[limits]\nheader_timeout = "1s"\n'
    proxy = start(own_backend, text, listen=f"{GREETED}\nprotocols = {protocols}")
    with proxy.client() as client:
        client.send(v2())
        assert client.quiet(2.5)
        assert client.request("GET", "/public/x").status == 200


def test_only_one_header(greeted):
    with greeted.client() as client:
        client.send(GOOD["v1 TCP4"][0] * 2 + render("GET", "/public/x"))
        assert client.response().status == 400
    assert not greeted.backend.requests


def test_only_trusted_proxies_get_in(start, own_backend):
    proxy = start(own_backend, configuration.SMALL, listen='trusted_proxies = ["192.0.2.0/24"]\nproxy_protocol = true')
    with proxy.client() as client:
        client.try_send(GOOD["v1 TCP4"][0] + render("GET", "/public/x"))
        assert client.ended()
    assert not own_backend.requests


def test_a_proxy_that_is_trusted_no_more_keeps_no_connection(start, own_backend):
    """The address that it told of would count for as long as it likes."""
    proxy = start(own_backend, configuration.SMALL, listen='trusted_proxies = ["127.0.0.1"]\nproxy_protocol = true')

    def trust(before, after):
        count = bytes(proxy.errors).count(b"configuration reloaded")
        proxy.file.write_text(proxy.file.read_text().replace(before, after))
        proxy.signal(signal.SIGHUP)
        wait_until(lambda: bytes(proxy.errors).count(b"configuration reloaded") > count)
    with proxy.client() as client:
        client.send(GOOD["v1 TCP4"][0] + render("GET", "/public/x"))
        assert client.response().status == 200
        trust('["127.0.0.1"]', '["127.0.0.0/8", "192.0.2.0/24"]')
        assert client.request("GET", "/public/x").status == 200, "more are trusted than before, it too"
        trust('"127.0.0.0/8", ', "")
        assert client.ended()


def test_a_header_where_none_is_due(proxy):
    with proxy.client() as client:
        client.send(GOOD["v1 TCP4"][0] + render("GET", "/public/x"))
        assert client.response().status == 400 and client.ended()
    proxy.assert_nothing_arrived()


def test_the_source_is_believed_only_where_it_is_trusted_itself(greeted):
    """Behind a PROXY header it is the source's word that counts, and 192.0.2.7 is no trusted proxy."""
    with greeted.client() as client:
        client.send(GOOD["v1 TCP4"][0] + render("GET", "/public/x", {"X-Forwarded-For": "203.0.113.9"}))
        assert client.response().status == 200
    assert greeted.backend.last.headers.all("x-forwarded-for") == ["192.0.2.7"]


def test_proxy_protocol_needs_trusted_proxies(start, own_backend):
    proxy = start(own_backend, configuration.SMALL, listen="proxy_protocol = true", wait=False)
    proxy.expected_status = 1
    assert proxy.wait() == 1
    proxy.wait_said(b"trusted_proxies")


# Unix sockets and IPv6

class UnixClient(Client):
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(path)
        self.reader = Reader(self.sock)


class OtherBackend(Backend):
    """A backend at an address of another family."""

    def __init__(self, family, address):
        self.family, self.address = family, address
        super().__init__()

    def _listen(self):
        self.listener = socket.socket(self.family)
        self.listener.bind(self.address)
        self.listener.listen(100)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _serve(self, sock, number):
        if self.family == socket.AF_UNIX:
            sock = NoDelayless(sock)
        super()._serve(sock, number)


class NoDelayless:
    """A Unix socket, which has no TCP_NODELAY to set."""

    def __init__(self, sock):
        self._sock = sock

    def setsockopt(self, *_):
        pass

    def __getattr__(self, name):
        return getattr(self._sock, name)


OTHER_UPSTREAM = """
[upstream.other]
servers = ["{other}"]

[[route]]
path = "/other/**"
auth = "main"
upstream = "other"
"""


def test_a_unix_socket_for_the_listener(start, own_backend, tmp_path):
    path = tmp_path / "usher.sock"
    proxy = start(own_backend, configuration.SMALL + f'\n[listen.local]\naddress = "unix:{path}"\n')
    with UnixClient(str(path)) as client:
        assert client.request("GET", "/api/x", bearer(token())).json()["user"] == ["alice"]
        assert client.request("GET", "/api/x").status == 401
    headers = own_backend.last.headers
    assert "x-forwarded-for" not in headers and "for=unknown" in headers.get("forwarded")
    assert proxy.stop() == 0


def test_a_unix_socket_with_a_PROXY_header(start, own_backend, tmp_path):
    """Whoever may open the socket is trusted with the header."""
    path = tmp_path / "usher.sock"
    start(own_backend, configuration.SMALL + f'\n[listen.local]\naddress = "unix:{path}"\nproxy_protocol = true\n')
    with UnixClient(str(path)) as client:
        client.send(GOOD["v1 TCP4"][0] + render("GET", "/public/x"))
        assert client.response().status == 200
    assert own_backend.last.headers.all("x-forwarded-for") == ["192.0.2.7"]
    with UnixClient(str(path)) as client:
        client.try_send(render("GET", "/public/x"))
        assert client.ended()


def test_a_unix_socket_for_the_backend(start, own_backend, tmp_path):
    path = str(tmp_path / "backend.sock")
    with OtherBackend(socket.AF_UNIX, path) as backend:
        proxy = start(own_backend, configuration.SMALL + OTHER_UPSTREAM, other=f"unix:{path}")
        for n in range(5):
            assert proxy.request("POST", "/other/x", bearer(token()), b"body" * n).json()["body"] == "body" * n
        assert backend.connections == 1 and backend.last.user == ["alice"]
        os.unlink(path)
        backend.close_connections()
        time.sleep(0.1)
        assert proxy.get("/other/x", bearer(token())).status in (502, 503)
        assert not backend.errors


class Crowded(StandIn):
    """At a Unix socket with a queue of one, which nobody looks at until `open`."""

    def __init__(self, path: str):
        self.path = path
        super().__init__(port=1)

    def up(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(1)

    def open(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _serve(self, connection) -> None:
        while connection.recv(65536):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.mark.parametrize("alone", [True, False], ids=["one server", "two"])
def test_a_unix_socket_whose_queue_is_full(start, own_backend, tmp_path, alone):
    """Over TCP the kernel tries again by itself; here a request waits in usher, as long as a connect may take."""
    paths = [str(tmp_path / "a.sock")] + ([] if alone else [str(tmp_path / "b.sock")])
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Crowded(path)) for path in paths]
        names = ", ".join(f'"unix:{path}"' for path in paths)
        text = OTHER_UPSTREAM.replace('["{other}"]', f'[{names}]\nconnect_timeout = "60s"')
        proxy = start(own_backend, configuration.SMALL + text, workers=2)
        clients = [stack.enter_context(proxy.client()) for _ in range(24)]
        for client in clients:
            client.send(render("GET", "/other/x", bearer(token())))
        assert clients[-1].quiet(0.5)
        for server in servers:
            server.open()
        assert [client.response().status for client in clients] == [200] * 24


def test_a_unix_socket_whose_queue_stays_full(start, own_backend, tmp_path):
    with Crowded(str(tmp_path / "a.sock")) as server, contextlib.ExitStack() as stack:
        text = OTHER_UPSTREAM.replace(
            '["{other}"]', f'["unix:{server.path}"]\nconnect_timeout = "1s"\nresponse_timeout = "1s"\nretries = 0')
        proxy = start(own_backend, configuration.SMALL + text)
        clients = [stack.enter_context(proxy.client()) for _ in range(8)]
        for client in clients:
            client.send(render("GET", "/other/x", bearer(token())))
        assert sorted(client.response().status for client in clients) == [503] * 6 + [504] * 2
        assert proxy.wait_log(status=503)["reason"] == "overloaded"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_on_both_sides(start, own_backend):
    port, listen = free_port(), free_port()
    with OtherBackend(socket.AF_INET6, ("::1", port)) as backend:
        start(own_backend, configuration.SMALL + OTHER_UPSTREAM + f'\n[listen.six]\naddress = "[::1]:{listen}"\n',
              other=f"[::1]:{port}")
        with Client(listen, host="::1") as client:
            answer = client.request("GET", "/other/x", bearer(token()), host=f"[::1]:{listen}")
        assert answer.status == 200
        headers = backend.last.headers
        assert headers.all("x-forwarded-for") == ["::1"] and 'for="[::1]"' in headers.get("forwarded")
        assert headers.all("host") == [f"[::1]:{listen}"]


# X-Forwarded-* and Forwarded

def test_a_trusted_proxy_is_believed(start, own_backend):
    proxy = start(own_backend, configuration.SMALL, listen='trusted_proxies = ["127.0.0.1"]')
    proxy.get("/public/x", {
        "X-Forwarded-For": "198.51.100.2", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.example.com",
        "Forwarded": "for=198.51.100.2;proto=https"})
    headers = own_backend.last.headers
    assert headers.all("x-forwarded-for") == ["198.51.100.2, 127.0.0.1"]
    assert headers.all("x-forwarded-proto") == ["https"]
    assert headers.all("x-forwarded-host") == ["app.example.com"]
    assert headers.get("forwarded").startswith("for=198.51.100.2;proto=https, for=127.0.0.1;")


def test_H8_anybody_else_is_not(proxy, backend):
    proxy.get("/public/x", {
        "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil", "Forwarded": "for=evil",
        "X_Forwarded_For": "203.0.113.9"})
    headers = backend.last.headers
    assert headers.all("x-forwarded-for") == ["127.0.0.1"] and headers.all("x-forwarded-proto") == ["http"]
    assert headers.all("x-forwarded-host") == ["usher.test"]
    assert "evil" not in str(headers.lines) and "203.0.113.9" not in str(headers.lines)
