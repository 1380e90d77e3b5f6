"""A listener with `mode = "forward-auth"`: a proxy in front asks about its client's request (docs/forward-auth.md)."""

from __future__ import annotations

import dataclasses

from . import peers
from .settings import Refused, Request
from .targets import bad

NAMES = [("x-original-method", "x-forwarded-method"), ("x-original-uri", "x-forwarded-uri"), ("x-original-host", "x-forwarded-host")]


def asked_about(request: Request) -> Request:
    """The request that the question is about. All three are named, each once, by whoever may ask."""
    if not peers.is_trusted(request.listener, peers.peer_of(request)):
        raise Refused(403, "forbidden")
    if request.body is not None:
        raise bad()
    method, target, host = (once(request, names) for names in NAMES)
    if not target.startswith("/"):
        raise bad()
    return dataclasses.replace(request, method=method, target=target, host=host, opens_tunnel=is_handshake(request))


def once(request: Request, names: tuple[str, str]) -> str:
    said = [value for name in names for value in request.all(name)]
    if len(said) != 1 or not said[0]:
        raise bad()
    return said[0]


def is_handshake(request: Request) -> bool:
    """The proxy in front takes `Connection` and `Upgrade` out of its question, so the key tells."""
    return bool(request.all("sec-websocket-key"))
