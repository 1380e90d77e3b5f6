"""Tokens that are good only for who holds a key: DPoP proofs (RFC 9449) and certificates of clients (RFC 8705)."""

from __future__ import annotations

import hashlib
import json
import re

from harness import tokens as keys

from . import peers, signatures
from .proof import is_number, strict_base64, strict_object
from .settings import Configuration, Issuer, Refused, Request
from .targets import Target

MEMBERS = {"EC": ["crv", "kty", "x", "y"], "OKP": ["crv", "kty", "x"], "RSA": ["e", "kty", "n"]}
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
DEFAULT_PORTS = {"http": 80, "https": 443}


def refused(*errors: str) -> Refused:
    """More than one error: which of them comes first is the program's affair."""
    found = Refused(401, "token_invalid")
    found.errors = errors
    return found


def not_proven() -> Refused:
    return refused("invalid_dpop_proof", "use_dpop_nonce")


def check(configuration: Configuration, request: Request, target: Target, issuer: Issuer, claims: dict, text: str,
          by_proof: bool, now: float) -> tuple[str, str] | None:
    """Raises where the request does not prove what the token is bound to; else the proof that it uses up."""
    bound = claims.get("cnf", {})
    if "cnf" in claims and (not isinstance(bound, dict) or not bound or not set(bound) <= {"jkt", "x5t#S256"}):
        raise refused("invalid_token", "invalid_dpop_proof")  # J20: what nobody verifies
    if "x5t#S256" in bound and (request.certificate is None or bound["x5t#S256"] != request.certificate.thumbprint):
        raise refused("invalid_token", "invalid_dpop_proof", "use_dpop_nonce")
    if "jkt" in bound and not (issuer.dpop and by_proof and is_thumbprint(bound["jkt"])):
        raise refused("invalid_token", "invalid_dpop_proof")
    if "jkt" not in bound:
        if by_proof or issuer.dpop == "required":
            raise refused("invalid_token", "invalid_dpop_proof")
        return None
    if not request.all("dpop"):
        raise not_proven()
    try:
        return checked(configuration, request, target, issuer, bound["jkt"], text, request.first("dpop"), now)
    except Refused:
        raise not_proven() from None


def is_thumbprint(value) -> bool:
    return isinstance(value, str) and bool(re.fullmatch("[A-Za-z0-9_-]{43}", value))


def checked(configuration, request, target, issuer, thumb: str, text: str, proof: str, now: float) -> tuple[str, str]:
    if proof.count(".") != 2:
        raise not_proven()
    first, second, last = proof.split(".")
    header, body = strict_object(strict_base64(first)), strict_object(strict_base64(second))
    jwk, algorithm = header.get("jwk"), header.get("alg")
    if header.get("typ") != "dpop+jwt" or "crit" in header or "b64" in header or not isinstance(jwk, dict) or PRIVATE & set(jwk):
        raise not_proven()
    if algorithm not in keys.PUBLIC_KEY_ALGORITHMS or thumbprint(jwk) != thumb:
        raise not_proven()
    if not signatures.holds(algorithm, jwk, f"{first}.{second}".encode(), strict_base64(last)):
        raise not_proven()
    if not is_for(body, request, target, text) or not is_of_now(body, issuer, now):
        raise not_proven()
    if not isinstance(body.get("nonce", ""), str) or issuer.dpop_nonce and body.get("nonce") not in configuration.nonces:
        raise not_proven()
    used = (thumb, body.get("jti"))
    if used in configuration.proofs:
        raise not_proven()
    return used


def is_for(body: dict, request: Request, target: Target, text: str) -> bool:
    """This method, this URL and this token, and a name of its own."""
    if not isinstance(body.get("jti"), str) or not body["jti"] or not isinstance(body.get("htu"), str):
        return False
    return body.get("htm") == request.method and body.get("ath") == digest(text) and canonical(body["htu"]) == canonical(seen_url(request, target))


def digest(token: str) -> str:
    return keys.b64(hashlib.sha256(token.encode()).digest())


def is_of_now(body: dict, issuer: Issuer, now: float) -> bool:
    at = body.get("iat")
    return is_number(at) and now - issuer.dpop_lifetime <= at <= now + min(issuer.leeway, 60)


def thumbprint(jwk: dict) -> str | None:
    """RFC 7638."""
    names = MEMBERS.get(jwk.get("kty"), [])
    if not names or not all(isinstance(jwk.get(name), str) for name in names):
        return None
    text = json.dumps({name: jwk[name] for name in names}, separators=(",", ":"), sort_keys=True)
    return keys.b64(hashlib.sha256(text.encode()).digest())


def seen_url(request: Request, target: Target) -> str:
    """The one that the client saw, without query: a trusted proxy tells scheme and host."""
    told = peers.origin(request, target)
    return f"{told.scheme}://{told.fields['x-forwarded-host'][-1]}{target.path}"


def canonical(url: str) -> tuple | None:
    """By syntax and by scheme (RFC 3986, 6.2.2 and 6.2.3), query and fragment left out."""
    match = re.fullmatch(r"(?i)(https?)://([^/?#@]+?)(?::([0-9]*))?(/[^?#]*)?(?:[?#].*)?", url)
    if not match:
        return None
    scheme = match[1].lower()
    port = int(match[3]) if match[3] else DEFAULT_PORTS[scheme]
    return scheme, match[2].lower(), port, plain_path(match[4] or "/")


def plain_path(path: str) -> str:
    def once(match):
        letter = chr(int(match[1], 16))
        return letter if re.fullmatch(r"[A-Za-z0-9._~-]", letter) else match[0].upper()
    return re.sub("%([0-9A-Fa-f]{2})", once, path)
