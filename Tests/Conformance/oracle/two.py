"""What a server of HTTP/2 sees of a request that goes there, and what becomes of its trailers (docs/http2.md)."""

from __future__ import annotations

import re

from . import upstream_fields
from .settings import Answered, Configuration, Forwarded, Request, Upstream

# What ends, frames or routes a message, or says who sent it, is no trailer's to say (RFC 9110, 6.5.1).
FORWARDING = upstream_fields.FORWARDING
NO_TRAILERS = {"content-length", "transfer-encoding", "host", "authorization", "cookie", "dpop", "trailer", *upstream_fields.HOP_BY_HOP}


def pseudo_fields(outcome: Forwarded, host: str) -> dict[str, str]:
    """`Host` is `:authority` there, and the scheme is how the server is spoken to."""
    return {":method": outcome.method, ":scheme": "http", ":path": outcome.target, ":authority": host}


def te(request: Request) -> list[str]:
    """What a client says of trailers is between it and the proxy, which itself takes those of a call."""
    return ["trailers"] if is_call(request) else []


def is_call(request: Request) -> bool:
    """Of gRPC, which is over HTTP/2, and not of gRPC-Web."""
    kinds = request.all("content-type")
    return request.listener.protocol == "h2" and any(re.fullmatch(r"application/grpc([+;].*)?", kind) for kind in kinds)


def of_call(outcome: Answered) -> tuple[int, str | None]:
    """The status of HTTP and that of gRPC, where the proxy itself answers a call."""
    return 200, {401: "16", 403: "7", 404: "12", 405: "12", 501: "12", 413: "8", 414: "8", 429: "8", 431: "8", 408: "4", 504: "4",
                 502: "14", 503: "14", 400: "13", 500: "13"}.get(outcome.status)


def has_place(request: Request, upstream: Upstream) -> bool:
    """Behind a length HTTP/1.1 has none for trailers; over HTTP/2 a length says nothing of them (RFC 9113, 8.1)."""
    return upstream.protocol == "h2" or request.first("content-length") is None


def trailers(configuration: Configuration, request: Request, upstream: Upstream) -> list[tuple[str, str]]:
    """None, where `Connection` names what goes no further."""
    if not has_place(request, upstream) or nominated(request) - upstream_fields.HOP_BY_HOP - {"close", "content-length"}:
        return []
    removed = [*stripped(configuration), *FORWARDING]
    return [(name.lower(), value) for name, value in request.trailers if name.lower() not in NO_TRAILERS and not upstream_fields.is_named(name, removed)]


def stripped(configuration: Configuration) -> list[str]:
    return [*configuration.strip, *configuration.identity, *upstream_fields.NEVER]


def nominated(request: Request) -> set[str]:
    return {option.strip(" \t").lower() for value in request.all("connection") for option in value.split(",")} - {""}
