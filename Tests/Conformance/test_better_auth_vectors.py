"""Tokens and sessions that Better Auth 1.7.1 made, and what must not pass for one, through a running proxy at the time of the
vectors: all 130, with `[issuer]` and `[session]` as short as they can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import betterauth
from harness.kernel import Kernel
from harness.waiting import wait_until
from harness.wire import Client

VECTORS = json.loads((Path(__file__).parents[1] / "JOSETests/Vectors/better-auth.json").read_text())
META = VECTORS["meta"]

CONFIGURATION = """
[upstream.backend]
servers = ["127.0.0.1:{backend}"]

[issuer.app]
provider = "better-auth"
url = "https://app.example.com/api/auth"
jwks = {{ file = "jwks.json" }}
leeway = "0s"

[issuer.shared]
issuer = "*"
audience = "*"
secret = {{ env = "BETTER_AUTH_SECRET" }}
types = ["JWT"]
leeway = "0s"

[[route]]
path = "/jwks/**"
auth = "app"
upstream = "backend"

[[route]]
path = "/hs256/**"
auth = "shared"
upstream = "backend"

{sessions}
[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"
"""

# What each kind of case is about: the server knows of no session where the cookies are to answer, and of the one that they name
# where it is for it to say. `secrets` has more than one secret, which the one case of a rotation needs.
SESSION = """
[session.{name}]
provider = "better-auth"
{secret}
{secure}
url = "{url}"
trusted_origins = ["{origin}"]

[[route]]
path = "/{name}/**"
auth = "{name}"
upstream = "backend"
"""
PLAIN = "secure_cookies = false"
SECRET = 'secret = {{ env = "BETTER_AUTH_SECRET" }}'

CASES = VECTORS["cases"]
COUNTS = {
    "bearer-jwks": 65, "bearer-hs256": 15, "session-token-cookie": 16, "bearer-session-token": 3, "session-data-compact": 13,
    "session-data-jwe": 10, "session-data-jwt": 4, "session-data-jwks": 4}


class Server(betterauth.AuthServer):
    """Better Auth under the secret of the vectors."""

    def token(self, head):
        for bearer in self.field(head, "authorization"):
            return betterauth.urllib.parse.unquote(bearer.split(" ", 1)[1]).split(".")[0]
        for field in self.field(head, "cookie"):
            value = betterauth.urllib.parse.unquote(field.partition("=")[2]).strip('"')
            token = value.rpartition(".")[0]
            if betterauth.signed(token, META["secret"]) == value:
                return token
        return None


def sessions(cookies_alone, server) -> str:
    def table(name, of, secure="", secret=SECRET):
        return SESSION.format(name=name, secret=secret, secure=secure, url=of.url, origin=META["issuer"])
    return "".join([
        table("cache", cookies_alone, PLAIN), table("plain", server, PLAIN), table("secure", server),
        table("rotated", cookies_alone, PLAIN, 'secrets = {{ env = "BETTER_AUTH_SECRETS" }}')])


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """One proxy for all cases, whose clock stands still at the second of the vectors."""
    from conftest import Proxy, _finish
    from harness import configuration
    from harness.backend import Backend
    from harness.process import allocate, environment

    folder = tmp_path_factory.mktemp("vectors")
    kernel = Kernel(folder)
    kernel.set(held=META["now"])
    (folder / "jwks.json").write_text(json.dumps(VECTORS["jwks"]))
    known = {META["sessionToken"]: betterauth.payload(META["sessionToken"], META["userId"])}
    with Backend() as backend, Server() as cookies_alone, Server() as server:
        cookies_alone.keys, server.sessions = VECTORS["jwks"], known
        port, admin = allocate()
        text = (configuration.PREAMBLE + CONFIGURATION.replace("{sessions}", sessions(cookies_alone, server))).format(
            workers=1, port=port, admin=admin, listen="", backend=backend.port)
        running = Proxy(folder, text, port, admin, environment(
            BETTER_AUTH_SECRET=META["secret"], BETTER_AUTH_SECRETS=f"2:{META['secret']},1:{META['oldSecret']}", **kernel.environment))
        running.backend = backend
        running.wait_ready()
        for name in ["cache", "rotated"]:
            loaded = f'usher_keys{{issuer="session.{name}"}} {len(VECTORS["jwks"]["keys"])}'
            wait_until(lambda: loaded in running.admin_request("/metrics").body.decode())
        yield running
        _finish(running)


def test_all_cases_are_here():
    assert {kind: sum(case["kind"] == kind for case in CASES) for kind in COUNTS} == COUNTS and len(CASES) == 130


def place(case) -> str:
    """The route for a case."""
    kind = case["kind"]
    if kind in ("bearer-jwks", "bearer-hs256"):
        return kind.removeprefix("bearer-")
    assert case.get("expectedVersion", "1") == "1"
    if kind.startswith("session-data-"):
        assert not case.get("secure")
        return "rotated" if case.get("secrets") else "cache"
    return "secure" if case.get("secure") else "plain"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']}-{case['id']}")
def test_vector(proxy, case):
    proxy.backend.clear()
    if "cookie" in case:
        field = f"Cookie: {case['cookie']}"
    else:
        field = "Authorization: " + (case.get("authorization") or f"Bearer {case['token']}")
    with Client(proxy.port) as client:
        client.send(f"GET /{place(case)}/x HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n".encode())
        answer = client.response()
    if case["valid"]:
        request = proxy.assert_arrived(answer, META["userId"])
        assert not any(META["sessionToken"] in value for value in request.headers.all("cookie")) or case.get("secure")
    else:
        proxy.assert_refused(answer, answer.status)
        assert answer.status in (400, 401), answer.status
