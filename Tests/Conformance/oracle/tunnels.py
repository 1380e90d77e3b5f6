"""Handshakes of WebSocket: what is one, the token that it may bear among its subprotocols, and what the backend sees of it."""

from __future__ import annotations

import re

from .settings import Configuration, Request, Route


def elements(request: Request, name: str) -> list[str]:
    return [one for value in request.all(name) for one in parts(value)]


def parts(line: str) -> list[str]:
    return [one for part in line.split(",") if (one := part.strip(" \t"))]


def is_handshake(request: Request) -> bool:
    """Of HTTP/1.1: GET without content, and an upgrade to WebSocket among others. What is none goes on without its upgrade."""
    options = [option.lower() for option in elements(request, "connection")]
    wanted = [one.lower() for one in elements(request, "upgrade")]
    return request.method == "GET" and request.body is None and "upgrade" in options and "websocket" in wanted


def asks_for_upgrade(request: Request) -> bool:
    """To whatever; over HTTP/2 there is an extended CONNECT for it."""
    return request.opens_tunnel or bool(elements(request, "upgrade")) and "upgrade" in [option.lower() for option in elements(request, "connection")]


def tokens(request: Request) -> list[str]:
    """Behind each `bearer`, in the same line; where an upgrade is asked for."""
    lines = request.all("sec-websocket-protocol") if asks_for_upgrade(request) else []
    return [token for line in lines for token in re.findall(r"(?<![^,])bearer,([^,]+)", ",".join(parts(line)))]


def bears_token(configuration: Configuration, request: Request, route: Route) -> bool:
    """One that an issuer of the route looks for there."""
    return bool(tokens(request)) and any("websocket" in issuer.token_from for issuer in configuration.issuers_of(route))


def left(request: Request) -> list[str]:
    """The subprotocols for the backend, without the tokens."""
    rest = [re.sub(r"(?<![^,])bearer(,[^,]+|$)", "", ",".join(parts(line))) for line in request.all("sec-websocket-protocol")]
    return [line for text in rest if (line := ",".join(part for part in text.split(",") if part))]


def chosen(request: Request, has_token: bool, backends: str | None) -> str | None:
    """What the client is told: who asked with a token alone is answered that it was understood."""
    return backends or ("bearer" if has_token else None)
