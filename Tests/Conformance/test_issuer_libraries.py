"""Real issuers: PyJWT, joserfc, jwcrypto and Authlib sign, and publish the keys that usher fetches."""

from __future__ import annotations

import json
import time

import jwt
import pytest
from authlib.jose import JsonWebKey as AuthlibKey
from authlib.jose import JsonWebToken as AuthlibToken
from joserfc import jwt as joserfc_jwt
from joserfc import jwk as joserfc_jwk
from joserfc import jws as joserfc_jws
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jwt as jwcrypto_jwt

from harness import tokens
from harness.keyserver import KeyServer, response
from harness.tokens import HMAC_ALGORITHMS, PUBLIC_KEY_ALGORITHMS, SECRET, bearer

CONFIGURATION = """
[upstream.backend]
servers = ["127.0.0.1:{backend}"]

[issuer.public]
issuer = "https://keys.test"
audience = ["https://api.test"]
jwks = {{ url = "{url}" }}
algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]

[issuer.secret]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}
algorithms = ["HS256", "HS384", "HS512"]

[[route]]
path = "/api/**"
auth = ["public", "secret"]
upstream = "backend"
"""


def payload(algorithm: str) -> dict:
    now = int(time.time())
    return {"iss": "https://main.test" if algorithm.startswith("HS") else "https://keys.test",
            "aud": "https://api.test", "sub": "alice", "iat": now, "exp": now + 600}


def private_pem(algorithm: str) -> bytes:
    return tokens.private_pem(tokens.key_for(algorithm, "library"))


def by_pyjwt(algorithm, header):
    key = SECRET if algorithm.startswith("HS") else tokens.key_for(algorithm, "library")
    return jwt.encode(payload(algorithm), key, algorithm, headers=header)


def by_joserfc(algorithm, header):
    key = joserfc_jwk.OctKey.import_key(SECRET) if algorithm.startswith("HS") else {
        "R": joserfc_jwk.RSAKey, "P": joserfc_jwk.RSAKey, "E": joserfc_jwk.ECKey}[algorithm[0]].import_key(
            private_pem(algorithm)) if algorithm != "EdDSA" else joserfc_jwk.OKPKey.import_key(private_pem(algorithm))
    registry = joserfc_jws.JWSRegistry(algorithms=[algorithm])
    return joserfc_jwt.encode({"alg": algorithm} | header, payload(algorithm), key, registry=registry)


def by_jwcrypto(algorithm, header):
    key = jwcrypto_jwk.JWK(kty="oct", k=tokens.b64(SECRET)) if algorithm.startswith("HS") \
        else jwcrypto_jwk.JWK.from_pem(private_pem(algorithm))
    token = jwcrypto_jwt.JWT(header={"alg": algorithm} | header, claims=payload(algorithm))
    token.make_signed_token(key)
    return token.serialize()


def by_authlib(algorithm, header):
    key = AuthlibKey.import_key(SECRET, {"kty": "oct"}) if algorithm.startswith("HS") \
        else AuthlibKey.import_key(private_pem(algorithm))
    return AuthlibToken([algorithm]).encode({"alg": algorithm} | header, payload(algorithm), key).decode()


LIBRARIES = {"PyJWT": by_pyjwt, "joserfc": by_joserfc, "jwcrypto": by_jwcrypto, "Authlib": by_authlib}


def published(library: str) -> bytes:
    """The key set as the library itself writes it."""
    keys = []
    for algorithm in PUBLIC_KEY_ALGORITHMS:
        pem = tokens.public_pem(tokens.key_for(algorithm, "library"))
        if library == "joserfc":
            kind = {"R": joserfc_jwk.RSAKey, "P": joserfc_jwk.RSAKey}.get(
                algorithm[0], joserfc_jwk.OKPKey if algorithm == "EdDSA" else joserfc_jwk.ECKey)
            key = kind.import_key(pem).as_dict(private=False)
        elif library == "jwcrypto":
            key = jwcrypto_jwk.JWK.from_pem(pem).export_public(as_dict=True)
        elif library == "Authlib":
            key = AuthlibKey.import_key(pem).as_dict()
            # It leaves out leading zeros, which RFC 7518 §6.2.1.2 demands: such a key is skipped, with a line in the log.
            size = tokens.CURVES[algorithm][1] if algorithm in tokens.CURVES else 0
            key |= {name: tokens.b64(tokens.unb64(key[name]).rjust(size, b"\0")) for name in ("x", "y") if size}
        else:
            signer = jwt.get_algorithm_by_name(algorithm)
            key = signer.to_jwk(signer.prepare_key(pem), as_dict=True)
        keys.append({k: v for k, v in key.items() if k != "kid"} | {"kid": algorithm.lower(), "alg": algorithm})
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_algorithm(start, own_backend, library):
    with KeyServer(response(published(library))) as server:
        proxy = start(own_backend, CONFIGURATION, url=server.url)
        for algorithm in HMAC_ALGORITHMS + PUBLIC_KEY_ALGORITHMS:
            header = {"typ": "at+jwt"} | ({} if algorithm.startswith("HS") else {"kid": algorithm.lower()})
            text = LIBRARIES[library](algorithm, header)
            answer = proxy.get("/api/x", bearer(text))
            assert answer.status == 200, algorithm
            proxy.assert_arrived(answer, "alice")
            proxy.backend.clear()
            head, body, signature = text.split(".")
            raw = bytearray(tokens.unb64(signature))
            raw[len(raw) // 2] ^= 1
            assert proxy.get("/api/x", bearer(f"{head}.{body}.{tokens.b64(bytes(raw))}")).status == 401, algorithm
            assert not proxy.backend.requests
