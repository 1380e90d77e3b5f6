"""Keys, key set and tokens that every proxy is measured with."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
ISSUER = "http://localhost:3000"
USERS = 2000
# Tokens live ten days, and the folder is made anew after five.
LIFETIME_SECONDS = 10 * 86400


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encode_number(number: int) -> str:
    return encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))


class Keys:
    """One key for each algorithm."""

    def __init__(self) -> None:
        self.secret = b"a-secret-for-the-bench-alone-0123456789abcdef"
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()

    def sign(self, algorithm: str, text: bytes) -> bytes:
        if algorithm == "HS256":
            return hmac.digest(self.secret, text, "sha256")
        if algorithm == "RS256":
            return self.rsa.sign(text, padding.PKCS1v15(), hashes.SHA256())
        if algorithm == "EdDSA":
            return self.ed.sign(text)
        r, s = utils.decode_dss_signature(self.ec.sign(text, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def key_set(self) -> dict:
        """The public keys as a JWK Set (RFC 7517)."""
        n = self.rsa.public_key().public_numbers()
        p = self.ec.public_key().public_numbers()
        x = self.ed.public_key().public_bytes_raw()
        common = {"use": "sig"}
        return {"keys": [
            {"kty": "RSA", "alg": "RS256", "kid": "rs256", "n": encode_number(n.n), "e": encode_number(n.e)} | common,
            {"kty": "EC", "alg": "ES256", "kid": "es256", "crv": "P-256", "x": encode(p.x.to_bytes(32, "big")),
             "y": encode(p.y.to_bytes(32, "big"))} | common,
            {"kty": "OKP", "alg": "EdDSA", "kid": "eddsa", "crv": "Ed25519", "x": encode(x)} | common,
        ]}

    def public_pem(self, algorithm: str) -> bytes:
        key = {"RS256": self.rsa, "ES256": self.ec, "EdDSA": self.ed}[algorithm].public_key()
        return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def token(self, algorithm: str, user: int, issued: int) -> str:
        header = {"alg": algorithm, "typ": "JWT", "kid": algorithm.lower()}
        claims = {
            "sub": f"usr_01J9Z5V0Q8K7N6M5P4R3{user:06d}", "email": f"ada{user}@example.com", "name": "Ada Lovelace",
            "iss": ISSUER, "aud": ISSUER, "iat": issued, "exp": issued + LIFETIME_SECONDS,
        }
        parts = [encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)]
        text = ".".join(parts)
        return text + "." + encode(self.sign(algorithm, text.encode()))


def prepare(folder: Path) -> Path:
    """Makes keys and tokens in the folder, unless those of an earlier run are still good."""
    stamp = folder / "stamp"
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    if stamp.exists():
        made, of = stamp.read_text().split()
        if of == recipe and time.time() - int(made) < LIFETIME_SECONDS / 2:
            return folder
    folder.mkdir(parents=True, exist_ok=True)
    keys, issued = Keys(), int(time.time())
    (folder / "secret").write_bytes(keys.secret)
    (folder / "public-jwks.json").write_text(json.dumps(keys.key_set()))
    both = keys.key_set()
    both["keys"].append({"kty": "oct", "k": encode(keys.secret), "kid": "hs256", "alg": "HS256", "use": "sig"})
    (folder / "jwks.json").write_text(json.dumps(both))
    for algorithm in ALGORITHMS:
        tokens = [keys.token(algorithm, user, issued) for user in range(USERS)]
        (folder / f"{algorithm}.tokens").write_text("\n".join(tokens) + "\n")
        if algorithm != "HS256":
            (folder / f"{algorithm}.pem").write_bytes(keys.public_pem(algorithm))
    stamp.write_text(f"{issued} {recipe}")
    return folder


def read(folder: Path, algorithm: str) -> list[str]:
    return (folder / f"{algorithm}.tokens").read_text().split()
