"""Opaque tokens: what the answer of the server that is asked about them proves (RFC 7662)."""

from __future__ import annotations

import re

from . import proof
from .proof import Proven, invalid, strict_base64, strict_object
from .settings import Configuration, Issuer, Refused

KINDS = ("token_use", "token_usage", "token_type", "typ")
FOR_THE_SERVER_ALONE = {"refresh", "offline", "id", "logout"}


def who_answers(text: str, places: set[str], looking: list[Issuer], issuers: list[Issuer]) -> Issuer | None:
    """The issuer that is asked about this token; None: one with keys tells, or nobody does."""
    readers = [issuer for issuer in looking if places & set(issuer.token_from)]
    servers = [issuer for issuer in readers if issuer.source == "introspection"]
    if not servers or text.count(".") != 2:
        return next(iter(servers), None)
    others = [issuer for issuer in issuers if issuer.source != "introspection"]
    if len(readers) > len(servers):
        return None  # a token with two dots is for those
    if others and is_anothers(text, servers[0], others):
        raise invalid()
    return servers[0]


def is_anothers(text: str, server: Issuer, others: list[Issuer]) -> bool:
    """J4: whether its `iss` is another one's; what cannot be read is anybody's that has a name."""
    names = {issuer.iss for issuer in others} - {"*", server.iss}
    try:
        claims = strict_object(strict_base64(text.split(".")[1]))
    except Refused:
        return any(issuer.iss != "*" for issuer in others)
    return claims.get("iss") in names


def prove(configuration: Configuration, text: str, issuer: Issuer, issuers: list[Issuer], now: float) -> Proven:
    if not text:
        raise invalid()  # nothing to ask about
    status, answer = configuration.answers.get(text, (200, b'{"active":false}'))
    try:
        claims = strict_object(answer)
    except Refused:
        status, claims = 0, {}
    if status != 200 or not isinstance(claims.get("active"), bool):
        raise Refused(503, "authentication_unavailable")
    if not claims["active"] or any(kind(claims.get(name)) in FOR_THE_SERVER_ALONE for name in KINDS):
        raise invalid()
    named = {other.iss for other in issuers if other is not issuer} - {"*"}
    if claims.get("iss") != issuer.iss if issuer.iss != "*" else claims.get("iss") in named:
        raise invalid()
    if "exp" not in claims:
        claims = claims | {"exp": now + 60}
    try:
        user = proof.check_claims(claims, issuer, now)
    except Refused:
        raise invalid() from None  # no signature holds that one could speak of its age
    return Proven(user, claims, issuer.name)


def kind(value) -> str | None:
    """`urn:…:refresh_token`, `Refresh` and `logout+jwt` by the word that they have in common."""
    if not isinstance(value, str):
        return None
    word = value.rpartition(":")[2].lower()
    return re.sub(r"([-_ ]?token|\+jwt)$", "", word)
