"""What the backend sees: the client's fields without what it could forge, and what the proxy itself says (docs/security.md, rules H)."""

from __future__ import annotations

import re

from . import certificates, claims, peers, places, sessions, tunnels
from .proof import Proven
from .settings import Configuration, Request, Route, Upstream
from .targets import Target

HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "http2-settings", "proxy-authorization"}
FORWARDING = ["x-forwarded-*", "forwarded", "x-real-ip"]
# What no client may say on any route, whatever `strip` is: certificates, httpoxy, other paths, methods, hosts and addresses.
NEVER = [
    "x-ssl-client-*", "x-client-cert*", "xfcc", "proxy", "x-original-url", "x-rewrite-url", "x-http-method-override", "script-name",
    "path-info", "x-script-name", "x-scheme", "x-middleware-*", "x-accel-*", "client-ip", "wl-proxy-*", "x-amzn-mtls-*"]


def fold(name: str) -> str:
    """Every byte that is no letter and no digit is `-`, and case is nothing (H1, H2)."""
    return re.sub("[^0-9a-z]", "-", name.lower())


def is_named(name: str, patterns: list[str]) -> bool:
    for pattern in map(str.lower, patterns):
        if pattern.endswith("*"):
            if fold(name).startswith(fold(pattern[:-1])):
                return True
        elif fold(name) == fold(pattern):
            return True
    return False


def kept(configuration: Configuration, request: Request) -> list[tuple[str, str]]:
    """The client's fields that go on as they are; credentials and forwarding are not among them."""
    nominated = {option.strip().lower() for value in request.all("connection") for option in value.split(",")}
    removed = [*configuration.strip, *configuration.identity, *NEVER]
    found = []
    for name, value in request.fields:
        low = name.lower()
        if low in HOP_BY_HOP or low in nominated or low in ("authorization", "cookie", "host", "dpop"):
            continue
        if is_named(name, removed) or is_named(name, FORWARDING):
            continue
        found.append((low, value))
    return found


def upstream_fields(configuration: Configuration, request: Request, target: Target, route: Route, upstream: Upstream,
                    somebody: Proven | None) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}

    def add(name: str, value: str | None) -> None:
        if value is not None:
            fields.setdefault(name.lower(), []).append(value)
    for name, value in kept(configuration, request):
        add(name, value)
    add("authorization", authorization(request, upstream))
    for value in proofs(configuration, request, route, upstream):
        add("dpop", value)
    add("cookie", cookie(configuration, request, route, upstream))
    for name, value in (identity(configuration, somebody) | certificates.identity(configuration.identity, request.certificate)).items():
        add(name, value)
    for name, values in peers.origin(request, target).fields.items():
        for value in values:
            add(name, value)
    if request.opens_tunnel:
        fields |= {"connection": ["upgrade"], "upgrade": ["websocket"]}
    if tunnels.bears_token(configuration, request, route):
        fields.pop("sec-websocket-protocol", None)
        for value in tunnels.left(request):
            add("sec-websocket-protocol", value)
    add("host", target.authority if upstream.preserve_host else "SERVER")
    add("via", "2 usher" if request.listener.protocol == "h2" else "1.1 usher")
    return fields


def identity(configuration: Configuration, somebody: Proven | None) -> dict[str, str]:
    """Inserted or absent, there is no third way: what a claim does not say, no client says in its place (H3)."""
    if somebody is None:
        return {}
    values = {name: claims.header_value(claims.of(somebody, wanted), name) for name, wanted in configuration.identity.items()}
    # Recorded bytes are read as Latin-1.
    return {name: value.encode().decode("latin-1") for name, value in values.items() if value is not None}


def authorization(request: Request, upstream: Upstream) -> str | None:
    if upstream.authorization == "bearer":
        return "Bearer service-token-of-the-model"
    if upstream.authorization == "forward" and not peers.is_nominated(request, "authorization"):
        return request.first("authorization")
    return None  # "mint" is looked at by itself


def proofs(configuration: Configuration, request: Request, route: Route, upstream: Upstream) -> list[str]:
    """A proof goes with its token. Where no issuer of the route has `dpop` it is nothing of the proxy's: a token endpoint needs it."""
    if peers.is_nominated(request, "dpop"):
        return []
    is_ours = any(issuer.dpop for issuer in configuration.issuers_of(route))
    return request.all("dpop") if upstream.authorization == "forward" or not is_ours else []


def cookie(configuration: Configuration, request: Request, route: Route, upstream: Upstream) -> str | None:
    """All cookies but those that the route's issuers and sessions look into; a token's goes on with "forward", a session's never."""
    if peers.is_nominated(request, "cookie"):
        return None
    names = [name for issuer in configuration.issuers_of(route) for name in issuer.names("cookie")]
    found = []
    for one in places.cookies(request):
        if any(sessions.is_own(session, one) for session in configuration.sessions_of(route)):
            continue
        alike = [name for name in names if places.spelled_alike(one.name, name)]
        if alike and not (upstream.authorization == "forward" and one.name in names):
            continue
        if one.text.strip():
            found.append(one.text.strip())
    return "; ".join(found) or None


def target_upstream(configuration: Configuration, target: Target, route: Route) -> str:
    """Byte for byte what was matched, without the route's prefix and without tokens."""
    whole = target.path + ("" if target.query is None else "?" + target.query)
    names = [name for issuer in configuration.issuers_of(route) for name in issuer.names("query")]
    whole = places.without_parameters(whole, names)
    if route.strip_prefix:
        path, mark, query = whole.partition("?")
        kept = path.split("/")[1 + route.strip_prefix.count("/"):]  # by segments: a colon may be written as %3A
        whole = "/" + "/".join(kept) + mark + query
    return whole
