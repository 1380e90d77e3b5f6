"""CORS: preflights are answered, every answer of a route can be read by the pages that are listed, and by no others."""

import pytest

from harness import configuration
from harness.ports import refusing_port
from harness.tokens import bearer, token
from harness.wire import render

APP, OTHER, EVIL = "https://app.example.com", "http://localhost:3000", "https://evil.test"
TEXT = configuration.BACKEND + """
[upstream.nobody]
servers = ["127.0.0.1:{nobody}"]
connect_timeout = "1s"

[upstream.quick]
servers = ["127.0.0.1:{backend}"]
response_timeout = "300ms"
""" + configuration.MAIN_ISSUER + """\
token_from = ["header", "cookie:jwt"]
trusted_origins = ["https://app.example.com"]

[cors.app]
origins = ["https://app.example.com", "http://localhost:3000"]
methods = ["GET", "POST", "DELETE"]
headers = ["Authorization", "Content-Type"]
expose_headers = ["X-Request-Id", "Retry-After"]
credentials = true
max_age = "10m"

[cors.all]
origins = ["*"]

[rate_limit.tight]
key = "address"
requests = 1
per = "1d"

[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"

[[route]]
path = "/api/{{user_id}}/**"
auth = "main"
require = {{ sub = "{{user_id}}" }}
upstream = "backend"
cors = "app"

[[route]]
path = "/hidden/{{user_id}}"
auth = "main"
require = {{ sub = "{{user_id}}" }}
denied = 404
upstream = "backend"
cors = "app"

[[route]]
path = "/deleted"
methods = ["DELETE"]
auth = "main"
upstream = "backend"
cors = "app"

[[route]]
path = "/plain/**"
auth = "main"
upstream = "backend"

[[route]]
path = "/nobody"
auth = "none"
upstream = "nobody"
cors = "app"

[[route]]
path = "/quick"
auth = "none"
upstream = "quick"
cors = "app"

[[route]]
path = "/limited"
auth = "none"
upstream = "backend"
cors = "app"
rate_limit = "tight"

[[route]]
path = "/small"
auth = "none"
upstream = "backend"
cors = "app"
max_body = "8B"

[[route]]
path = "/moved"
auth = "none"
redirect = "https:8443"
cors = "app"

[[route]]
path = "/all"
auth = "none"
upstream = "backend"
cors = "all"
"""


@pytest.fixture(scope="module")
def cors(tmp_path_factory):
    from harness.backend import Backend
    from harness.process import allocate, environment
    from conftest import Proxy, _finish
    with Backend() as backend:
        port, admin = allocate()
        text = (configuration.PREAMBLE + TEXT).format(
            workers=1, port=port, admin=admin, listen="", backend=backend.port, nobody=refusing_port())
        proxy = Proxy(tmp_path_factory.mktemp("cors"), text, port, admin, environment())
        proxy.backend = backend
        proxy.wait_ready()
        yield proxy
        _finish(proxy)


@pytest.fixture
def usher(cors):
    cors.backend.clear()
    yield cors
    assert not cors.backend.errors


def fields(answer) -> dict[str, list[str]]:
    """The fields about other origins, each with all its values."""
    return {n.lower(): answer.headers.all(n) for n, _ in answer.headers.lines if n.lower().startswith("access-control-")}


def granted(answer, origin=APP):
    assert answer.headers.all("access-control-allow-origin") == [origin]
    assert answer.headers.all("access-control-allow-credentials") == ["true"]
    assert answer.headers.all("access-control-expose-headers") == ["X-Request-Id, Retry-After"]
    varies(answer)


def varies(answer):
    assert len(answer.headers.all("vary")) == 1 and "Origin" in answer.headers.get("vary").split(", ")


def preflight(usher, path, method="GET", origin=APP, **more):
    return usher.request("OPTIONS", path, {"Origin": origin, "Access-Control-Request-Method": method} | more)


@pytest.mark.parametrize("origin", [APP, OTHER])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_a_preflight_is_answered_without_credentials(usher, origin, method):
    answer = preflight(usher, "/api/alice/tasks", method, origin, **{"Access-Control-Request-Headers": "authorization"})
    assert answer.status == 204 and answer.body == b""
    assert "content-length" not in answer.headers and "www-authenticate" not in answer.headers
    assert answer.headers.all("access-control-allow-origin") == [origin]
    assert answer.headers.all("access-control-allow-methods") == ["GET, POST, DELETE"]
    assert answer.headers.all("access-control-allow-headers") == ["Authorization, Content-Type"]
    assert answer.headers.all("access-control-max-age") == ["600"]
    varies(answer)
    usher.assert_nothing_arrived()
    assert usher.wait_log(method="OPTIONS", status=204)["reason"] == "ok"


def test_a_preflight_goes_by_the_method_that_it_asks_about(usher):
    assert preflight(usher, "/deleted", "DELETE").status == 204
    assert preflight(usher, "/deleted", "GET").status == 404
    usher.assert_nothing_arrived()


def test_preflights_and_requests_share_a_connection(usher):
    with usher.client() as client:
        for _ in range(3):
            client.send(render("OPTIONS", "/api/alice/tasks", {"Origin": APP, "Access-Control-Request-Method": "GET"})
                        + render("GET", "/api/alice/tasks", {"Origin": APP} | bearer(token())))
            assert client.response("OPTIONS").status == 204
            granted(answer := client.response())
            assert answer.status == 200
        client.send(render("OPTIONS", "/api/alice/tasks", {"Origin": APP, "Access-Control-Request-Method": "GET"}, b"a body")
                    + render("GET", "/public/x"))
        assert client.response("OPTIONS").status == 204
        assert client.response().status == 200, "the body of a preflight is skipped"


@pytest.mark.parametrize("headers", [
    {}, {"Origin": APP}, {"Access-Control-Request-Method": "GET"},
    {"Origin": APP, "Access-Control-Request-Method": "G T"}, {"Origin": APP, "Access-Control-Request-Method": ""},
    {"Origin": APP, "Access-Control-Request-Method": "TRACE"}, {"Origin": APP, "Access_Control_Request_Method": "GET"}],
    ids=["plain", "origin", "method", "no-token", "empty", "trace", "alias"])
def test_P7_any_other_options_is_authenticated(usher, headers):
    usher.assert_refused(usher.request("OPTIONS", "/api/alice/tasks", headers), 401, "token_missing")


def test_P7_a_route_without_a_rule_answers_no_preflight(usher):
    answer = preflight(usher, "/plain/x")
    usher.assert_refused(answer, 401, "token_missing")
    assert not fields(answer)


@pytest.mark.parametrize("more", [("Origin", EVIL), ("Origin", APP), ("Access-Control-Request-Method", "POST")], ids=["evil", "origin", "method"])
def test_P7_H7_two_values_are_refused(usher, more):
    answer = usher.request("OPTIONS", "/api/alice/tasks", [("Origin", APP), ("Access-Control-Request-Method", "GET"), more])
    usher.assert_refused(answer, 400)


UNLISTED = [EVIL, "null", APP + ".evil.test", "https://evil-app.example.com", "https://example.com", "http://app.example.com",
            APP + ":444", APP + ":443", APP + "/", "https://APP.example.com", "http://localhost", "http://localhost:30000", "*"]


@pytest.mark.parametrize("origin", UNLISTED)
def test_an_origin_that_is_not_listed_is_told_nothing(usher, origin):
    for answer in [
        preflight(usher, "/api/alice/tasks", origin=origin),
        usher.get("/api/alice/tasks", {"Origin": origin}),
        usher.get("/api/alice/tasks", {"Origin": origin} | bearer(token())),
    ]:
        assert not fields(answer) and origin.encode() not in bytes(answer.body if answer.status != 200 else b"")
        varies(answer)
    assert preflight(usher, "/api/alice/tasks", origin=origin).problem["code"] == "origin_refused"


def test_a_backend_cannot_grant_what_the_rule_does_not(usher):
    usher.backend.script = lambda exchange: exchange.reply(200, b"", [
        ("Access-Control-Allow-Origin", EVIL), ("Access-Control-Allow-Credentials", "true"), ("Vary", "Accept-Encoding"),
        ("access-control-allow-methods", "PUT"), ("Access-Control-Allow-Private-Network", "true"), ("X-Kept", "1")])
    answer = usher.get("/api/alice/x", {"Origin": EVIL} | bearer(token()))
    assert answer.status == 200 and not fields(answer) and answer.headers.get("x-kept") == "1"
    granted(answer := usher.get("/api/alice/x", {"Origin": APP} | bearer(token())))
    assert set(fields(answer)) == {"access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers"}
    assert answer.headers.all("vary") == ["Accept-Encoding, Origin"]
    assert usher.get("/public/x", {"Origin": EVIL}).headers.get("access-control-allow-origin") == EVIL, "no rule, no change"


@pytest.mark.parametrize("vary, expected", [
    ([], "Origin"), (["Accept-Encoding"], "Accept-Encoding, Origin"), (["Origin"], "Origin"), (["accept, origin"], "accept, origin"),
    (["*"], "*"), (["A", "B"], "A, B, Origin"), ([""], "Origin")])
@pytest.mark.parametrize("headers", [{}, {"Origin": APP}], ids=["no-origin", "origin"])
def test_vary_is_one_line(usher, vary, expected, headers):
    usher.backend.script = lambda exchange: exchange.reply(200, b"", [("Vary", v) for v in vary])
    answer = usher.get("/api/alice/x", headers | bearer(token()))
    assert answer.headers.all("vary") == [expected]
    assert bool(fields(answer)) == bool(headers)


def test_every_refusal_and_failure_can_be_read_by_the_page(usher):
    """401, 403, 404, 413, 429, 502, 503, 504: JavaScript sees the status, which it would not without these fields."""
    def bad(exchange):
        exchange.send(b"nonsense\r\n\r\n")
        exchange.close()

    def silent(exchange):
        exchange.gone(20)
        exchange.close()

    def check(answer, status):
        assert answer.status == status, answer
        granted(answer)
        assert answer.problem["status"] == status

    from_app = {"Origin": APP}
    check(usher.get("/api/alice/x", from_app), 401)
    check(usher.get("/api/alice/x", from_app | bearer("nonsense")), 401)
    check(usher.get("/api/alice/x", from_app | bearer(token(exp=1))), 401)
    check(usher.get("/api/alice/x", from_app | bearer(token(subject="bob"))), 403)
    check(usher.get("/hidden/alice", from_app | bearer(token(subject="bob"))), 404)
    check(usher.request("POST", "/small", from_app, b"x" * 9), 413)
    assert usher.get("/limited").status == 200
    check(answer := usher.get("/limited", from_app), 429)
    assert "retry-after" in answer.headers
    check(usher.get("/nobody", from_app), 503)
    usher.backend.script = bad
    check(usher.get("/api/alice/x", from_app | bearer(token())), 502)
    usher.backend.script = silent
    check(usher.get("/quick", from_app), 504)
    usher.backend.clear()


def test_a_redirect_over_tls_can_be_read_by_the_page(usher):
    """Browsers follow it for a page only where the redirect itself lets the page read it; caches may keep a 308."""
    answer = usher.get("/moved?x", {"Origin": OTHER})
    assert answer.status == 308 and answer.headers.get("location") == "https://usher.test:8443/moved?x"
    granted(answer, OTHER)
    for headers in ({}, {"Origin": EVIL}):
        answer = usher.get("/moved", headers)
        assert answer.status == 308 and not fields(answer)
        varies(answer)


def test_a_path_that_is_not_served_tells_nothing(usher):
    for answer in [usher.get("/none", {"Origin": APP}), preflight(usher, "/none"), usher.get("/api/../x", {"Origin": APP})]:
        assert answer.status in (400, 404) and not fields(answer)


def test_everybody_without_credentials(usher):
    for headers in ({}, {"Origin": EVIL}, {"Origin": "null"}):
        answer = usher.get("/all", headers)
        assert fields(answer) == {"access-control-allow-origin": ["*"]} and "vary" not in answer.headers
    answer = preflight(usher, "/all", "POST", EVIL)
    assert answer.status == 204 and answer.headers.get("access-control-allow-methods") == "GET, HEAD, POST"
    assert "access-control-allow-credentials" not in answer.headers


def test_a_cookie_counts_only_from_a_listed_page(usher):
    """Reading is harmless: the page cannot see it. Writing by cookie needs a trusted origin, whatever CORS says."""
    cookie = {"Cookie": f"jwt={token()}"}
    granted(usher.request("POST", "/api/alice/x", cookie | {"Origin": APP}, b"x"))
    answer = usher.request("POST", "/api/alice/x", cookie | {"Origin": OTHER}, b"x")
    assert answer.status == 403 and answer.problem["code"] == "origin_refused"
    granted(answer, OTHER)
    answer = usher.request("POST", "/api/alice/x", cookie | {"Origin": EVIL}, b"x")
    assert answer.status == 403 and not fields(answer)


def test_head_and_large_answers(usher):
    granted(usher.request("HEAD", "/api/alice/x", {"Origin": APP} | bearer(token())))
    many = [(f"X-{n}", "v" * 200) for n in range(100)]
    usher.backend.script = lambda exchange: exchange.reply(200, b"x" * 100_000, many)
    answer = usher.get("/api/alice/x", {"Origin": APP} | bearer(token()))
    granted(answer)
    assert len(answer.body) == 100_000 and answer.headers.get("x-99") == "v" * 200


def test_a_reload_between_request_and_answer_changes_nothing(start, own_backend):
    import signal
    import threading
    import time
    text = TEXT.replace("{nobody}", str(refusing_port()))
    usher = start(own_backend, text)
    release = threading.Event()
    own_backend.script = lambda exchange: (release.wait(60), exchange.reply(200, b"late"))
    with usher.client() as client:
        client.send(render("GET", "/api/alice/x", {"Origin": APP} | bearer(token())))
        own_backend.wait_requests(1)
        usher.file.write_text(usher.file.read_text().replace(f'"{APP}", "{OTHER}"', f'"{EVIL}"'))
        usher.signal(signal.SIGHUP)
        end = time.monotonic() + 30
        while time.monotonic() < end and preflight(usher, "/api/alice/x", origin=EVIL).status != 204:
            time.sleep(0.02)
        release.set()
        granted(client.response())
    assert preflight(usher, "/api/alice/x").status == 403


FORWARD_AUTH = configuration.BACKEND + configuration.MAIN_ISSUER + """
[cors.app]
origins = ["https://app.example.com"]

[[route]]
path = "/**"
auth = "main"
upstream = "backend"
cors = "app"
"""


def test_P7_forward_auth_answers_no_preflight(start, own_backend):
    """204 would mean "let it pass" to the proxy that asks."""
    usher = start(own_backend, FORWARD_AUTH, listen='mode = "forward-auth"\ntrusted_proxies = ["127.0.0.1"]')
    question = {"X-Forwarded-Method": "OPTIONS", "X-Forwarded-Uri": "/x", "X-Forwarded-Host": "api.test",
                "Origin": APP, "Access-Control-Request-Method": "GET"}
    answer = usher.get("/", question)
    assert answer.status == 401
    assert answer.headers.get("access-control-allow-origin") == APP, "Traefik and Caddy pass the refusal on as it is"
