"""What Better Auth's cookies prove, where no server is asked (docs/better-auth.md, Sessions)."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import re
import urllib.parse

from jwcrypto import jwe
from jwcrypto.common import JWException

from harness import betterauth

from .places import Cookie, spelled_alike
from .proof import Proven, invalid, is_user, strict_base64, strict_object
from .settings import Refused, Session
from .targets import bad

NOTHING = (None, 0)
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


def prove(session: Session, cookies: list[Cookie], now: float) -> Proven | None:
    """None where there is no session; what is there and proves nothing is refused."""
    text = only_value(cookies, name_of(session, "session_token"))
    data = cached(session, cookies)
    if text is None:
        return None
    token = signed_value(text)
    claims, ends_at = opened(data) if data else (None, 0)
    if claims is None:
        raise invalid()
    if ends_at < now:
        raise Refused(401, "token_expired")
    if claims["session"].get("token") != token or claims.get("version", "1") != "1":
        raise invalid()
    if claims["session"].get("userId") != claims["user"].get("id") or not is_user(claims["user"]["id"]):
        raise invalid()
    if ends(claims) < now:
        raise Refused(401, "token_expired")
    return Proven(claims["user"]["id"], claims | claims["user"], session.name)


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


def signed_value(text: str) -> str:
    if "%" in text:
        text = urllib.parse.unquote(text)
    value, dot, code = text.rpartition(".")
    if not dot or len(code) != 44 or base64.b64encode(betterauth.mac(value)).decode() != code:
        raise invalid()
    return value


def is_present(session: Session, cookies: list[Cookie]) -> bool:
    return only_value(cookies, name_of(session, "session_token")) is not None


def opened(data: str) -> tuple[dict | None, float]:
    """What the cache says, in whichever of its forms, and until when; nothing where it is not what Better Auth wrote."""
    try:
        form = {0: compact, 2: jwt, 4: sealed}.get(data.count("."))
        claims, ends_at = form(data) if form else (None, 0)
    except Refused:
        return NOTHING
    if not claims or not all(isinstance(claims.get(name), dict) for name in ("session", "user")):
        return NOTHING
    return claims, ends_at


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
    header, claims = strict_object(strict_base64(parts[0])), strict_object(strict_base64(parts[1]))
    code = hmac.new(betterauth.SECRET.encode(), f"{parts[0]}.{parts[1]}".encode(), hashlib.sha256).digest()
    if header.get("alg") != "HS256" or strict_base64(parts[2]) != code:
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


def ends(claims: dict) -> float:
    return datetime.datetime.fromisoformat(claims["session"]["expiresAt"]).timestamp()
