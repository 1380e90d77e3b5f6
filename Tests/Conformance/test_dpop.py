"""DPoP: tokens that are good only with a proof of the key that they are bound to (RFC 9449)."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jws as jwcrypto_jws

from harness import tokens
from harness.dpop import KEYS, Client
from harness.ports import free_port
from harness.process import command
from harness.tokens import bearer
from harness.wire import Client as Wire

CONFIGURATION = """
[upstream.backend]
servers = ["127.0.0.1:{backend}"]
{upstream}

[issuer.main]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}
{dpop}

[[route]]
path = "/api/**"
auth = "main"
upstream = "backend"

[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"
"""

ALGORITHMS = 'algs="ES256 ES384 ES512 EdDSA PS256 PS384 PS512 RS256 RS384 RS512"'


@pytest.fixture
def run(start, own_backend):
    def run(dpop='dpop = "required"', workers=1, upstream="", text=CONFIGURATION):
        return start(own_backend, text, workers=workers, dpop=dpop, upstream=upstream)
    return run


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_proof_of_each_algorithm(run, algorithm):
    proxy, client = run(), Client(algorithm)
    token = client.token()
    for _ in range(2):
        request = proxy.assert_arrived(proxy.get("/api/x", client.fields(token)), "alice")
        assert not request.headers.all("authorization") and not request.headers.all("dpop"), "both are the client's own affair"
        proxy.backend.clear()


def test_a_proof_by_another_library(run):
    """jwcrypto makes key, thumbprint and proof."""
    proxy = run()
    key = jwcrypto_jwk.JWK.generate(kty="EC", crv="P-256")
    token = tokens.token(cnf={"jkt": key.thumbprint()})
    body = {"jti": "by jwcrypto", "htm": "GET", "htu": "http://usher.test/api/x", "iat": int(time.time()),
            "ath": tokens.b64(hashlib.sha256(token.encode()).digest())}
    proof = jwcrypto_jws.JWS(json.dumps(body).encode())
    proof.add_signature(key, None, json.dumps({
        "typ": "dpop+jwt", "alg": "ES256", "jwk": key.export_public(as_dict=True)}), None)
    proxy.assert_arrived(
        proxy.get("/api/x", {"Authorization": f"DPoP {token}", "DPoP": proof.serialize(compact=True)}), "alice")


def refused(proxy, headers, detail, error=None, target="/api/x", method="GET"):
    answer = proxy.request(method, target, headers)
    proxy.assert_refused(answer, 401, "token_invalid" if error else "token_missing")
    challenge = answer.headers.get("www-authenticate")
    assert (f'error="{error}"' in challenge) if error else ("error" not in challenge), challenge
    assert ALGORITHMS in challenge
    proxy.wait_log(detail=detail)
    return answer


def test_J20_a_bound_token_as_bearer(run):
    for dpop in ('dpop = "required"', 'dpop = "optional"', ""):
        proxy, client = run(dpop), Client()
        token = client.token()
        for headers in (bearer(token), bearer(token) | {"DPoP": client.proof(token)}):
            proxy.assert_refused(proxy.get("/api/x", headers), 401, "token_invalid")
        proxy.wait_log(detail="token_bound_to_key")


def test_a_plain_token_under_the_scheme_and_without(run):
    client, token = Client(), tokens.token()
    proxy = run('dpop = "optional"')
    proxy.assert_arrived(proxy.get("/api/x", bearer(token)), "alice")
    proxy.backend.clear()
    refused(proxy, client.fields(token), "token_not_bound_to_key", "invalid_token")
    proxy = run('dpop = "required"')
    refused(proxy, bearer(token), "proof_missing", "invalid_dpop_proof")
    answer = refused(proxy, {}, None)
    assert answer.headers.get("www-authenticate") == f'DPoP realm="usher", {ALGORITHMS}'


PROOFS = {
    "another method": (dict(method="POST"), "proof_of_other_request"),
    "another path": (dict(url="http://usher.test/api/y"), "proof_of_other_request"),
    "another host": (dict(url="http://other.test/api/x"), "proof_of_other_request"),
    "another scheme": (dict(url="https://usher.test/api/x"), "proof_of_other_request"),
    "another port": (dict(url="http://usher.test:8080/api/x"), "proof_of_other_request"),
    "another token": (dict(ath=tokens.b64(hashlib.sha256(b"another").digest())), "proof_of_other_token"),
    "no ath": (dict(ath=...), "proof_malformed"),
    "no jti": (dict(jti=...), "proof_malformed"),
    "jti number": (dict(jti=5), "proof_malformed"),
    "no iat": (dict(iat=...), "proof_malformed"),
    "iat text": (dict(iat="now"), "proof_malformed"),
    "old": (dict(iat=int(time.time()) - 86400), "proof_stale"),
    "future": (dict(iat=int(time.time()) + 86400), "proof_stale"),
    "typ JWT": (dict(header={"typ": "JWT"}), "proof_malformed"),
    "no typ": (dict(header={"typ": ...}), "proof_malformed"),
    "no jwk": (dict(header={"jwk": ...}), "proof_malformed"),
}


@pytest.mark.parametrize("name", PROOFS)
def test_proofs_that_do_not_hold(run, name):
    proxy, client = run(), Client()
    token = client.token()
    wrong, detail = PROOFS[name]
    refused(proxy, client.fields(token, **wrong), detail, "invalid_dpop_proof")
    proxy.assert_arrived(proxy.get("/api/x", client.fields(token)), "alice")


def test_proofs_of_others_two_proofs_and_private_keys(run):
    proxy, client, other = run(), Client(), Client()
    token = client.token()
    stolen = {"Authorization": f"DPoP {token}", "DPoP": other.proof(token)}
    refused(proxy, stolen, "proof_of_other_key", "invalid_dpop_proof")
    two = [("Authorization", f"DPoP {token}"), ("DPoP", client.proof(token)), ("DPoP", client.proof(token))]
    proxy.assert_refused(proxy.get("/api/x", two), 400, "bad_request")  # H7
    shown = client.proof(token, header={"jwk": client.key.as_dict(private=True)})
    refused(proxy, {"Authorization": f"DPoP {token}", "DPoP": shown}, "proof_malformed", "invalid_dpop_proof")
    good = client.proof(token)
    head, body, signature = good.split(".")
    broken = ("A" if signature[0] != "A" else "B") + signature[1:]
    refused(proxy, {"Authorization": f"DPoP {token}", "DPoP": f"{head}.{body}.{broken}"}, "proof_bad_signature",
            "invalid_dpop_proof")
    # Nothing of this used the good one up.
    proxy.assert_arrived(proxy.get("/api/x", {"Authorization": f"DPoP {token}", "DPoP": good}), "alice")


def test_a_proof_counts_once_over_two_workers(run):
    proxy, client = run(workers=2), Client()
    token = client.token()
    for _ in range(8):
        headers = client.fields(token)
        # Each on a connection of its own: the kernel spreads them over the workers.
        answers = [proxy.get("/api/x", headers).status for _ in range(4)]
        assert answers == [200, 401, 401, 401]
    proxy.wait_log(detail="proof_replayed")
    fixed = client.fields(token, jti="fixed")
    assert proxy.get("/api/x", fixed).status == 200
    again = client.fields(token, jti="fixed", iat=int(time.time()) + 2)
    assert proxy.get("/api/x", again).status == 401, "the same jti in another proof"
    stranger = Client()
    own = stranger.token()
    assert proxy.get("/api/x", stranger.fields(own, jti="fixed")).status == 200, "of another key it is another"
    proxy.signal(1)
    proxy.wait_said("configuration reloaded")
    assert proxy.get("/api/x", fixed).status == 401, "a reload forgets none"


def test_query_and_normalisation(run):
    proxy, client = run(), Client()
    token = client.token()
    for url in ("http://usher.test/api/x", "http://usher.test/api/x?page=2", "HTTP://USHER.TEST:80/api/x#top",
                "http://usher.test/%61pi/x"):
        assert proxy.get("/api/x?page=1", client.fields(token, url=url)).status == 200, url


def test_nonces(run):
    proxy, client = run('dpop = "required"\ndpop_nonce = true'), Client()
    token = client.token()
    answer = refused(proxy, client.fields(token), "proof_needs_nonce", "use_dpop_nonce")
    nonce = answer.headers.get("dpop-nonce")
    assert answer.headers.get("cache-control") == "no-store"
    for _ in range(2):
        proxy.assert_arrived(proxy.get("/api/x", client.fields(token, nonce=nonce)), "alice")
        proxy.backend.clear()
    for wrong in ("", "x", nonce[:-1], nonce[1:] + nonce[0], 5):
        answer = proxy.get("/api/x", client.fields(token, nonce=wrong))
        assert answer.status == 401
        if wrong != 5:
            assert answer.headers.get("dpop-nonce") and 'error="use_dpop_nonce"' in answer.headers.get("www-authenticate")


def test_a_nonce_of_one_worker_is_good_for_the_others(run):
    proxy, client = run('dpop = "required"\ndpop_nonce = true', workers=2), Client()
    token = client.token()
    nonce = proxy.get("/api/x", client.fields(token)).headers.get("dpop-nonce")
    assert [proxy.get("/api/x", client.fields(token, nonce=nonce)).status for _ in range(8)] == [200] * 8


def test_a_backend_that_verifies_itself_gets_both(run):
    proxy, client = run(upstream='authorization = "forward"'), Client()
    token = client.token()
    headers = client.fields(token)
    request = proxy.assert_arrived(proxy.get("/api/x", headers), "alice")
    assert request.headers.all("authorization") == [headers["Authorization"]] and request.headers.all("dpop") == [headers["DPoP"]]


def test_H8_the_target_as_the_client_saw_it(start, own_backend):
    """A trusted proxy in front says https and the public host; forward-auth asks about such a request."""
    verify = free_port()
    text = CONFIGURATION + f'\n[listen.verify]\naddress = "127.0.0.1:{verify}"\nmode = "forward-auth"\ntrusted_proxies = ["127.0.0.1/32"]\n'
    proxy = start(own_backend, text, dpop='dpop = "required"', listen='trusted_proxies = ["127.0.0.1/32"]')
    client = Client()
    token = client.token()
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.test"}
    seen = client.fields(token, url="https://app.test/api/x")
    assert proxy.get("/api/x", seen | forwarded).status == 200
    assert proxy.get("/api/x", client.fields(token) | forwarded).status == 401
    newer = {"Forwarded": 'for=203.0.113.9;proto=https;host="app.test", for=127.0.0.1;proto=http;host=inner'}
    assert proxy.get("/api/x", client.fields(token, url="https://app.test/api/x") | newer).status == 200
    assert proxy.get("/api/x", client.fields(token, url="http://inner/api/x") | newer).status == 401
    assert proxy.get("/api/x", client.fields(token) | {"Forwarded": "for=a;proto=gopher"}).status == 401
    question = forwarded | {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/x?q=1"}
    with Wire(verify) as wire:
        answer = wire.request("GET", "/", client.fields(token, url="https://app.test/api/x") | question)
        assert answer.status == 200 and answer.headers.get("x-user-id") == "alice"
        answer = wire.request("GET", "/", client.fields(token, url="http://app.test/api/x") | question)
        assert answer.status == 401


def test_H8_an_untrusted_peer_does_not_say_what_the_client_saw(run):
    proxy, client = run(), Client()
    token = client.token()
    for forwarded in ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.test"}, {"Forwarded": "proto=https;host=app.test"}):
        assert proxy.get("/api/x", client.fields(token, url="https://app.test/api/x") | forwarded).status == 401
        assert proxy.get("/api/x", client.fields(token) | forwarded).status == 200


def test_metrics_and_log_have_the_same_reasons(run):
    proxy, client = run(), Client()
    token = client.token()
    headers = client.fields(token)
    proxy.get("/api/x", headers)
    proxy.get("/api/x", headers)
    assert proxy.wait_log(detail="proof_replayed")["reason"] == "token_invalid"
    metrics = proxy.admin_request("/metrics").body.decode()
    assert 'usher_token_refusals_total{reason="proof_replayed"} 1\n' in metrics
    assert 'usher_request_ends_total{reason="token_invalid"} 1\n' in metrics


def test_a_websocket_handshake_with_a_proof(run):
    """Not of browsers, which can send no such field; the proof is for GET and the URI with ws."""
    proxy, client = run(), Client()
    token = client.token()
    headers = client.fields(token, url="ws://usher.test/api/x") | {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    assert proxy.get("/api/x", headers).status in (101, 200)


# ---- configuration


GOOD = """
[listen.public]
address = "127.0.0.1:8080"

[upstream.backend]
servers = ["127.0.0.1:8000"]

[issuer.main]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = { env = "USHER_TEST_SECRET" }
KEYS

[[route]]
path = "/api/**"
auth = "main"
upstream = "backend"
"""


@pytest.mark.parametrize("keys, message", [
    ('dpop = "required"', None),
    ('dpop = "optional"\ndpop_lifetime = "5m"\ndpop_nonce = true\ntoken_from = ["header", "cookie:t"]', None),
    ('dpop = "requird"', 'did you mean "required"'),
    ("dpop = true", '"dpop" must be a string'),
    ('dpop = "required"\ndpop_lifetime = "301s"', "dpop_lifetime"),
    ('dpop = "required"\ndpop_lifetime = 60', "dpop_lifetime"),
    ('dpop = "required"\ndpop_nonce = "yes"', "dpop_nonce"),
    ('dpop = "required"\ndpop_nonse = true', 'did you mean "dpop_nonce"'),
    ("dpop_nonce = true", 'there is no "dpop"'),
    ('dpop_lifetime = "60s"', 'there is no "dpop"'),
    ('dpop = "required"\ntoken_from = ["header", "cookie:t"]', "in the header alone"),
    ('dpop = "optional"\ntoken_from = ["cookie:t"]', 'needs "header"'),
])
def test_configuration(tmp_path, keys, message):
    (tmp_path / "usher.toml").write_text(GOOD.replace("KEYS", keys))
    done = command("check", "--config", tmp_path / "usher.toml")
    assert done.returncode == (1 if message else 0), done.stderr
    assert (message or "ok") in done.stdout + done.stderr
