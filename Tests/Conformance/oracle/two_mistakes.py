"""Mistakes with backends of HTTP/2, and with trailers, for `mistakes`."""

from __future__ import annotations

from . import pages, two, upstream_fields

NOTHING = frozenset()


def as_the_client_saw_it(outcome, host, right=two.pseudo_fields):
    return right(outcome, host) | {":scheme": outcome.fields["x-forwarded-proto"][0]}


MISTAKES = [
    ("`TE` goes on", two, "te", lambda request: request.all("te")),
    ("every call is one of HTTP/1.1, too", two, "is_call", lambda request: request.first("content-type") in ("application/grpc", "application/grpc+proto")),
    ("gRPC-Web is gRPC", two, "is_call", lambda request: request.listener.protocol == "h2" and (request.first("content-type") or "").startswith("application/grpc")),
    ("a refused call gets a status of HTTP", two, "of_call", lambda outcome: (outcome.status, None)),
    ("the scheme is the client's", two, "pseudo_fields", as_the_client_saw_it),
    ("`Host` is a field", two, "pseudo_fields", lambda outcome, host, right=two.pseudo_fields: {
        name: value for name, value in right(outcome, host).items() if name != ":authority"}),
    ("trailers may frame, route and authenticate", two, "NO_TRAILERS", NOTHING),
    ("identity is not stripped from trailers", two, "stripped", lambda configuration: [*upstream_fields.NEVER]),
    ("neither is what is never passed on", two, "stripped", lambda configuration: [*configuration.strip, *configuration.identity]),
    ("who is in front may say so in trailers", two, "FORWARDING", []),
    ("what `Connection` names is a trailer", two, "nominated", lambda request: set()),
    ("none passes behind a length", two, "has_place", lambda request, upstream: request.first("content-length") is None),
    ("no trailer passes", two, "trailers", lambda *given: []),
    ("an upgrade is none but to WebSocket", pages, "is_safe", lambda request: request.method in pages.SAFE),
]
