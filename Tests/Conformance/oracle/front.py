"""The decision seen from outside: who asks, what the answer says besides its status, and how often somebody may come."""

from __future__ import annotations

import dataclasses
import ipaddress
from dataclasses import dataclass, field

from . import pages, peers, places, questions, replies, targets, upstream_fields
from .authentication import authenticate
from .decision import authorize, check_method, forward
from .proof import Proven
from .routing import route_of
from .settings import Answered, Configuration, Forwarded, Limit, Listener, Refused, Request, Route
from .targets import Target

# So often has each bucket been taken from, by the limit's name and whom it counts.
Counted = dict[tuple[str, str], int]


@dataclass
class Seen:
    """What happens, and what the client, or whoever asks, gets back."""

    outcome: Forwarded | Answered | None = None  # None: closed without an answer
    fields: dict[str, list[str]] = field(default_factory=dict)
    client: str | None = None
    spends: list[tuple[str, str]] = field(default_factory=list)
    route: Route | None = None
    rule: str | None = None
    somebody: Proven | None = None


def decide(configuration: Configuration, request: Request, now: float, counted: Counted) -> Seen:
    seen = Seen()
    try:
        peer = peers.peer_of(request)
    except peers.ClosedWithoutAnswer:
        return seen
    seen.client = str(peer) if peer else None
    try:
        answered(configuration, request, now, counted, seen)
    except Refused as refused:
        seen.outcome = Answered(refused.status, refused.codes)
        if refused.status == 401:
            seen.fields |= {"www-authenticate": ["Bearer"], "cache-control": ["no-store"]}
    return seen


def answered(configuration: Configuration, request: Request, now: float, counted: Counted, seen: Seen) -> None:
    asks = request.listener.mode == "forward-auth"
    check_method(request.method)
    check_single(request)
    places.authorization(request)
    if asks:
        request = questions.asked_about(request)
        check_method(request.method)
    target = targets.parse(request.target, request.host)
    origin = peers.origin(request, target, reads_forwarded=not asks)
    seen.client = str(origin.client) if origin.client else None
    if request.listener.mode == "redirect":
        redirect(seen, replies.over_tls(request.listener.redirect, target))
        return
    if answers_preflights(request.listener) and (route := pages.preflight_route(configuration, request, target)):
        seen.route, seen.outcome = route, pages.preflight(configuration, route, request)
        tell(configuration, request, seen, is_preflight=seen.outcome.status == 204)
        return
    match = route_of(configuration, target, request.method)
    seen.route = match.route
    tell(configuration, request, seen)
    if match.route.redirect:
        if origin.scheme == "https":
            raise Refused(404, "no_route")
        redirect(seen, replies.over_tls(match.route.redirect, target))
        return
    try:
        counted_somebody(configuration, request, target, match.route, now, origin, counted, seen)
    except Refused as refused:
        if refused.status != 401 or not match.route.sign_in or not replies.navigates(request):
            raise
        seen.outcome = Answered(302, ())
        seen.fields |= {"location": [replies.sign_in(configuration, request, target, match.route)], "cache-control": ["no-store"]}
        return
    authorize(match, seen.somebody)
    if asks:
        confirm(configuration, request, seen)
    else:
        seen.outcome = forward(configuration, request, target, match.route, seen.somebody)


def answers_preflights(listener: Listener) -> bool:
    """To whoever asks by a question, 204 would mean "let it pass"."""
    return listener.mode != "forward-auth"


def counted_somebody(configuration: Configuration, request: Request, target: Target, route: Route, now: float, origin: peers.Origin,
                     counted: Counted, seen: Seen) -> None:
    """Addresses count before anything is looked at; users, or nobody where nobody may come, before it is asked what they may."""
    limit = configuration.limits.get(route.rate_limit)
    spend(limit, "address", origin, None, counted, seen)
    asks_nothing = dataclasses.replace(route, require=[], scopes=[])
    seen.somebody = authenticate(configuration, request, target, asks_nothing, now)
    spend(limit, "user", origin, seen.somebody, counted, seen)
    if seen.somebody is None and route.asks_for_somebody:
        raise Refused(401, "token_missing")


def check_single(request: Request) -> None:
    """H7: what decides has one value."""
    for name in ("origin", "access-control-request-method"):
        if len(request.all(name)) > 1:
            raise targets.bad()


def confirm(configuration: Configuration, request: Request, seen: Seen) -> None:
    """Yes, and what the backend is to be told: who it is, and the upstream's own `Authorization`. Nothing is for a page."""
    seen.outcome, seen.rule = Answered(200, ()), None
    seen.fields = {name.lower(): [value] for name, value in upstream_fields.identity(configuration, seen.somebody).items()}
    upstream = configuration.upstreams[seen.route.upstream]
    if upstream.authorization == "bearer":
        seen.fields["authorization"] = [upstream_fields.authorization(request, upstream)]
    elif upstream.authorization == "mint" and seen.somebody:
        seen.fields["authorization"] = ["MINTED"]


def redirect(seen: Seen, where: str) -> None:
    seen.outcome = Answered(308, ())
    seen.fields["location"] = [where]


def tell(configuration: Configuration, request: Request, seen: Seen, is_preflight: bool = False) -> None:
    rule = configuration.cors.get(seen.route.cors)
    seen.rule = seen.route.cors
    if rule:
        seen.fields |= {name: [value] for name, value in replies.cross_origin(rule, request, is_preflight).items()}


def spend(limit: Limit | None, step: str, origin: peers.Origin, somebody: Proven | None, counted: Counted, seen: Seen) -> None:
    """One of the bucket of the user, or of the address that nobody's request comes from; whoever has no address is not counted."""
    if limit is None or limit.key != step:
        return
    if somebody is not None:
        whom = f"{somebody.name}: {somebody.user}"
    elif origin.client is None:
        return
    elif origin.client.version == 6:
        whom = str(ipaddress.ip_network((origin.client, 64), strict=False))
    else:
        whom = str(origin.client)
    if counted.get((limit.name, whom), 0) >= limit.burst:
        raise Refused(429, "rate_limited")
    seen.spends.append((limit.name, whom))
