"""Tokens that Better Auth 1.7.1 made, and what must not pass for one, through a running proxy at the time of the vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.kernel import Kernel
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

[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"
"""

CASES = [case for case in VECTORS["cases"] if case["kind"] in ("bearer-jwks", "bearer-hs256")]


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
    with Backend() as backend:
        port, admin = allocate()
        text = (configuration.PREAMBLE + CONFIGURATION).format(
            workers=1, port=port, admin=admin, listen="", backend=backend.port)
        running = Proxy(folder, text, port, admin, environment(
            BETTER_AUTH_SECRET=META["secret"], **kernel.environment))
        running.backend = backend
        yield running.wait_ready()
        _finish(running)


def test_all_cases_are_here():
    assert [sum(case["kind"] == kind for case in CASES) for kind in ("bearer-jwks", "bearer-hs256")] == [65, 15]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['kind']}-{case['id']}")
def test_vector(proxy, case):
    proxy.backend.clear()
    target = "/" + case["kind"].removeprefix("bearer-") + "/x"
    head = f"GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {case['token']}\r\n\r\n"
    with Client(proxy.port) as client:
        client.send(head.encode())
        answer = client.response()
    if case["valid"]:
        proxy.assert_arrived(answer, META["userId"])
    else:
        proxy.assert_refused(answer, answer.status)
        assert answer.status in (400, 401), answer.status
