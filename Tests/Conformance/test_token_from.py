"""`token_from`: tokens in cookies, in the query and among WebSocket subprotocols."""

from __future__ import annotations

import threading

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

from harness import configuration, tokens
from harness.waiting import wait_until

CONFIGURATION = configuration.BACKEND + """
[upstream.forward]
servers = ["127.0.0.1:{backend}"]
authorization = "forward"
""" + configuration.MAIN_ISSUER + """\
token_from = ["header", "cookie:session", "query:access_token"]
trusted_origins = ["https://app.test"]

[issuer.header]
issuer = "https://header.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}
""" + configuration.OPEN_ROUTE + """
[[route]]
path = "/api/**"
auth = ["main", "header"]
upstream = "backend"

[[route]]
path = "/optional/**"
auth = "optional:main"
upstream = "backend"

[[route]]
path = "/header/**"
auth = "header"
upstream = "backend"

[[route]]
path = "/v1/**"
auth = "main"
upstream = "backend"
rewrite = {{ strip_prefix = "/v1" }}

[[route]]
path = "/forward/**"
auth = "main"
upstream = "forward"
"""


@pytest.fixture
def proxy(start, own_backend):
    return start(own_backend, CONFIGURATION)


def cookie(text: str) -> dict[str, str]:
    return {"Cookie": text}


def test_every_place(proxy):
    token = tokens.token()
    for target, headers in [("/api/x", tokens.bearer(token)), ("/api/x", cookie(f"session={token}")),
                            (f"/api/x?access_token={token}", {})]:
        proxy.backend.clear()
        request = proxy.assert_arrived(proxy.get(target, headers), "alice")
        assert token.encode() not in request.head and request.target == "/api/x"
        assert token.encode() not in bytes(proxy.log)


@pytest.mark.parametrize("before, after", [
    ("a=1; session=T; b=2", "a=1; b=2"), ("session=T", None), ("session=T; a=1", "a=1"), ("a=1;session=T;b=2", "a=1;b=2"),
    ('a=1; session="T"', "a=1"), ("a=1; Session=x; session=T", "a=1"), ("sessions=1; xsession=2; session=T", "sessions=1; xsession=2"),
    ("session=T; session=T", None), (";;  session=T ;; a=1;", "a=1"),
])
def test_a_cookie_is_taken_out_and_the_others_stay(proxy, before, after):
    request = proxy.assert_arrived(proxy.get("/api/x", cookie(before.replace("T", tokens.token()))), "alice")
    assert request.headers.all("cookie") == ([] if after is None else [after])


def test_cookies_without_spaces_never_outgrow_the_head(proxy):
    many = ";".join(f"c{n}=" for n in range(3500))
    request = proxy.assert_arrived(proxy.get("/api/x", cookie(f"{many};session={tokens.token()}")), "alice")
    assert request.headers.all("cookie") == [many]


@pytest.mark.parametrize("before, after", [
    ("/api/x?access_token=T", "/api/x"), ("/api/x?a=1&access_token=T", "/api/x?a=1"),
    ("/api/x?access_token=T&a=1", "/api/x?a=1"), ("/api/x?a=1&access_token=T&b=2", "/api/x?a=1&b=2"),
    ("/api/x?xaccess_token=1&access_token=T", "/api/x?xaccess_token=1"), ("/api/x?access_token=T&", "/api/x?"),
    ("/v1/api?access_token=T", "/api"), ("/v1?access_token=T", "/"), ("/v1/?a&access_token=T", "/?a"),
])
def test_a_parameter_is_cut_out_of_the_target(proxy, before, after):
    request = proxy.assert_arrived(proxy.get(before.replace("T", tokens.token())), "alice")
    assert request.target == after


def test_the_absolute_form_loses_it_too(proxy):
    token = tokens.token()
    with proxy.client() as client:
        client.send(f"GET http://usher.test/api/x?access_token={token}&a=1 HTTP/1.1\r\nHost: usher.test\r\n\r\n".encode())
        assert client.response().status == 200
    assert proxy.backend.last.target == "/api/x?a=1"


@pytest.mark.parametrize("path, before, after", [
    ("/api/x", "https://usher.test/page?access_token=T&a=1", "https://usher.test/page"), ("/forward/x", "/page?a=1", "/page"),
    ("/optional/x", "https://usher.test/?access_token=T", "https://usher.test/"), ("/api/x", "https://usher.test/", "https://usher.test/"),
    # Nobody looks into the query there.
    ("/header/x", "https://usher.test/page?a=1", "https://usher.test/page?a=1"), ("/public/x", "https://usher.test/?a=1", "https://usher.test/?a=1"),
])
def test_what_a_page_loads_does_not_say_the_token_that_opened_it(proxy, path, before, after):
    token = tokens.token(issuer="https://header.test" if path == "/header/x" else "https://main.test")
    headers = {"Referer": before.replace("T", token)} | ({} if path == "/public/x" else tokens.bearer(token))
    assert proxy.get(path, headers).status == 200
    assert proxy.backend.last.headers.all("referer") == [after]


def test_two_different_tokens_are_400(proxy):
    one, two = tokens.token(), tokens.token(subject="bob")
    for target, headers in [
        ("/api/x", tokens.bearer(one) | cookie(f"session={two}")),
        (f"/api/x?access_token={two}", tokens.bearer(one)),
        (f"/api/x?access_token={two}", cookie(f"session={one}")),
        ("/api/x", cookie(f"session={one}; session={two}")),
        (f"/api/x?access_token={one}&access_token={two}", {}),
        (f"/api/x?access_token={one}&access_token={one}", {}),
        ("/optional/x", tokens.bearer(one) | cookie("session=garbage")),
    ]:
        proxy.assert_refused(proxy.get(target, headers), 400, "bad_request")


def test_the_same_token_twice_is_one(proxy):
    token = tokens.token()
    proxy.assert_arrived(proxy.get("/api/x", tokens.bearer(token) | cookie(f"session={token}")), "alice")


def test_an_issuer_that_reads_headers_alone_accepts_no_cookie(proxy):
    token = tokens.token(issuer="https://header.test")
    proxy.assert_arrived(proxy.get("/api/x", tokens.bearer(token)), "alice")
    proxy.backend.clear()
    proxy.assert_refused(proxy.get("/api/x", cookie(f"session={token}")), 401, "token_invalid")
    proxy.assert_refused(proxy.get("/header/x", cookie(f"session={tokens.token()}")), 401, "token_missing")


@pytest.mark.parametrize("target, headers, code", [
    ("/api/x", {"Cookie": "session=garbage"}, "token_invalid"), ("/api/x?access_token=garbage", {}, "token_invalid"),
    ("/api/x?access_token=", {}, "token_invalid"), ("/api/x", {"Cookie": "session="}, "token_missing"),
    ("/api/x", {"Cookie": "a=b"}, "token_missing"), ("/optional/x", {"Cookie": "session=garbage"}, "token_invalid"),
    ("/api/x", {"Cookie": "session=T", "Authorization": "Basic dTpw"}, "token_missing"),
])
def test_what_is_no_token(proxy, target, headers, code):
    headers = {name: value.replace("=T", "=" + tokens.token()) for name, value in headers.items()}
    proxy.assert_refused(proxy.get(target, headers), 401, code)


def test_a_cleared_cookie_is_nobody_on_an_optional_route(proxy):
    proxy.assert_arrived(proxy.get("/optional/x", cookie("session=")), None)


@pytest.mark.parametrize("headers, allowed", [
    ({"Origin": "https://evil.test"}, False), ({"Origin": "null"}, False), ({"Origin": "https://usher.test.evil.test"}, False),
    ({"Sec-Fetch-Site": "cross-site"}, False), ({"Sec-Fetch-Site": "same-site"}, False),
    ({"Origin": "https://usher.test"}, True), ({"Origin": "http://usher.test"}, True), ({"Origin": "https://app.test"}, True),
    ({"Sec-Fetch-Site": "same-origin"}, True), ({}, True),
])
def test_a_cookie_from_another_site_writes_nothing(proxy, headers, allowed):
    token = tokens.token()
    answer = proxy.request("POST", "/api/x", headers | cookie(f"session={token}"), b"{}")
    if allowed:
        proxy.assert_arrived(answer, "alice")
    else:
        proxy.assert_refused(answer, 403, "origin_refused")
    proxy.backend.clear()
    assert proxy.get("/api/x", headers | cookie(f"session={token}")).status == 200, "reading is safe"
    assert proxy.request("POST", "/api/x", headers | tokens.bearer(token), b"{}").status == 200, "no browser adds this"


ISSUER = """
[issuer.NAME]
issuer = "https://NAME.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}
token_from = ["cookie:session"]
trusted_origins = ["https://app-NAME.test"]
"""
ISSUERS = (
    configuration.BACKEND + 'authorization = "forward"\n' + ISSUER.replace("NAME", "one") + ISSUER.replace("NAME", "two")
    + configuration.OPEN_ROUTE + configuration.API_ROUTE.replace('"main"', '["one", "two"]')
    + configuration.API_ROUTE.replace('"main"', '["optional:one", "optional:two"]').replace("/api/", "/optional/"))


@pytest.mark.parametrize("name", ["one", "two"])
def test_whom_another_issuer_trusts_uses_no_cookie_of_this_one(start, own_backend, name):
    proxy = start(own_backend, ISSUERS)
    carried = cookie(f"session={tokens.token(issuer=f'https://{name}.test')}")
    for other in ["two", "one"] * 2:
        answer = proxy.request("POST", "/api/x", {"Origin": f"https://app-{other}.test"} | carried, b"{}")
        if other == name:
            proxy.assert_arrived(answer, "alice")
            proxy.backend.clear()
        else:
            proxy.assert_refused(answer, 403, "origin_refused")
    proxy.assert_arrived(proxy.request("POST", "/api/x", {"Origin": "https://usher.test"} | carried, b"{}"), "alice")


@pytest.mark.parametrize("value, status, code", [
    ("Basic dTpw", 401, "token_missing"), ("Bearer T", 401, "token_invalid"), ("DPoP T", 401, "token_missing"),
    ("Bearer a b", 401, "token_invalid")])
def test_J15_an_authorization_that_no_issuer_reads(start, own_backend, value, status, code):
    """It is nobody's on an optional route, and reaches no backend beside somebody else's cookie."""
    proxy = start(own_backend, ISSUERS)
    header = {"Authorization": value.replace("T", tokens.token(issuer="https://one.test", subject="bob"))}
    own = cookie(f"session={tokens.token(issuer='https://one.test')}")
    for path in ("/api/x", "/optional/x"):
        proxy.assert_refused(proxy.get(path, header), status, code)
        status, code = (400, "bad_request") if value == "Bearer T" else (status, code)
        proxy.assert_refused(proxy.get(path, header | own), status, code)
        status, code = (401, "token_invalid") if value == "Bearer T" else (status, code)
    proxy.assert_arrived(proxy.get("/optional/x"), None)


UNCHECKED = configuration.BACKEND + """
[issuer.any]
issuer = "*"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}

[issuer.named]
issuer = "https://named.test"
audience = ["https://api.test"]
secret = {{ env = "ANOTHER_SECRET" }}
token_from = ["cookie:session"]

[identity]
headers = {{ "X-User-Id" = "sub", "X-User-Issuer" = "iss" }}
""" + configuration.OPEN_ROUTE + configuration.API_ROUTE.replace('"main"', '["any", "named"]') + configuration.API_ROUTE.replace(
    '"main"', '"any"').replace("/api/", "/any/")


@pytest.mark.parametrize("paths", [["/api/x", "/any/x"], ["/any/x", "/api/x"]], ids=["named first", "any first"])
def test_J4_an_unchecked_issuer_never_speaks_for_one_that_looks_elsewhere(start, own_backend, paths):
    """Whoever has the key of `"*"` writes the other's `iss`, where that one does not look: cache warm both ways."""
    proxy = start(own_backend, UNCHECKED, env={"ANOTHER_SECRET": "x" * 40})
    forged, other = (tokens.bearer(tokens.token(issuer=f"https://{name}.test")) for name in ("named", "else"))
    for path in paths * 2:
        proxy.backend.clear()
        if path == "/any/x":
            proxy.assert_arrived(proxy.get(path, forged), "alice")
        else:
            proxy.assert_refused(proxy.get(path, forged), 401, "token_invalid")
        proxy.backend.clear()
        assert proxy.assert_arrived(proxy.get(path, other), "alice").headers.all("x-user-issuer") == ["https://else.test"]
    proxy.backend.clear()
    own = cookie(f"session={tokens.token(secret_or_key=b'x' * 40, issuer='https://named.test')}")
    assert proxy.assert_arrived(proxy.get("/api/x", own), "alice").headers.all("x-user-issuer") == ["https://named.test"]


def test_a_backend_that_verifies_itself_gets_the_cookie(proxy):
    token = tokens.token()
    request = proxy.assert_arrived(proxy.get("/forward/x", cookie(f"a=1; session={token}")), "alice")
    assert request.headers.all("cookie") == [f"a=1; session={token}"]


def test_tokens_from_query_and_cookie_are_cached_like_others(proxy):
    token = tokens.token()
    for target, headers in [("/api/x", tokens.bearer(token)), (f"/api/x?access_token={token}", {}),
                            ("/api/x", cookie(f"session={token}"))] * 3:
        assert proxy.get(target, headers).status == 200


# ---- WebSocket

SOCKETS = CONFIGURATION + """
[upstream.sockets]
servers = ["127.0.0.1:{sockets}"]

[issuer.socket]
issuer = "https://socket.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}
token_from = ["websocket"]

[[route]]
path = "/ws/**"
auth = "socket"
upstream = "sockets"
"""


@pytest.fixture(params=[None, ["chat", "v2"]])
def sockets(request, start, own_backend):
    """A WebSocket server with and without subprotocols of its own, and the proxy before it."""
    seen = []

    def handle(socket):
        seen.append(socket.request.headers)
        for message in socket:
            socket.send(message)

    with serve(handle, "127.0.0.1", 0, subprotocols=request.param,
               select_subprotocol=None if request.param else (lambda *_: None)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = start(own_backend, SOCKETS, sockets=server.socket.getsockname()[1])
        proxy.own, proxy.seen = request.param, seen
        yield proxy
        server.shutdown()


def test_a_token_among_subprotocols(sockets):
    token = tokens.token(issuer="https://socket.test")
    with connect(f"ws://127.0.0.1:{sockets.port}/ws/x", subprotocols=["v2", "bearer", token, "chat"]) as socket:
        socket.send("hello")
        assert socket.recv() == "hello"
        assert socket.subprotocol == ("chat" if sockets.own else "bearer")
    headers = sockets.seen[-1]
    assert headers.get_all("Sec-WebSocket-Protocol") == ["v2,chat"] and headers["X-User-Id"] == "alice"
    assert token.encode() not in bytes(sockets.log)


def test_a_token_and_no_other_subprotocol(sockets):
    token = tokens.token(issuer="https://socket.test")
    if sockets.own:
        # This server insists on a subprotocol of its own: the refusal is its answer.
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://127.0.0.1:{sockets.port}/ws/x", subprotocols=["bearer", token])
        assert refused.value.response.status_code == 400 and len(sockets.seen) == 0
        return
    with connect(f"ws://127.0.0.1:{sockets.port}/ws/x", subprotocols=["bearer", token]) as socket:
        assert socket.subprotocol == "bearer"
        wait_until(lambda: sockets.seen)  # by a thread that begins when the client has its answer
    assert sockets.seen[-1].get_all("Sec-WebSocket-Protocol") == []


@pytest.mark.parametrize("offer", [["chat"], ["bearer"], ["bearer", "garbage"], []])
def test_an_offer_without_a_good_token(sockets, offer):
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{sockets.port}/ws/x", subprotocols=offer or None)
    assert refused.value.response.status_code == 401 and sockets.seen == []


def test_a_subprotocol_counts_in_a_handshake_alone(sockets):
    token = tokens.token(issuer="https://socket.test")
    assert sockets.get("/ws/x", {"Sec-WebSocket-Protocol": f"bearer, {token}"}).status == 401


def test_two_different_tokens_in_one_offer(sockets):
    one, two = (tokens.token(issuer="https://socket.test", subject=name) for name in ("alice", "bob"))
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    with sockets.client() as client:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        offers = f"Sec-WebSocket-Protocol: bearer, {one}\r\nSec-WebSocket-Protocol: bearer, {two}\r\n"
        client.send(f"GET /ws/x HTTP/1.1\r\nHost: usher.test\r\n{lines}{offers}\r\n".encode())
        assert client.response().status == 400
