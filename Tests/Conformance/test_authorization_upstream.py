"""What the backend gets as Authorization: nothing, the same, a bearer of ours, or a minted token."""

import time

import jwt
import pytest

from harness import configuration
from harness.tokens import SECRET, bearer, token


@pytest.mark.parametrize("target", ["/tasks", "/optional/x"])
def test_remove(proxy, target):
    request = proxy.assert_arrived(proxy.get(target, bearer(token())), "alice")
    assert "authorization" not in request.headers


def test_remove_on_an_open_route(proxy):
    """No client credential passes to the backend unless the configuration says so."""
    request = proxy.assert_arrived(proxy.get("/public/x", {"Authorization": "Bearer whatever"}), None)
    assert "authorization" not in request.headers


@pytest.mark.parametrize("alias", ["Authorization_", "Authorisation", "X-Authorization"])
def test_remove_takes_nothing_else(proxy, alias):
    assert alias.lower() in proxy.assert_arrived(proxy.get("/public/x", {alias: "v"}), None).headers.names()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_forward_is_byte_identical(proxy, scheme):
    text = token()
    request = proxy.assert_arrived(proxy.get("/forward", {"Authorization": f"{scheme} {text}"}), "alice")
    assert request.headers.all("authorization") == [f"{scheme} {text}"]
    assert f"{scheme} {text}\r\n".encode() in request.head


def test_forward_anonymous(proxy):
    assert "authorization" not in proxy.assert_arrived(proxy.get("/forward"), None).headers


NTLM = "NTLM TlRMTVNTUAADAAAA"


@pytest.mark.parametrize("credentials, is_reused", [
    (NTLM, False), (NTLM.lower(), False), ("Negotiate YII=", False), ("nego2 YII=", False), ("Kerberos YII=", False),
    ("Basic dTpw", True), ("Bearer x", True)], ids=lambda v: str(v).split()[0])
def test_U6_a_connection_that_a_client_has_authenticated_is_nobody_elses(start, own_backend, credentials, is_reused):
    """NTLM and Negotiate authenticate the connection (RFC 4559 section 6): the next request on it would be that user's."""
    proxy = start(own_backend, configuration.SMALL, listen="""
[upstream.windows]
servers = ["127.0.0.1:{backend}"]
authorization = "forward"

[[route]]
path = "/windows/**"
auth = "none"
upstream = "windows"
""".format(backend=own_backend.port))
    assert proxy.get("/windows/a").status == 200
    assert proxy.get("/windows/a", {"Authorization": credentials}).status == 200
    assert own_backend.last.headers.all("authorization") == [credentials]
    bound = own_backend.last.connection
    for _ in range(3):
        assert proxy.get("/windows/b").status == 200
        assert (own_backend.last.connection == bound) == is_reused


@pytest.mark.parametrize("target, user", [("/service", "alice"), ("/service-public", None)])
def test_static_bearer_replaces(proxy, target, user):
    request = proxy.assert_arrived(proxy.get(target, bearer(token())), user)
    assert request.headers.all("authorization") == [f"Bearer {configuration.SERVICE_TOKEN}"]


def test_mint(proxy):
    request = proxy.assert_arrived(proxy.get("/mint", bearer(token(subject="alice", email="a@example.com"))), "alice")
    values = request.headers.all("authorization")
    assert len(values) == 1 and values[0].startswith("Bearer ")
    minted = values[0].removeprefix("Bearer ")
    header, claims = jwt.get_unverified_header(minted), jwt.decode(minted, SECRET, ["HS256"], options={"verify_aud": False})
    assert header["alg"] == "HS256"
    assert claims["sub"] == "alice" and claims["type"] == "access"
    assert claims["exp"] - claims["iat"] == 60 and abs(claims["iat"] - time.time()) < 5


def test_mint_for_each_user(proxy):
    for user in ("alice", "bob", "alice"):
        request = proxy.assert_arrived(proxy.get("/mint", bearer(token(subject=user))), user)
        text = request.headers.get("authorization").removeprefix("Bearer ")
        assert jwt.decode(text, SECRET, ["HS256"], options={"verify_aud": False})["sub"] == user
        proxy.backend.clear()


def test_mint_subject_that_needs_escapes(proxy):
    user = 'a"b\\c</script>'
    request = proxy.assert_arrived(proxy.get("/mint", bearer(token(subject=user))), user)
    text = request.headers.get("authorization").removeprefix("Bearer ")
    assert jwt.decode(text, SECRET, ["HS256"], options={"verify_aud": False})["sub"] == user


def test_mint_nothing_for_nobody(proxy):
    assert "authorization" not in proxy.assert_arrived(proxy.get("/mint-optional"), None).headers
