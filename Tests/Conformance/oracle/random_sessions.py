"""Sessions by chance that a server is asked about: what it says of them, caches that tell less than all, session tokens as bearers."""

from __future__ import annotations

import random
import urllib.parse

from harness import betterauth

from . import random_configuration, random_requests
from .random_configuration import PAGES, some
from .random_credentials import USERS, Credentials, damaged
from .revoked import Revoked
from .settings import Configuration, Request, Session, SessionAnswer

TOKENS = 40  # so many sessions there are
IDENTITY = {"X-Session-Id": "session.id", "X-Verified": "emailVerified"}
PUBLISHED = [["EdDSA"], ["ES256", "RS256"], ["PS256", "ES512"]]
COOKIES = ["better-auth.session_token=new; Path=/; HttpOnly", "__Secure-better-auth.session_data=x; Max-Age=300", "other=1"]
# What a server says that fails; None closes the connection.
OUTAGES = [
    SessionAnswer(500, b'{"code":"FAILED_TO_GET_SESSION"}'), SessionAnswer(429, b"null"), SessionAnswer(200, b"<html>"), SessionAnswer(401, b"null"),
    SessionAnswer(404, b"null"), SessionAnswer(302, b""), SessionAnswer(200, b""), SessionAnswer(200, b"{}"), SessionAnswer(0, b""),
    SessionAnswer(200, b"null null"), SessionAnswer(200, b"true"), SessionAnswer(403, b"null"), SessionAnswer(204, b"")]


def configuration(chance: random.Random, server: str) -> Configuration:
    found = random_configuration.configuration(chance)
    found.sessions = {name: session(chance, name, prefix, server) for name, prefix in some(chance, [("browser", "better-auth"), ("other", "my-app")])}
    for route in found.routes:
        route.names = [name for name in route.names if name in found.issuers]
        if route.names or route.path == "/**" or chance.random() < 0.8:
            route.names += [name for name in found.sessions if chance.random() < 0.8]
        if not route.names:
            route.optional, route.require, route.scopes, route.denied = False, [], [], 403
    found.identity |= {name: IDENTITY[name] for name in chance.sample(sorted(IDENTITY), chance.randint(0, 2))}
    if chance.random() < 0.3:
        found.revoked = Revoked(["id-of-S1", {"iss": "https://first.test", "jti": "id-of-S2"}, "id-of-S3"], {})
    return found


def session(chance: random.Random, name: str, prefix: str, server: str) -> Session:
    found = Session(name, prefix, chance.random() < 0.5, some(chance, PAGES, most=2), version=chance.choice(["1", "1", "7"]))
    found.server = server if chance.random() < 0.85 else None
    found.cache = chance.choice(["auto"] * 5 + ["compact", "jwt", "jwe"] + ["jwks", "off"] * bool(found.server))
    if found.server:
        found.published = chance.choice([[], *PUBLISHED]) if found.cache == "auto" else chance.choice(PUBLISHED)
        found.issuer = chance.choice([None, None, "https://issuer.test"]) if found.cache in ("auto", "jwks") else None
    return found


def answer(chance: random.Random, token: str) -> SessionAnswer:
    """Mostly a session; or none, or something that is about another one, or about nobody."""
    user = chance.choice(USERS)
    value = betterauth.payload(token, user, user={"name": "Ann"} | chance.choice([{}, {"role": "admin"}, {"email": ""}, {"scope": "read write"}]))
    cookies = chance.choice([[], [], COOKIES[:1], COOKIES])
    kind = chance.choice(["yes"] * 9 + ["no"] * 3 + ["odd"] * 3)
    if kind == "no":
        value = chance.choice([None, None, betterauth.payload(token, user, ends=-5)])
    if kind == "odd":
        value = chance.choice([
            betterauth.payload("else", user), betterauth.payload(token, user, session={"userId": "mallory"}), value | {"user": None},
            {"session": value["session"]}, {"user": value["user"]}, betterauth.payload(token, user, user={"id": 5}),
            betterauth.payload(token, user, user={"id": "a,b"}), betterauth.payload(token, user, user={"id": ""}),
            betterauth.payload(token, user, session={"expiresAt": "never"}), betterauth.payload(token, user, session={"token": 5}),
            {"session": {"userId": user}, "user": {"id": user}}, {"session": {}, "user": {"id": user}}, {"session": {"token": token}, "user": {"id": user}},
            betterauth.payload(token, user, user={"email": {"a": 1}}), betterauth.payload(token, user, user={"name": "a\nb", "email": "a\nb"}),
            betterauth.payload(token, user, session={"createdAt": "never"}), [value], value | {"session": [1]}])
    return SessionAnswer(200, betterauth.dump(value).encode(), cookies)


class SessionCredentials(Credentials):
    def kinds(self) -> list:
        own = bool(self.configuration.sessions_of(self.route))
        return [self.session] * (9 if own else 1) + [self.bearer] * (3 if own else 1) + [self.token] * 4 + [self.unusual]

    def known(self) -> str:
        """One of the sessions there are: those that revoked.json names come as often as all others."""
        token = f"S{self.chance.choice([1, 2, 3, self.chance.randrange(TOKENS), self.chance.randrange(TOKENS)])}"
        if token not in self.configuration.told:
            self.configuration.told[token] = answer(self.chance, token)
        return token

    def bearer(self) -> None:
        token = self.known()
        signed = betterauth.signed(token, betterauth.SECRET if self.chance.random() < 0.9 else betterauth.OLD_SECRET)
        self.authorization.append("Bearer " + self.chance.choice([
            token, token, signed, urllib.parse.quote(signed, safe=""), signed.rstrip("="), signed.replace("+", "-").replace("/", "_").rstrip("="),
            self.chance.choice([signed[:-2], signed + "=", token + ".", "." + signed.partition(".")[2], "nobodys-session", signed + ".x"])]))

    def session(self) -> None:
        own = self.configuration.sessions_of(self.route) or list(self.configuration.sessions.values())
        self.cookies += cookies(self.chance, self.chance.choice(own), self.known(), self.chance.choice(USERS))


def cookies(chance: random.Random, session: Session, token: str, user: str) -> list[str]:
    """Without a cache half of the time, and with one that does not tell all another time."""
    secure = session.secure_cookies if chance.random() < 0.95 else not session.secure_cookies
    prefix = ("__Secure-" if secure else "") + session.prefix
    signed = betterauth.signed(token, betterauth.SECRET if chance.random() < 0.95 else betterauth.OLD_SECRET)
    found = [f"{prefix}.session_token=" + (urllib.parse.quote(signed, safe="") if chance.random() < 0.9 else signed)]
    if chance.random() < 0.55:
        text = cache(chance, session, token, user)
        pieces = [text[start:start + 300] for start in range(0, len(text), 300)]
        found += [f"{prefix}.session_data.{number}={piece}" for number, piece in enumerate(pieces)] if chance.random() < 0.2 else [f"{prefix}.session_data={text}"]
    if chance.random() < 0.15:
        found.append(f"{prefix}.dont_remember=" + chance.choice([urllib.parse.quote(betterauth.signed("true"), safe=""), "true", betterauth.signed("false")]))
    return found


def cache(chance: random.Random, session: Session, token: str, user: str) -> str:
    changes = chance.choice([{}] * 8 + [
        {"version": "1"}, {"version": "7"}, {"version": None}, {"session": {"userId": "mallory"}}, {"user": {"id": 5}}, {"user": {"id": "a,b"}},
        {"session": {"token": 5}}, {"session": {"expiresAt": "never"}}])
    changes = {"version": session.version} | changes
    value = betterauth.payload(token if chance.random() < 0.95 else "else", user, -5 if chance.random() < 0.05 else 86400, **changes)
    value["user"]["name"] = "Ann"
    age = -600 if chance.random() < 0.15 else 3600
    if session.server and chance.random() < (0.6 if session.published else 0.1):
        return damaged(chance, published(chance, session, value, age))
    return damaged(chance, chance.choice([betterauth.compact, betterauth.jwt, betterauth.sealed])(value, age))


def published(chance: random.Random, session: Session, value: dict, age: float) -> str:
    algorithm = chance.choice(session.published or ["EdDSA"]) if chance.random() < 0.9 else "ES256"
    more = chance.choice([{}] * 6 + [
        {"kid": "unknown"}, {"kid": None}, {"typ": "JWT"}, {"claims": {"aud": "https://api.test"}}, {"claims": {"sid": "else"}}, {"claims": {"sub": "mallory"}},
        {"alg": "HS256"}, {"crit": ["x"]}])
    # Known alone to a configuration that names no issuer of its own, or to one that does.
    origin = chance.choice([session.server, session.trusted_origins[0], session.issuers[0], "https://issuer.test" if chance.random() < 0.3 else session.issuers[-1]])
    return betterauth.published(value, origin, algorithm, **({"kid": algorithm.lower(), "age": age} | more))


def request(chance: random.Random, configuration: Configuration) -> Request:
    return random_requests.request(chance, configuration, SessionCredentials)
