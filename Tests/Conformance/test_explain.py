"""`usher explain`: what would become of a request, found out by the policy that a running proxy uses."""

from __future__ import annotations

import contextlib
import json
import re
import time

import pytest

from harness import betterauth, configuration, tokens
from harness.authority import Authority
from harness.dpop import Client
from harness.keyserver import KeyServer, signed
from harness.process import command, environment, unused_port
from harness.tokens import keys_token, token
from harness.waiting import wait_until
from harness.wire import WireError

CONFIGURATION = """
[listen.public]
address = "127.0.0.1:8080"

[listen.inner]
address = "127.0.0.1:8081"
trusted_proxies = ["10.0.0.0/8"]

[listen.two]
address = "127.0.0.1:8082"
protocols = ["h2"]

[listen.verify]
address = "127.0.0.1:8083"
mode = "forward-auth"
trusted_proxies = ["127.0.0.1/32"]

[upstream.tasks]
servers = ["127.0.0.1:8000"]

[upstream.whole]
servers = ["127.0.0.1:8001"]
authorization = "forward"

[upstream.service]
servers = ["127.0.0.1:8002"]
authorization = { bearer = { env = "SERVICE" } }

[issuer.main]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = { env = "USHER_TEST_SECRET" }
token_from = ["header", "cookie:session", "query:access_token"]
dpop = "optional"

[issuer.keys]
issuer = "https://keys.test"
audience = ["https://api.test"]
jwks = { url = "KEYS" }
algorithms = ["ES256"]

[revocation]
file = "revoked.json"

[[route]]
path = "/api/{user_id}/tasks/**"
auth = ["main", "keys"]
require = { sub = "{user_id}" }
scopes = ["tasks:read"]
upstream = "tasks"

[[route]]
path = "/whole/**"
auth = "main"
upstream = "whole"

[[route]]
path = "/service/**"
auth = "main"
upstream = "service"

[[route]]
path = "/maybe/**"
auth = "optional:main"
upstream = "tasks"

[[route]]
path = "/public/**"
auth = "none"
upstream = "tasks"
"""

SERVICE = "service-token-that-nobody-may-see-0123456789"


@pytest.fixture
def explain(tmp_path):
    (tmp_path / "revoked.json").write_text('{"jti": ["gone"]}')

    def run(*arguments, token=None, keys="http://127.0.0.1:1/jwks"):
        (tmp_path / "usher.toml").write_text(CONFIGURATION.replace("KEYS", keys))
        more = ()
        if token is not None:
            (tmp_path / "token").write_text(token + "\n")
            more = ("--token", f"@{tmp_path / 'token'}")
        done = command("explain", "--config", tmp_path / "usher.toml", *arguments, *more,
                       env=environment(SERVICE=SERVICE))
        for secret in [token, SERVICE, *((token or "").split(".")[1:])]:
            assert not secret or secret not in done.stdout + done.stderr, "credentials are never printed"
        return done
    return run


def good(**more) -> str:
    # Some are made before the first test: on a slow machine theirs may come hours later.
    return token(**{"scope": "tasks:read", "exp": int(time.time()) + 86400} | more)


def test_a_request_that_goes_to_the_backend(explain):
    done = explain("GET", "https://api.test/api/alice/tasks?done=1", "-H", "X-User-Id: mallory",
                   "-H", "X_User_Id: mallory", "-H", "Accept: text/plain", token=good())
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("/api/{user_id}/tasks/**", "alice, by main", "sub={user_id}", "tasks:read", 'backend "tasks" sees',
                 "GET /api/alice/tasks?done=1 HTTP/1.1", "X-User-Id: alice", "X-Forwarded-Proto: https",
                 "Host: api.test", "Accept: text/plain", "127.0.0.1:8000"):
        assert part in done.stdout, (part, done.stdout)
    seen = done.stdout.split("sees", 1)[1]
    assert "mallory" not in seen and "Authorization:" not in seen


REFUSALS = {
    "no token": (("GET", "/api/alice/tasks"), None, 401, "token_missing", ""),
    "not a token": (("GET", "/api/alice/tasks"), "x", 401, "token_invalid", "token_malformed"),
    "expired": (("GET", "/api/alice/tasks"), good(exp=1), 401, "token_expired", "token_expired"),
    "audience": (("GET", "/api/alice/tasks"), good(audience="https://other.test"), 401, "token_invalid", "token_wrong_audience"),
    "issuer": (("GET", "/api/alice/tasks"), good(issuer="https://other.test"), 401, "token_invalid", "token_wrong_issuer"),
    "signature": (("GET", "/api/alice/tasks"), token(secret_or_key=b"x" * 40), 401, "token_invalid", "token_bad_signature"),
    "revoked": (("GET", "/api/alice/tasks"), good(jti="gone"), 401, "token_invalid", "token_revoked"),
    "bound": (("GET", "/api/alice/tasks"), good(cnf={"jkt": "A" * 43}), 401, "token_invalid", "token_bound_to_key"),
    "not yours": (("GET", "/api/bob/tasks"), good(), 403, "not_yours", ""),
    "scope": (("GET", "/api/alice/tasks"), token(), 403, "insufficient_scope", ""),
    "no route": (("GET", "/nothing"), good(), 404, "no_route", ""),
    "dot segment": (("GET", "/public/../x"), None, 400, "bad_request", ""),
    "trace": (("TRACE", "/public/x"), None, 405, "method_not_allowed", ""),
    "body": (("POST", "/public/x", "-H", "Content-Length: 10485761"), None, 413, "too_large", "max_body"),
    "two tokens": (("GET", "/whole/x?access_token=other"), good(), 400, "bad_request", ""),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_with_the_codes_of_log_and_answer(explain, name):
    arguments, text, status, code, detail = REFUSALS[name]
    done = explain(*arguments, token=text)
    assert done.returncode == 2, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("  NO"))
    assert code in line and detail in line
    assert f"Answer: {status} {code}" in done.stdout
    assert json.loads(done.stdout.strip().splitlines()[-1])["code"] == code
    assert ("WWW-Authenticate: Bearer" in done.stdout) == (status == 401 or code == "insufficient_scope")
    assert ("Allow: GET, HEAD" in done.stdout) == (status == 405)


def test_it_says_what_would_have_to_be_different(explain):
    assert "https://other.test" in explain("GET", "/api/alice/tasks", token=good(audience="https://other.test")).stdout
    assert "h" in re.search(r"token_expired\): (.*) ago", explain(
        "GET", "/api/alice/tasks", token=good(exp=int(time.time()) - 7200)).stdout)[1]


def wait_live(proxy):
    """The keys never come, so the proxy is never ready."""
    def is_live():
        with contextlib.suppress(OSError, WireError):
            return proxy.admin_request("/livez").status == 200
    wait_until(is_live, what="the proxy does not start")


def test_the_answer_is_the_running_proxy_s(explain, start, own_backend):
    """The same request to a running proxy: the same status, code, challenge and fields upstream."""
    text = CONFIGURATION.split("[listen.inner]")[1].split("[upstream.tasks]")[1]
    text = "[upstream.tasks]" + text.replace("{", "{{").replace("}", "}}").replace("127.0.0.1:8000", "127.0.0.1:{backend}")
    proxy = start(own_backend, text.replace('[revocation]\nfile = "revoked.json"', "").replace("KEYS", "http://127.0.0.1:1/jwks"),
                  env={"SERVICE": SERVICE}, wait=False)
    wait_live(proxy)
    for target, text in [("/api/bob/tasks", good()), ("/api/alice/tasks", token()), ("/api/alice/tasks", "x"), ("/nothing", good())]:
        answer = proxy.get(target, tokens.bearer(text))
        told = explain("GET", f"http://usher.test{target}", token=text).stdout
        assert f"Answer: {answer.status} {answer.problem['code']}" in told
        assert answer.body.decode().strip() in told
        if challenge := answer.headers.get("www-authenticate"):
            assert f"WWW-Authenticate: {challenge}" in told
    answer = proxy.get("/api/alice/tasks", tokens.bearer(good()) | {"X-User-Name": "mallory", "X-Test": "1"})
    told = explain("GET", "http://usher.test/api/alice/tasks", "-H", "X-User-Name: mallory", "-H", "X-Test: 1", token=good()).stdout
    shown = [line.strip() for line in told.split("sees")[1].split("and not")[0].strip().splitlines()[1:]]
    assert "not the client's Authorization, X-User-Name\n" in told

    def plain(lines):
        return [re.sub(r"^X-Request-Id: .*", "", line) for line in lines]
    real = [f"{name}: {value}" for name, value in proxy.backend.last.headers.lines]
    assert plain(real) == plain(shown)


def test_the_credentials_for_a_backend_are_not_shown(explain):
    done = explain("GET", "/whole/x", token=good())
    assert done.returncode == 0 and "Authorization: Bearer …" in done.stdout
    assert "Authorization: Bearer …" in explain("GET", "/service/x", token=good()).stdout
    text = good()
    for arguments in (("-H", f"Cookie: a=1; session={text}"), ("-H", f"Authorization: Bearer {text}")):
        done = explain("GET", "/whole/x", *arguments)
        assert done.returncode == 0 and text not in done.stdout, done.stdout
    done = explain("GET", f"/whole/x?a=1&access_token={text}")
    assert done.returncode == 0 and text not in done.stdout and "GET /whole/x?a=1 HTTP/1.1" in done.stdout


def test_nobody(explain):
    assert "nobody" in explain("GET", "/maybe/x").stdout
    done = explain("GET", "/public/x", "-H", "X-User-Id: mallory")
    assert done.returncode == 0 and "mallory" not in done.stdout.split("sees")[1]


def test_keys_by_url_are_fetched(explain):
    with KeyServer() as server:
        server.publish("one")
        claims = dict(scope="tasks:read")
        done = explain("GET", "/api/alice/tasks", token=signed("one", **claims), keys=server.url)
        assert done.returncode == 0 and "alice, by keys" in done.stdout and "were fetched" in done.stdout
        assert server.requests == ["/jwks"]
        done = explain("GET", "/api/alice/tasks", token=signed("two", **claims), keys=server.url)
        assert done.returncode == 2 and "token_unknown_key" in done.stdout
        done = explain("GET", "/api/alice/tasks", token=good(), keys=server.url)
        assert done.returncode == 0 and len(server.requests) == 2, "the other issuer's tokens need none"
        done = explain("GET", "/api/alice/tasks", "--offline", token=signed("one", **claims), keys=server.url)
        assert done.returncode == 2 and len(server.requests) == 2 and "were not fetched: --offline" in done.stdout
    done = explain("GET", "/api/alice/tasks", token=signed("one", **claims), keys=f"http://127.0.0.1:{unused_port()}/jwks")
    assert done.returncode == 2 and "were not fetched" in done.stdout and "503 keys_unavailable" in done.stdout


def test_listener_and_client_address(explain):
    done = explain("GET", "/public/x", "--listener", "inner", "--address", "10.1.2.3",
                   "-H", "X-Forwarded-For: 203.0.113.9")
    assert "a trusted proxy" in done.stdout and "X-Forwarded-For: 203.0.113.9, 10.1.2.3" in done.stdout
    done = explain("GET", "/public/x", "--address", "10.1.2.3", "-H", "X-Forwarded-For: 203.0.113.9")
    assert "X-Forwarded-For: 10.1.2.3\n" in done.stdout
    assert "2001:db8::1" in explain("GET", "/public/x", "--address", "2001:db8::1").stdout


def test_a_listener_that_speaks_http_2_alone(explain):
    """RFC 9110 section 7.6.3: `Via` bears the version in which the request came."""
    for listener, version in [("two", "2"), ("public", "1.1")]:
        assert f"  Via: {version} usher\n" in explain("GET", "/public/x", "--listener", listener).stdout


def test_a_token_with_a_proof(explain):
    client = Client()
    text = client.token(scope="tasks:read")
    proof = client.proof(text, url="https://api.test/api/alice/tasks")
    done = explain("GET", "https://api.test/api/alice/tasks", "-H", f"DPoP: {proof}", token=text)
    assert done.returncode == 0 and proof not in done.stdout, done.stdout
    done = explain("GET", "http://api.test/api/alice/tasks", "-H", f"DPoP: {proof}", token=text)
    assert done.returncode == 2 and "proof_of_other_request" in done.stdout


BROWSER = """
[listen.public]
address = "127.0.0.1:8080"

[listen.secure]
address = "127.0.0.1:8443"
tls.certificates = [CERTIFICATE]

[listen.plain]
address = "127.0.0.1:8081"
mode = "redirect"
redirect = "https:8443"

[upstream.tasks]
servers = ["127.0.0.1:8000"]

[issuer.main]
issuer = "*"
audience = "*"
secret = "0123456789012345678901234567890123456789"

[cors.web]
origins = ["https://app.example.com"]

[[route]]
path = "/api/**"
upstream = "tasks"
auth = "main"
cors = "web"
sign_in = "https://app.example.com/sign-in"

[[route]]
path = "/old/**"
auth = "none"
redirect = "https"
"""


@pytest.mark.parametrize("arguments, status, parts", [
    (("GET", "/api/x?q=1", "-H", "Accept: text/html", "-H", "Sec-Fetch-Mode: navigate"), 302,
     ["Location: https://app.example.com/sign-in?return_to=%2Fapi%2Fx%3Fq%3D1", "token_missing"]),
    (("OPTIONS", "/api/x", "-H", "Origin: https://app.example.com", "-H", "Access-Control-Request-Method: PUT"), 204,
     ["Access-Control-Allow-Origin: https://app.example.com", "Access-Control-Allow-Methods: ", "Vary: Origin"]),
    (("GET", "/api/x", "-H", "Origin: https://app.example.com"), 401,
     ["Access-Control-Allow-Origin: https://app.example.com", "WWW-Authenticate: Bearer"]),
    (("GET", "http://api.test/old/x?y=1"), 308, ["Location: https://api.test/old/x?y=1"]),
    (("GET", "http://api.test/nope?y=1", "--listener", "plain"), 308, ["Location: https://api.test:8443/nope?y=1\n"]),
    (("GET", "http://api.test/api/x", "--listener", "plain"), 308, ["Location: https://api.test:8443/api/x\n"]),
    (("GET", "http://api.test/old/%2e%2e/x", "--listener", "plain"), 400, ["dot_segment"]),
], ids=["sign-in", "preflight", "cors", "redirect", "listener of redirects", "listener of redirects, a route", "listener of redirects, refused"])
def test_answers_for_browsers(tmp_path, arguments, status, parts):
    """What the proxy answers itself: the same fields as on the wire."""
    pair = Authority(tmp_path).sign("main", ["api.test"])
    text = BROWSER.replace("CERTIFICATE", pair.toml())
    (tmp_path / "usher.toml").write_text(text)
    done = command("explain", "--config", tmp_path / "usher.toml", *arguments)
    assert done.returncode == (0 if status in (204, 308) else 2), done.stdout + done.stderr
    assert f"HTTP/1.1 {status} " in done.stdout
    for part in parts:
        assert part in done.stdout, (part, done.stdout)


@pytest.mark.parametrize("preflight", [True, False])
def test_a_preflight_is_refused_by_its_rule(tmp_path, preflight):
    """The hint led to `trusted_origins`, which has no say in it."""
    (tmp_path / "usher.toml").write_text(BROWSER.replace("tls.certificates = [CERTIFICATE]", ""))
    more = ("-H", "Access-Control-Request-Method: PUT") if preflight else ()
    done = command("explain", "--config", tmp_path / "usher.toml", "OPTIONS", "/api/x", "-H", "Origin: https://evil.example", *more)
    assert done.returncode == 2 and ("Answer: 403 origin_refused" in done.stdout) == preflight, done.stdout
    assert ("  NO  cors     origin_refused: a preflight, and \"origins\" of [cors.web] lacks https://evil.example" in done.stdout) == preflight
    assert "cookie counts" not in done.stdout


def test_what_a_proxy_in_front_is_told(explain):
    """What its backend sees is its own matter: of that nothing can be said here."""
    done = explain("GET", "/whole/x", "--listener", "verify", "-H", "X_User_Id: mallory", token=good())
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("The proxy that asks gets\n  HTTP/1.1 200 OK\n  X-User-Id: alice\n\n"
                                "Answer: 200 and the identity headers, for the proxy that asks\n"), done.stdout
    assert "  Authorization: Bearer …\n" in explain("GET", "/service/x", "--listener", "verify", token=good()).stdout
    done = explain("POST", "/public/x", "--listener", "verify", "-H", "Content-Length: 10485761")
    assert done.returncode == 0 and "200 OK\n\nAnswer" in done.stdout, done.stdout


def test_a_handshake_goes_on_as_one(explain):
    done = explain("GET", "/public/x", "-H", "Connection: keep-alive, Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13",
                   "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    assert "  Connection: upgrade\n  Upgrade: websocket\nand not the client's Connection\n" in done.stdout, done.stdout
    done = explain("POST", "/public/x", "-H", "Content-Length: 5")
    assert "  Content-Length: 5\n" in done.stdout and "and not" not in done.stdout, done.stdout


def test_a_fragment_is_none_of_a_target(explain):
    """A client takes it off a URL; on the wire it is a mistake."""
    assert explain("GET", "http://api.test/public/x#y").returncode == 0
    done = explain("GET", "/public/x#y")
    assert done.returncode == 2 and "Answer: 400 bad_request" in done.stdout, done.stdout


@pytest.mark.parametrize("arguments", [
    ("GET",), ("GET", "ftp://x/"), ("GET", "/public/x", "-H", "nonsense"), ("GET", "/public/x", "--listener", "nonsense"),
    ("GET", "/public/x", "--address", "nonsense"), ("GET", "/public/x", "--token", "@/nonexistent"),
    ("GET", "/x", "-H", "A: b\r\nX-User-Id: c"), ("GET\r\nX: y", "/x"), ("GET", "/x\r\nX: y")], ids=repr)
def test_arguments_that_cannot_be_used(explain, arguments):
    done = explain(*arguments)
    assert done.returncode not in (0, 2) and done.stderr and not done.stdout


def test_a_session_with_a_published_key(tmp_path):
    """The key is fetched, and where there is none, the server would have to be asked."""
    text = configuration.PREAMBLE.format(workers=1, port=1, admin=2, listen="") + """
[upstream.backend]
servers = ["127.0.0.1:1"]
[session.browser]
provider = "better-auth"
secret = { env = "AUTH_SECRET" }
secure_cookies = false
url = "URL"
trusted_origins = ["https://app.test"]
[[route]]
path = "/**"
auth = "browser"
upstream = "backend"
"""
    cookie = betterauth.cookies("T", betterauth.published(betterauth.payload("T"), "https://app.test"))

    def explained(*more):
        return command("explain", "--config", tmp_path / "usher.toml", "GET", "/x", "-H", f"Cookie: {cookie}", *more,
                       env=environment(AUTH_SECRET=betterauth.SECRET))
    with betterauth.AuthServer() as server:
        (tmp_path / "usher.toml").write_text(text.replace("URL", server.url))
        done = explained()
        assert done.returncode == 0 and "session.browser were not fetched" in done.stdout, done.stdout
        assert done.stdout.endswith("\nAnswer: depends on session.browser, which is not asked here\n")
        server.keys = {"keys": [tokens.jwk(tokens.key_for("EdDSA", "better-auth"), kid="cache", alg="EdDSA")]}
        done = explained()
        assert done.returncode == 0 and "alice, by browser" in done.stdout and "session.browser were fetched" in done.stdout
        assert "Answer: depends on session.browser" in explained("--offline").stdout
        assert server.asked == 0


ASKED = """
[listen.public]
address = "127.0.0.1:8080"
[upstream.backend]
servers = ["127.0.0.1:1"]
[issuer.main]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = { env = "USHER_TEST_SECRET" }
[issuer.opaque]
issuer = "https://opaque.test"
audience = ["https://api.test"]
introspection = { url = "http://127.0.0.1:1/introspect", client_id = "usher", client_secret = { env = "USHER_TEST_SECRET" } }
[session.browser]
provider = "better-auth"
secret = { env = "AUTH_SECRET" }
cookie_cache = "off"
url = "http://127.0.0.1:1/api/auth"
trusted_origins = ["https://app.test"]
[revocation]
[shared]
redis = "redis://127.0.0.1:1"
when_unavailable = "refuse"
[rate_limit.few]
key = "user"
requests = 1
per = "1h"
[[route]]
path = "/opaque/**"
auth = "opaque"
scopes = ["tasks:read"]
upstream = "backend"
[[route]]
path = "/session/{user_id}"
auth = ["main", "browser"]
require = { sub = "{user_id}" }
upstream = "backend"
[[route]]
path = "/maybe/**"
auth = "optional:browser"
upstream = "backend"
[[route]]
path = "/main/**"
auth = "main"
rate_limit = "few"
upstream = "backend"
"""


@pytest.fixture
def asked(tmp_path):
    def run(*arguments):
        (tmp_path / "usher.toml").write_text(ASKED)
        return command("explain", "--config", tmp_path / "usher.toml", *arguments, env=environment(AUTH_SECRET=betterauth.SECRET))
    return run


COOKIE = betterauth.cookies("T", prefix="__Secure-better-auth")


@pytest.mark.parametrize("arguments, server, later", [
    (("GET", "/opaque/x", "-H", "Authorization: Bearer opaque-token-0123456789"), "issuer.opaque", "scopes   not reached: tasks:read"),
    (("GET", "/session/alice", "-H", f"Cookie: {COOKIE}"), "session.browser", "require  not reached: sub={user_id}"),
    (("GET", "/maybe/x", "-H", f"Cookie: {COOKIE}"), "session.browser", "ok  route"),
], ids=["introspection", "session", "optional"])
def test_what_a_server_decides_is_left_open(asked, arguments, server, later):
    """It said 503, also while a running proxy would have let the request pass."""
    done = asked(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"  ?   token    {server} decides about it\n" in done.stdout and later in done.stdout, done.stdout
    assert done.stdout.endswith(f"\nAnswer: depends on {server}, which is not asked here\n") and "503" not in done.stdout


def test_what_no_server_has_a_say_in_is_told(asked):
    for arguments, code in [(("GET", "/session/alice", "-H", "Cookie: __Secure-better-auth.session_token=forged.x"), "token_invalid"),
                            (("POST", "/session/alice", "-H", f"Cookie: {COOKIE}", "-H", "Origin: https://evil.test"), "origin_refused"),
                            (("GET", "/opaque/x"), "token_missing")]:
        done = asked(*arguments)
        assert done.returncode == 2 and code in done.stdout and "depends" not in done.stdout, done.stdout
    done = asked("GET", "/session/alice", "-H", f"Cookie: {COOKIE}", "-H", f"Authorization: Bearer {token()}")
    assert done.returncode == 0 and "X-User-Id: alice" in done.stdout, done.stdout
    assert "; 400 if session.browser, which is not asked here, names somebody else\n" in done.stdout


def test_a_cookie_under_the_name_of_the_other_setting(asked):
    cookie = COOKIE.replace("__Secure-", "")
    for target in ("/session/alice", "/maybe/x"):
        done = asked("GET", target, "-H", f"Cookie: a=1; {cookie}")
        assert ("the cookie is called better-auth.session_token, but with secure_cookies = true [session.browser] reads "
                "__Secure-better-auth.session_token") in done.stdout, done.stdout
        assert cookie.partition("=")[2] not in done.stdout


def test_a_store_that_is_not_asked_refuses_nothing(asked):
    """With `when_unavailable = "refuse"` every token was 503 `shared_unavailable`."""
    done = asked("GET", "/main/x", "-H", f"Authorization: Bearer {token()}")
    assert done.returncode == 0 and "few: nothing is counted here" in done.stdout, done.stdout
