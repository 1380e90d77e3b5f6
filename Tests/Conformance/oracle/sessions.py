"""What Better Auth's cookies prove (docs/better-auth.md, Sessions)."""

from __future__ import annotations

import hashlib
import hmac
import json
import re

from jwcrypto import jwe
from jwcrypto.common import JWException

from harness import betterauth
from harness import tokens as keys

from . import asked_sessions, places, signatures
from .betterauth_text import moment, signed_value
from .places import Cookie, spelled_alike
from .proof import Proven, invalid, is_user, strict_base64, strict_object
from .settings import Configuration, Refused, Request, Session
from .targets import Target, bad

NOTHING = (None, 0)
CACHE_TYPE, CACHE_AUDIENCE = "better-auth.session-cache+jwt", "better-auth:session-cache"
KINDS = ["session_token", "session_data", "account_data", "dont_remember", "admin_session", "two_factor", "trust_device"]


def name_of(session: Session, kind: str) -> str:
    return f"{'__Secure-' if session.secure_cookies else ''}{session.prefix}.{kind}"


def is_own(session: Session, cookie: Cookie) -> bool:
    """Whether it is taken out of what goes upstream: with `__Secure-` and without, and in every spelling."""
    for prefix in (session.prefix, f"__Secure-{session.prefix}"):
        for kind in KINDS:
            if spelled_alike(re.sub(r"\.[0-9]+$", "", cookie.name), f"{prefix}.{kind}"):
                return True
    return False


def prove(configuration: Configuration, request: Request, target: Target, session: Session, now: float) -> Proven | None:
    """None where there is no session; what is there and proves nothing is refused, unless a server can tell more."""
    found = places.cookies(request)
    text = only_value(found, name_of(session, "session_token"))
    if text is None:
        return None
    token = signed_value(text)
    try:
        return asked_sessions.held(configuration, told_by_cache(session, token, cached(session, found), now))
    except CacheDoesNotTell as doubt:
        if not session.server:
            raise doubt.refused from None
    return asked_sessions.by_cookies(configuration, request, target, session, name_of(session, "")[:-1], token, now, found)


class CacheDoesNotTell(Exception):
    """There is none, or one that is too old, of another version, or none of Better Auth's."""

    def __init__(self, refused: Refused):
        super().__init__(refused)
        self.refused = refused


def told_by_cache(session: Session, token: str, data: str | None, now: float) -> Proven:
    """What is genuine, of now, and contradicts itself or the token beside it is refused: nobody has to be asked."""
    claims, ends_at = opened(session, data) if data and session.cache != "off" else NOTHING
    if claims is None:
        raise CacheDoesNotTell(invalid())
    own, user = claims["session"], claims["user"].get("id")
    if "aud" in claims and not is_user(claims["sub"]):
        raise invalid()
    if ends_at < now:
        raise CacheDoesNotTell(Refused(401, "token_expired"))
    if claims.get("version", "1") != session.version or moment(own.get("expiresAt")) is None:
        raise CacheDoesNotTell(invalid())
    if moment(own["expiresAt"]) < now:
        raise CacheDoesNotTell(Refused(401, "token_expired"))
    if not is_user(user) or (own.get("token"), own.get("userId")) != (token, user):
        raise invalid()
    if "aud" in claims and (claims["sid"], claims["sub"]) != (token, user):
        raise invalid()
    if "aud" in claims and claims.get("iss") not in session.issuers:
        raise CacheDoesNotTell(invalid())
    return Proven(user, claims | claims["user"], session.name)


def check_single(sessions: list[Session], cookies: list[Cookie]) -> None:
    """A cookie that is there twice, or two sessions at once, are 400: what decides has one value (H7)."""
    if sum(is_present(session, cookies) for session in sessions) > 1:
        raise bad()
    for session in sessions:
        check_names(session, cookies)


def check_names(session: Session, cookies: list[Cookie]) -> None:
    names = [name_of(session, kind) for kind in ("session_token", "session_data")]
    found = [cookie.name for cookie in cookies if re.sub(r"\.[0-9]+$", "", cookie.name) in names]
    if len(found) != len(set(found)):
        raise bad()


def only_value(cookies: list[Cookie], name: str) -> str | None:
    return next((cookie.value for cookie in cookies if cookie.name == name and cookie.value), None)


def cached(session: Session, cookies: list[Cookie]) -> str | None:
    """`session_data`, whole or in pieces from 0 on."""
    name = name_of(session, "session_data")
    whole = only_value(cookies, name)
    pieces, number = [], 0
    while (piece := only_value(cookies, f"{name}.{number}")) is not None:
        pieces.append(piece)
        number += 1
    numbers = {int(match[1]) for cookie in cookies if (match := re.fullmatch(re.escape(name) + r"\.(0|[1-9][0-9]?)", cookie.name))}
    if whole:
        return whole
    return "".join(pieces) if numbers == set(range(number)) and pieces else None


def is_present(session: Session, cookies: list[Cookie]) -> bool:
    return only_value(cookies, name_of(session, "session_token")) is not None


def opened(session: Session, data: str) -> tuple[dict | None, float]:
    """What the cache says, in whichever of its forms, and until when; nothing where it is not what Better Auth wrote."""
    try:
        claims, ends_at = read(session, data)
    except Refused:
        return NOTHING
    if not claims or not all(isinstance(claims.get(name), dict) for name in ("session", "user")):
        return NOTHING
    return claims, ends_at


def read(session: Session, data: str) -> tuple[dict | None, float]:
    """What it looks like says its form, which has to be the session's."""
    dots, takes = data.count("."), lambda form: session.cache in ("auto", form)
    if dots == 0 and takes("compact"):
        return compact(data)
    if dots == 4 and takes("jwe"):
        return sealed(data)
    if dots != 2:
        return NOTHING
    header = strict_object(strict_base64(data.split(".")[0]))
    if "crit" in header:
        return NOTHING
    if header.get("alg") == "HS256":
        return jwt(data) if takes("jwt") and header.get("typ") != CACHE_TYPE else NOTHING
    return published(session, data, header) if session.server and takes("jwks") else NOTHING


def compact(data: str) -> tuple[dict | None, float]:
    text = strict_base64(data)
    match = re.fullmatch(rb'\{"session":(\{.*\}),"expiresAt":(\d+),"signature":"([A-Za-z0-9_-]{43})"\}', text, re.S)
    if not match:
        return NOTHING
    covered = match[1][:-1] + b',"expiresAt":' + match[2] + b"}"
    code = hmac.new(betterauth.SECRET.encode(), covered, hashlib.sha256).digest()
    if betterauth.b64(code).encode() != match[3]:
        return NOTHING
    return strict_object(match[1]), int(match[2]) / 1000


def jwt(data: str) -> tuple[dict | None, float]:
    parts = data.split(".")
    claims = strict_object(strict_base64(parts[1]))
    code = hmac.new(betterauth.SECRET.encode(), f"{parts[0]}.{parts[1]}".encode(), hashlib.sha256).digest()
    return (claims, claims.get("exp", 0)) if strict_base64(parts[2]) == code else NOTHING


def published(session: Session, data: str, header: dict) -> tuple[dict | None, float]:
    """Signed with a key that the server publishes: by its `kid` and no other."""
    parts, algorithm = data.split("."), header.get("alg")
    claims = strict_object(strict_base64(parts[1]))
    if algorithm not in session.published or header.get("kid") != algorithm.lower() or header.get("typ") != CACHE_TYPE:
        return NOTHING
    key = keys.key_for(algorithm, "better-auth").public_key()
    if not signatures.verify(algorithm, key, f"{parts[0]}.{parts[1]}".encode(), strict_base64(parts[2])):
        return NOTHING
    if claims.get("aud") != CACHE_AUDIENCE or not {"sid", "sub"} <= claims.keys():
        return NOTHING
    return claims, claims.get("exp", 0)


def sealed(data: str) -> tuple[dict | None, float]:
    token = jwe.JWE()
    try:
        token.deserialize(data, betterauth.derived())
    except (JWException, ValueError):
        return NOTHING
    claims = json.loads(token.payload)
    return claims, claims.get("exp", 0)
