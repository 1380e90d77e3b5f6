"""All cases of the Better Auth vectors on a running proxy, whose clock is held at the moment of their making."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import betterauth, tokens
from harness.betterauth import AuthServer
from harness.process import BINARY, REPOSITORY

VECTORS = json.loads((REPOSITORY / "Tests/JOSETests/Vectors/better-auth.json").read_text())
META, CASES = VECTORS["meta"], VECTORS["cases"]
COMPILER = shutil.which("cc") or shutil.which("clang") or shutil.which("gcc")


def is_static() -> bool:
    return BINARY.exists() and b"ld-linux" not in BINARY.read_bytes()[:65536]


pytestmark = pytest.mark.skipif(
    COMPILER is None or is_static(),
    reason="the clock cannot be held: no C compiler, or a static binary (the same cases run in the unit tests)")

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
secret = {{ env = "AUTH_SECRET" }}
types = ["JWT"]
leeway = "0s"

[session.plain]
provider = "better-auth"
secret = {{ env = "AUTH_SECRET" }}
secure_cookies = false

[session.secure]
provider = "better-auth"
secret = {{ env = "AUTH_SECRET" }}

[session.rotated]
provider = "better-auth"
secrets = {{ env = "AUTH_SECRETS" }}
secure_cookies = false

[session.asked]
provider = "better-auth"
secret = {{ env = "AUTH_SECRET" }}
secure_cookies = false
url = "{url}"

[session.asked-secure]
provider = "better-auth"
secret = {{ env = "AUTH_SECRET" }}
url = "{url}"

[session.published]
provider = "better-auth"
secret = {{ env = "AUTH_SECRET" }}
secure_cookies = false
cookie_cache = "jwks"
url = "{url}"
issuer = "https://app.example.com"

[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"
""" + "".join(f"""
[[route]]
path = "/{name}"
auth = "{name}"
upstream = "backend"
""" for name in ["app", "shared", "plain", "secure", "rotated", "asked", "asked-secure", "published"])


class Frozen(AuthServer):
    """Knows the one session of the vectors."""

    def token(self, head):
        for field in self.field(head, "cookie") + self.field(head, "authorization"):
            if META["sessionToken"] in field:
                return META["sessionToken"]
        return None


@pytest.fixture(scope="module")
def server():
    with Frozen() as running:
        running.keys = VECTORS["jwks"]
        session = betterauth.payload(META["sessionToken"], META["userId"], session={"expiresAt": "2026-01-31T22:40:00.000Z"})
        running.sessions[META["sessionToken"]] = session
        yield running


@pytest.fixture(scope="module")
def frozen(server, tmp_path_factory):
    from conftest import Proxy
    from harness import configuration
    from harness.backend import Backend
    from harness.process import allocate, environment

    folder = tmp_path_factory.mktemp("frozen")
    (folder / "jwks.json").write_text(json.dumps(VECTORS["jwks"]))
    source = Path(betterauth.__file__).with_name("held_clock.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", folder / "held_clock.so", source, "-ldl"], check=True)
    port, admin = allocate()
    with Backend() as backend:
        text = (configuration.PREAMBLE + CONFIGURATION).format(
            workers=1, port=port, admin=admin, listen="", backend=backend.port, url=server.url)
        proxy = Proxy(folder, text, port, admin, environment(
            LD_PRELOAD=str(folder / "held_clock.so"), HELD_CLOCK=str(META["now"]),
            AUTH_SECRET=META["secret"], AUTH_SECRETS=f"2:{META['secret']},1:{META['oldSecret']}"))
        proxy.backend = backend
        yield proxy.wait_ready()
        proxy.stop()


def test_every_case_is_here():
    assert len(CASES) == 130


def route(case) -> str:
    match case["kind"]:
        case "bearer-jwks":
            return "/app"
        case "bearer-hs256":
            return "/shared"
        case "session-token-cookie" | "bearer-session-token":
            return "/asked-secure" if case.get("secure") else "/asked"
        case "session-data-jwks":
            return "/published"
    if case.get("secrets"):
        return "/rotated"
    return "/secure" if case.get("secure") else "/plain"


def is_sendable(text: str) -> bool:
    return all(0x21 <= ord(character) < 0x7F or character == " " for character in text)


@pytest.mark.parametrize("case", CASES, ids=[f"{case['kind']}/{case['id']}" for case in CASES])
def test_the_verdict(frozen, server, case):
    headers = {}
    if case.get("token") is not None:
        if not is_sendable(case["token"]):
            pytest.skip("no header field can hold it")
        headers |= tokens.bearer(case["token"])
    if case.get("authorization"):
        headers["Authorization"] = case["authorization"]
    if case.get("cookie"):
        headers["Cookie"] = case["cookie"]
    if case["kind"] == "session-data-jwks" and not case["valid"]:
        # The server would answer in the place of the cache.
        known, server.sessions = server.sessions, {}
    else:
        known = server.sessions
    try:
        frozen.backend.clear()
        answer = frozen.get(route(case), headers)
    finally:
        server.sessions = known
    if case["valid"]:
        frozen.assert_arrived(answer, META["userId"])
    else:
        assert answer.status in (400, 401), (answer.status, answer.body)
        frozen.assert_nothing_arrived()
