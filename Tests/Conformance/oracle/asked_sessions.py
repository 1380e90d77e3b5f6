"""Sessions that the cookies do not tell of, and session tokens as bearers: what the server is asked, and what its answer proves
(docs/better-auth.md, Sessions)."""

from __future__ import annotations

import urllib.parse

from . import betterauth_text, claims, peers
from .places import Cookie
from .proof import Proven, invalid, is_user, strict_object
from .settings import Configuration, Question, Refused, Request, Session, SessionAnswer
from .targets import Target

NOBODY = SessionAnswer(200, b"null")


def unavailable() -> Refused:
    return Refused(503, "authentication_unavailable")


def by_cookies(configuration: Configuration, request: Request, target: Target, session: Session, name: str, token: str, now: float,
               found: list[Cookie]) -> Proven:
    """Nothing of the client's goes there but the session's own cookie, and the word not to remember it where that is signed."""
    kept = [cookie for cookie in found if cookie.name == f"{name}.session_token"][:1]
    kept += [cookie for cookie in found if cookie.name == f"{name}.dont_remember" and betterauth_text.is_signed(cookie.value)][:1]
    fields = {"cookie": ["; ".join(f"{cookie.name}={cookie.value}" for cookie in kept)]}
    return ask(configuration, request, target, session, ("cookie", kept[0].value), token, fields, now)


def by_bearer(configuration: Configuration, request: Request, target: Target, session: Session, text: str, now: float) -> Proven:
    """Signed or not; a signature that is there must hold before anybody is asked."""
    token, dot, code = (urllib.parse.unquote(text) if "%" in text else text).partition(".")
    if not token or dot and not betterauth_text.is_code(token, code):
        raise invalid()
    return ask(configuration, request, target, session, ("bearer", text), token, {"authorization": [f"Bearer {text}"]}, now)


def ask(configuration: Configuration, request: Request, target: Target, session: Session, shown: tuple[str, str], token: str,
        fields: dict[str, list[str]], now: float) -> Proven:
    """About what was shown, byte by byte. A yes is believed for as long as a test lasts; a no, or that no answer came, for a moment."""
    about = (session.name, *shown)

    def judge(said: SessionAnswer) -> Proven:
        return held(configuration, judged(session, token, said, now))
    said, known = configuration.outage or configuration.told.get(token, NOBODY), configuration.verdicts.get(about)
    before = known and status_of(judge, known)
    if before == 200:
        return judge(known)
    client = peers.origin(request, target).client
    fields["x-forwarded-for"] = [str(client)] if client else []
    request.questions.append(Question(about, token, fields, said, is_sure=known is None))
    if before in (None, status_of(judge, said)):
        return judge(said)
    # What is remembered, or what is said now: the documentation leaves open for how long.
    raise Refused(401, "token_invalid", "authentication_unavailable")


def status_of(judge, said: SessionAnswer) -> int:
    try:
        judge(said)
    except Refused as refused:
        return refused.status
    return 200


def held(configuration: Configuration, somebody: Proven) -> Proven:
    """What a session's claims are in their headers, and the list of those that are revoked."""
    claims.fit(configuration, somebody)
    own = somebody.claims["session"]
    if configuration.revoked.has(somebody.user, None, own.get("id"), betterauth_text.moment(own.get("createdAt"))):
        raise invalid()
    return somebody


def is_no(said: SessionAnswer) -> bool:
    """There is no such session, or it was lost while it was refreshed."""
    return said.status == 401 or said.status == 200 and said.body.strip() == b"null"


def relayed(question: Question) -> list[str]:
    """What it wants to set in the browser, where it says anything of sessions; bearers keep no cookies."""
    said = question.told
    tells = is_no(said) or said.status == 200 and said.body.startswith(b"{")
    return said.cookies if tells and question.about[1] == "cookie" else []


def judged(session: Session, token: str, said: SessionAnswer, now: float) -> Proven:
    if is_no(said):
        raise invalid()
    if said.status != 200:
        raise unavailable()
    try:
        whole = strict_object(said.body)
    except Refused:
        raise unavailable() from None
    own, user = whole.get("session"), whole.get("user")
    if not isinstance(own, dict) or not isinstance(user, dict) or not has_moments(own):
        raise unavailable()
    if "expiresAt" in own and betterauth_text.moment(own["expiresAt"]) < now:
        raise invalid()
    if own.get("token", token) != token or not is_user(user.get("id")) or own.get("userId", user["id"]) != user["id"]:
        raise unavailable()
    return Proven(user["id"], whole | user, session.name)


def has_moments(own: dict) -> bool:
    return all(betterauth_text.moment(own[name]) is not None for name in ("expiresAt", "createdAt") if name in own)
