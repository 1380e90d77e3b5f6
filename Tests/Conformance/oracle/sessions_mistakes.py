"""Mistakes with sessions that a server is asked about, for `mistakes`."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import ANY

from . import asked_sessions, authentication, betterauth_text, peers, sessions
from .proof import invalid
from .revoked import Revoked
from .settings import Refused, Session, with_settings


def of_any_time(right, position: int):
    """The same function, told that nothing has ended."""
    return lambda *given: right(*given[:position], 0, *given[position + 1:])


def asked_about_all(*given, right=sessions.told_by_cache):
    try:
        return right(*given)
    except Refused as refused:
        raise sessions.CacheDoesNotTell(refused) from None


def with_header(**more):
    return lambda session, data, header, right=sessions.published: right(session, data, header | more | {
        name: header.get("alg", "").lower() for name in more if name == "kid"})


def with_all_cookies(configuration, request, target, session, shown, token, fields, now, right=asked_sessions.ask):
    if "cookie" in fields:
        fields = {"cookie": ["; ".join(request.all("cookie"))]}
    return right(configuration, request, target, session, shown, token, fields, now)


def one_for_all_forms(configuration, request, target, session, shown, token, *rest, right=asked_sessions.ask):
    known = {(name, *shown): said for (name, _, value), said in configuration.verdicts.items() if value.startswith(token + ".") or value == token}
    return with_settings(right, 0, verdicts=known)(configuration, request, target, session, shown, token, *rest)


def first_of_two(configuration, request, target, route, text, now):
    for session in configuration.sessions_of(route):
        if session.server:
            return asked_sessions.by_bearer(configuration, request, target, session, text, now)
    raise invalid()


def failure_is_a_no(*given, right=asked_sessions.judged):
    try:
        return right(*given)
    except Refused:
        raise invalid() from None


def whose_user_is_anybodys(session, token, said, now, right=asked_sessions.judged):
    if said.status == 200 and b'"userId":"mallory"' in said.body:
        said = SimpleNamespace(status=200, body=said.body.replace(b'"userId":"mallory",', b""))
    return right(session, token, said, now)


def never_beside(*given, beside, right=authentication.by_session):
    return right(*given, beside=False)


MISTAKES = [
    ("nobody is asked", asked_sessions, "by_cookies", lambda *given: (_ for _ in ()).throw(invalid())),
    ("a cache of any version tells", sessions, "told_by_cache", with_settings(sessions.told_by_cache, 0, version=ANY)),
    ("a cache that has ended tells", sessions, "told_by_cache", of_any_time(sessions.told_by_cache, 3)),
    ("a cache of another session tells", sessions, "told_by_cache", lambda session, token, *rest, right=sessions.told_by_cache: right(session, ANY, *rest)),
    ("a cache of any form is read", sessions, "read", with_settings(sessions.read, 0, cache="auto")),
    ("a cache is read where it is off", sessions, "told_by_cache", with_settings(sessions.told_by_cache, 0, cache="auto")),
    ("the server is asked about what contradicts itself", sessions, "told_by_cache", asked_about_all),
    ("of a published cache not looked at: `typ`", sessions, "published", with_header(typ=sessions.CACHE_TYPE)),
    ("`kid`", sessions, "published", with_header(kid="")),
    ("`aud`", sessions, "CACHE_AUDIENCE", ANY),
    ("`iss`", Session, "issuers", [ANY]),
    ("all cookies go to the server", asked_sessions, "ask", with_all_cookies),
    ("`dont_remember` goes there unsigned", betterauth_text, "is_signed", lambda text: True),
    ("a bearer's signature is the server's affair", betterauth_text, "is_code", lambda *given: True),
    ("the first of two servers is asked about a bearer", authentication, "by_session_bearer", first_of_two),
    ("the server sees the peer's address", asked_sessions, "peers",
     SimpleNamespace(origin=lambda request, target: SimpleNamespace(client=peers.peer_of(request)))),
    ("an answer about another session counts", asked_sessions, "judged", lambda session, token, *rest, right=asked_sessions.judged: right(session, ANY, *rest)),
    ("one about another's session counts", asked_sessions, "judged", whose_user_is_anybodys),
    ("a session that has ended is a yes", asked_sessions, "judged", of_any_time(asked_sessions.judged, 3)),
    ("a failure is a no", asked_sessions, "judged", failure_is_a_no),
    ("401 is a failure", asked_sessions, "is_no", lambda said: said.status == 200 and said.body == b"null"),
    ("a yes is not remembered", asked_sessions, "ask", with_settings(asked_sessions.ask, 0, verdicts={})),
    ("it is remembered of the session, however that was shown", asked_sessions, "ask", one_for_all_forms),
    ("`Set-Cookie` is not passed on", asked_sessions, "relayed", lambda question: []),
    ("it is to bearers, too", asked_sessions, "relayed", lambda question: question.told.cookies),
    ("sessions are not revoked", Revoked, "has", lambda *given: False),
    ("cookies that prove nobody refuse the token beside them", authentication, "by_session", never_beside),
]
