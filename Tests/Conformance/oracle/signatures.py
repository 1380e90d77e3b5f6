"""Whether a signature holds under a JWK that came with it."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from harness import tokens as keys

CURVES = {name: (curve, width, algorithm) for algorithm, (curve, width, name) in keys.CURVES.items()}


def holds(algorithm: str, jwk: dict, signed: bytes, signature: bytes) -> bool:
    if "alg" in jwk and jwk["alg"] != algorithm or jwk.get("use", "sig") != "sig":
        return False
    try:
        return {"EC": elliptic, "OKP": edwards, "RSA": by_rsa}[jwk["kty"]](algorithm, jwk, signed, signature)
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return False


def number(text: str) -> int:
    return int.from_bytes(keys.unb64(text), "big")


def elliptic(algorithm: str, jwk: dict, signed: bytes, signature: bytes) -> bool:
    curve, width, wanted = CURVES.get(jwk["crv"], (None, 0, None))
    if wanted != algorithm or len(signature) != 2 * width:
        return False
    public = ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), curve()).public_key()
    pair = [int.from_bytes(half, "big") for half in (signature[:width], signature[width:])]
    public.verify(encode_dss_signature(*pair), signed, ec.ECDSA(keys.HASHES[algorithm[2:]]()))
    return True


def edwards(algorithm: str, jwk: dict, signed: bytes, signature: bytes) -> bool:
    if algorithm != "EdDSA" or jwk["crv"] != "Ed25519":
        return False
    ed25519.Ed25519PublicKey.from_public_bytes(keys.unb64(jwk["x"])).verify(signature, signed)
    return True


def by_rsa(algorithm: str, jwk: dict, signed: bytes, signature: bytes) -> bool:
    public = rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
    if algorithm[:2] not in ("RS", "PS") or public.key_size < 2048:
        return False
    digest = keys.HASHES[algorithm[2:]]()
    scheme = padding.PKCS1v15() if algorithm[:2] == "RS" else padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
    public.verify(signature, signed, scheme, digest)
    return True
