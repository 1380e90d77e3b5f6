"""`sign_in`: browsers that navigate are sent to a page, with a way back that nobody else can choose; programs get 401."""

from urllib.parse import parse_qs, urlsplit

import pytest

from harness.configuration import BACKEND, MAIN_ISSUER
from harness.tokens import bearer, token

PAGE = "https://app.example.com/sign-in"
TEXT = BACKEND + MAIN_ISSUER + """\
token_from = ["header", "cookie:jwt", "query:token"]

[cors.app]
origins = ["https://app.example.com"]
credentials = true

[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"

[[route]]
path = "/app/**"
auth = "main"
upstream = "backend"
cors = "app"
sign_in = "https://app.example.com/sign-in"

[[route]]
path = "/optional"
auth = "optional:main"
upstream = "backend"
sign_in = "/sign-in?lang=en"

[[route]]
path = "/api/{{user_id}}"
auth = "main"
require = {{ sub = "{{user_id}}" }}
upstream = "backend"
sign_in = "https://app.example.com/sign-in"
"""
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document", "Accept": "text/html,*/*"}


@pytest.fixture(scope="module")
def usher(tmp_path_factory):
    from harness import configuration
    from harness.backend import Backend
    from harness.process import allocate, environment
    from conftest import Proxy, _finish
    with Backend() as backend:
        port, admin = allocate()
        text = (configuration.PREAMBLE + TEXT).format(workers=1, port=port, admin=admin, listen="", backend=backend.port)
        proxy = Proxy(tmp_path_factory.mktemp("sign-in"), text, port, admin, environment())
        proxy.backend = backend
        proxy.wait_ready()
        yield proxy
        _finish(proxy)


def way_back(answer) -> str:
    """The path to come back to; everything about the redirect that must hold is asserted."""
    assert answer.status == 302 and answer.body == b""
    assert answer.headers.all("cache-control") == ["no-store"] and "www-authenticate" not in answer.headers
    url = urlsplit(location := answer.headers.get("location"))
    assert location.startswith((PAGE + "?", "/sign-in?"))
    back = parse_qs(url.query, strict_parsing=True)["return_to"]
    assert len(back) == 1 and back[0].startswith("/") and not back[0].startswith(("//", "/\\"))
    return back[0]


@pytest.mark.parametrize("headers", [
    NAVIGATION, {"Sec-Fetch-Mode": "navigate"}, {"Accept": "text/html"},
    {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}], ids=["chrome", "mode", "html", "firefox-http"])
@pytest.mark.parametrize("credentials", [
    {}, bearer("nonsense"), bearer(token(exp=1)), {"Cookie": f"jwt={token(exp=1)}"}], ids=["none", "bad", "expired", "cookie"])
def test_a_navigation_is_sent_to_sign_in(usher, headers, credentials):
    answer = usher.get("/app/tasks?done=1&x=%20", headers | credentials)
    assert way_back(answer) == "/app/tasks?done=1&x=%20"
    assert answer.headers.get("location") == PAGE + "?return_to=%2Fapp%2Ftasks%3Fdone%3D1%26x%3D%2520"
    usher.assert_nothing_arrived()
    assert usher.wait_log(status=302)["reason"].startswith("token_")


@pytest.mark.parametrize("headers", [
    {}, {"Accept": "*/*"}, {"Accept": "application/json"}, {"Accept": "text/htmlx"},
    {"Sec-Fetch-Mode": "cors", "Accept": "text/html"}, {"Sec-Fetch-Mode": "no-cors"}, {"Sec-Fetch-Mode": "websocket"},
    {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}, {"Sec_Fetch_Mode": "navigate"},
    {"Sec-Fetch-Mode": "navigate", "Connection": "upgrade", "Upgrade": "websocket"}], ids=str)
def test_everybody_else_gets_401(usher, headers):
    answer = usher.get("/app/tasks", headers)
    usher.assert_refused(answer, 401, "token_missing")
    assert "location" not in answer.headers and "www-authenticate" in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_other_methods_get_401(usher, method):
    answer = usher.request(method, "/app/tasks", NAVIGATION)
    assert answer.status == 401 and "location" not in answer.headers


def test_other_refusals_stay(usher):
    assert usher.get("/none", NAVIGATION).status == 404
    assert usher.get("/api/alice", NAVIGATION | bearer(token(subject="bob"))).status == 403
    assert usher.get("/app/../x", NAVIGATION).status == 400
    assert usher.get("/app/x", NAVIGATION | bearer(token())).status == 200
    usher.backend.clear()


def test_an_optional_route_sends_only_who_has_a_bad_token(usher):
    assert usher.get("/optional", NAVIGATION).status == 200
    usher.backend.clear()
    answer = usher.get("/optional", NAVIGATION | bearer("bad"))
    assert answer.headers.get("location") == "/sign-in?lang=en&return_to=%2Foptional"


@pytest.mark.parametrize("target, host, back", [
    ("/app/x", "evil.test", "/app/x"), ("http://evil.test/app/x?y", "usher.test", "/app/x?y"),
    ("/app/x?return_to=https://evil.test&return_to=//evil.test", "usher.test", "/app/x?return_to=https://evil.test&return_to=//evil.test"),
    ("/app/x?%0d%0aSet-Cookie:a=b", "usher.test", "/app/x?%0d%0aSet-Cookie:a=b"),
    ("/app/@evil.test", "usher.test", "/app/@evil.test"), ("/app/" + "x" * 1019, "usher.test", "/app/" + "x" * 1019),
    ("/app/" + "x" * 1020, "usher.test", "/"),
    ("/app/x?a=1&token=secret&b=2", "usher.test", "/app/x?a=1&b=2")],
    ids=["host", "absolute", "parameter", "crlf", "at", "long", "too-long", "token"])
def test_F10_the_way_back_is_the_request_s_own_path(usher, target, host, back):
    headers = NAVIGATION | {"X-Forwarded-Host": "evil.test", "X-Forwarded-Uri": "//evil.test", "Forwarded": "host=evil.test",
                            "X-Original-URL": "https://evil.test", "Referer": "https://evil.test/"}
    answer = usher.get(target, headers, host=host)
    assert way_back(answer) == back
    assert "set-cookie" not in answer.headers and "evil.test" not in answer.headers.get("location").split("?")[0]


@pytest.mark.parametrize("target", ["//evil.test/app", "/\\evil.test", "/app//evil.test", "/%2f/evil.test", "/app/%5cevil.test"])
def test_F10_what_could_be_another_host_is_no_path(usher, target):
    answer = usher.get(target, NAVIGATION)
    assert answer.status in (400, 404) and "location" not in answer.headers


def test_a_redirect_can_be_read_by_a_listed_page_only(usher):
    answer = usher.get("/app/x", NAVIGATION | {"Origin": "https://app.example.com"})
    assert answer.status == 302 and answer.headers.get("access-control-allow-origin") == "https://app.example.com"
    assert "access-control-allow-origin" not in usher.get("/app/x", NAVIGATION | {"Origin": "https://evil.test"}).headers


def test_the_connection_goes_on(usher):
    with usher.client() as client:
        for _ in range(3):
            assert client.request("GET", "/app/x", NAVIGATION).status == 302
            assert client.request("GET", "/app/x", bearer(token())).status == 200
    usher.backend.clear()
