"""Who is calling: every credential that the route's issuers and sessions look at, and what all of them together prove."""

from __future__ import annotations

import datetime
from . import asked, asked_sessions, claims, pages, places, possession, proof, sessions
from .proof import Proven, invalid
from .revoked import Revoked
from .settings import Configuration, Issuer, Refused, Request, Route
from .targets import Target, bad


def authenticate(configuration: Configuration, request: Request, target: Target, route: Route, now: float) -> Proven | None:
    """None: nobody, which an optional route allows. What is there and not good is refused on every route (J15)."""
    if not route.names:
        return None  # nothing is looked at
    text, where = the_token(configuration, request, target, route)
    sessions.check_single(configuration.sessions_of(route), places.cookies(request))
    if text is not None and where != {"session"}:
        check_page_of_token(configuration, request, target, route, where)
    session = by_session(configuration, request, target, route, now, beside=text is not None)
    if where == {"session"}:
        token = by_session_bearer(configuration, request, target, route, text, now)
    else:
        token = by_token(configuration, request, target, route, text, where, now) if text is not None else None
    if token and session and token.user != session.user:
        raise bad()
    somebody = token or session
    if somebody is None and route.asks_for_somebody:
        raise Refused(401, "token_missing")
    return somebody


def the_token(configuration, request, target, route) -> tuple[str | None, set[str]]:
    """The one token that there is, and the places where it stands and somebody looks."""
    issuers = configuration.issuers_of(route)
    looked_at = {place for issuer in issuers for place in issuer.token_from}
    header = places.authorization(request)
    bearer = None
    if header is not None:
        if header.scheme != "bearer" and not (header.scheme == "dpop" and any(issuer.dpop for issuer in issuers)):
            if header.scheme == "dpop" and hidden(target, looked_at):
                raise AmbiguousToken()
            raise Refused(401, "token_missing")  # a scheme that nobody takes is nobody's, and never beside somebody
        bearer = header.credentials
    if configuration.sessions_of(route) and bearer is not None and header.scheme == "bearer" and bearer.count(".") < 2:
        return session_bearer(configuration, request, target, route, bearer, looked_at)
    found = places.tokens(request, target.query, looked_at, bearer).found
    check_hidden(target, looked_at, found)
    if len(found) > 1:
        raise bad()
    for text, where in found.items():
        if not where & looked_at:
            raise invalid()  # a bearer that nobody reads
        return text, where & looked_at
    return None, set()


def check_page_of_token(configuration, request, target, route, where: set[str]) -> None:
    """A cookie, which any page makes a browser send, is asked first where it comes from; then what it proves."""
    if by_cookie(where):
        issuers = configuration.issuers_of(route)
        trusted = [page for issuer in issuers if where & set(issuer.token_from) for page in issuer.trusted_origins]
        pages.check_token_page(request, target, trusted)


def by_cookie(where: set[str]) -> bool:
    return all(place.startswith("cookie:") for place in where)


def by_token(configuration, request, target, route, text: str, where: set[str], now) -> Proven:
    somebody = prove(configuration, request, target, text, where, configuration.issuers_of(route), now)
    if by_cookie(where):
        # Several issuers may look into one cookie, and each trusts pages of its own.
        pages.check_token_page(request, target, configuration.issuers[somebody.name].trusted_origins)
    return somebody


def prove(configuration, request, target, text: str, where: set[str], issuers: list[Issuer], now: float) -> Proven:
    """By keys, or by the server that is asked; then what it is bound to, and the list of those that are refused all the same."""
    header = places.authorization(request)
    by_proof = header is not None and header.scheme == "dpop" and header.credentials == text and "header" in where
    server = asked.who_answers(text, where, [issuer for issuer in issuers if issuer.dpop or not by_proof], issuers)
    try:
        somebody = asked.prove(configuration, text, server, issuers, now) if server else proof.prove(text, where, issuers, now, request.fetches)
    except Refused as refused:
        if refused.codes == ("token_expired",) and (by_proof or is_doubtful(configuration, text, issuers)):
            raise Refused(401, "token_expired", "token_invalid") from None
        raise
    issuer = configuration.issuers[claims.fit(configuration, somebody).name]
    said = somebody.claims
    iss = said.get("iss") if issuer.iss != "*" else None
    if configuration.revoked.has(somebody.user, iss, said.get("jti"), said.get("iat")):
        raise invalid()
    somebody.proof = possession.check(configuration, request, target, issuer, somebody.claims, text, by_proof, now)
    return somebody


def is_doubtful(configuration: Configuration, text: str, issuers: list[Issuer]) -> bool:
    """Whether a token that is too old may be refused for something else before."""
    claims = proof.strict_object(proof.strict_base64(text.split(".")[1]))
    return "cnf" in claims or any(issuer.dpop for issuer in issuers) or configuration.revoked != Revoked()


def session_bearer(configuration, request, target, route, bearer: str, looked_at: set[str]) -> tuple[str, set[str]]:
    """A session token: beside another token it is 400, and by itself only a server can tell of it."""
    found = places.tokens(request, target.query, looked_at, None).found
    check_hidden(target, looked_at, found)
    if found:
        sessions.check_single(configuration.sessions_of(route), places.cookies(request))
        raise bad()
    return bearer, {"session"}


def by_session_bearer(configuration, request, target, route, text: str, now: float) -> Proven:
    """Which of several servers to ask is nothing to find out by trying."""
    found = configuration.sessions_of(route)
    if len(found) > 1 or not found[0].server:
        raise invalid()
    return asked_sessions.by_bearer(configuration, request, target, found[0], text, now)


def check_hidden(target: Target, looked_at: set[str], found: dict) -> None:
    """A parameter that only some backends would take for the token's."""
    count = hidden(target, looked_at)
    if count and (found or count > 1):
        raise AmbiguousToken()
    if count:
        raise Refused(401, "token_missing")


def hidden(target: Target, looked_at: set[str]) -> int:
    names = [place.partition(":")[2] for place in looked_at if place.startswith("query:")]
    return sum(places.hidden_parameters(target.query, name) for name in names)


class AmbiguousToken(Refused):
    """400, or 401: which of them depends on the order of `token_from`."""

    def __init__(self):
        super().__init__(400, "bad_request", "token_missing")


def by_session(configuration, request, target, route, now, beside: bool) -> Proven | None:
    for session in configuration.sessions_of(route):
        if not beside and sessions.is_present(session, places.cookies(request)):
            pages.check_session_page(request, session.trusted_origins)
        try:
            found = sessions.prove(configuration, request, target, session, now)
            if found:
                return found
        except Refused:
            if not beside:
                raise  # else, a session that proves nobody takes nothing from the token's
    return None
