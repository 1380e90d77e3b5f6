"""A route to the auth server itself: what its own checks go by arrives as the browser sent it, and its cookies go back so."""

import pytest

from harness.tokens import bearer, token

TEXT = """
[upstream.web]
servers = ["127.0.0.1:{backend}"]

[upstream.tasks]
servers = ["127.0.0.1:{backend}"]

[issuer.main]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}
token_from = ["header", "cookie:better-auth.session_token"]

[[route]]
path = "/public/**"
auth = "none"
upstream = "web"

[[route]]
path = "/api/auth/**"
auth = "none"
upstream = "web"

[[route]]
path = "/api/tasks/**"
auth = "main"
upstream = "tasks"
"""
# Byte for byte as browsers write them, odd spellings included.
REQUEST = [
    ("Origin", "https://app.example.com"), ("Referer", "https://app.example.com/sign-in?a=b&c=%20"),
    ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"), ("sec-fetch-user", "?1"),
    ("sec-ch-ua", '"Chromium";v="156", "Not?A_Brand";v="8"'), ("Content-Type", "application/json"),
    ("Cookie", "better-auth.session_token=hV3n.%2BR%2BASI%3D; better-auth.session_data.0=eyJ; x=\"q\";y=; z"),
    ("Cookie", "better-auth.dont_remember=true.jsV"), ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)"),
]
ANSWER = [
    ("Set-Cookie", "better-auth.session_token=hV3n.%2BR%3D; Max-Age=604800; Path=/; HttpOnly; SameSite=Lax"),
    ("set-cookie", "better-auth.session_data=eyJ; Max-Age=300; Path=/; HttpOnly; Secure; SameSite=Lax, odd"),
    ("Set-Cookie", "better-auth.dont_remember=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
    ("Set-Cookie", "__Secure-better-auth.session_token=a,b;Domain=example.com"), ("set-auth-jwt", "eyJ.x.y"),
    ("X-Retry-After", "10"), ("Vary", "Origin"), ("Access-Control-Allow-Origin", "https://app.example.com"),
]


@pytest.fixture
def usher(start, own_backend):
    return start(own_backend, TEXT)


@pytest.mark.parametrize("method, target", [
    ("POST", "/api/auth/sign-in/email"), ("GET", "/api/auth/get-session?disableCookieCache=true"), ("POST", "/api/auth/sign-out"),
    ("GET", "/api/auth/callback/github?code=a%2Bb&state=%3D"), ("OPTIONS", "/api/auth/sign-in/email")])
def test_nothing_that_its_checks_go_by_is_changed(usher, method, target):
    usher.backend.script = lambda exchange: (exchange.read_body(), exchange.reply(200, b"{}", ANSWER))
    answer = usher.request(method, target, REQUEST, b'{"email":"a@b"}' if method == "POST" else None)
    assert answer.status == 200
    arrived = usher.backend.last
    assert (arrived.method, arrived.target) == (method, target)
    for name, value in REQUEST:
        assert f"\r\n{name}: {value}\r\n".encode() in arrived.head, name
    kept = {name.lower() for name, _ in REQUEST}
    assert [line for line in arrived.headers.lines if line[0].lower() in kept] == REQUEST, "in order, and none besides"
    assert [line for line in answer.headers.lines if line[0].lower() in {n.lower() for n, _ in ANSWER}] == ANSWER


def test_what_is_not_there_is_not_made_up(usher):
    """Better Auth takes a request without Origin, or without cookies, for another kind of request."""
    assert usher.request("POST", "/api/auth/sign-out", {"Content-Type": "application/json"}, b"{}").status == 200
    names = {name.lower() for name, _ in usher.backend.last.headers.lines}
    assert not names & {"origin", "referer", "cookie", "authorization", "x-user-id"}
    assert not {name for name in names if name.startswith("sec-fetch-")}


def test_exactly_one_client_address(usher):
    """Better Auth ignores a list in X-Forwarded-For, and then counts all clients as one."""
    usher.get("/api/auth/get-session", {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Host": "evil.test", "X-User-Id": "evil"})
    headers = usher.backend.last.headers
    assert headers.all("x-forwarded-for") == ["127.0.0.1"] and headers.all("x-forwarded-host") == ["usher.test"]
    assert headers.all("x-forwarded-proto") == ["http"] and headers.all("x-user-id") == []


def test_its_neighbour_keeps_the_cookie_that_authenticates(usher):
    """The same cookies towards the backend: that with the token stays here."""
    cookie = f"better-auth.session_token={token()}; theme=dark"
    assert usher.get("/api/tasks/1", {"Cookie": cookie}).status == 200
    assert usher.backend.last.headers.all("cookie") == ["theme=dark"] and usher.backend.last.user == ["alice"]
    usher.get("/api/auth/get-session", {"Cookie": cookie} | bearer("its own business"))
    assert usher.backend.last.headers.all("cookie") == [cookie] and usher.backend.last.user == []
