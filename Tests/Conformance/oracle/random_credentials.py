"""Credentials by chance: tokens good and bad, of this route's issuers and of others, in usual places and unusual ones, sessions beside them."""

from __future__ import annotations

import random
import time
import urllib.parse

from harness import betterauth
from harness import tokens as keys

from .proof import secret
from .settings import Configuration, Issuer, Route, Session

USERS = ["alice", "alice", "alice", "bob", "c|d"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class Credentials:
    """Of one request: what stands in `Authorization`, among its cookies and in its query."""

    def __init__(self, chance: random.Random, configuration: Configuration, route: Route, user: str):
        self.chance, self.configuration, self.route, self.user = chance, configuration, route, user
        self.authorization: list[str] = []
        self.cookies: list[str] = []
        self.query: list[str] = []
        for _ in range(chance.choice([0] + [1] * 14 + [2, 2, 3])):
            chance.choice(self.kinds())()
        for _ in range(chance.choice([0, 0, 1, 2])):
            self.cookies.append(chance.choice(["a=1", "theme=dark", "tokens=2", "better-auth.other=4", "b", "TOKEN=evil", "%6Awt=evil"]))
        chance.shuffle(self.cookies)

    def kinds(self) -> list:
        """Mostly what the route looks at."""
        tokens = 8 if self.configuration.issuers_of(self.route) else 1
        sessions = 5 if self.configuration.sessions_of(self.route) else 1
        return [self.token] * tokens + [self.session] * sessions + [self.unusual]

    def issuer(self) -> Issuer:
        own = self.configuration.issuers_of(self.route)
        return self.chance.choice(own if own and self.chance.random() < 0.93 else list(self.configuration.issuers.values()))

    def token(self) -> None:
        issuer = self.issuer()
        text = damaged(self.chance, signed(self.chance, self.configuration, issuer, self.somebody()))
        if self.configuration.tokens and self.chance.random() < 0.3:
            text = self.chance.choice(self.configuration.tokens)  # which a verdict of another route may be remembered of
        self.configuration.tokens.append(text)
        place = self.chance.choice(issuer.token_from)
        if self.chance.random() < 0.05:
            place = self.chance.choice(["header", "cookie:token", "cookie:jwt", "query:access_token", "query:t"])
        self.put(place, text)
        if self.chance.random() < 0.06:
            self.put(self.chance.choice(issuer.token_from), text)  # the same one again

    def somebody(self) -> str:
        """Mostly the user that the path speaks of."""
        return self.user if self.chance.random() < 0.7 else self.chance.choice(USERS)

    def put(self, place: str, text: str) -> None:
        kind, _, name = place.partition(":")
        if kind == "header":
            if self.authorization and self.chance.random() < 0.8:
                return  # two of them are 400, and nothing else is seen then
            self.authorization.append(self.chance.choice(["Bearer ", "Bearer ", "bearer "]) + text)
        elif kind == "cookie":
            self.cookies.append(f"{name}={text}")
        else:
            self.query.append(f"{name}={text}")

    def session(self) -> None:
        """Of this configuration's session, or of a name that nobody looks at."""
        own = self.configuration.sessions_of(self.route) or list(self.configuration.sessions.values())
        self.cookies += session_cookies(self.chance, self.chance.choice(own or [Session("none")]))

    def unusual(self) -> None:
        text = signed(self.chance, self.configuration, self.issuer(), self.somebody())
        self.chance.choice([
            lambda: self.authorization.append(self.chance.choice(["Basic dTpw", "Negotiate YII=", "DPoP " + text])),
            lambda: self.authorization.append("Bearer " + self.chance.choice(["x", "a.b.c", "a.b", "0123456789abcdef0123456789abcdef"])),
            lambda: self.cookies.append(self.chance.choice(["TOKEN=evil", "%74oken=evil", "Jwt=evil", "token=", "jwt="])),
            lambda: self.cookies.append('token="' + text + '"'),
            lambda: self.query.append(self.chance.choice(["Access_Token=evil", "access%5Ftoken=evil", "x=1;access_token=evil", "T=1"])),
            lambda: self.query.append("access_token="),
            lambda: self.cookies.append(self.chance.choice(["better-auth.session_token=evil", "__Secure-better-auth.session_data=evil"])),
        ])()

    def fields(self) -> list[tuple[str, str]]:
        found = [("Authorization", value) for value in self.authorization]
        if self.cookies and self.chance.random() < 0.7:
            return found + [("Cookie", "; ".join(self.cookies))]
        return found + [("Cookie", cookie) for cookie in self.cookies]


def damaged(chance: random.Random, text: str) -> str:
    if chance.random() > 0.07:
        return text
    places = [place for place, letter in enumerate(text) if letter != "."]
    place = chance.choice(places)
    return text[:place] + chance.choice([letter for letter in LETTERS if letter != text[place]]) + text[place + 1:]


def claims_of(chance: random.Random, issuer: Issuer, user: str) -> dict:
    now = int(time.time())
    iss = issuer.iss if issuer.iss != "*" else "https://whoever.test"
    audience = issuer.audience[-1] if issuer.audience != ["*"] else "anybody"
    found = {"iss": iss, "aud": chance.choice([audience, [audience, "x"]]), "sub": user, "iat": now, "exp": now + 3600,
             "email": f"{user}@example.com"}
    more = {"role": chance.choice(["admin", "admin", "viewer", ["viewer", "editor"]]), "realm": {"roles": chance.choice([["a", "b"], [], "c"])},
            "org": {"id": chance.choice(["acme", "other"])}, "level": chance.choice([5, 5, 1.5]), "admin": chance.choice([True, False]),
            "name": chance.choice(["Zoë", "Ann Lee", ""]), "user_id": user, "jti": "one"}
    found |= {name: more[name] for name in more if chance.random() < 0.8}
    for _ in range(chance.choice([0, 0, 0, 1, 1, 1, 2])):
        found[chance.choice(["scope", "scp", "scopes"])] = chance.choice(["read write", "read", ["read", "write"], ["write"], "", []])
    return found


def mistaken(chance: random.Random, configuration: Configuration, issuer: Issuer, claims: dict, header: dict) -> None:
    """One thing that makes most issuers refuse, or another one answer for it."""
    now = int(time.time())
    elsewhere = chance.choice(list(configuration.issuers.values())).iss
    chance.choice([
        lambda: claims.update(exp=now - 3600), lambda: claims.update(exp=now - 3600), lambda: claims.update(aud="else"),
        lambda: claims.update(iss=elsewhere), lambda: claims.update(iss="https://nobody.test"), lambda: claims.pop("exp"),
        lambda: claims.update(nbf=now + 3600), lambda: claims.update(azp="x"), lambda: claims.update(scope="read", events={}),
        lambda: claims.update(sub=5), lambda: claims.update(sub="two words"), lambda: claims.pop("sub"),
        lambda: claims.update(user_id=7), lambda: claims.update(exp=now + 86400), lambda: claims.pop("iat"),
        lambda: claims.update(cnf={"jkt": "x"}), lambda: claims.update(email={"a": 1}), lambda: claims.update(realm={"roles": ["a,b"]}),
        lambda: claims.update(email=""), lambda: claims.update(email=None), lambda: claims.update({"org.id": "acme"}),
        lambda: claims.update(iat=now + 3600), lambda: claims.pop("aud"), lambda: claims.pop("iss"), lambda: claims.update(exp="soon"),
        lambda: header.update(typ="at+jwt"), lambda: header.update(typ="application/AT+JWT"), lambda: header.update(typ="logout+jwt"),
        lambda: header.pop("typ"), lambda: header.update(kid="unknown"), lambda: header.update(crit=["b64"]),
        lambda: header.update(alg="none"), lambda: header.update(alg=chance.choice(["HS256", "ES256", "RS256"])),
    ])()


def signed(chance: random.Random, configuration: Configuration, issuer: Issuer, user: str) -> str:
    algorithm = chance.choice(issuer.algorithms or ["HS256"])
    header = {"alg": algorithm, "typ": issuer.types[0]}
    if issuer.source == "jwks":
        header["kid"] = algorithm.lower()
    claims = claims_of(chance, issuer, user)
    if chance.random() < 0.2:
        mistaken(chance, configuration, issuer, claims, header)
    owner = issuer.owner if chance.random() < 0.97 else chance.choice(["first", "second", "third", "fourth"])
    key = secret(owner) if algorithm.startswith("HS") else keys.key_for(algorithm, owner)
    return keys.raw_token(betterauth.dump(header).encode(), betterauth.dump(claims).encode(), algorithm, key)


def session_cookies(chance: random.Random, session: Session) -> list[str]:
    """A session's cookie, and a cache that may be of another session or user, too old, damaged or missing."""
    name, user = chance.choice(["TA", "TB"]), chance.choice(["alice", "alice", "bob"])
    secure = session.secure_cookies if chance.random() < 0.9 else not session.secure_cookies
    prefix = ("__Secure-" if secure else "") + session.prefix
    secret_of = betterauth.SECRET if chance.random() < 0.93 else betterauth.OLD_SECRET
    found = [f"{prefix}.session_token=" + urllib.parse.quote(betterauth.signed(name, secret_of), safe="")]
    make = chance.choice([betterauth.compact, betterauth.jwt, betterauth.sealed])
    cached = name if chance.random() < 0.93 else "TC"
    value = betterauth.payload(cached, user)
    value["user"]["name"] = "Ann"
    cache = damaged(chance, make(value, -600 if chance.random() < 0.05 else 3600))
    if chance.random() < 0.2:
        found += [f"{prefix}.session_data.{start // 300}={cache[start:start + 300]}" for start in range(0, len(cache), 300)]
    elif chance.random() < 0.95:
        found.append(f"{prefix}.session_data={cache}")
    if chance.random() < 0.1:
        found.append(f"{prefix}.dont_remember=x")
    return found
