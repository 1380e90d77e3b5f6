"""Pages of other origins: who may read an answer (`cors`), and who may write with a cookie (`trusted_origins`)."""

from __future__ import annotations

import urllib.parse

from . import peers
from .routing import route_of
from .settings import Answered, Configuration, CORS, Refused, Request, Route
from .targets import Target

SAFE = {"GET", "HEAD", "OPTIONS"}


def preflight_route(configuration: Configuration, request: Request, target: Target) -> Route | None:
    """The route with `cors` that serves the method which a whole preflight asks about; every other OPTIONS is a method like any."""
    origin, method = request.first("origin"), request.first("access-control-request-method")
    if request.method != "OPTIONS" or origin is None or not method or request.all("authorization"):
        return None
    if method in ("TRACE", "CONNECT"):
        return None  # nobody serves them
    try:
        route = route_of(configuration, target, method).route
    except Refused:
        return None
    return route if route.cors else None


def preflight(configuration: Configuration, route: Route, request: Request) -> Answered:
    if allowed_origin(configuration.cors[route.cors], request.first("origin")) is None:
        return Answered(403, ("origin_refused",))
    return Answered(204, ())


def allowed_origin(rule: CORS, origin: str | None) -> str | None:
    if rule.origins == ["*"]:
        return "*"
    return origin if origin in rule.origins else None


def told_origin(configuration: Configuration, route: Route | None, request: Request) -> str | None:
    """`Access-Control-Allow-Origin` of every answer of a route, whoever makes it."""
    if route is None or not route.cors:
        return None
    return allowed_origin(configuration.cors[route.cors], request.first("origin"))


def page_of(request: Request) -> str | None:
    """The origin of the page that sent it: `Origin`, or where that is missing `Referer`."""
    page = request.first("referer")
    if request.first("origin") is not None or page is None:
        return request.first("origin")
    parts = urllib.parse.urlsplit(page)
    return f"{parts.scheme}://{parts.netloc}"


def is_safe(request: Request) -> bool:
    """An upgrade is one to whatever the backend takes it for, and no page can send the key by itself."""
    upgrades = peers.is_nominated(request, "upgrade") and request.all("upgrade") or request.all("sec-websocket-key")
    return request.method in SAFE and not request.opens_tunnel and not upgrades


def is_listed(page: str | None, trusted: list[str]) -> bool:
    """Schemes and hosts are the same in any case; browsers write them in lower case."""
    return page is not None and page.lower() in trusted


def check_session_page(request: Request, trusted: list[str]) -> None:
    """A session's cookies write for listed pages alone; one of `Origin` and `Referer` must be there."""
    if not is_safe(request) and not is_listed(page_of(request), trusted):
        raise Refused(403, "origin_refused")


def check_token_page(request: Request, target: Target, trusted: list[str]) -> None:
    """A token in a cookie writes for listed pages and for the host's own; a client that is no browser says nothing of pages."""
    if is_safe(request):
        return
    origin, site = page_of(request), request.first("sec-fetch-site")
    if origin is None:
        if site in ("cross-site", "same-site"):
            raise Refused(403, "origin_refused")
        return
    if is_listed(origin, trusted):
        return
    scheme, _, host = origin.partition("://")
    if scheme not in ("http", "https") or host.lower() != target.authority.lower():
        raise Refused(403, "origin_refused")
