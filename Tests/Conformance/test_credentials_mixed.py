"""Credentials of two users, genuine, damaged and expired, in every place and in every mixture: whoever arrives has proven it,
and HTTP/1.1 and HTTP/2 agree."""

from __future__ import annotations

import http.cookies
import random
import time
import urllib.parse

import pytest
from starlette.requests import cookie_parser

from harness import betterauth, http2
from harness.betterauth import AuthServer, compact, jwt, payload, sealed, signed
from harness.configuration import BACKEND
from harness.ports import free_port
from harness.tokens import token

CONFIGURATION = BACKEND + """
[listen.h2]
address = "127.0.0.1:{h2}"
protocols = ["h2"]

[issuer.main]
issuer = "https://main.test"
audience = "https://api.test"
secret = {{ env = "USHER_TEST_SECRET" }}
token_from = ["header", "cookie:token", "query:access_token"]
trusted_origins = ["https://app.test"]

[session.plain]
provider = "better-auth"
secret = {{ env = "AUTH_SECRET" }}
secure_cookies = false
url = "{url}"
cache_for = "1s"
trusted_origins = ["https://app.test"]

[session.secure]
provider = "better-auth"
secret = {{ env = "AUTH_SECRET" }}
trusted_origins = ["https://app.test"]
"""
# What each route accepts.
ROUTES = {
    "main": ["main"], "plain": ["plain"], "both": ["main", "plain"], "all": ["optional:main", "optional:plain", "optional:secure"],
    "guest": ["optional:plain"], "public": ["none"]}
CONFIGURATION += "".join(
    f'[[route]]\npath = "/{name}/**"\nauth = {auth}\nupstream = "backend"\n\n' for name, auth in ROUTES.items()).replace("'", '"')
SESSIONS = {"TA": "alice", "TB": "bob"}
FORGED = [("X-User-Id", "evil"), ("X_User_Id", "evil"), ("x.user.id", "evil"), ("Remote-User", "evil"), ("Connection", "x-user-id")]


class Mixture:
    """The credentials of one request, and whom they prove on its route."""

    def __init__(self, chance: random.Random, route: str):
        self.chance, self.proven = chance, set()
        self.authorization, self.cookies, self.query = [], [], []
        accepted = [name.removeprefix("optional:") for name in ROUTES[route]]
        self.takes_tokens, self.takes_sessions = "main" in accepted, "plain" in accepted
        for _ in range(chance.choice([0, 1, 1, 1, 2, 2, 3])):
            chance.choice([self.bearer, self.bearer, self.session_bearer, self.other_scheme, self.token_cookie, self.parameter,
                           self.session, self.session, self.session, self.harmless])()

    def damaged(self, text: str) -> str:
        """The text, one time out of three with another byte somewhere."""
        if self.chance.random() < 2 / 3:
            return text
        place = self.chance.randrange(len(text))
        return text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1:]

    def token(self) -> str:
        user = self.chance.choice(["alice", "bob"])
        genuine = TOKENS[user]
        text = self.damaged(genuine)
        if text == genuine and self.takes_tokens:
            self.proven.add(user)
        return text

    def bearer(self):
        self.authorization.append(self.chance.choice(["Bearer ", "bearer ", "Bearer  "]) + self.token())

    def session_bearer(self):
        name = self.chance.choice(list(SESSIONS))
        if self.takes_sessions:
            self.proven.add(SESSIONS[name])
        self.authorization.append("Bearer " + self.chance.choice([name, signed(name), urllib.parse.quote(signed(name), safe="")]))

    def other_scheme(self):
        self.authorization.append(self.chance.choice(["Basic dTpw", "Bearer", "NTLM x", f"DPoP {TOKENS['alice']}"]))

    def token_cookie(self):
        self.cookies.append("token=" + self.token())

    def parameter(self):
        self.query.append("access_token=" + self.chance.choice(["", self.token()]))

    def harmless(self):
        self.cookies.append(self.chance.choice(["a=1", "better-auth.session_data=zzz", "better-auth.dont_remember=x"]))

    def session(self):
        """A session's cookie, and mostly a cache, which may be of another session, of another user, or too old."""
        name, owner = self.chance.choice(list(SESSIONS)), self.chance.choice(["alice", "bob"])
        if self.takes_sessions:
            self.proven |= {SESSIONS[name], owner}
        prefix = self.chance.choice(["better-auth", "better-auth", "__Secure-better-auth"])
        self.cookies.append(f"{prefix}.session_token={self.damaged(urllib.parse.quote(signed(name), safe=''))}")
        if self.chance.random() < 1 / 3:
            return
        make = self.chance.choice([compact, jwt, sealed])
        cache = self.damaged(make(payload(self.chance.choice([name, name, "TA"]), owner), self.chance.choice([300, 300, -5])))
        if self.chance.random() < 2 / 3:
            self.cookies.append(f"{prefix}.session_data={cache}")
            return
        pieces = [f"{prefix}.session_data.{start // 150}={cache[start:start + 150]}" for start in range(0, len(cache), 150)]
        self.cookies += pieces if self.chance.random() < 2 / 3 else pieces[:-1]

    def fields(self) -> list[tuple[str, str]]:
        self.chance.shuffle(self.cookies)
        fields = [("Cookie", "; ".join(self.cookies))] if self.chance.random() < 2 / 3 else [("Cookie", c) for c in self.cookies]
        fields = [field for field in fields if field[1]] + [("Authorization", text) for text in self.authorization]
        page = self.chance.choice([None, "https://app.test", "https://evil.test"])
        return fields + ([("Origin", page)] if page else []) + self.chance.sample(FORGED, self.chance.randrange(len(FORGED)))


# Made before the first test: on a slow machine this one may come hours later.
TOKENS = {user: token(subject=user, exp=int(time.time()) + 86400) for user in ("alice", "bob")}


@pytest.mark.parametrize("seed", range(3))
def test_whoever_arrives_has_proven_it(start, own_backend, seed):
    chance, port = random.Random(seed), free_port()
    with AuthServer() as server:
        server.sessions = {name: payload(name, user) for name, user in SESSIONS.items()}
        proxy = start(own_backend, CONFIGURATION, h2=port, url=server.url, env={"AUTH_SECRET": betterauth.SECRET})
        arrived = 0
        for _ in range(250):
            route = chance.choice(list(ROUTES))
            mixture = Mixture(chance, route)
            method, fields = chance.choice(["GET", "GET", "POST"]), mixture.fields()
            target = f"/{route}/x" + ("?" + "&".join(mixture.query) if mixture.query else "")
            outcomes = []
            for client in (one, two):
                own_backend.clear()
                status = client(proxy, port, method, target, fields)
                outcomes.append((status, whoever(own_backend, route, mixture) if status == 200 else nobody(own_backend)))
            assert outcomes[0] == outcomes[1], (method, target, fields)
            arrived += outcomes[0][1] is not None
        assert arrived > 20


@pytest.mark.parametrize("hidden", [
    "a=b {}=evil", "a=b, {}=evil", "a=b {} = evil", 'a="b" {}=evil', "a=b\t{}=evil", "\xa0{}=evil", "\x85{}=evil", "{}\xa0=evil"])
def test_no_parser_finds_a_cookie_that_nobody_has_looked_at(start, own_backend, hidden):
    """Python's own parser ends a value at a space, and Starlette's trims what is not ASCII: each finds cookies in what is
    one harmless cookie by RFC 6265."""
    proxy = start(own_backend, CONFIGURATION, h2=free_port(), url="http://127.0.0.1:1", env={"AUTH_SECRET": betterauth.SECRET})
    for path, name, credential in [
            ("/guest/x", "better-auth.session_token", ""), ("/guest/x", "__Secure-better-auth.session_data.0", ""),
            ("/main/x", "token", f"token={TOKENS['alice']}; ")]:
        own_backend.clear()
        assert proxy.get(path, {"Cookie": f"{credential}x=1; {hidden.format(name)}; y=2"}).status == 200
        [field] = own_backend.last.headers.all("cookie")
        strict = http.cookies.SimpleCookie(field)
        assert {key: morsel.value for key, morsel in strict.items()} == cookie_parser(field) == {"x": "1", "y": "2"}


SPELLED = ["{upper}=evil", "{encoded}=evil", "{mangled}=evil", "{bracket}=evil", "%20{name}=evil", "{name}%00x=evil"]


@pytest.mark.parametrize("spelled", SPELLED)
def test_no_other_spelling_of_a_cookie_reaches_the_backend(start, own_backend, spelled):
    """ASP.NET Core does not look at the case of names; Rack (CVE-2020-8184) and PHP (CVE-2020-7070) have undone
    percent-encoding in them; PHP takes `.` and `[` for `_`, and drops spaces in front."""
    proxy = start(own_backend, CONFIGURATION, h2=free_port(), url="http://127.0.0.1:1", env={"AUTH_SECRET": betterauth.SECRET})
    for path, name, credential in [
            ("/guest/x", "better-auth.session_token", ""), ("/guest/x", "__Secure-better-auth.session_data.0", ""),
            ("/main/x", "token", f"token={TOKENS['alice']}; ")]:
        own_backend.clear()
        text = spell(spelled, name)
        if text == f"{name}=evil":
            continue
        answer = proxy.get(path, {"Cookie": f"{credential}x=1; {text}; y=2; tokens=3; better-auth.other=4"})
        assert answer.status == 200
        assert own_backend.last.headers.all("cookie") == ["x=1; y=2; tokens=3; better-auth.other=4"]


@pytest.mark.parametrize("spelled", SPELLED)
def test_no_other_spelling_of_a_cookie_is_forwarded_with_the_credentials(start, own_backend, spelled):
    """`authorization = "forward"` hands on the cookie that was verified, and not what only the backend would take for it."""
    text = CONFIGURATION.replace(BACKEND, BACKEND + 'authorization = "forward"\n')
    proxy = start(own_backend, text, h2=free_port(), url="http://127.0.0.1:1", env={"AUTH_SECRET": betterauth.SECRET})
    for path, credential in [("/main/x", f"token={TOKENS['alice']}; "), ("/all/x", "")]:
        own_backend.clear()
        if (other := spell(spelled, "token")) == "token=evil":
            continue
        assert proxy.get(path, {"Cookie": f"{credential}x=1; {other}; y=2; tokens=3"}).status == 200
        assert own_backend.last.headers.all("cookie") == [f"{credential}x=1; y=2; tokens=3"]


@pytest.mark.parametrize("spelled", [*SPELLED, "x=1;{name}=evil", "x;{upper}=evil"])
def test_no_other_spelling_of_a_parameter_stands_beside_a_token(start, own_backend, spelled):
    """As with cookies, but that every backend undoes percent-encoding there, and Rack 2 ends a parameter at `;` too."""
    proxy = start(own_backend, CONFIGURATION, h2=free_port(), url="http://127.0.0.1:1", env={"AUTH_SECRET": betterauth.SECRET})
    hidden = spell(spelled, "access_token")
    for target, headers in [
            (f"/main/x?{hidden}", {"Authorization": f"Bearer {TOKENS['alice']}"}), (f"/all/x?y=2&{hidden}", {}),
            (f"/main/x?{hidden}&access_token={TOKENS['alice']}", {}), (f"/main/x?access_token={TOKENS['alice']}&{hidden}", {})]:
        assert proxy.get(target, headers).status in (400, 401), target
    assert not own_backend.requests
    assert proxy.get(f"/main/x?x=access_token=1;y&access_tokens=2&access_token={TOKENS['alice']}").status == 200
    assert own_backend.last.target == "/main/x?x=access_token=1;y&access_tokens=2"


def spell(spelled: str, name: str) -> str:
    place = name.index("t")
    return spelled.format(
        name=name, upper=name.upper(), encoded=f"{name[:place]}%{ord('t'):x}{name[place + 1:]}",
        mangled=name.replace(".", "\0").replace("_", ".").replace("\0", "_"), bracket=name.replace("_", "[", 1))


def one(proxy, _, method, target, fields) -> int:
    with proxy.client() as client:
        length = "Content-Length: 0\r\n" if method == "POST" else ""
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        client.send(f"{method} {target} HTTP/1.1\r\nHost: usher.test\r\n{lines}{length}\r\n".encode())
        return client.response().status


def two(_, port, method, target, fields) -> int:
    with http2.Connection(port) as connection:
        fields = [(name.lower(), value) for name, value in fields if name != "Connection"]
        return connection.request(http2.get(target, method) + fields).status


def nobody(backend):
    assert not backend.requests


def whoever(backend, route: str, mixture: Mixture) -> str | None:
    [request] = backend.requests
    assert "evil" not in {value for name, value in request.headers.lines}, request.head
    if mixture.takes_sessions:
        assert b"better-auth." not in request.head, "no session's cookie is for the backend"
    if not request.user:
        assert route in ("all", "guest", "public"), request.head
        return None
    [user] = request.user
    assert user in mixture.proven, (request.head, mixture.cookies, mixture.authorization, mixture.query)
    return user
