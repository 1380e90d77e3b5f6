"""Requests by chance against a configuration: mostly for one of its routes, often with one thing that is odd."""

from __future__ import annotations

import random
import urllib.parse

from .random_configuration import PAGES
from .random_credentials import USERS, Credentials
from .settings import Configuration, Request, Route

SPELLINGS = ["X-User-Id", "X_User_Id", "x.user.id", "X-User_Id", "x~user~id", "X-USER-ID"]
FORGED = SPELLINGS + [
    "X-User-Email", "X_User_Anything", "Remote-User", "remote_user", "X-Remote-User", "X-Forwarded-User", "X-Auth-Request-Email",
    "X-Roles", "x_roles", "X-Level", "X.Tenant", "X-Admin", "X-WebAuth-User", "Cf-Access-Jwt", "X-Tenant-Id", "x_debug",
    "X-SSL-Client-Cert", "X-Client-Cert", "XFCC", "Proxy", "X-Original-URL", "X_Rewrite_URL", "X-HTTP-Method-Override", "SCRIPT_NAME",
    "Path-Info", "X-Script-Name", "X-Scheme", "X-Middleware-Subrequest", "X-Accel-Mapping", "Client-IP", "WL-Proxy-Client-IP",
    "X-Amzn-Mtls-Clientcert", "X-Real-IP"]
OF_THIS_HOP = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X_Forwarded_For", "Forwarded"]
HARMLESS = ["Accept", "X-Test", "X-Users", "X-User", "Remote-Users", "X-Role", "Accept-Language", "If-None-Match", "X-Userid", "Sec-Fetch-Dest"]
NOMINATED = ["X-User-Id", "x-test", "close, Authorization", "Cookie", "X-Forwarded-For", "keep-alive, accept", "Origin"]


def request(chance: random.Random, configuration: Configuration, kind=Credentials) -> Request:
    route = chance.choice(configuration.routes)
    listener = chance.choice(configuration.listeners)
    method = chance.choice(route.methods) if route.methods and chance.random() < 0.8 else method_of(chance)
    user = chance.choice(USERS)
    credentials = kind(chance, configuration, route, user)
    path = path_of(chance, route, user)
    if chance.random() < 0.15:
        path = odd_path(chance, path)
    host = host_of(chance, route)
    target = path + query_of(chance, credentials)
    if listener.protocol != "h2" and chance.random() < 0.03:
        target, host = f"http://{host}{target}", chance.choice([host, "one.test"])
    fields = credentials.fields() + other_fields(chance, listener.trusts_peer)
    if method == "OPTIONS" and chance.random() < 0.6:
        fields += [("Origin", chance.choice([*PAGES, "https://evil.test"])), ("Access-Control-Request-Method", chance.choice(["GET", "POST"]))]
    else:
        fields += page_of(chance)
    if listener.protocol == "h2":
        fields = [(name.lower(), value) for name, value in fields if name != "Connection"]
    chance.shuffle(fields)
    return Request(listener, method, target, host, fields, b"x" if method in ("POST", "PUT", "PATCH") else None)


def method_of(chance: random.Random) -> str:
    return chance.choice(["GET"] * 20 + ["POST"] * 6 + ["PUT", "DELETE", "HEAD", "OPTIONS", "OPTIONS", "PATCH", "PURGE"] * 2 + ["get", "TRACE"])


def path_of(chance: random.Random, route: Route, user: str) -> str:
    found = []
    for segment in route.segments:
        if segment == "**":
            found += [chance.choice(["a", "b", "api", "alice", "x", "c%20d"]) for _ in range(chance.randint(0, 2))]
        elif segment.startswith("{"):
            own = urllib.parse.quote(user)
            found.append(own if chance.random() < 0.7 else chance.choice(["alice", "bob", "%C3%A9", "Alice", "alice@", "a", "api"]))
        else:
            found.append(segment)
    return "/" + "/".join(found)


def odd_path(chance: random.Random, path: str) -> str:
    segments = path[1:].split("/")
    place = chance.randrange(len(segments))
    segment = segments[place]
    changed = chance.choice([
        segment.upper(), segment.capitalize(), segment.swapcase(), segment + ";v=1", segment + ";", segment + "%3Bx", ";" + segment,
        segment + "%2f..", segment + "%2F", "..", ".", "%2e%2e", "..;", segment + "/", "", segment + "//", "%61" + segment[1:],
        "%2561" + segment[1:], segment.replace("i", "%C4%B1"), segment.replace("s", "%C5%BF"), segment.replace(":", "%3A"), segment + "%00",
        segment + "%5c", segment + "\\", segment + "%", segment + "#x", segment + "%20", segment + "%FF", "..%253b", "%c0%ae", segment + "/" + segment])
    return "/" + "/".join(segments[:place] + [changed] + segments[place + 1:])


def query_of(chance: random.Random, credentials: Credentials) -> str:
    pieces = credentials.query + chance.choice([[], [], ["q=1"], ["a=b&c", "/../x"], ["x=%2f"]])
    chance.shuffle(pieces)
    return "?" + "&".join(pieces) if pieces or chance.random() < 0.03 else ""


def host_of(chance: random.Random, route: Route) -> str:
    host = chance.choice(route.hosts) if route.hosts and chance.random() < 0.8 else chance.choice(["usher.test", "one.test", "two.test"])
    if chance.random() < 0.85:
        return host
    return chance.choice([
        host.upper(), host + ".", host + ":8080", host.capitalize() + ".:80", host + "..", host + ":x", "user@" + host, host + ".evil.test"])


def other_fields(chance: random.Random, trusted: bool) -> list[tuple[str, str]]:
    """Forged ones say "evil" wherever they may arrive at a backend that believes them."""
    fields = [(name, "evil") for name in chance.sample(FORGED, chance.choice([0, 0, 1, 2, 4]))]
    fields += [(name, "fine") for name in chance.sample(HARMLESS, chance.choice([0, 0, 1, 2]))]
    if trusted and chance.random() < 0.5:
        told = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "seen.test")]
        fields += chance.choice([chance.sample(told, chance.randint(1, 3)), [("Forwarded", "for=203.0.113.9;proto=https;host=seen.test")]])
        if chance.random() < 0.2:
            fields.append(("Forwarded", "for=6.6.6.6"))
    elif not trusted and chance.random() < 0.3:
        fields += [(name, "6.6.6.6") for name in chance.sample(OF_THIS_HOP, 2)]
    if chance.random() < 0.1:
        fields.append(("Connection", chance.choice(NOMINATED)))
    return fields


def page_of(chance: random.Random) -> list[tuple[str, str]]:
    return chance.choice([
        *[[]] * 6, *[[("Origin", chance.choice(PAGES))]] * 6, [("Origin", "https://evil.test")], [("Origin", "null")],
        [("Origin", "https://usher.test")], [("Referer", chance.choice(PAGES) + "/page")], [("Referer", "https://evil.test/")],
        [("Sec-Fetch-Site", chance.choice(["cross-site", "same-origin", "same-site", "none"]))]])
