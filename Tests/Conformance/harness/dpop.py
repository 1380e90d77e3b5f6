"""DPoP proofs (RFC 9449), made with joserfc as a client would make them."""

from __future__ import annotations

import hashlib
import time
import uuid

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from . import tokens

KEYS = {
    "ES256": lambda: ECKey.generate_key("P-256"), "ES384": lambda: ECKey.generate_key("P-384"),
    "ES512": lambda: ECKey.generate_key("P-521"), "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
    "RS256": lambda: RSAKey.generate_key(2048), "PS256": lambda: RSAKey.generate_key(2048),
}


class Client:
    """A client with a key of its own, which its tokens are bound to."""

    def __init__(self, algorithm: str = "ES256"):
        self.algorithm = algorithm
        self.key = KEYS[algorithm]()

    @property
    def thumbprint(self) -> str:
        return self.key.thumbprint()

    def token(self, **more) -> str:
        return tokens.token(cnf={"jkt": self.thumbprint}, **more)

    def proof(self, token: str, method="GET", url="http://usher.test/api/x", header=None, **claims) -> str:
        """A good proof; claims replace its own, `...` takes one away."""
        body = {"jti": str(uuid.uuid4()), "htm": method, "htu": url, "iat": int(time.time()),
                "ath": tokens.b64(hashlib.sha256(token.encode()).digest())} | claims
        head = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.key.as_dict(private=False)} | (header or {})
        import json
        registry = jws.JWSRegistry(algorithms=[self.algorithm], strict_check_header=False)
        payload = json.dumps({k: v for k, v in body.items() if v is not ...}).encode()
        return jws.serialize_compact({k: v for k, v in head.items() if v is not ...}, payload, self.key, registry=registry)

    def fields(self, token: str, **more) -> dict[str, str]:
        return {"Authorization": f"DPoP {token}", "DPoP": self.proof(token, **more)}
