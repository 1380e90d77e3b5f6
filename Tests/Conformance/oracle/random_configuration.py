"""Configurations by chance, all of them valid: paths that overlap, issuers that share a name, sessions beside them."""

from __future__ import annotations

import random

from .routing import rank
from .settings import CORS, Configuration, Issuer, Listener, Route, Session, Upstream

SEGMENTS = ["a", "b", "api", "Api", "files", "x:y"]
CAPTURES = ["{id}", "{user}"]
HOSTS = ["one.test", "two.test", "Three.test"]
METHODS = [["GET"], ["GET", "HEAD"], ["POST", "PUT"], ["DELETE"], ["GET", "OPTIONS"], ["PURGE"]]
PAGES = ["https://app.test", "https://admin.test", "http://localhost:3000"]
PLACES = ["header", "cookie:token", "cookie:jwt", "query:access_token", "query:t"]
KEYS = [("secret", ["HS256"]), ("secret", ["HS256", "HS512"]), ("public_key", ["ES256"]), ("public_key", ["EdDSA"]),
        ("jwks", ["ES256", "EdDSA"]), ("jwks", ["RS256"]), ("jwks", ["RS256", "ES256", "EdDSA"])]
IDENTITY = {"X-User-Email": "email", "X-Roles": "realm.roles", "X-User-Name": "name", "X-Level": "level", "X-Tenant": "org.id",
            "X-Admin": "admin", "Remote-User": "sub"}
STRIP = ["X-User-*", "X-Forwarded-User", "X-Remote-User", "Remote-User", "X-Auth-Request-*"]
STRIPPED_BESIDE = ["X-WebAuth-*", "Cf-Access-*", "X-Tenant-Id", "X-Debug"]


def some(chance: random.Random, values: list, least=1, most=None) -> list:
    return chance.sample(values, chance.randint(least, min(most or len(values), len(values))))


def configuration(chance: random.Random) -> Configuration:
    issuers = {one.name: one for one in issuers_of(chance)}
    sessions = {one.name: one for one in sessions_of(chance)}
    cors = {"pages": CORS("pages", some(chance, PAGES, most=2), credentials=chance.random() < 0.5), "all": CORS("all", ["*"])}
    upstreams = {name: Upstream(name, number, chance.choice(["remove", "remove", "forward", "bearer", "mint"]), chance.random() < 0.8)
                 for number, name in enumerate(["red", "green", "blue"])}
    result = Configuration([Listener("plain"), Listener("edge", trusted=["127.0.0.1"]), Listener("two", "h2")],
                           upstreams, issuers, sessions, cors, [], identity_of(chance), strip_of(chance))
    for _ in range(chance.randint(3, 14)):
        candidate = route_of(chance, result)
        if not any(is_same(candidate, other) for other in result.routes):
            result.routes.append(candidate)
    return result


def identity_of(chance: random.Random) -> dict[str, str]:
    return {"X-User-Id": "sub"} | {name: IDENTITY[name] for name in chance.sample(sorted(IDENTITY), chance.randint(0, 4))}


def strip_of(chance: random.Random) -> list[str]:
    return chance.choice([STRIP, STRIP, some(chance, STRIPPED_BESIDE), STRIP + some(chance, STRIPPED_BESIDE)])


def issuers_of(chance: random.Random) -> list[Issuer]:
    names = ["first", "second", "third", "fourth"][:chance.randint(1, 4)]
    found = []
    for name in names:
        source, algorithms = chance.choice(KEYS)
        iss = chance.choice([f"https://{name}.test", f"https://{name}.test", "https://shared.test", "*"])
        found.append(Issuer(
            name, iss, chance.choice([["https://api.test"], ["https://api.test", "other"], ["*"]]), algorithms, source, name,
            subject=chance.choice([["sub"], ["sub"], ["user_id", "sub"], ["email"]]),
            types=chance.choice([["JWT", "at+jwt"], ["JWT"], ["at+jwt"]]), required_type=chance.random() < 0.15,
            refuse_claims=chance.choice([[], [], ["azp"], ["scope", "events"]]),
            maximum_lifetime=chance.choice([None, None, None, 7200]),
            token_from=chance.choice([["header"], ["header"], some(chance, PLACES, most=3)]),
            trusted_origins=chance.choice([[], some(chance, PAGES, most=2)])))
    return found


def sessions_of(chance: random.Random) -> list[Session]:
    if chance.random() < 0.5:
        return []
    return [Session(name, prefix, chance.random() < 0.5, some(chance, PAGES, most=2))
            for name, prefix in some(chance, [("browser", "better-auth"), ("other", "my-app")])]


def path_of(chance: random.Random) -> str:
    names = iter(chance.sample(CAPTURES, 2))
    segments = [next(names, "b") if chance.random() < 0.3 else chance.choice(SEGMENTS) for _ in range(chance.randint(0, 3))]
    if chance.random() < 0.5:
        segments.append("**")
    return "/" + "/".join(segments)


def auth_of(chance: random.Random, whole: Configuration) -> list[str]:
    """Issuers that share a name are told apart by their algorithms, or the file would be refused."""
    chosen: list[str] = []
    for name in chance.sample(sorted(whole.issuers), len(whole.issuers)):
        issuer = whole.issuers[name]
        others = [whole.issuers[other] for other in chosen if whole.issuers[other].iss == issuer.iss]
        if chance.random() < 0.6 and not any(set(issuer.algorithms) & set(other.algorithms) for other in others):
            chosen.append(name)
    return chosen + [name for name in whole.sessions if chance.random() < 0.6]


def route_of(chance: random.Random, whole: Configuration) -> Route:
    path = path_of(chance)
    route = Route(path, chance.choice(sorted(whole.upstreams)))
    route.names = auth_of(chance, whole) if chance.random() < 0.75 else []
    route.optional = bool(route.names) and chance.random() < 0.3
    route.hosts = [host.lower() for host in some(chance, HOSTS, most=2)] if chance.random() < 0.25 else []
    route.methods = chance.choice(METHODS) if chance.random() < 0.3 else []
    if route.names:
        route.require = require_of(chance, route) if chance.random() < 0.5 else []
        route.scopes = some(chance, ["read", "write"]) if chance.random() < 0.2 else []
        route.denied = chance.choice([403, 403, 404])
    route.cors = chance.choice([None, None, None, "pages", "all"])
    route.rate_limit = chance.choice([None, None, "generous"])
    first = route.segments[0]
    if first not in ("", "**") and not first.startswith("{") and chance.random() < 0.2:
        route.strip_prefix = "/" + first
    return route


def require_of(chance: random.Random, route: Route) -> list[dict[str, list[str]]]:
    captures = [segment for segment in route.segments if segment.startswith("{")]
    entries = [{"role": ["admin"]}, {"role": ["admin", "editor"]}, {"org.id": ["acme"]}, {"level": ["5"]}, {"admin": ["true"]}]
    entries += [{"sub": [capture]} for capture in captures] * 8
    entries += [{"email": [capture + "@example.com"]} for capture in captures]
    tables = []
    for _ in range(chance.choice([1, 1, 1, 2])):
        table: dict[str, list[str]] = {}
        for entry in chance.sample(entries, chance.choice([1, 1, 2])):
            table |= entry
        tables.append(table)
    return tables


def is_same(one: Route, other: Route) -> bool:
    """Equally specific, with paths, hosts and methods in common: an error in a file."""
    if rank(one) != rank(other) or len(one.segments) != len(other.segments):
        return False
    for mine, theirs in zip(one.segments, other.segments):
        if mine != theirs and not (mine.startswith("{") and theirs.startswith("{")):
            return False
    return (not one.hosts or bool(set(one.hosts) & set(other.hosts))) and (not one.methods or bool(set(one.methods) & set(other.methods)))
