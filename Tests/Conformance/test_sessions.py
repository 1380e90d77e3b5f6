"""Better Auth's sessions: cookies that answer alone, and a server that is asked where they cannot."""

from __future__ import annotations

import itertools
import json
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve

from harness import betterauth, tokens
from harness.backend import slow_at
from harness.betterauth import AuthServer, compact, cookies, jwt, payload, published, sealed, signed
from harness.configuration import BACKEND, MAIN_ISSUER
from harness.http2backend import HTTP2Backend
from harness.ports import free_port
from harness.streams import endless_at_stream, has_been_cut, stream
from harness.waiting import wait_until
from harness.wire import Client

ORIGIN = "https://app.test"
CONFIGURATION = BACKEND + MAIN_ISSUER + """
[session.browser]
provider = "better-auth"
secret = {{ env = "AUTH_SECRET" }}
secure_cookies = false
trusted_origins = ["https://app.test"]
{session}

[identity]
headers = {{ "X-User-Id" = "sub", "X-User-Email" = "email" }}

[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"

[[route]]
path = "/api/**"
auth = ["main", "browser"]
upstream = "backend"
stream_lifetime = "token"

[[route]]
path = "/users/{{user_id}}/**"
auth = "browser"
require = {{ sub = "{{user_id}}" }}
upstream = "backend"

[[route]]
path = "/optional/**"
auth = "optional:browser"
upstream = "backend"
"""
ENVIRONMENT = {"AUTH_SECRET": betterauth.SECRET, "AUTH_SECRETS": f"2:{betterauth.SECRET}, 1:{betterauth.OLD_SECRET}"}


@pytest.fixture
def server():
    with AuthServer() as running:
        yield running


@pytest.fixture
def run(start, own_backend):
    def started(session: str = "", server: AuthServer | None = None, **more):
        url = f'url = "{server.url}"\n' if server else ""
        more.setdefault("env", ENVIRONMENT)
        return start(own_backend, CONFIGURATION, session=url + session, **more)
    return started


def get(proxy, cookie: str, target="/api/x", method="GET", **headers):
    return proxy.request(method, target, {"Cookie": cookie} | {name.replace("_", "-"): value for name, value in headers.items()})


def post(proxy, cookie: str, target="/api/x", **headers):
    return get(proxy, cookie, target, "POST", **headers)


# ---- the cache in the cookie


@pytest.mark.parametrize("form", ["compact", "jwt", "jwe"])
@pytest.mark.parametrize("chunk", [0, 200])
def test_the_cookies_answer_alone(run, form, chunk):
    proxy = run()
    make = {"compact": compact, "jwt": jwt, "jwe": sealed}[form]
    for _ in range(2):
        proxy.backend.clear()
        request = proxy.assert_arrived(get(proxy, f"a=1; {cookies('T', make(payload('T')), chunk=chunk)}; b=2"), "alice")
        assert request.headers.all("x-user-email") == ["alice@example.com"]
        assert request.headers.all("cookie") == ["a=1; b=2"]


@pytest.mark.parametrize("route", ["browser", "optional:browser"])
@pytest.mark.parametrize("upstream", ["", 'protocol = "h2"'], ids=["HTTP/1.1", "HTTP/2"])
def test_a_sessions_cookies_are_not_forwarded_with_the_credentials(start, own_backend, upstream, route):
    """`authorization = "forward"` hands on what is in Authorization, and the cookies that `token_from` names: those of a
    session never."""
    issuer = MAIN_ISSUER.replace("[issuer.main]", '[issuer.main]\ntoken_from = ["header", "cookie:token"]')
    text = f"""
[upstream.backend]
servers = ["127.0.0.1:{{backend}}"]
authorization = "forward"
{upstream}
{issuer}
[session.browser]
provider = "better-auth"
secret = {{{{ env = "AUTH_SECRET" }}}}
secure_cookies = false
trusted_origins = ["https://app.test"]
[[route]]
path = "/api/**"
auth = ["main", "{route}"]
upstream = "backend"
[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"
"""
    if route != "browser":
        text = text.replace('"main"', '"optional:main"')
    session = cookies("T", compact(payload("T")))
    chunks = cookies("T", compact(payload("T")), chunk=200)
    token = tokens.token()
    cases = [
        (f"a=1; {session}; b=2", {}, "a=1; b=2"), (f"a=1; {chunks}", {}, "a=1"), (session, {}, None),
        (f"{session}; token={token}", {}, f"token={token}"), (f"b=2; {session}", tokens.bearer(token), "b=2"),
        ("a=1; better-auth.dont_remember=x; better-auth.account_data=y", tokens.bearer(token), "a=1"),
        # Better Auth's plugins: while an admin impersonates somebody, this is the admin's own session.
        (f"a=1; {session}; better-auth.admin_session=x; __Secure-better-auth.admin_session=y", {}, "a=1"),
        (f"{session}; better-auth.two_factor=x; better-auth.trust_device=y; better-auth.theme=z", {}, "better-auth.theme=z"),
    ]
    backend = HTTP2Backend() if upstream else own_backend
    try:
        proxy = start(backend, text, env=ENVIRONMENT)
        for cookie, more, expected in cases:
            assert get(proxy, cookie, **more).status == 200
            headers = backend.last if upstream else backend.last.headers
            # HTTP/2 may have a field for each cookie (RFC 9113, 8.2.3).
            assert "; ".join(headers.all("cookie")) == (expected or "")
            assert headers.all("authorization") == list(more.values())
        # Where the session is not named its cookies are not the proxy's: Better Auth itself needs them.
        assert get(proxy, session, "/public/x").status == 200
        assert "; ".join((backend.last if upstream else backend.last.headers).all("cookie")) == session
    finally:
        if upstream:
            backend.close()


def test_a_path_belongs_to_its_user(run):
    proxy = run()
    good = cookies("T", compact(payload("T")))
    proxy.assert_arrived(get(proxy, good, "/users/alice/x"), "alice")
    proxy.backend.clear()
    proxy.assert_refused(get(proxy, good, "/users/bob/x"), 403, "not_yours")


@pytest.mark.parametrize("make", [compact, jwt, sealed], ids=["compact", "jwt", "jwe"])
@pytest.mark.parametrize("what, code", [
    ({"age": -5}, "token_expired"), ({"secret": betterauth.OLD_SECRET}, "token_invalid"),
])
def test_a_cache_that_is_no_proof(run, make, what, code):
    proxy = run()
    proxy.assert_refused(get(proxy, cookies("T", make(payload("T"), **what))), 401, code)


@pytest.mark.parametrize("value", [
    payload("U"), payload("T", session={"userId": "bob"}), payload("T", ends=-5), payload("T", version="2"),
    payload("T", user={"id": 5}), payload("T", user={"id": "a,b"}), payload("T", user={"id": ""}), {"user": {"id": "alice"}},
    payload("T", session={"token": 5}), payload("T") | {"session": None}, payload("T", session={"expiresAt": "never"}),
    payload("T", session={"expiresAt": 4102444800000}), {"email": "alice@example.com"},
], ids=range(13))
@pytest.mark.parametrize("make", [compact, jwt, sealed], ids=["compact", "jwt", "jwe"])
def test_a_genuine_cache_that_does_not_fit(run, make, value):
    proxy = run()
    assert get(proxy, cookies("T", make(value))).status == 401
    proxy.assert_nothing_arrived()


def test_a_version_of_ones_own(run):
    proxy = run('cookie_cache_version = "7"')
    proxy.assert_arrived(get(proxy, cookies("T", compact(payload("T", version="7")))), "alice")
    proxy.backend.clear()
    for version in ["1", None]:
        proxy.assert_refused(get(proxy, cookies("T", compact(payload("T", version=version)))), 401, "token_invalid")


def test_rotated_secrets_open_sealed_caches_alone(run):
    proxy = run('secrets = { env = "AUTH_SECRETS" }')
    old = {"secret": betterauth.OLD_SECRET}
    for cache in [sealed(payload("T")), sealed(payload("T"), **old), sealed(payload("T"), kid=None, **old), compact(payload("T"))]:
        proxy.backend.clear()
        proxy.assert_arrived(get(proxy, cookies("T", cache)), "alice")
    proxy.backend.clear()
    for cache in [compact(payload("T"), **old), jwt(payload("T"), **old)]:
        proxy.assert_refused(get(proxy, cookies("T", cache)), 401, "token_invalid")
    proxy.assert_refused(get(proxy, cookies("T", sealed(payload("T")), **old)), 401, "token_invalid")


@pytest.mark.parametrize("cache", [
    lambda: sealed(payload("T"), enc="A256GCM"), lambda: sealed(payload("T"), salt="better-auth-account"),
    lambda: sealed(payload("T"), kid="other"), lambda: jwt(payload("T"), header={"alg": "HS512"}),
    lambda: jwt(payload("T"), header={"alg": "none"}), lambda: jwt(payload("T"), header={"alg": "HS256", "crit": ["x"]}),
    lambda: jwt(payload("T"), header={"alg": "HS256", "typ": "better-auth.session-cache+jwt"}),
    lambda: sealed(payload("T"))[:-2], lambda: "." * 4, lambda: "..", lambda: "x" * 9000, lambda: compact(payload("T")) + "=",
], ids=range(12))
def test_other_forms_are_none(run, cache):
    proxy = run()
    proxy.assert_refused(get(proxy, cookies("T", cache())), 401, "token_invalid")



@pytest.mark.parametrize("is_secure", [True, False], ids=["secure", "plain"])
@pytest.mark.parametrize("prefix", ["better-auth", "my-app"])
def test_secure_cookies_and_prefixes(start, own_backend, prefix, is_secure):
    """What does not count is not for the backend either, which may look at it."""
    text = CONFIGURATION.replace("secure_cookies = false", f'cookie_prefix = "{prefix}"\nsecure_cookies = {is_secure}'.lower())
    proxy = start(own_backend, text, session="", env=ENVIRONMENT)
    counting, other = (f"__Secure-{prefix}", prefix) if is_secure else (prefix, f"__Secure-{prefix}")
    alice = cookies("T", compact(payload("T")), prefix=counting)
    evil = cookies("U", compact(payload("U", "evil")), prefix=other)
    for both in [alice, f"{alice}; {evil}", f"{evil}; {alice}"]:
        proxy.backend.clear()
        assert not proxy.assert_arrived(get(proxy, both), "alice").headers.all("cookie")
    proxy.backend.clear()
    proxy.assert_refused(get(proxy, evil), 401, "token_missing")


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "ES512", "RS256", "PS256"])
def test_a_cache_with_a_published_key(run, server, algorithm):
    key = tokens.key_for(algorithm, "better-auth")
    server.keys = {"keys": [tokens.jwk(key, kid="cache", alg=algorithm)]}
    proxy = run('cookie_cache = "jwks"\nissuer = "https://app.test"', server)
    good = published(payload("T"), ORIGIN, algorithm)
    proxy.assert_arrived(get(proxy, cookies("T", good)), "alice")
    assert server.asked == 0
    proxy.backend.clear()
    for bad in [
        published(payload("T"), ORIGIN, algorithm, typ="JWT"), published(payload("T"), ORIGIN, algorithm, age=-5),
        published(payload("T"), "https://evil.test", algorithm), compact(payload("T")), jwt(payload("T")),
        published(payload("T"), ORIGIN, algorithm, claims={"aud": ORIGIN}), published(payload("T"), ORIGIN, algorithm, kid="x"),
    ]:
        proxy.assert_refused(get(proxy, cookies("T", bad)), 401, "token_invalid")
    for bad in [{"sid": "U"}, {"sub": "bob"}]:
        before = server.asked
        proxy.assert_refused(get(proxy, cookies("T", published(payload("T"), ORIGIN, algorithm, claims=bad))), 401, "token_invalid")
        assert server.asked == before, "it is genuine: nobody has to be asked"


def keys_of(proxy) -> list[str]:
    """The lines of the metrics on the keys of the session."""
    return [line for line in proxy.admin_request("/metrics").body.decode().splitlines() if 'issuer="session.browser"' in line]


def fetches(server) -> int:
    return sum(head.startswith("GET /api/auth/jwks ") for head in server.heads)


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "ES512", "RS256", "PS256"])
def test_a_published_key_is_found_without_a_word_in_the_file(run, server, algorithm):
    """`cookie_cache = "auto"`: the form is taken by what the cookie is. `iss` is the origin of `url`, or one of those that
    are trusted: the proxy may reach Better Auth by another URL than its users."""
    key = tokens.key_for(algorithm, "better-auth")
    server.keys = {"keys": [tokens.jwk(key, kid="cache", alg=algorithm)]}
    proxy = run("", server)
    wait_until(lambda: 'usher_keys{issuer="session.browser"} 1' in keys_of(proxy))
    for issuer in [ORIGIN, server.url.removesuffix("/api/auth")]:
        proxy.backend.clear()
        request = proxy.assert_arrived(get(proxy, "a=1; " + cookies("T", published(payload("T"), issuer, algorithm))), "alice")
        assert request.headers.all("cookie") == ["a=1"]
    for form in [compact, jwt, sealed]:
        assert get(proxy, cookies("T", form(payload("T")))).status == 200
    assert server.asked == 0 and fetches(server) == 1
    proxy.backend.clear()
    for bad in [
        published(payload("T"), ORIGIN, algorithm, typ="JWT"), published(payload("T"), ORIGIN, algorithm, age=-5),
        published(payload("T"), "https://evil.test", algorithm), published(payload("T"), ORIGIN + "/", algorithm),
        published(payload("T"), ORIGIN, algorithm, claims={"aud": ORIGIN}),
        published(payload("T"), ORIGIN, algorithm, claims={"iss": [ORIGIN]}), published(payload("T"), ORIGIN, algorithm, kid="x"),
        published(payload("T"), ORIGIN, algorithm, kid=None), published(payload("T"), ORIGIN, algorithm)[:-40] + 40 * "A",
    ]:
        proxy.assert_refused(get(proxy, cookies("T", bad)), 401, "token_invalid")
    for bad in [{"sid": "U"}, {"sub": "bob"}]:
        before = server.asked
        proxy.assert_refused(get(proxy, cookies("T", published(payload("T"), ORIGIN, algorithm, claims=bad))), 401, "token_invalid")
        assert server.asked == before, "it is genuine: nobody has to be asked"


def test_an_issuer_of_ones_own_is_the_only_one(run, server):
    server.keys = {"keys": [tokens.jwk(tokens.key_for("EdDSA", "better-auth"), kid="cache", alg="EdDSA")]}
    proxy = run('issuer = "https://other.test"', server)
    wait_until(lambda: 'usher_keys{issuer="session.browser"} 1' in keys_of(proxy))
    assert get(proxy, cookies("T", published(payload("T"), "https://other.test"))).status == 200
    for issuer in [ORIGIN, server.url.removesuffix("/api/auth")]:
        assert get(proxy, cookies("T", published(payload("T"), issuer))).status == 401


@pytest.mark.parametrize("cache", ["auto", "jwks", "jwt"])
def test_J1_each_form_has_its_own_keys(run, server, cache):
    """A JWT with HS256 is never verified with a published key, as which bytes ever, nor one of a published key's algorithm with
    the secret."""
    key = tokens.key_for("EdDSA", "better-auth")
    public = tokens.jwk(key, kid="cache", alg="EdDSA")
    server.keys = {"keys": [public, {"kty": "oct", "k": betterauth.b64(betterauth.SECRET.encode()), "kid": "secret", "alg": "HS256"}]}
    proxy = run(f'cookie_cache = "{cache}"', server)
    wait_until(lambda: fetches(server) == (cache != "jwt"))
    typ, value = "better-auth.session-cache+jwt", payload("T")
    value |= {"sid": "T", "sub": "alice", "iss": ORIGIN, "aud": "better-auth:session-cache"}
    for header in [
        {"alg": "HS256", "typ": typ, "kid": "cache"}, {"alg": "HS256", "typ": typ, "kid": "secret"}, {"alg": "HS256", "typ": typ},
        {"alg": "EdDSA", "typ": typ, "kid": "cache"}, {"alg": "EdDSA"}, {"alg": "ES256", "typ": typ, "kid": "cache"},
        {"alg": "none", "typ": typ, "kid": "cache"}, {"typ": typ, "kid": "cache"}, {"alg": ["HS256", "EdDSA"], "typ": typ, "kid": "cache"},
    ]:
        for secret in [betterauth.SECRET, public["x"], json.dumps(public), betterauth.dump(public)]:
            proxy.assert_refused(get(proxy, cookies("T", jwt(value, secret=secret, header=header))), 401, "token_invalid")
    for header in [b'{"alg":"HS256","alg":"EdDSA","typ":"%s","kid":"cache"}', b'{"alg":"EdDSA","typ":"%s","kid":"cache","crit":["x"]}']:
        text = tokens.raw_token(header % typ.encode(), betterauth.dump(value | {"exp": int(time.time()) + 60}).encode(), "EdDSA", key)
        proxy.assert_refused(get(proxy, cookies("T", text)), 401, "token_invalid")


def test_a_server_without_keys_is_none_to_wait_for(run, server):
    """Most of Better Auth runs without the jwt plugin: its keys are fetched once, nobody waits for them, one line tells of it, and
    they are fetched again where a cookie comes that is signed with one."""
    proxy = run("", server)
    wait_until(lambda: fetches(server) == 1)
    server.sessions["T"] = payload("T")
    proxy.assert_arrived(get(proxy, cookies("T")), "alice")
    assert get(proxy, cookies("U", compact(payload("U")))).status == 200
    assert keys_of(proxy) == [], "nothing to be alarmed at"
    assert proxy.admin_request("/readyz").status == 200
    server.sessions["V"] = payload("V")
    late = cookies("V", published(payload("V"), ORIGIN))
    for _ in range(3):
        assert get(proxy, late).status == 200
    assert fetches(server) == 1, "not within the cooldown"
    proxy.wait_said("no published keys")  # the standard error is read as it comes
    lines = [line for line in proxy.errors.decode().splitlines() if "session.browser" in line]
    assert len(lines) == 1 and "no published keys" in lines[0] and '"info"' in lines[0], lines
    server.keys = {"keys": [tokens.jwk(tokens.key_for("EdDSA", "better-auth"), kid="cache", alg="EdDSA")]}
    time.sleep(10.1)
    assert fetches(server) == 1, "not without a cookie that needs it"
    server.sessions["W"] = payload("W")
    assert get(proxy, cookies("W", published(payload("W"), ORIGIN))).status == 200
    wait_until(lambda: 'usher_keys{issuer="session.browser"} 1' in keys_of(proxy))
    asked = server.asked
    assert get(proxy, cookies("X", published(payload("X"), ORIGIN))).status == 200
    assert server.asked == asked and fetches(server) == 2


@pytest.mark.parametrize("down", [True, False], ids=["refused", "silent"])
def test_nobody_waits_for_keys_that_need_not_be_there(run, server, down):
    if down:
        server.down()
    else:
        server.before = lambda *_: asked.append(time.monotonic()) or time.sleep(20) or True
    asked = []
    proxy = run("", server)
    if not down:
        wait_until(lambda: asked)
        assert time.monotonic() - asked[0] < 4.5, "after five seconds keys are given up"
    assert get(proxy, cookies("U", compact(payload("U")))).status == 200


def test_an_unknown_key_of_a_cache_is_fetched_once(run, server):
    """The auth server has a new key: it is asked about the session, and its keys are fetched once for those who come later.
    A key that nobody has costs no further fetch for `cooldown`."""
    def publish(*kids):
        server.keys = {"keys": [tokens.jwk(tokens.key_for("EdDSA", "better-auth"), kid=kid, alg="EdDSA") for kid in kids]}

    def cached(session, kid):
        server.sessions[session] = payload(session)
        return cookies(session, published(payload(session), ORIGIN, kid=kid))

    publish("cache")
    proxy = run('cookie_cache = "jwks"\nissuer = "https://app.test"', server)
    proxy.assert_arrived(get(proxy, cached("T", "cache")), "alice")
    assert (fetches(server), server.asked) == (1, 0)
    publish("cache", "next")
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status for answer in pool.map(lambda n: get(proxy, cached(f"A{n}", "next")), range(8))} == {200}
    wait_until(lambda: fetches(server) == 2)
    # The keys have been asked for, and come in a moment: until then the server is asked about each session.
    numbers = itertools.count()

    def is_known():
        before = server.asked
        return get(proxy, cached(f"K{next(numbers)}", "next")).status == 200 and server.asked == before
    wait_until(is_known)
    asked = server.asked
    for n in range(8):
        assert get(proxy, cached(f"B{n}", "next")).status == 200
    assert server.asked == asked, "the new key is known: nobody has to be asked"
    for n in range(8):
        assert get(proxy, cached(f"C{n}", "nobody's")).status == 200
    assert server.asked == asked + 8 and fetches(server) == 2, "not again within the cooldown"
    proxy.backend.clear()
    proxy.assert_refused(get(proxy, cookies("none", published(payload("none"), ORIGIN, kid="nobody's"))), 401, "token_invalid")


def test_H7_cookies_that_contradict_are_refused(run, server):
    server.sessions["T"] = payload("T")
    proxy = run(server=server)
    one = cookies("T", compact(payload("T")))
    for doubled in [f"{one}; {cookies('T')}", f"{one}; {cookies('U')}", f"{cookies('U')}; {one}",
                    f"{one}; better-auth.session_data=x"]:
        proxy.assert_refused(get(proxy, doubled), 400, "bad_request")
    proxy.assert_refused(get(proxy, cookies("T", compact(payload("U")))), 401, "token_invalid")
    assert server.asked == 0


# ---- the server


def test_the_server_is_asked_once_and_believed_for_a_while(run, server):
    server.sessions["T"] = payload("T")
    proxy = run('cache_for = "5s"', server)
    for _ in range(5):
        proxy.backend.clear()
        request = proxy.assert_arrived(get(proxy, f"a=1; {cookies('T')}"), "alice")
        assert request.headers.all("cookie") == ["a=1"] and request.headers.all("x-user-email") == ["alice@example.com"]
    assert server.asked == 1
    head = server.questions[-1]
    assert head.startswith("GET /api/auth/get-session HTTP/1.1\r\n")
    assert server.field(head, "x-forwarded-for") == ["127.0.0.1"]
    assert server.field(head, "cookie") == [cookies("T")], "no other cookie is anything to it"
    assert not server.field(head, "authorization")
    del server.sessions["T"]
    assert get(proxy, cookies("T")).status == 200
    time.sleep(5.1)
    proxy.backend.clear()
    proxy.assert_refused(get(proxy, cookies("T")), 401, "token_invalid")
    assert server.asked == 2
    assert get(proxy, cookies("T")).status == 401 and server.asked == 2, "a no is remembered too"


def test_J9_many_requests_of_one_session_are_one_question(run, server):
    gate = threading.Event()
    server.sessions["T"] = payload("T")
    server.before = lambda *_: gate.wait(30) and False
    proxy = run(server=server, workers=2)
    with ThreadPoolExecutor(32) as pool:
        answers = [pool.submit(get, proxy, cookies("T")) for _ in range(32)]
        time.sleep(0.4)
        gate.set()
        assert [answer.result().status for answer in answers] == [200] * 32
    assert server.asked == 1


def test_many_sessions_are_asked_about_side_by_side_on_few_connections(run, server):
    for number in range(60):
        server.sessions[f"T{number}"] = payload(f"T{number}", f"user{number}")
    proxy = run(server=server)
    wait_until(lambda: fetches(server) == 1 and not server.under_way)
    server.before = lambda *_: time.sleep(0.3)
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda number: get(proxy, cookies(f"T{number}")), range(60)))
    assert [answer.status for answer in answers] == [200] * 60
    assert sorted(request.user[0] for request in proxy.backend.requests) == sorted(f"user{n}" for n in range(60))
    assert server.asked == 60 and 2 <= server.most_under_way <= 8 and server.connections <= 8 + 1, "one was for the keys"


def test_the_servers_cookies_reach_the_client_once(run, server):
    server.sessions["T"] = payload("T")
    server.cookies = ["better-auth.session_token=new; Path=/; HttpOnly", "better-auth.session_data=x; Max-Age=300"]
    proxy = run(server=server)
    answer = get(proxy, cookies("T"))
    assert answer.status == 200 and answer.headers.all("set-cookie") == server.cookies
    assert get(proxy, cookies("T")).headers.all("set-cookie") == []
    # Also where it says no: it takes away what no longer counts.
    refused = get(proxy, cookies("U"))
    assert refused.status == 401 and refused.headers.all("set-cookie") == server.cookies
    # And not to bearers, who keep no cookies.
    server.sessions["B"] = payload("B")
    assert proxy.get("/api/x", tokens.bearer("B")).headers.all("set-cookie") == []


@pytest.mark.parametrize("status", [200, 304, 404])
def test_an_answer_with_the_servers_cookies_is_kept_by_no_cache(run, server, status):
    """Set-Cookie keeps no cache from storing (RFC 9111, 7.3): it would give somebody's session to everybody."""
    server.sessions["T"] = payload("T")
    server.cookies = ["better-auth.session_token=new; Path=/; HttpOnly"]
    proxy = run(server=server)
    fields = [("Cache-Control", "public, max-age=3600"), ("Expires", "Thu, 01 Dec 2099 16:00:00 GMT"),
              ("CDN-Cache-Control", "max-age=3600"), ("ETag", '"one"')]
    proxy.backend.script = lambda exchange: exchange.reply(status, headers=fields)
    answer = get(proxy, cookies("T"))
    assert answer.status == status and answer.headers.all("set-cookie") == server.cookies
    assert answer.headers.all("cache-control") == ["private, no-store"] and answer.headers.get("etag") == '"one"'
    assert not answer.headers.all("expires") and not answer.headers.all("cdn-cache-control")
    # One that brings no cookies is the backend's own, byte for byte.
    plain = get(proxy, cookies("T"))
    assert [plain.headers.all(name) for name, _ in fields] == [[value] for _, value in fields]
    assert not plain.headers.all("set-cookie")


def test_a_late_answer_brings_no_cookies_of_before(run, server):
    """Whoever has signed out meanwhile would be signed in again by a cache that counts without a question."""
    server.sessions["T"] = payload("T")
    server.cookies = ["better-auth.session_token=T; Path=/", "better-auth.session_data=x; Max-Age=300"]
    proxy = run(server=server)
    proxy.backend.script = slow_at("/api/slow", 3.2)
    answer = get(proxy, cookies("T"), "/api/slow")
    assert answer.status == 200 and answer.headers.all("set-cookie") == []
    # What comes next in time brings them: it is asked about anew.
    server.sessions["U"] = payload("U")
    assert get(proxy, cookies("U")).headers.all("set-cookie") == server.cookies


def test_a_refused_request_keeps_its_cookies_too(run, server):
    server.sessions["T"] = payload("T")
    server.cookies = ["better-auth.session_token=new"]
    proxy = run(server=server)
    answer = get(proxy, cookies("T"), "/users/bob/x")
    assert answer.status == 403 and answer.headers.all("set-cookie") == server.cookies


def test_a_server_that_is_down_is_503_and_known_sessions_go_on(run, server):
    server.sessions |= {"T": payload("T"), "U": payload("U")}
    proxy = run('cache_for = "1h"', server)
    assert get(proxy, cookies("T")).status == 200
    server.down()
    proxy.backend.clear()
    answer = get(proxy, cookies("U"))
    assert answer.headers.get("retry-after") == "1"
    proxy.assert_refused(answer, 503, "authentication_unavailable")
    proxy.assert_arrived(get(proxy, cookies("T")), "alice")
    assert get(proxy, cookies("V", compact(payload("V")))).status == 200, "the cookies answer alone"
    assert proxy.get("/api/x", tokens.bearer(tokens.token())).status == 200
    server.up()
    wait_until(lambda: get(proxy, cookies("U")).status == 200)


def test_a_server_that_closes_idle_connections(run, server):
    server.sessions |= {f"T{n}": payload(f"T{n}") for n in range(6)}
    server.before = lambda self, connection, head: connection.sendall(self.response(head)) or connection.close() or True
    proxy = run(server=server)
    for number in range(6):
        assert get(proxy, cookies(f"T{number}")).status == 200
        time.sleep(0.02)


def test_a_slow_server_holds_up_nobody_else(run, server):
    server.before = lambda self, connection, head: time.sleep(25)
    proxy = run(server=server)
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(get, proxy, cookies("T"))
        time.sleep(0.2)
        for _ in range(4):
            assert proxy.get("/api/x", tokens.bearer(tokens.token())).status == 200
            assert proxy.admin_request("/livez").status == 200
        assert not slow.done(), "the others were served meanwhile"
        assert slow.result().status == 503
    assert 2 < time.monotonic() - started < 20


@pytest.mark.parametrize("answer", [
    b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nnull", b"HTTP/1.1 429 Slow\r\nX-Retry-After: 9\r\nContent-Length: 4\r\n\r\nnull",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnull",
    b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b" " * 300000,
    b"HTTP/1.1 200 OK\r\nSet-Cookie: " + b"x" * 40000 + b"\r\nContent-Length: 4\r\n\r\nnull",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
], ids=range(13))
def test_whatever_the_server_says_nobody_passes_by_it(run, server, answer):
    server.before = lambda self, connection, head: connection.sendall(answer) or connection.close() or True
    proxy = run(server=server)
    proxy.assert_refused(get(proxy, cookies("T")), 503, "authentication_unavailable")
    assert proxy.get("/api/x", tokens.bearer(tokens.token())).status == 200


@pytest.mark.parametrize("session", [
    payload("U"), payload("T", session={"userId": "bob"}), payload("T", user={"id": ["alice"]}),
    payload("T") | {"user": None}, {"session": payload("T")["session"]},
], ids=range(5))
def test_an_answer_about_another_session_is_none(run, server, session):
    server.sessions["T"] = session
    proxy = run(server=server)
    proxy.assert_refused(get(proxy, cookies("T")), 503, "authentication_unavailable")


def test_answers_without_the_session_count_too(run, server):
    server.sessions |= {"T": {"session": {"userId": "alice"}, "user": {"id": "alice"}}, "U": payload("U", ends=-5)}
    proxy = run(server=server)
    proxy.assert_arrived(get(proxy, cookies("T")), "alice")
    proxy.backend.clear()
    proxy.assert_refused(get(proxy, cookies("U")), 401, "token_invalid")


def test_forged_cookies_ask_nobody(run, server):
    proxy = run(server=server)
    for forged in ["better-auth.session_token=T", cookies("T", secret=betterauth.OLD_SECRET), cookies("T") + "x",
                   f"better-auth.session_token={urllib.parse.quote(betterauth.signed('T')[:-1], safe='')}"]:
        proxy.assert_refused(get(proxy, forged), 401, "token_invalid")
    assert server.asked == 0


def test_a_stale_cache_is_asked_about(run, server):
    server.sessions["T"] = payload("T")
    server.cookies = ["better-auth.session_data=fresh"]
    proxy = run(server=server)
    for stale in [compact(payload("T"), age=-5), compact(payload("T", version="9")), "garbage", sealed(payload("T"), age=-5)]:
        proxy.backend.clear()
        proxy.assert_arrived(get(proxy, cookies("T", stale)), "alice")
    assert server.asked == 1


def test_cookie_cache_off_asks_about_every_session(run, server):
    server.sessions["T"] = payload("T", "bob")
    proxy = run('cookie_cache = "off"', server)
    proxy.assert_arrived(get(proxy, cookies("T", compact(payload("T")))), "bob")


def test_dont_remember_goes_along_where_it_is_signed(run, server):
    server.sessions |= {"T": payload("T"), "U": payload("U")}
    proxy = run(server=server)
    remember = "better-auth.dont_remember=" + urllib.parse.quote(signed("true"), safe="")
    assert get(proxy, f"{cookies('T')}; {remember}").status == 200
    assert server.field(server.questions[-1], "cookie") == [f"{cookies('T')}; {remember}"]
    assert get(proxy, f"{cookies('U')}; better-auth.dont_remember=true").status == 200
    assert server.field(server.questions[-1], "cookie") == [cookies("U")]


def test_clients_that_leave_while_they_wait(run, server):
    gate = threading.Event()
    server.sessions["T"] = payload("T")
    server.before = lambda *_: gate.wait(30) and False
    proxy = run(server=server)
    for _ in range(20):
        client = proxy.client()
        client.send(f"GET /api/x HTTP/1.1\r\nHost: usher.test\r\nCookie: {cookies('T')}\r\n\r\n".encode())
        client.reset()
    with ThreadPoolExecutor(1) as pool:
        stays = pool.submit(get, proxy, cookies("T"))
        time.sleep(0.2)
        gate.set()
        assert stays.result().status == 200


def test_a_reload_while_requests_wait(run, server):
    gate = threading.Event()
    server.sessions["T"] = payload("T")
    server.before = lambda *_: gate.wait(30) and False
    proxy = run(server=server)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(get, proxy, cookies("T"))
        time.sleep(0.2)
        proxy.file.write_text(proxy.file.read_text().replace('trusted_origins = ["https://app.test"]', 'cache_for = "5s"'))
        proxy.signal(1)
        time.sleep(0.3)
        gate.set()
        assert waiting.result().status == 200


# ---- bearers


@pytest.mark.parametrize("text", [
    "0123456789abcdef0123456789abcdef", signed("0123456789abcdef0123456789abcdef"),
    urllib.parse.quote(signed("0123456789abcdef0123456789abcdef"), safe=""),
    signed("0123456789abcdef0123456789abcdef").replace("+", "-").replace("/", "_").rstrip("="),
], ids=["opaque", "signed", "encoded", "url-safe"])
def test_session_tokens_as_bearers(run, server, text):
    token = "0123456789abcdef0123456789abcdef"
    server.sessions[token] = payload(token)
    proxy = run(server=server)
    for _ in range(2):
        proxy.backend.clear()
        request = proxy.assert_arrived(proxy.request("POST", "/api/x", tokens.bearer(text)), "alice")
        assert not request.headers.all("authorization")
    assert server.asked == 1 and server.field(server.questions[-1], "authorization") == [f"Bearer {text}"]
    assert not server.field(server.questions[-1], "cookie")


def test_jwts_and_session_tokens_are_told_apart(run, server):
    proxy = run(server=server)
    proxy.assert_arrived(proxy.get("/api/x", tokens.bearer(tokens.token())), "alice")
    proxy.backend.clear()
    proxy.assert_refused(proxy.get("/users/alice/x", tokens.bearer(tokens.token())), 401, "token_invalid")
    proxy.assert_refused(proxy.get("/api/x", tokens.bearer("a.b.c")), 401, "token_invalid")
    proxy.assert_refused(proxy.get("/api/x", tokens.bearer(signed("T")[:-5])), 401, "token_invalid")
    proxy.assert_refused(proxy.get("/api/x", {"Authorization": "Basic eA=="}), 401, "token_missing")
    assert server.asked == 0
    proxy.assert_refused(proxy.get("/api/x", tokens.bearer("nobodys-token-of-that-session-00")), 401, "token_invalid")
    assert server.asked == 1


def test_H7_cookies_and_a_bearer_of_two_users_are_400(run, server):
    server.sessions |= {"T": payload("T"), "B": payload("B", "bob")}
    proxy = run(server=server)
    alice, bob = tokens.bearer(tokens.token()), tokens.bearer(tokens.token(subject="bob"))
    for cookie in [cookies("T", compact(payload("T"))), cookies("T")]:
        proxy.assert_refused(proxy.get("/api/x", bob | {"Cookie": cookie}), 400, "bad_request")
        proxy.assert_arrived(proxy.get("/api/x", alice | {"Cookie": cookie}), "alice")
        proxy.backend.clear()
    proxy.assert_refused(proxy.get("/api/x", tokens.bearer("B") | {"Cookie": cookies("T")}), 400, "bad_request")
    # An ended session names nobody.
    proxy.assert_arrived(proxy.get("/api/x", bob | {"Cookie": cookies("gone")}), "bob")


# ---- where requests come from


@pytest.mark.parametrize("headers, passes", [
    ({}, False), ({"Origin": ORIGIN}, True), ({"Origin": "https://evil.test"}, False), ({"Origin": "null"}, False),
    ({"Origin": "http://usher.test"}, False), ({"Referer": ORIGIN + "/page"}, True), ({"Referer": "https://evil.test/"}, False),
    ({"Origin": "https://evil.test", "Referer": ORIGIN}, False), ({"Sec-Fetch-Site": "same-origin"}, False),
], ids=range(9))
def test_cookies_write_only_for_trusted_pages(run, headers, passes):
    proxy = run()
    for method in ["POST", "PUT", "PATCH", "DELETE"]:
        proxy.backend.clear()
        answer = proxy.request(method, "/api/x", headers | {"Cookie": cookies("T", compact(payload("T")))})
        if passes:
            proxy.assert_arrived(answer, "alice")
        else:
            proxy.assert_refused(answer, 403, "origin_refused")
    assert get(proxy, cookies("T", compact(payload("T"))), **headers).status == 200
    assert proxy.request("POST", "/api/x", headers | tokens.bearer(tokens.token())).status == 200


def test_J15_an_optional_route_refuses_a_bad_session(run):
    proxy = run()
    proxy.assert_arrived(get(proxy, "a=1", "/optional/x"), None)
    proxy.backend.clear()
    proxy.assert_arrived(get(proxy, cookies("T", compact(payload("T"))), "/optional/x"), "alice")
    proxy.backend.clear()
    proxy.assert_refused(get(proxy, cookies("T", secret=betterauth.OLD_SECRET), "/optional/x"), 401, "token_invalid")


@pytest.mark.parametrize("value, code, error", [
    ("Bearer T", "token_invalid", ', error="invalid_token", error_description="The token is not valid"'),
    ("DPoP T", "token_missing", ""), ("Basic dTpw", "token_missing", "")])
def test_J15_an_authorization_that_nobody_of_the_route_reads(run, value, code, error):
    """The same answers as where issuers look into cookies alone (test_token_from.py): a JWT is no session token."""
    proxy = run()
    header = {"Authorization": value.replace("T", tokens.token())}
    for path in ("/users/alice/x", "/optional/x"):
        for carried in ({}, {"Cookie": cookies("T", compact(payload("T")))}):
            answer = proxy.get(path, header | carried)
            proxy.assert_refused(answer, 401, code)
            assert answer.headers.get("www-authenticate") == 'Bearer realm="usher"' + error


def test_an_open_route_leaves_cookies_as_they_are(run):
    proxy = run()
    all_of_them = cookies("T", compact(payload("T")))
    assert get(proxy, all_of_them, "/public/x").status == 200
    assert proxy.backend.last.headers.all("cookie") == [all_of_them]


def test_streams_end_with_the_session_and_not_with_its_cache(run, start, own_backend):
    def echo(connection):
        for message in connection:
            connection.send(message)

    port = free_port()
    with serve(echo, "127.0.0.1", port) as backend:
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        text = CONFIGURATION.replace("127.0.0.1:{backend}", f"127.0.0.1:{port}")
        proxy = start(own_backend, text, session="", env=ENVIRONMENT)
        made = time.time()
        cookie = cookies("T", compact(payload("T", ends=12), age=5))
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://127.0.0.1:{proxy.port}/api/x", additional_headers={"Cookie": cookie}, origin="https://evil.test")
        assert refused.value.response.status_code == 403
        with connect(f"ws://127.0.0.1:{proxy.port}/api/x", additional_headers={"Cookie": cookie}, origin=ORIGIN) as client:
            time.sleep(max(0, made + 5.5 - time.time()))
            client.send("still here")
            assert client.recv() == "still here", "the cache has ended, the session has not"
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=20)
            assert made + 10.9 < time.time() < made + 18, "at the full second before"
        backend.shutdown()


def test_streams_end_once_the_server_knows_the_session_no_more(run, server, own_backend):
    """By whatever they were permitted, the cache in a cookie or the server's own word."""
    own_backend.script = endless_at_stream
    server.sessions |= {token: payload(token) for token in "TUV"}
    proxy = run('cache_for = "1s"', server)
    cached, asked = cookies("T", compact(payload("T"), age=2)), cookies("U")
    with (stream(proxy, "/api/stream", {"Cookie": cached}) as first, stream(proxy, "/api/stream", {"Cookie": asked}) as second,
          stream(proxy, "/api/stream", {"Cookie": cookies("V")}) as staying):
        time.sleep(2.5)
        for cookie in (cached, asked, cookies("V")):
            assert get(proxy, cookie).status == 200
        assert not has_been_cut(first, 0.3) and not has_been_cut(second, 0.3)
        del server.sessions["T"], server.sessions["U"]
        for cookie, ending in ((cached, first), (asked, second)):
            wait_until(lambda: get(proxy, cookie).status == 401)
            assert has_been_cut(ending, 20)
        assert get(proxy, cookies("V")).status == 200 and not has_been_cut(staying, 0.5)
    assert proxy.wait_log(path="/api/stream", detail="token_inactive")["reason"] == "token_invalid"


def test_revocation_reaches_sessions(run, tmp_path):
    (tmp_path / "revoked.json").write_text("{}")
    proxy = run(preamble="", folder=tmp_path, session="")
    assert get(proxy, cookies("T", compact(payload("T")))).status == 200
    proxy.file.write_text(proxy.file.read_text() + '\n[revocation]\nfile = "revoked.json"\n')
    (tmp_path / "revoked.json").write_text(json.dumps({"sub": {"alice": int(time.time())}}))
    proxy.signal(1)
    wait_until(lambda: get(proxy, cookies("T", compact(payload("T")))).status == 401)
    assert get(proxy, cookies("T", compact(payload("T", session={"createdAt": betterauth.iso(time.time() + 5)})))).status == 200


def test_requests_behind_one_that_waits_come_after_it(run, server):
    gate = threading.Event()
    server.sessions |= {"T": payload("T"), "U": payload("U", "bob")}
    server.before = lambda *_: gate.wait(30) and False
    proxy = run(server=server)
    with proxy.client() as client:
        client.send(b"".join(
            f"{method} /api/{token} HTTP/1.1\r\nHost: usher.test\r\nOrigin: {ORIGIN}\r\nCookie: {cookies(token)}\r\n{body}".encode()
            for method, token, body in [("POST", "T", "Content-Length: 5\r\n\r\nhello"), ("GET", "U", "\r\n"), ("GET", "T", "\r\n")]))
        assert client.quiet(0.3) and not proxy.backend.requests
        gate.set()
        assert [client.response().status for _ in range(3)] == [200] * 3
    assert [(request.target, request.user) for request in proxy.backend.requests] == [
        ("/api/T", ["alice"]), ("/api/U", ["bob"]), ("/api/T", ["alice"])]


def test_many_large_cookies_of_the_server_reach_the_client(run, server):
    server.sessions["T"] = payload("T")
    server.cookies = [f"better-auth.session_data.{number}={'x' * 3900}; Path=/" for number in range(7)]
    proxy = run(server=server)
    answer = get(proxy, cookies("T"))
    assert answer.status == 200 and answer.headers.all("set-cookie") == server.cookies


def test_another_proxy_asks_about_a_session(start, own_backend, server):
    server.sessions["T"] = payload("T")
    server.cookies = ["better-auth.session_data=fresh"]
    text = CONFIGURATION + '\n[listen.ask]\naddress = "127.0.0.1:{ask}"\nmode = "forward-auth"\ntrusted_proxies = ["127.0.0.0/8"]\n'
    ask = free_port()
    proxy = start(own_backend, text, session=f'url = "{server.url}"', env=ENVIRONMENT, ask=ask)
    about = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/x", "X-Forwarded-Host": "usher.test", "X-Forwarded-For": "203.0.113.7"}
    with Client(ask) as client:
        answer = client.request("GET", "/", about | {"Cookie": cookies("T")})
        assert answer.status == 200 and answer.headers.get("x-user-id") == "alice"
        assert answer.headers.all("set-cookie") == server.cookies
        assert server.field(server.questions[-1], "x-forwarded-for") == ["203.0.113.7"], "one value, the client's"
        assert client.request("GET", "/", about | {"Cookie": cookies("U")}).status == 401
    assert not proxy.backend.requests
