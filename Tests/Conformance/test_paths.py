"""security.md, section P: the bytes that are matched are the bytes that are forwarded, or the answer is 400."""

import re
import urllib.parse

import pytest

from harness.configuration import BACKEND, MAIN_ISSUER, SMALL
from harness.tokens import bearer, token

# None of these may reach the backend without a token: each is a way from /public (open) to /api or /tasks.
TRAVERSALS = [
    "/public/../tasks", "/public/../api/alice/tasks/1", "/public/./../tasks", "/public/x/../../tasks",
    "/public/%2e%2e/tasks", "/public/%2E%2E/tasks", "/public/.%2e/tasks", "/public/%2e./tasks",
    "/public/%2e%2e%2ftasks", "/public/..;/tasks", "/public/..;x=y/tasks", "/public/;/../tasks", "/public/%252e%252e/tasks",
    "/public//../tasks", "/public/..//tasks", "/public/..", "/public/../", "/public/%2e%2e", "/..", "/../tasks",
    "/public/..%5ctasks", "/public/..\\tasks", "\\public\\..\\tasks", "/public\\..\\tasks",
    "/public/.%00./tasks", "/public/%c0%ae%c0%ae/tasks", "/public/%u002e%u002e/tasks",
    "/api/..;/public/x", "/api%2e%2e/", "/api/%2e%2e/public/x", "/api/alice/tasks/../../../public/x",
    "/public/.", "/public/./x", "/./public/x", "/public/%2e/x",
]
ENCODED = ["%2f", "%2F", "%5c", "%5C", "%00"]
MALFORMED = [
    "/public/%", "/public/%2", "/public/%zz", "/public/%2g", "/public/%%32%65", "/public/a%0", "/public/%-1",
    "/public/\x01", "/public/\x7f", "/public/caf\xe9", "/public/a\"b", "/public/<x>", "/public/a\\b", "/public/^", "/public/`",
    "/public/{x}", "/public/|",
]


def forwarded_or_refused(proxy, answer, target: str, anonymous=True):
    """400 (or 401/404 for what is no open path), or exactly these bytes arrived."""
    if answer.status == 200:
        assert [r.target for r in proxy.backend.requests] == [target]
        if anonymous:
            assert target.startswith("/public/"), f"{target} arrived without a token"
    else:
        assert answer.status in (400, 401, 404), answer.status
        proxy.assert_refused(answer, answer.status)


@pytest.mark.parametrize("target", TRAVERSALS)
def test_P1_traversal_reaches_nothing_without_a_token(proxy, target):
    answer = proxy.get(target)
    if answer.status == 200:
        pytest.fail(f"{target!r} was forwarded as {proxy.backend.last.target!r}")
    proxy.assert_refused(answer, answer.status)
    assert answer.status in (400, 401, 404)


@pytest.mark.parametrize("target", [t for t in TRAVERSALS if "%25" not in t])
def test_P1_dot_segments_are_400_with_a_token_too(proxy, target):
    proxy.assert_refused(proxy.get(target, bearer(token())), 400, "bad_request")


def test_P1_double_encoding_stays_what_it_is(proxy):
    """%252e is the three characters %2e, not a dot: forwarded byte for byte on the open route, or refused."""
    forwarded_or_refused(proxy, proxy.get("/public/%252e%252e"), "/public/%252e%252e")


@pytest.mark.parametrize("code", ENCODED)
@pytest.mark.parametrize("shape", ["/public/a{}b", "/public{}x", "/public/{}", "/public/x?{}q=1".replace("?{}", "{}?")])
def test_P2_encoded_slash_backslash_nul(proxy, shape, code):
    proxy.assert_refused(proxy.get(shape.format(code)), 400, "bad_request")


@pytest.mark.parametrize("target", [
    "//tasks", "//api/alice/tasks/1", "///tasks", "/public//tasks", "//public/x", "/tasks//", "//evil.test/tasks", "/%2ftasks"])
def test_P3_empty_segments(proxy, target):
    answer = proxy.get(target)
    assert answer.status != 200 or proxy.backend.last.target.startswith("/public/")
    if answer.status != 200:
        proxy.assert_refused(answer, answer.status)
    assert answer.status in (200, 400, 401, 404)
    if answer.status == 200:
        assert "//" not in proxy.backend.last.target, "an empty segment is merged before the match, or refused"


def test_P3_absolute_form_routes_by_its_authority(proxy):
    """RFC 9112 §3.2.2: the target's authority counts and replaces Host; /hosted needs a token on api.example.com."""
    proxy.assert_refused(proxy.get("http://api.example.com/hosted", host="www.example.com"), 401, "token_missing")


def test_P3_absolute_form_replaces_host(proxy):
    answer = proxy.get("http://www.example.com/hosted", host="www.example.com")
    assert answer.status == 200
    assert proxy.backend.last.headers.all("host") == ["www.example.com"]
    assert proxy.backend.last.target == "/hosted", "the backend gets the origin form"


def test_P3_absolute_form_against_host(proxy):
    answer = proxy.get("http://www.example.com/hosted", host="api.example.com")
    if answer.status == 200:
        assert proxy.backend.last.headers.all("host") == ["www.example.com"]
        assert b"api.example.com" not in proxy.backend.last.head
    else:
        proxy.assert_refused(answer, 400, "bad_request")


@pytest.mark.parametrize("target", [
    "http:///tasks", "http://", "http://user@api.example.com/hosted", "http://user:pw@www.example.com/hosted",
    "ftp://www.example.com/hosted", "http:/public/x", "http:public/x", "public/x", "www.example.com:80", "*", "?x", "",
    "http://www.example.com\\@api.example.com/hosted", "http://www.exa mple.com/hosted"])
def test_P3_targets_of_no_known_form(proxy, target):
    answer = proxy.get(target)
    assert answer.status in (400, 404)
    proxy.assert_refused(answer, answer.status)


def test_P3_asterisk_only_with_options(proxy):
    answer = proxy.request("OPTIONS", "*")
    assert answer.status in (200, 204, 400, 401, 404)
    proxy.backend.clear()


@pytest.mark.parametrize("target", [
    "/tasks?/public", "/tasks?/public/x", "/tasks?x=/../public/x", "/tasks?%2e%2e/public", "/tasks?a#b", "/tasks#/public/x",
    "/tasks%23/public/x", "/tasks%3F/public/x", "/tasks%3f/public/x", "/tasks;/public/x", "/tasks;x=/public"])
def test_P4_query_and_fragment_are_no_path(proxy, target):
    answer = proxy.get(target)
    assert answer.status in (400, 401, 404)
    proxy.assert_refused(answer, answer.status)


@pytest.mark.parametrize("target", ["/public/x#y", "/public/x?a#b", "/public/#", "#/public/x"])
def test_P4_raw_fragment(proxy, target):
    proxy.assert_refused(proxy.get(target), 400, "bad_request")


@pytest.mark.parametrize("query", ["", "?", "?a=b&c", "?%2f%00", "?a=/../..", "?q=%E2%82%AC", "??", "?a=b?c=d/e", "?[x]=1"])
def test_P4_query_is_forwarded_unchanged(proxy, query):
    answer = proxy.get(f"/public/x{query}")
    if answer.status == 400 and "[" in query:  # not in RFC 3986's query; refusing it is strict, not wrong
        return
    assert answer.status == 200
    assert proxy.backend.last.target == f"/public/x{query}"


@pytest.mark.parametrize("target", [
    "/public/a%20b", "/public/%E2%82%AC", "/public/a+b", "/public/~x", "/public/a:b@c", "/public/a;b=c", "/public/a,b",
    "/public/!$&'()*+,;=", "/public/x/", "/public/%3F", "/public/%23"])
def test_P1_plain_paths_arrive_byte_for_byte(proxy, target):
    answer = proxy.get(target)
    assert answer.status == 200, target
    assert proxy.backend.last.target == target


@pytest.mark.parametrize("target", ["/%70ublic/x", "/p%75blic/x", "/%74asks"])
def test_P1_an_encoded_letter_is_not_another_way_in(proxy, target):
    """Matched on the same bytes that go on: never open as /public and forwarded as something else."""
    answer = proxy.get(target)
    if answer.status == 200:
        assert proxy.backend.last.target in (target, target.replace("%70", "p").replace("%75", "u"))
        assert "ublic" in target
    else:
        assert answer.status in (400, 401, 404)


@pytest.mark.parametrize("target", MALFORMED)
def test_P1_malformed_targets(proxy, target):
    answer = proxy.get(target)
    if any(c in target for c in '"<>\\^`{}|') and answer.status == 200:
        # outside RFC 3986 but unambiguous: forwarded byte for byte, or refused
        assert proxy.backend.last.target == target and "\\" not in target
        return
    proxy.assert_refused(answer, 400, "bad_request")


@pytest.mark.parametrize("capture, status", [
    ("alice", 200), ("%61lice", None), ("Alice", 403), ("alice%20", 403), ("bob", 403), ("alice.", 403), ("alice;x", 403)])
def test_P1_a_capture_is_compared_as_it_is_forwarded(proxy, capture, status):
    """`require = { sub = "{user_id}" }`: the backend decodes what it gets, so the decoded value is what must be equal."""
    target = f"/api/{capture}/tasks/1"
    answer = proxy.get(target, bearer(token(subject="alice")))
    if answer.status == 200:
        assert proxy.backend.last.target == target
        assert capture in ("alice", "%61lice")
    assert status in (None, answer.status)


@pytest.mark.parametrize("host", [
    "api.example.com", "API.Example.COM", "api.example.com.", "API.Example.COM.:443", "api.example.com:80",
    "api.example.com:8080"])
def test_P5_host_is_compared_without_case_dot_and_port(proxy, host):
    proxy.assert_refused(proxy.get("/hosted", host=host), 401, "token_missing")
    answer = proxy.get("/hosted", bearer(token()), host=host)
    proxy.assert_arrived(answer, "alice")


@pytest.mark.parametrize("host", [
    "api.example.com..", "api.example.com:", "api.example.com:x", "api.example.com:99999999", "api example.com",
    "api.example.com/", "api.example.com@www.example.com", "www.example.com,api.example.com", "[::1", "::1", "a\x00b", "%61pi",
    "www.example.com#", "www.example.com?"])
def test_P5_bad_hosts(proxy, host):
    answer = proxy.get("/hosted", host=host)
    assert answer.status in (400, 401, 404)
    proxy.assert_refused(answer, answer.status)


@pytest.mark.parametrize("host", ["other.example.com", "xapi.example.com", "example.com", "api.example.com.evil.test"])
def test_P5_other_hosts_have_no_such_route(proxy, host):
    proxy.assert_refused(proxy.get("/hosted", bearer(token()), host=host), 404, "no_route")


@pytest.mark.parametrize("target", ["/", "/nothing", "/Public/x", "/PUBLIC/x", "/publi", "/publicx", "/tasksx", "/healthz",
                                    "/health/", "/health/x", "/api", "/api/alice", "/api/alice/tasksx"])
@pytest.mark.parametrize("credentials", [{}, bearer(token())], ids=["anonymous", "token"])
def test_P6_no_route_is_404_and_no_upstream_connection(proxy, target, credentials):
    connections = proxy.backend.connections
    problem = proxy.get(target, credentials)
    assert problem.status == 404 and problem.problem["code"] == "no_route"
    assert proxy.backend.connections == connections and not proxy.backend.requests


@pytest.mark.parametrize("headers", [
    {}, {"Origin": "https://app.example.com"}, {"Access-Control-Request-Method": "POST"},
    {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}],
    ids=["plain", "origin", "request-method", "preflight-without-cors"])
def test_P7_options_is_authenticated(proxy, headers):
    """None of these routes has a `cors`, so not even a whole preflight is let through."""
    proxy.assert_refused(proxy.request("OPTIONS", "/tasks", headers), 401, "token_missing")


@pytest.mark.parametrize("method, target", [
    ("CONNECT", "usher.test:443"), ("CONNECT", "/public/x"), ("CONNECT", "127.0.0.1:22"), ("TRACE", "/public/x"),
    ("TRACE", "/tasks"), ("TRACK", "/tasks")])
@pytest.mark.parametrize("more", [b"", b"GET /public/smuggled HTTP/1.1\r\nHost: usher.test\r\n\r\n"], ids=["alone", "with-bytes"])
def test_P8_connect_and_trace(proxy, method, target, more):
    with proxy.client() as client:
        client.try_send(f"{method} {target} HTTP/1.1\r\nHost: usher.test\r\n\r\n".encode() + more)
        answer = client.response(method)
        if method == "TRACK":  # no standard method: an ordinary one that has no token
            assert answer.status in (401, 405, 501)
            return
        assert answer.status == 405 and answer.headers.get("allow") == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        assert client.ended(), "closed after the answer, and no second answer"
    proxy.assert_refused(answer, 405)


COLON = BACKEND + MAIN_ISSUER + """
[[route]]
path = "/v1/users:batch"
auth = "main"
upstream = "backend"

[[route]]
path = "/api/**"
auth = "main"
upstream = "backend"

[[route]]
path = "/**"
auth = "none"
upstream = "backend"
"""


def test_P2_another_spelling_of_a_literal_takes_its_route(own_backend, start):
    """What the backend decodes before it routes is compared decoded; a wider open route gets none of it."""
    proxy = start(own_backend, text=COLON)
    for target in ["/v1/users:batch", "/v1/users%3Abatch", "/v1/users%3abatch"]:
        assert proxy.get(target).status == 401
        assert proxy.get(target, bearer(token())).status == 200
        assert own_backend.last.target == target, "forwarded as it came"


def test_P1_parameters_that_would_choose_another_route(own_backend, start):
    proxy = start(own_backend, text=COLON)
    for target in ["/api;x/tasks", "/api;/tasks", "/api%3Bx=1/tasks", "/;/api/tasks", "/;x/api", "/api;", "/v1/users:batch;x"]:
        assert proxy.get(target).status == 400, target
        assert proxy.get(target, bearer(token())).status == 400, target
    assert not own_backend.requests
    assert proxy.get("/open;v=1/x;y").status == 200
    assert own_backend.last.target == "/open;v=1/x;y"


@pytest.mark.parametrize("target", ["/API/tasks", "/Api", "/aPI/tasks?x", "/API;v=1/tasks"])
def test_P1_another_case_goes_by_no_wider_route(own_backend, start, target):
    """Express, ASP.NET and IIS serve /API as they do /api."""
    proxy = start(own_backend, text=SMALL + """
[[route]]
path = "/**"
auth = "none"
upstream = "backend"
""")
    for headers in ({}, bearer(token())):
        assert proxy.get(target, headers).status == 400
    assert not own_backend.requests
    assert proxy.get("/apis/tasks").status == proxy.get("/API-docs/x").status == proxy.get("/x/API").status == 200
    assert proxy.get("/api/tasks").status == 401


@pytest.mark.parametrize("target", ["/ap%C4%B0/tasks", "/AP%c4%b1", "/ap%C4%B1;v=1/tasks"])
def test_P1_another_case_beyond_ASCII_goes_by_no_wider_route(own_backend, start, target):
    """Letters of Unicode whose other case is one of ASCII: to regular expressions of Python (Django, Starlette) and comparisons
    of Java that do not look at case, the path is /api."""
    assert re.match("(?i)/api", urllib.parse.unquote(target)), "Python itself takes it for the protected path"
    proxy = start(own_backend, text=SMALL + """
[[route]]
path = "/**"
auth = "none"
upstream = "backend"
""")
    for headers in ({}, bearer(token())):
        assert proxy.get(target, headers).status == 400
    assert not own_backend.requests
    assert proxy.get("/ap%C4%B2/tasks").status == proxy.get("/ap%C4").status == proxy.get("/caf%C3%A9").status == 200
