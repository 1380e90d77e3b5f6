"""Mistakes with keys, certificates, servers that are asked and lists of the revoked, for `mistakes`."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import ANY

from . import asked, certificates, claims, possession, proof, replies, signatures, upstream_fields
from .revoked import Revoked
from .settings import Refused, with_settings

NOTHING = frozenset()


def without(member: str, right=possession.is_for):
    """The proof's `member` not looked at."""
    def wrong(body, request, target, text):
        good = {"htm": request.method, "ath": possession.digest(text), "htu": possession.seen_url(request, target), "jti": "x"}
        return right(body | {member: good[member]}, request, target, text)
    return wrong


def without_binding(configuration, request, target, issuer, found, text, by_proof, now, right=possession.check):
    return right(configuration, request, target, issuer, {name: found[name] for name in found if name != "cnf"}, text, by_proof, now)


def known_members(configuration, request, target, issuer, found, *rest, right=possession.check):
    if isinstance(found.get("cnf"), dict):
        known = {name: value for name, value in found["cnf"].items() if name in ("jkt", "x5t#S256")}
        found = {name: value for name, value in found.items() if name != "cnf"} | ({"cnf": known} if known else {})
    return right(configuration, request, target, issuer, found, *rest)


def as_bearer_too(configuration, request, target, issuer, found, text, by_proof, now, right=possession.check):
    return right(configuration, request, target, issuer, found, text, by_proof or "jkt" in (found.get("cnf") or ()), now)


def broken_is_a_no(*given, right=asked.prove):
    try:
        return right(*given)
    except Refused as refused:
        raise proof.invalid() if refused.status == 503 else refused


def asked_whenever_it_looks(text, places, looking, issuers):
    return next((issuer for issuer in looking if issuer.source == "introspection" and places & set(issuer.token_from)), None)


def elements_with_commas(value, header="", right=claims.header_value):
    if isinstance(value, list):
        value = [part for one in value for part in (one.split(",") if isinstance(one, str) else [one])]
    return right(value, header)


def as_read(value, right=claims.plain):
    return right(value) if isinstance(value, (bool, str)) else str(value) if isinstance(value, (int, float)) else None


def revoked_by(change):
    """`has` of a list in which something does not count."""
    def has(self, user, iss, name, issued_at, right=Revoked.has):
        return right(*change(self, user, iss, name, issued_at))
    return has


MISTAKES = [
    ("a bound token needs no proof", possession, "check", without_binding),
    ("a bound token is good as a bearer, with a proof beside it", possession, "check", as_bearer_too),
    ("members of `cnf` that nobody knows do not matter", possession, "check", known_members),
    ("a proof's signature not checked", signatures, "holds", lambda *given: True),
    ("a proof of any key", possession, "thumbprint", lambda jwk: ANY),
    ("`htm` not compared", possession, "is_for", without("htm")),
    ("`htu` not compared", possession, "is_for", without("htu")),
    ("`ath` not compared", possession, "is_for", without("ath")),
    ("`jti` not looked at", possession, "is_for", without("jti")),
    ("`htu` compared as it is written", possession, "canonical", lambda url: url),
    ("`iat` of a proof not checked", possession, "is_of_now", lambda *given: True),
    ("a proof is good twice", possession, "checked", with_settings(possession.checked, 0, proofs=NOTHING)),
    ("no nonce asked for", possession, "checked", with_settings(possession.checked, 3, dpop_nonce=False)),
    ("a proof may show the private key", possession, "PRIVATE", NOTHING),
    ("a certificate's token is good on every connection", possession, "check",
     with_settings(possession.check, 1, certificate=SimpleNamespace(thumbprint=ANY))),
    ("what is proven of a proof reaches every backend", upstream_fields, "proofs", lambda configuration, request, *rest: request.all("dpop")),
    ("a certificate's headers are not set", certificates, "identity", lambda *given: {}),
    ("a claim stands for a certificate", claims, "SOURCES", ()),
    ("refresh tokens count", asked, "FOR_THE_SERVER_ALONE", NOTHING),
    ("an answer that makes no sense is a no", asked, "prove", broken_is_a_no),
    ("the server is asked about the tokens of issuers with keys", asked, "who_answers", asked_whenever_it_looks),
    ("nothing is revoked", Revoked, "has", lambda *given: False),
    ("a revoked `jti` is every issuer's", Revoked, "has", revoked_by(lambda self, user, iss, name, at: (self, user, None, name, at))),
    ("users are not revoked", Revoked, "has", revoked_by(lambda self, user, *rest: (self, "", *rest))),
    ("an element with a comma is two", claims, "header_value", elements_with_commas),
    ("white space at the end of a claim stays", claims, "is_loose", lambda letter: False),
    ("who the user is may be any text", claims, "names_user", lambda header: False),
    ("numbers as they were read", claims, "plain", as_read),
    ("no browser is sent to sign in", replies, "navigates", lambda request: False),
    ("whoever gets a page is", replies, "navigates", lambda request: request.method == "GET"),
    ("the way back has the token", replies, "without_tokens", lambda configuration, route, back: back),
]
