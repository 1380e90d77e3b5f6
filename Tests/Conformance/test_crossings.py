"""Settings that meet: each does by itself what it says, and has to go on doing so beside the other one."""

import contextlib
import threading
import time

import h2.settings
import pytest

from harness.backend import Backend
from harness.betterauth import SECRET, AuthServer, cookies, payload
from harness.configuration import API_ROUTE, BACKEND, MAIN_ISSUER, OPEN_ROUTE, SMALL
from harness.http2 import Connection, get
from harness.http2backend import HTTP2Backend
from harness.waiting import wait_until
from harness.standin import StandIn
from harness.tokens import bearer, token
from harness.wire import Client, render

COMBINED = 'access_format = "combined"\n'
BOTH = 'protocols = ["http/1.1", "h2"]'
SESSION = """
[session.browser]
provider = "better-auth"
secret = {{ env = "AUTH_SECRET" }}
secure_cookies = false
url = "{url}"
trusted_origins = ["https://app.test"]
"""


@pytest.fixture
def auth_server():
    with AuthServer() as server:
        yield server


# What the client says of itself has a place in the log, and takes nobody else's.

CORS = COMBINED + BACKEND + MAIN_ISSUER + """
[cors.app]
origins = {origins}
""" + API_ROUTE + 'cors = "app"\n'


@pytest.mark.parametrize("origins", ['["*"]', '["https://app.example.com"]'], ids=["any", "listed"])
def test_many_agents_and_answers_to_other_origins(start, own_backend, origins):
    """The lines for other origins were cut to what the agents had left: the head had no end, and over HTTP/2 the process did."""
    proxy = start(own_backend, CORS, listen=BOTH, origins=origins)
    whole = ["Access-Control-Allow-Origin: " + ("*" if "*" in origins else "https://app.example.com")]
    for last in range(5, 256, 10):
        agents = [("User-Agent", "u" * 256)] * 15 + [("User-Agent", "v" * last)]
        for credentials in {}, bearer(token()):
            fields = [("Origin", "https://app.example.com"), *agents, *credentials.items()]
            with proxy.client() as client:
                client.send(b"GET /api/x HTTP/1.1\r\nHost: h\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields).encode() + b"\r\n")
                answer = client.response()
            assert answer.status == (200 if credentials else 401)
            assert [f"{n}: {v}" for n, v in answer.headers.lines if n.lower() == "access-control-allow-origin"] == whole
            assert not any("\r" in v or n.lower().startswith("access-contr") and not n.lower().startswith("access-control-")
                           for n, v in answer.headers.lines), answer.headers.lines
            with Connection(proxy.port) as connection:
                answer = connection.request(get("/api/x") + [(n.lower(), v) for n, v in fields])
            assert answer.status == (200 if credentials else 401)
            assert answer.headers.get("access-control-allow-origin") == whole[0].split(": ")[1]


def test_many_agents_and_the_user_in_the_log(start, own_backend):
    """H11: a name is logged whole; the client chose how much of it."""
    proxy = start(own_backend, COMBINED + SMALL)
    for last in range(1, 256, 8):
        with proxy.client() as client:
            agents = ("User-Agent: " + "u" * 256 + "\r\n") * 15 + "User-Agent: " + "v" * last + "\r\n"
            name = bearer(token(subject="root-of-nothing"))["Authorization"]
            client.send(f"GET /api/x HTTP/1.1\r\nHost: h\r\nAuthorization: {name}\r\n{agents}\r\n".encode())
            assert client.response().status == 200
    wait_until(lambda: bytes(proxy.log).count(b"\n") >= 32)
    assert {line.split(b" ")[2] for line in bytes(proxy.log).splitlines()} == {b"root-of-nothing"}


def test_the_first_agent_is_logged(start, own_backend):
    proxy = start(own_backend, COMBINED + SMALL)
    with proxy.client() as client:
        client.send(b"GET /public/x HTTP/1.1\r\nHost: h\r\nUser-Agent: first\r\nUser-Agent: second\r\n\r\n")
        assert client.response().status == 200
    wait_until(lambda: b"\n" in proxy.log)
    assert b'"first"' in proxy.log and b"second" not in proxy.log


# `identity.strip` and what looks into the same fields.

def test_H2_what_is_stripped_is_stripped_where_it_is_looked_into(start, own_backend):
    proxy = start(own_backend, BACKEND + MAIN_ISSUER + SESSION.replace('url = "{url}"\n', "") + """
[issuer.second]
issuer = "https://second.test"
audience = "*"
secret = {{ env = "USHER_TEST_SECRET" }}
token_from = ["header", "cookie:jwt", "query:token", "websocket"]
[identity]
headers = {{ "X-User-Id" = "sub" }}
strip = ["Cookie", "Referer", "Sec-WebSocket-Protocol"]
""" + OPEN_ROUTE + """
[[route]]
path = "/token/**"
auth = "optional:second"
upstream = "backend"
[[route]]
path = "/session/**"
auth = "optional:browser"
upstream = "backend"
""", env={"AUTH_SECRET": SECRET})
    fields = {"Cookie": "a=1; b=2", "Referer": "https://app.test/x?y", "Sec-WebSocket-Protocol": "bearer, chat"}
    for path in "/public/x", "/token/x", "/session/x":
        assert proxy.get(path, fields).status == 200
        lines = own_backend.requests[-1].head.decode().lower().split("\r\n")
        assert not [line for line in lines if line.startswith(("cookie", "referer", "sec-websocket-protocol"))], (path, lines)


def test_what_is_stripped_is_written_anew_for_trusted_proxies_too(start, own_backend):
    text = BACKEND + OPEN_ROUTE + '[identity]\nstrip = ["X-User-*", "X-Forwarded-*"]\n'
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "real.example"}
    proxy = start(own_backend, text, listen='trusted_proxies = ["127.0.0.0/8"]')
    assert proxy.get("/public/x", said).status == 200
    headers = own_backend.requests[-1].headers
    assert (headers.get("x-forwarded-proto"), headers.get("x-forwarded-host")) == ("http", "usher.test")


# Connections that begin with a PROXY header belong to their source.

def test_connections_of_a_source_are_counted(start, own_backend):
    proxy = start(own_backend, SMALL + "\n[limits]\nconnections_per_address = 2\n",
                  listen='trusted_proxies = ["127.0.0.0/8"]\nproxy_protocol = true')

    def connect(source):
        client = proxy.client()
        client.send(f"PROXY TCP4 {source} 198.51.100.1 1234 80\r\n".encode() + render("GET", "/public/x"))
        return client

    held = [connect("192.0.2.7") for _ in range(2)]
    assert [client.response().status for client in held] == [200, 200]
    with connect("192.0.2.7") as third:
        assert third.ended()
    with connect("192.0.2.8") as other, connect("127.0.0.9") as trusted:
        assert other.response().status == trusted.response().status == 200
    held.pop().close()

    def is_let_in():
        with connect("192.0.2.7") as client:
            return not client.ended(0.2)

    wait_until(is_let_in)
    held.pop().close()


# A server that is asked has something to say to the client, and takes its time.

def test_the_cookies_of_a_no_go_with_the_way_to_the_sign_in_page(start, own_backend, auth_server):
    auth_server.cookies = ["better-auth.session_token=; Max-Age=0; Path=/"]
    proxy = start(own_backend, BACKEND + SESSION + """
[[route]]
path = "/app/**"
auth = "browser"
upstream = "backend"
sign_in = "/sign-in"
""", url=auth_server.url, env={"AUTH_SECRET": SECRET})
    answer = proxy.get("/app/x", {"Cookie": cookies("T1"), "Sec-Fetch-Mode": "navigate"})
    assert answer.status == 302 and auth_server.asked == 1
    assert answer.headers.all("set-cookie") == auth_server.cookies


def test_waiting_for_a_verdict_is_part_of_the_time(start, own_backend, auth_server):
    auth_server.sessions |= {name: payload(name) for name in ("T1", "T3", *(f"P{number}" for number in range(6)))}

    def slowly(*_):
        time.sleep(1.2)
        return False

    auth_server.before = slowly
    proxy = start(own_backend, BACKEND + "eject = {{ consecutive_failures = 1 }}\n" + SESSION + """
[[route]]
path = "/plain/**"
auth = "browser"
upstream = "backend"
timeout = "500ms"
[[route]]
path = "/patient/**"
auth = "browser"
upstream = "backend"
timeout = "10s"
""", url=auth_server.url, listen=BOTH, env={"AUTH_SECRET": SECRET})
    assert proxy.get("/plain/x", {"Cookie": cookies("T1")}).status == 504
    assert proxy.wait_log(path="/plain/x")["detail"] == "waited_too_long" and own_backend.requests == [], "nobody would wait for it"
    assert "server ejected" not in bytes(proxy.errors).decode(), "it is not the server's fault"
    # A question has two seconds; where the machine takes one of them, the next is another try.
    last = next(n for n in range(6) if proxy.get(f"/patient/{n}", {"Cookie": cookies(f"P{n}")}).status == 200 or n == 5)
    line = proxy.wait_log(path=f"/patient/{last}")
    assert line["status"] == 200 and line["duration_ms"] >= 1000
    with Connection(proxy.port) as connection:
        answer = connection.request(get("/patient/g", "POST") + [
            ("content-type", "application/grpc"), ("grpc-timeout", "300m"), ("te", "trailers"),
            ("cookie", cookies("T3")), ("origin", "https://app.test")])
    assert answer.headers.get("grpc-status") == "4", "DEADLINE_EXCEEDED"


# Waiting for a server does not make a token last longer.

class OneByOne(StandIn):
    """Answers `/public/slow` when it is told to, everything else at once, and keeps what it was asked."""

    def __init__(self):
        self.seen, self.go = [], threading.Event()
        super().__init__()

    def _serve(self, connection):
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                data = connection.recv(65536)
                if not data:
                    return
                buffer += data
            head, buffer = buffer.split(b"\r\n\r\n", 1)
            buffer = buffer.removeprefix(b"x")
            self.seen.append(head.split(b" ")[1].decode())
            if b"/public/slow" in head:
                self.go.wait(60)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture
def one_by_one():
    with OneByOne() as backend:
        yield backend


WAITING = """
[upstream.backend]
servers = ["127.0.0.1:{backend}"]
max_connections = 1
connect_timeout = "20s"
{upstream}
[issuer.main]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}
leeway = "0s"
[revocation]
""" + OPEN_ROUTE + API_ROUTE


@pytest.mark.parametrize("lifetime", ["token", "unlimited"])
def test_a_token_that_ends_while_its_request_waits_for_a_server(start, one_by_one, lifetime):
    """Streams may outlive their token where the route says so; a request that was not sent is none."""
    text = WAITING + f'stream_lifetime = "{lifetime}"\n'
    assert_ended_tokens_are_refused(start(one_by_one, text), one_by_one.seen, one_by_one.go)


def test_a_token_that_ends_while_its_request_waits_for_a_stream(start):
    """The head is with the session then, and nothing of it has left: the token's end counts as before a connection."""
    with HTTP2Backend(settings={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as backend:
        seen, go = [], threading.Event()

        def answer(wire, request):
            seen.append(request[":path"])
            if request[":path"] == "/public/slow":
                go.wait(60)
            wire.answer(request.stream)

        backend.on_request = answer
        assert_ended_tokens_are_refused(start(backend, WAITING, upstream='protocol = "h2"'), seen, go)


def assert_ended_tokens_are_refused(proxy, seen, go):
    now = int(time.time())
    tokens = {"expired": token(exp=now + 2), "revoked": token(jti="J", exp=now + 600), "good": token(exp=now + 600)}
    with proxy.client() as first, proxy.client() as a, proxy.client() as b, proxy.client() as c:
        first.send(render("GET", "/public/slow"))
        wait_until(lambda: seen)
        for client, (name, text) in zip((a, b, c), tokens.items()):
            client.send(render("POST", f"/api/{name}", bearer(text), b"x"))
        time.sleep(0.5)
        with Client(proxy.admin) as admin:
            assert admin.request("POST", "/revocations", {"Content-Type": "application/json"}, b'{"jti":["J"]}',
                                 host=f"127.0.0.1:{proxy.admin}").status == 200
        time.sleep(max(0, now + 2.5 - time.time()))
        go.set()
        assert first.response().status == 200
        expired, revoked, good = a.response(), b.response(), c.response()
    assert (expired.status, revoked.status, good.status) == (401, 401, 200)
    assert all(answer.headers.get("www-authenticate", "").startswith("Bearer") for answer in (expired, revoked))
    assert seen == ["/public/slow", "/api/good"]
    assert proxy.wait_log(path="/api/expired")["reason"] == "token_expired"
    assert proxy.wait_log(path="/api/revoked")["detail"] == "token_revoked"


def test_who_waits_while_all_tokens_are_forgotten_is_told_to_come_again(start, one_by_one):
    """Behind a reload nobody remembers the tokens of before. A revocation may be of one of them, so that the request is not sent;
    but nothing was found wrong with its token, which 401 would have its client throw away."""
    proxy = start(one_by_one, WAITING)
    with proxy.client() as first, proxy.client() as waiting:
        first.send(render("GET", "/public/slow"))
        wait_until(lambda: one_by_one.seen)
        waiting.send(render("POST", "/api/good", bearer(token()), b"x"))
        time.sleep(0.5)
        for path, body in [("/reload", b""), ("/revocations", b'{"jti":["another"]}')]:
            with Client(proxy.admin) as admin:
                assert admin.request("POST", path, {"Content-Type": "application/json"}, body, host=f"127.0.0.1:{proxy.admin}").status == 200
        one_by_one.go.set()
        assert first.response().status == 200
        answer = waiting.response()
    assert (answer.status, answer.headers.get("retry-after")) == (503, "1")
    assert one_by_one.seen == ["/public/slow"]
    line = proxy.wait_log(path="/api/good")
    assert (line["reason"], line["detail"]) == ("authentication_unavailable", "token_forgotten")


# Limits.

def test_a_limit_by_user_on_a_redirect_counts_addresses(start, own_backend):
    proxy = start(own_backend, """
[upstream.backend]
servers = ["127.0.0.1:{backend}"]
[rate_limit.some]
key = "user"
requests = 2
per = "60s"
[[route]]
path = "/moved"
auth = "none"
redirect = "https"
rate_limit = "some"
""")
    assert [proxy.get("/moved").status for _ in range(4)] == [308, 308, 429, 429]


def test_connections_beyond_the_limit_are_seen(start, own_backend):
    """They wait in the kernel, and their clients see nothing at all: the operator has to."""
    proxy = start(own_backend, SMALL + "\n[limits]\nconnections = 3\n")

    def refused():
        text = proxy.admin_request("/metrics").body.decode()
        return float(next(line for line in text.splitlines() if line.startswith("usher_connections_refused_total")).split()[-1])

    clients = [proxy.client() for _ in range(3)]
    for client in clients:
        assert client.request("GET", "/public/x").status == 200
    time.sleep(0.3)
    assert refused() == 0, "nobody waits"
    clients.append(proxy.client())
    wait_until(lambda: refused() > 0)
    clients.pop(0).close()
    assert clients[-1].request("GET", "/public/x").status == 200
    for client in clients:
        client.close()


@pytest.mark.parametrize("limit,workers", [(1, 4), (3, 2), (5, 4)])
def test_all_workers_have_the_limit_of_connections_together(start, own_backend, limit, workers):
    """The kernel chooses the worker: of parts, one is used up while there is room in another, and the least part is one."""
    proxy = start(own_backend, SMALL + f"\n[limits]\nconnections = {limit}\n", workers=workers)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(proxy.client()) for _ in range(limit)]
        for client in clients:
            assert client.request("GET", "/public/x").status == 200
        late = stack.enter_context(proxy.client())
        late.send(b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n")
        assert late.quiet(0.5)
        # Another worker's connection may be the one that ends.
        clients[0].close()
        assert late.response().status == 200


# Answers of the proxy's own with what the configuration writes into them.

@pytest.mark.parametrize("count", [10, 2000])
def test_as_many_scopes_as_a_route_has(start, own_backend, count):
    scopes = [f"scope-{n:05}-abcdefghij" for n in range(count)]
    proxy = start(own_backend, BACKEND + MAIN_ISSUER + API_ROUTE + f"scopes = {scopes}\n".replace("'", '"'))
    answer = proxy.get("/api/x", bearer(token()))
    assert answer.status == 403 and f'scope="{" ".join(scopes)}"' in answer.headers.get("www-authenticate")


@pytest.mark.parametrize("count", [100, 60_000])
def test_a_yes_with_credentials_of_any_size(start, own_backend, count):
    proxy = start(own_backend, """
[upstream.backend]
servers = ["127.0.0.1:{backend}"]
authorization = {{ bearer = {{ env = "BIG" }} }}
""" + MAIN_ISSUER + API_ROUTE, env={"BIG": "x" * count}, listen='mode = "forward-auth"\ntrusted_proxies = ["127.0.0.0/8"]')
    answer = proxy.get("/q", {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/x", "X-Forwarded-Host": "h"} | bearer(token()))
    assert answer.status == 200 and answer.headers.get("authorization") == "Bearer " + "x" * count


# The log says why there was no answer.

RAW = {
    "closed_without_answer": b"", "answer_malformed": b"nonsense\r\n\r\n", "answer_broken_off": b"HTTP/1.1 200 OK\r\nContent-Le",
}


class Raw(StandIn):
    """Answers every request with the same bytes, and closes."""

    def __init__(self, answer):
        self.answer = answer
        super().__init__()

    def _serve(self, connection):
        with connection:
            connection.recv(65536)
            connection.sendall(self.answer)


@pytest.mark.parametrize("detail", RAW)
def test_the_log_says_what_was_wrong_with_the_answer(start, detail):
    with Raw(RAW[detail]) as backend:
        proxy = start(backend, SMALL, upstream="retries = 0")
        assert proxy.get("/public/x").status == 502
        assert proxy.wait_log(path="/public/x")["detail"] == detail


def test_the_log_says_why_there_is_no_server(start, own_backend):
    with Backend() as gone:
        proxy = start(gone, SMALL)
    assert proxy.get("/public/x").status == 503
    assert proxy.wait_log(path="/public/x")["detail"] == "no_connection"
