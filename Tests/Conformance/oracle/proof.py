"""What a signed token proves, to one of a route's issuers (docs/security.md, rules J)."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass

from harness import tokens as keys

from . import network_keys, signatures
from .settings import Issuer, Refused


@dataclass
class Proven:
    user: str
    claims: dict
    name: str  # of the issuer or the session
    proof: tuple[str, str] | None = None  # that it uses up, also where the answer is 403


def invalid() -> Refused:
    return Refused(401, "token_invalid")


def strict_base64(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        raise invalid()
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if keys.b64(data) != text:
        raise invalid()  # J8: one spelling
    return data


class Whole(int):
    """A number that knows how it was written."""

    def __new__(cls, text: str):
        found = super().__new__(cls, text)
        found.text = text
        return found


class Broken(float):
    def __new__(cls, text: str):
        found = super().__new__(cls, text)
        found.text = text
        return found


def strict_object(data: bytes) -> dict:
    def once(pairs):
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("a member twice")  # J13
        return dict(pairs)

    def never(text):
        raise ValueError(text)
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_constant=never, parse_int=Whole, parse_float=Broken)
    except (ValueError, RecursionError):
        raise invalid() from None
    if not isinstance(value, dict):
        raise invalid()
    return value


def prove(text: str, places: set[str], issuers: list[Issuer], now: float, fetches: list[str]) -> Proven:
    parts = text.split(".")
    if len(parts) != 3:
        raise invalid()
    header, claims = strict_object(strict_base64(parts[0])), strict_object(strict_base64(parts[1]))
    signature = strict_base64(parts[2])
    if "crit" in header or "b64" in header:
        raise invalid()  # J3
    if not isinstance(header.get("kid", ""), str):
        raise invalid()
    issuer = issuer_of(claims, header, issuers)
    if not places & set(issuer.token_from):
        raise invalid()  # nobody looks there for this issuer
    check_type(header, issuer)
    if not is_signed(header, f"{parts[0]}.{parts[1]}".encode(), signature, issuer, fetches):
        raise invalid()
    user = check_claims(claims, issuer, now)
    return Proven(user, claims, issuer.name)


def issuer_of(claims: dict, header: dict, issuers: list[Issuer]) -> Issuer:
    """By `iss`, and by `alg` where two share one; `"*"` only where nobody bears that name. Never by trying."""
    named = [issuer for issuer in issuers if issuer.iss == claims.get("iss")]
    for issuer in named or [issuer for issuer in issuers if issuer.iss == "*"]:
        if header.get("alg") in issuer.algorithms:
            return issuer
    raise invalid()


def check_type(header: dict, issuer: Issuer) -> None:
    if "typ" not in header:
        if issuer.required_type:
            raise invalid()
        return
    if not isinstance(header["typ"], str):
        raise invalid()
    if header["typ"].lower().removeprefix("application/") not in [known.lower() for known in issuer.types]:
        raise invalid()


def is_signed(header: dict, signed: bytes, signature: bytes, issuer: Issuer, fetches: list[str]) -> bool:
    algorithm = header["alg"]
    if issuer.network:
        try:
            return network_keys.is_signed(issuer.network, issuer, header, signed, signature, fetches)
        except network_keys.KeysUnavailable:
            raise Refused(503, "keys_unavailable") from None
    if issuer.source == "secret":
        return keys.signature(algorithm, secret(issuer.owner), signed) == signature
    if issuer.source == "jwks" and header.get("kid", algorithm.lower()) != algorithm.lower():
        return False  # how `written` names them
    return signatures.verify(algorithm, keys.key_for(algorithm, issuer.owner).public_key(), signed, signature)


def secret(owner: str) -> bytes:
    return f"secret-of-{owner}-".encode() * 6


def is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_claims(claims: dict, issuer: Issuer, now: float) -> str:
    """The user. `exp` comes last: only a token that is good but for its age is called expired."""
    for name in ("exp", "nbf", "iat"):
        if name in claims and not is_number(claims[name]):
            raise invalid()
    audience = claims.get("aud")
    audience = audience if isinstance(audience, list) else [audience]
    if issuer.audience != ["*"] and not any(one in issuer.audience for one in audience if isinstance(one, str)):
        raise invalid()
    if "exp" not in claims or any(name in claims for name in issuer.refuse_claims):
        raise invalid()
    if max(claims.get("nbf", now), claims.get("iat", now)) > now + issuer.leeway:
        raise invalid()
    if issuer.maximum_lifetime is not None:
        if "iat" not in claims or claims["exp"] - claims["iat"] > issuer.maximum_lifetime:
            raise invalid()
    user = next((claims[name] for name in issuer.subject if name in claims), None)
    if not is_user(user):
        raise invalid()
    if claims["exp"] + issuer.leeway < now:
        raise Refused(401, "token_expired")
    return user


def is_user(value) -> bool:
    """1 to 256 visible ASCII characters, no comma and no semicolon."""
    return isinstance(value, str) and bool(re.fullmatch(r"[\x21-\x2b\x2d-\x3a\x3c-\x7e]{1,256}", value))
