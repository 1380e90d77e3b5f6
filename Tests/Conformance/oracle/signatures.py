"""Whether a signature holds, under a key that is known or under a JWK that came with it."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from harness import tokens as keys

CURVES = {name: (curve, width, algorithm) for algorithm, (curve, width, name) in keys.CURVES.items()}


def verify(algorithm: str, public, signed: bytes, signature: bytes) -> bool:
    """Under a key that fits the algorithm."""
    try:
        if algorithm == "EdDSA":
            public.verify(signature, signed)
        elif algorithm.startswith("ES"):
            width = (public.curve.key_size + 7) // 8
            if len(signature) != 2 * width:
                return False  # J11
            pair = [int.from_bytes(half, "big") for half in (signature[:width], signature[width:])]
            public.verify(encode_dss_signature(*pair), signed, ec.ECDSA(keys.HASHES[algorithm[2:]]()))
        else:
            digest = keys.HASHES[algorithm[2:]]()
            scheme = padding.PKCS1v15() if algorithm.startswith("RS") else padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
            public.verify(signature, signed, scheme, digest)
    except InvalidSignature:
        return False
    return True


def holds(algorithm: str, jwk: dict, signed: bytes, signature: bytes) -> bool:
    if "alg" in jwk and jwk["alg"] != algorithm or jwk.get("use", "sig") != "sig":
        return False
    try:
        public = {"EC": elliptic, "OKP": edwards, "RSA": by_rsa}[jwk["kty"]](algorithm, jwk)
    except (ValueError, KeyError, TypeError):
        return False
    return public is not None and verify(algorithm, public, signed, signature)


def number(text: str) -> int:
    return int.from_bytes(keys.unb64(text), "big")


def elliptic(algorithm: str, jwk: dict):
    """The key of such a JWK, if it fits the algorithm."""
    curve, _, wanted = CURVES.get(jwk["crv"], (None, 0, None))
    if wanted != algorithm:
        return None
    return ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), curve()).public_key()


def edwards(algorithm: str, jwk: dict):
    if algorithm != "EdDSA" or jwk["crv"] != "Ed25519":
        return None
    return ed25519.Ed25519PublicKey.from_public_bytes(keys.unb64(jwk["x"]))


def by_rsa(algorithm: str, jwk: dict):
    public = rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
    return public if algorithm[:2] in ("RS", "PS") and public.key_size >= 2048 else None
