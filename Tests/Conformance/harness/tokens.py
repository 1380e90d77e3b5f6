"""Keys and tokens. Tokens are put together by hand here, because most of them are wrong on purpose."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

SECRET = b"conformance-secret-conformance-secret-conformance-secret-0123456789"
HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
CURVES = {"ES256": (ec.SECP256R1, 32, "P-256"), "ES384": (ec.SECP384R1, 48, "P-384"), "ES512": (ec.SECP521R1, 66, "P-521")}
HMAC_ALGORITHMS = ["HS256", "HS384", "HS512"]
PUBLIC_KEY_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64int(number: int, size: int | None = None) -> str:
    return b64(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


@functools.cache
def key(name: str, owner: str = ""):
    """The private key called `name` of `owner`; made once in a process."""
    if name == "rsa":
        return rsa.generate_private_key(65537, 2048)
    if name == "rsa1024":
        return rsa.generate_private_key(65537, 1024)
    if name in CURVES:
        return ec.generate_private_key(CURVES[name][0]())
    if name == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    raise KeyError(name)


def key_for(algorithm: str, owner: str = ""):
    return key("rsa" if algorithm[:2] in ("RS", "PS") else algorithm, owner)


def public_pem(private) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_der(private) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def private_pem(private) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def jwk(private, **members) -> dict:
    public = private.public_key()
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = public.public_numbers()
        base = {"kty": "RSA", "n": b64int(numbers.n), "e": b64int(numbers.e)}
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        numbers = public.public_numbers()
        size = (private.curve.key_size + 7) // 8
        name = {32: "P-256", 48: "P-384", 66: "P-521"}[size]
        base = {"kty": "EC", "crv": name, "x": b64int(numbers.x, size), "y": b64int(numbers.y, size)}
    else:
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        base = {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
    return base | {k: v for k, v in members.items() if v is not None}


def signature(algorithm: str, secret_or_key, signing_input: bytes) -> bytes:
    family, size = algorithm[:2], algorithm[2:]
    if family == "HS":
        secret = secret_or_key if isinstance(secret_or_key, bytes) else secret_or_key.encode()
        return hmac.new(secret, signing_input, getattr(hashlib, f"sha{size}")).digest()
    if algorithm == "EdDSA":
        return secret_or_key.sign(signing_input)
    digest = HASHES[size]()
    if family == "RS":
        return secret_or_key.sign(signing_input, padding.PKCS1v15(), digest)
    if family == "PS":
        return secret_or_key.sign(
            signing_input, padding.PSS(padding.MGF1(HASHES[size]()), padding.PSS.DIGEST_LENGTH), digest)
    r, s = decode_dss_signature(secret_or_key.sign(signing_input, ec.ECDSA(digest)))
    width = (secret_or_key.curve.key_size + 7) // 8
    return r.to_bytes(width, "big") + s.to_bytes(width, "big")


def raw_token(header: bytes, payload: bytes, algorithm: str, secret_or_key) -> str:
    """Signs exactly these header and payload bytes, JSON or not."""
    signing_input = f"{b64(header)}.{b64(payload)}".encode()
    return f"{signing_input.decode()}.{b64(signature(algorithm, secret_or_key, signing_input))}"


def claims(subject="alice", issuer="https://main.test", audience="https://api.test", **more) -> dict:
    """Good claims; a value of `...` takes the claim away."""
    now = int(time.time())
    base = {"iss": issuer, "aud": audience, "sub": subject, "iat": now, "exp": now + 3600}
    return {k: v for k, v in (base | more).items() if v is not ...}


def token(algorithm="HS256", secret_or_key=SECRET, header=None, payload=None, **more) -> str:
    """A token over `claims(**more)`; `header` and `payload` override or, with `...`, remove members."""
    head = {"alg": algorithm, "typ": "JWT"} | (header or {})
    head = {k: v for k, v in head.items() if v is not ...}
    body = payload if payload is not None else claims(**more)
    return raw_token(json.dumps(head).encode(), json.dumps(body).encode(), algorithm, secret_or_key)


def keys_token(algorithm="ES256", kid: str | None = "auto", **more) -> str:
    """A token of the issuer `keys` (a JWKS file with every algorithm)."""
    header = {"kid": algorithm.lower() if kid == "auto" else kid} if kid else {}
    header |= more.pop("header", {})
    more.setdefault("issuer", "https://keys.test")
    return token(algorithm, key_for(algorithm, "keys"), header=header, **more)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}
