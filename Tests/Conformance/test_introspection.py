"""Opaque tokens: the issuer is asked about them (RFC 7662)."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import itertools
import json
import socket
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness import tokens
from harness.authority import Authority
from harness.configuration import BACKEND, MAIN_ISSUER
from harness.dpop import Client
from harness.ports import refusing_port
from harness.process import command
from harness.servers import with_hosts
from harness.standin import StandIn
from harness.streams import endless_at_stream, has_been_cut, stream
from harness.tokens import bearer
from harness.waiting import wait_until
from harness.wire import Closed, Reader, render

CONFIGURATION = BACKEND + MAIN_ISSUER + """
[issuer.opaque]
issuer = "{issuer}"
audience = ["https://api.test"]
introspection = {{ url = "{url}", client_id = "usher:1", client_secret = {{ env = "USHER_TEST_SECRET" }}, cache_for = "{cache_for}" }}
{more}

[[route]]
path = "/api/**"
auth = ["main", "opaque"]
scopes = ["tasks:read"]
upstream = "backend"

[[route]]
path = "/only/**"
auth = "opaque"
upstream = "backend"

[[route]]
path = "/unlimited/**"
auth = "opaque"
upstream = "backend"
stream_lifetime = "unlimited"

[[route]]
path = "/main/**"
auth = "main"
upstream = "backend"

[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"
"""


class Endpoint:
    """An introspection endpoint: `tokens` are active; `status`, `delay` and `body` make it misbehave."""

    def __init__(self, host="127.0.0.1"):
        self.tokens: dict[str, dict] = {}
        self.asked: list[str] = []
        self.forms: list[dict] = []
        self.headers: list = []
        self.status, self.delay, self.body = 200, 0.0, None
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode(), True))
                endpoint.forms.append(form)
                endpoint.headers.append(self.headers)
                endpoint.asked.append(form["token"])
                time.sleep(endpoint.delay)
                claims = endpoint.tokens.get(form["token"])
                body = json.dumps({"active": True} | claims if claims is not None else {"active": False}).encode()
                body = body if endpoint.body is None else endpoint.body
                self.send_response(endpoint.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/introspect?x=1"

    def down(self):
        self.server.shutdown()
        self.server.server_close()


def claims(**more) -> dict:
    return {k: v for k, v in ({
        "iss": "https://opaque.test", "aud": "https://api.test", "sub": "alice", "scope": "tasks:read x",
        "exp": int(time.time()) + 600} | more).items() if v is not ...}


@pytest.fixture
def endpoint():
    running = Endpoint()
    yield running
    running.down()


@pytest.fixture
def run(start, own_backend, endpoint):
    def run(workers=1, cache_for="30s", issuer="https://opaque.test", more="", url=None, prefix=()):
        return start(own_backend, CONFIGURATION, workers=workers, cache_for=cache_for, issuer=issuer, more=more,
                     url=url or endpoint.url, prefix=prefix)
    return run


def test_an_active_token_is_asked_about_once(run, endpoint):
    proxy = run()
    endpoint.tokens["opaque-1+/=~"] = claims()
    for _ in range(3):
        request = proxy.assert_arrived(proxy.get("/api/x", bearer("opaque-1+/=~")), "alice")
        assert not request.headers.all("authorization")
        proxy.backend.clear()
    assert endpoint.asked == ["opaque-1+/=~"]
    assert endpoint.forms[0]["token_type_hint"] == "access_token"
    head = endpoint.headers[0]
    scheme, text = head["authorization"].split(" ")
    assert scheme == "Basic" and base64.b64decode(text) == b"usher%3A1:" + tokens.SECRET
    assert head["content-type"] == "application/x-www-form-urlencoded" and not head["cookie"]
    proxy.assert_arrived(proxy.get("/only/x", bearer("opaque-1+/=~")), "alice")
    assert len(endpoint.asked) == 1


def test_the_time_of_the_question_is_none_of_the_backends(run, endpoint):
    """Not even where the backend answers before it has the whole request."""
    proxy = run()
    endpoint.delay = 1.0
    proxy.backend.script = lambda exchange: (exchange.reply(413, headers=[("Connection", "close")]), exchange.close())

    def is_apart(number) -> bool:
        endpoint.tokens[f"t{number}"] = claims()
        with proxy.client() as client:
            client.send(render("POST", f"/api/early{number}", bearer(f"t{number}") | {"Content-Length": "100000"}) + b"x" * 100)
            status = client.response().status
        line = proxy.wait_log(path=f"/api/early{number}")
        return status == 413 and line["upstream_ms"] < 900 < line["duration_ms"]
    # A question has two seconds, and a machine that others want may need one of them, or take one over the backend's answer.
    assert any(map(is_apart, range(6)))


def test_an_inactive_token(run, endpoint):
    proxy = run()
    for _ in range(3):
        proxy.assert_refused(proxy.get("/api/x", bearer("unknown")), 401, "token_invalid")
    assert endpoint.asked == ["unknown"], "a no is remembered for a moment"


REFUSED = {
    "another audience": dict(aud="https://other.test"), "no audience": dict(aud=...), "another issuer": dict(iss="https://x"),
    "no issuer": dict(iss=...), "no subject": dict(sub=...), "subject number": dict(sub=5), "expired": dict(exp=1),
    "not yet": dict(nbf=int(time.time()) + 86400), "exp text": dict(exp="soon"), "bound to who knows": dict(cnf={"x": "y"}),
    # Active, and for the server alone: Hydra, OpenIddict, Keycloak, and whoever says it in token_type.
    "refresh token of Hydra": dict(token_use="refresh_token", token_type="Bearer"),
    "refresh token of OpenIddict": dict(token_usage="refresh_token"), "refresh token of Keycloak": dict(typ="Refresh"),
    "offline token": dict(typ="Offline"), "ID token": dict(typ="ID"), "refresh token": dict(token_type="refresh_token"),
    "refresh token by URN": dict(token_type="urn:ietf:params:oauth:token-type:refresh_token"),
    "refresh token in capitals": dict(token_use="Refresh-Token"), "logout token": dict(typ="logout+jwt"),
}
ACCEPTED = [dict(token_use="access_token", token_type="Bearer"), dict(token_usage="access_token"), dict(typ="Bearer"),
            dict(typ="at+jwt", token_type="DPoP"), dict(token_use=None, typ=5), dict(token_use="Access_Token"),
            dict(token_use="user", token_usage="", token_type="urn:ietf:params:oauth:token-type:access_token")]


@pytest.mark.parametrize("said", ACCEPTED, ids=str)
def test_an_access_token_by_any_word(run, endpoint, said):
    proxy = run()
    endpoint.tokens["t"] = claims(**said)
    proxy.assert_arrived(proxy.get("/api/x", bearer("t")), "alice")


@pytest.mark.parametrize("name", REFUSED)
def test_the_answer_s_claims_count(run, endpoint, name):
    proxy = run()
    endpoint.tokens["t"] = claims(**REFUSED[name])
    proxy.assert_refused(proxy.get("/api/x", bearer("t")), 401, "token_invalid")


def test_scopes_and_issuers_that_are_not_checked(run, endpoint):
    proxy = run(issuer="*")
    endpoint.tokens |= {"a": claims(scope="other"), "b": claims(iss=..., exp=...), "c": claims(iss="https://any")}
    proxy.assert_refused(proxy.get("/api/x", bearer("a")), 403, "insufficient_scope")
    assert proxy.get("/api/x", bearer("b")).status == 200
    assert proxy.get("/api/x", bearer("c")).status == 200


def test_j5_jwts_and_opaque_tokens_on_one_route(run, endpoint):
    proxy = run()
    endpoint.tokens["o"] = claims(sub="bob")
    signed = tokens.token(scope="tasks:read")
    proxy.assert_arrived(proxy.get("/api/x", bearer(signed)), "alice")
    proxy.backend.clear()
    proxy.assert_arrived(proxy.get("/api/x", bearer("o")), "bob")
    assert endpoint.asked == ["o"]
    proxy.backend.clear()
    # Each issuer's verdict is its own.
    proxy.assert_refused(proxy.get("/main/x", bearer("o")), 401, "token_invalid")
    proxy.assert_refused(proxy.get("/api/x", bearer(tokens.token(secret_or_key=b"x" * 40))), 401)
    assert endpoint.asked == ["o"], "a signed token is nothing to ask about where its issuer has keys"
    endpoint.tokens[signed] = claims(sub="carol")
    proxy.assert_arrived(proxy.get("/only/x", bearer(signed)), "carol")
    proxy.backend.clear()
    proxy.assert_arrived(proxy.get("/api/x", bearer(signed)), "alice")


def test_jwts_and_opaque_tokens_of_one_issuer(run, endpoint):
    """One authorization server issues both, under one `iss`."""
    proxy = run(issuer="https://main.test")
    endpoint.tokens["o"] = claims(iss="https://main.test", sub="bob")
    proxy.assert_arrived(proxy.get("/api/x", bearer(tokens.token(scope="tasks:read"))), "alice")
    proxy.backend.clear()
    proxy.assert_arrived(proxy.get("/api/x", bearer("o")), "bob")
    assert endpoint.asked == ["o"]


def test_J4_an_unchecked_issuer_s_answer_never_speaks_for_one_with_keys(run, endpoint):
    proxy = run(issuer="*")
    endpoint.tokens["o"] = claims(iss="https://main.test")
    for _ in range(2):
        proxy.assert_refused(proxy.get("/api/x", bearer("o")), 401, "token_invalid")
        assert proxy.get("/only/x", bearer("o")).status == 200
        proxy.backend.clear()


def test_J4_an_unchecked_issuer_is_not_asked_about_the_jwt_of_another(run, endpoint):
    """The cookie is read by the one that is asked alone, and what it holds says that it is the other's."""
    proxy = run(issuer="*", more='token_from = ["cookie:t"]')
    forged = tokens.token(secret_or_key=b"x" * 40)
    endpoint.tokens |= {forged: claims(iss=...), "opaque": claims(iss=...)}
    for _ in range(2):
        proxy.assert_refused(proxy.get("/api/x", {"Cookie": f"t={forged}"}), 401, "token_invalid")
    assert endpoint.asked == []
    assert proxy.get("/only/x", {"Cookie": f"t={forged}"}).status == 200, "nobody else is accepted here"
    proxy.backend.clear()
    proxy.assert_refused(proxy.get("/api/x", {"Cookie": f"t={forged}"}), 401, "token_invalid")
    proxy.assert_arrived(proxy.get("/api/x", {"Cookie": "t=opaque"}), "alice")


def test_J5_two_issuers_that_are_asked_answer_for_themselves(start, own_backend, endpoint):
    """The same opaque token on two routes with different issuers: independent answers, whichever is remembered first."""
    other = Endpoint()
    more = f"""
[issuer.second]
issuer = "https://opaque.test"
audience = ["https://api.test"]
introspection = {{{{ url = "{other.url}", client_id = "usher:1", client_secret = {{{{ env = "USHER_TEST_SECRET" }}}} }}}}

[[route]]
path = "/second/**"
auth = "second"
upstream = "backend"
"""
    proxy = start(own_backend, CONFIGURATION + more, cache_for="30s", issuer="https://opaque.test", more="", url=endpoint.url)
    endpoint.tokens |= {"first-only": claims(), "both": claims()}
    other.tokens |= {"second-only": claims(sub="bob"), "both": claims(sub="bob")}
    for _ in range(2):
        for text, first, second in [("first-only", "alice", None), ("second-only", None, "bob"), ("both", "alice", "bob")]:
            for target, user in [("/only/x", first), ("/second/x", second)]:
                proxy.backend.clear()
                answer = proxy.get(target, bearer(text))
                if user is None:
                    proxy.assert_refused(answer, 401, "token_invalid")
                else:
                    proxy.assert_arrived(answer, user)
    assert sorted(set(endpoint.asked)) == sorted(set(other.asked)) == ["both", "first-only", "second-only"]
    other.down()


def test_single_flight(run, endpoint):
    proxy = run(workers=2)
    endpoint.tokens["t"] = claims()
    endpoint.delay = 0.4
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(proxy.get("/api/x", bearer("t")).status)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 12 and endpoint.asked == ["t"]


def test_a_verdict_ages(run, endpoint):
    proxy = run(cache_for="4s")
    endpoint.tokens["t"] = claims()
    assert proxy.get("/api/x", bearer("t")).status == 200
    del endpoint.tokens["t"]
    assert proxy.get("/api/x", bearer("t")).status == 200
    wait_until(lambda: proxy.get("/api/x", bearer("t")).status == 401)
    proxy.backend.clear()
    proxy.assert_refused(proxy.get("/api/x", bearer("t")), 401, "token_invalid")


def test_a_verdict_ends_with_the_token(run, endpoint):
    proxy = run(more='leeway = "0s"')
    endpoint.tokens["t"] = claims(exp=(end := int(time.time()) + 5))
    assert proxy.get("/api/x", bearer("t")).status == 200
    time.sleep(max(0, end + 1 - time.time()))
    assert proxy.get("/api/x", bearer("t")).status == 401


def test_a_verdict_ends_with_the_token_whatever_the_leeway(run, endpoint):
    """RFC 7662, 4: an answer must not be remembered beyond the token's `exp`; the issuer's clock is its own affair."""
    proxy = run()
    endpoint.tokens["t"] = claims(exp=(end := int(time.time()) + 5))
    assert proxy.get("/api/x", bearer("t")).status == 200
    del endpoint.tokens["t"]
    time.sleep(max(0, end + 0.5 - time.time()))
    assert proxy.get("/api/x", bearer("t")).status == 401


def test_an_issuer_whose_clock_is_behind_is_asked_again_and_again(run, endpoint):
    """Its yes comes after the token's `exp`, and within the leeway: whoever asks is let pass, and is not left to wait."""
    proxy = run()
    endpoint.tokens["t"] = claims(exp=int(time.time()) - 5)
    began = time.monotonic()
    while len(endpoint.asked) < 3 and time.monotonic() < began + 15:
        assert proxy.get("/api/x", bearer("t")).status == 200
    assert 3 <= len(endpoint.asked) <= 2 + (time.monotonic() - began), "once a second"
    del endpoint.tokens["t"]
    wait_until(lambda: proxy.get("/api/x", bearer("t")).status == 401)


LARGE = {
    "a long claim": dict(roles="x" * 100_000), "many values": dict(roles=[f"role-{n}" for n in range(5000)]),
    "many members": {f"claim-{n}": n for n in range(900)}}


@pytest.mark.parametrize("name", LARGE)
def test_an_answer_may_be_larger_than_a_token(run, endpoint, name):
    """A token has 8 KiB and 1,024 values; what its issuer has to say of it may be more."""
    proxy = run()
    endpoint.tokens |= {"t": claims(**LARGE[name]), "small": claims()}
    for text in ("t", "small", "t"):
        proxy.assert_arrived(proxy.get("/api/x", bearer(text)), "alice")
        proxy.backend.clear()
    # Nor do tokens get more room by that.
    proxy.assert_refused(proxy.get("/main/x", bearer(tokens.token(x=[1] * 1100))), 401, "token_invalid")


@pytest.mark.parametrize("reloads", [False, True])
def test_a_stream_ends_once_its_token_is_not_active(run, endpoint, own_backend, reloads):
    own_backend.script = endless_at_stream
    proxy = run(cache_for="1s", workers=2)
    endpoint.tokens |= {"t": claims(), "other": claims()}
    with (stream(proxy, "/api/stream", bearer("t")) as ending, stream(proxy, "/api/stream", bearer("other")) as staying,
          stream(proxy, "/unlimited/stream", bearer("t")) as unlimited):
        if reloads:
            proxy.signal(1)
            proxy.wait_said("configuration reloaded")
        time.sleep(1.5)
        # Their verdicts are given anew, others are refused: nothing of that ends a stream.
        for text, status in [("t", 200), ("other", 200), *((f"unknown{n}", 401) for n in range(5))]:
            assert proxy.get("/api/x", bearer(text)).status == status
        assert not has_been_cut(ending, 0.5)
        del endpoint.tokens["t"]
        wait_until(lambda: proxy.get("/api/x", bearer("t")).status == 401)
        assert has_been_cut(ending, 20)
        assert not has_been_cut(staying, 0.5) and not has_been_cut(unlimited, 0.5)
    assert proxy.wait_log(path="/api/stream", detail="token_inactive")["reason"] == "token_invalid"


@pytest.mark.parametrize("place, target, fields", [
    ("query:access_token", "/only/x?access_token=", {}), ("query:access_token", "/only/x?a=1&access_token=&b", {}),
    ("header", "/only/x", {"Authorization": "Bearer "}), ("header", "/only/x", {"Authorization": "Bearer"}),
    ("cookie:t", "/only/x", {"Cookie": "t="}), ("cookie:t", "/only/x", {"Cookie": 't=""'})])
def test_an_empty_token_is_nothing_to_ask_about(run, endpoint, place, target, fields):
    """The server refuses such a question as an error of who asks (RFC 7662, 2.1), which would be 503 to the client."""
    proxy = run(more=f'token_from = ["{place}"]')
    endpoint.status = 400
    answer = proxy.get(target, fields)
    assert answer.status == 401 and answer.problem["code"] in ("token_missing", "token_invalid")
    assert endpoint.asked == []


@pytest.mark.parametrize("how", ["500", "401", "html", "null", "no active", "active text", "redirect", "huge", "slow"])
def test_503_where_the_issuer_does_not_answer(run, endpoint, how):
    proxy = run()
    endpoint.tokens["t"] = claims()
    endpoint.status = {"500": 500, "401": 401, "redirect": 302}.get(how, 200)
    endpoint.delay = 12 if how == "slow" else 0
    endpoint.body = {"html": b"<html>", "null": b"null", "no active": b'{"sub":"alice"}', "active text": b'{"active":"true"}',
                     "huge": b'{"active":true,"x":"' + b"x" * 300_000 + b'"}'}.get(how)
    answer = proxy.get("/api/x", bearer("t"))
    proxy.assert_refused(answer, 503, "authentication_unavailable")
    assert answer.headers.get("retry-after")
    if how in ("no active", "active text"):
        proxy.wait_log(detail="verdict_unusable", status=503)
    assert proxy.get("/api/x", bearer(tokens.token(scope="tasks:read"))).status == 200, "other issuers are not touched"
    endpoint.status, endpoint.delay, endpoint.body = 200, 0, None
    wait_until(lambda: proxy.get("/api/x", bearer("t")).status == 200)


def test_503_where_it_is_down(run):
    proxy = run(url=f"http://127.0.0.1:{refusing_port()}/introspect")
    proxy.assert_refused(proxy.get("/api/x", bearer("t")), 503, "authentication_unavailable")


def test_an_address_that_says_nothing_is_followed_by_the_next_one(run, tmp_path):
    """It takes connections, and is silent: the first question is in vain, those behind it are not."""
    well = Endpoint("127.0.0.3")
    well.tokens |= {f"t{number}": claims() for number in range(20)}
    port = well.server.server_port
    with socket.create_server(("127.0.0.2", port)):
        proxy = run(url=f"http://auth.test:{port}/introspect",
                    prefix=with_hosts(tmp_path, "127.0.0.1 localhost\n127.0.0.2 auth.test\n127.0.0.3 auth.test\n"))
        found = [proxy.get("/api/x", bearer(f"t{number}")).status for number in range(20)]
        assert found.count(200) >= 10, found
    well.down()


class SecureEndpoint(StandIn):
    """Says of every token that it is active, over TLS, but on its connection number `broken`, which ends before its handshake."""

    def __init__(self, context, host="127.0.0.1", broken=None):
        self.context, self.broken, self.numbers = context, broken, itertools.count(1)
        self.body = json.dumps(claims(active=True)).encode()
        super().__init__(host)

    def _serve(self, connection):
        if next(self.numbers) == self.broken:
            return connection.close()
        connection.settimeout(5)
        with contextlib.suppress(OSError, Closed), self.context.wrap_socket(connection, server_side=True) as secure:
            reader = Reader(secure)
            while True:
                head = reader.until(b"\r\n\r\n").lower()
                reader.exactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
                time.sleep(0.1)
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                               % len(self.body) + self.body)


def answers_to(proxy, count) -> list[int]:
    """The statuses of requests that come at once, each with a token of its own."""
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        return list(pool.map(lambda n: proxy.get("/api/x", bearer(f"opaque{n}")).status, range(count)))


def test_a_server_that_proves_itself_at_no_address_is_left_alone(run, tmp_path, own_backend):
    """Lines that failed side by side sent each other's questions round all addresses, again and again: 2,400 handshakes for 100
    tokens that anybody may send."""
    trusted, other = (Authority(tmp_path, name) for name in ("trusted authority", "other authority"))
    hosts = "127.0.0.1 localhost\n" + "".join(f"127.0.0.{n} auth.test\n" for n in range(2, 6))
    with SecureEndpoint(other.server_context(other.sign("server", ["auth.test"])), "0.0.0.0") as server:
        proxy = run(url=f'https://auth.test:{server.port}/introspect", ca = "{trusted.file}', prefix=with_hosts(tmp_path, hosts))
        answers = answers_to(proxy, 100)
        assert set(answers) == {503} and 0 < server.connections <= 4 * 100, server.connections


def test_one_broken_handshake_is_one_connections_alone(run, tmp_path):
    """Others to the same server answer: whoever waits for them is not told that it is gone."""
    authority = Authority(tmp_path)
    with SecureEndpoint(authority.server_context(authority.sign("auth", ["localhost"])), broken=3) as server:
        answers = answers_to(run(url=f'https://localhost:{server.port}/introspect", ca = "{authority.file}'), 40)
        assert answers.count(503) <= 1 and answers.count(200) >= 39, answers


def test_a_token_that_is_bound_to_a_key(run, endpoint):
    proxy, client = run(more='dpop = "optional"'), Client()
    endpoint.tokens["t"] = claims(cnf={"jkt": client.thumbprint})
    for _ in range(2):
        proxy.assert_refused(proxy.get("/only/x", bearer("t")), 401, "token_invalid")
        fields = client.fields("t", url="http://usher.test/only/x")
        proxy.assert_arrived(proxy.get("/only/x", fields), "alice")
        proxy.backend.clear()
    assert endpoint.asked == ["t"]


CHECK = """
[listen.public]
address = "127.0.0.1:8080"

[upstream.backend]
servers = ["127.0.0.1:8000"]

[issuer.opaque]
issuer = "https://opaque.test"
audience = ["https://api.test"]
KEYS

[[route]]
path = "/api/**"
auth = "opaque"
upstream = "backend"
"""

ALL = 'introspection = { url = "https://a.test/introspect", client_id = "c", client_secret = { env = "USHER_TEST_SECRET" } }'


@pytest.mark.parametrize("keys, message", [
    (ALL, None), (ALL.replace(" }\n", ', cache_for = "1m" }\n'), None),
    ('introspection = "x"', "must be {"), ("introspection = { }", 'needs "url"'),
    (ALL.replace("client_id", "client_idd"), 'did you mean "client_id"'),
    (ALL.replace('client_id = "c", ', ""), 'needs "client_id"'),
    (ALL.replace("https://a.test/introspect", "nonsense"), "is not a URL"),
    (ALL + '\nsecret = { env = "USHER_TEST_SECRET" }', "exactly one source of keys"),
    (ALL + '\nalgorithms = ["RS256"]', "about signed tokens"),
    (ALL.replace('client_secret = { env = "USHER_TEST_SECRET" }', 'client_secret = "inline"'), None),
])
def test_configuration(tmp_path, keys, message):
    (tmp_path / "usher.toml").write_text(CHECK.replace("KEYS", keys))
    done = command("check", "--config", tmp_path / "usher.toml")
    assert done.returncode == (1 if message else 0), done.stderr
    assert (message or "ok") in done.stdout + done.stderr
