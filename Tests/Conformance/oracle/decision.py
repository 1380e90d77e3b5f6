"""The decision, step by step: target, preflight, route, who, may they, and what the backend sees of it."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field

from . import claims, pages, places, replies, targets, upstream_fields
from .authentication import authenticate
from .proof import Proven
from .routing import Match, route_of
from .settings import Answered, Configuration, Forwarded, Question, Refused, Request, Route


@dataclass
class Decision:
    """What happens; which page of another origin may read the answer; the route and who it was, where it came so far."""

    outcome: Forwarded | Answered
    told_origin: str | None = None
    route: Route | None = None
    somebody: Proven | None = None
    questions: list[Question] = field(default_factory=list)
    fetches: list[str] = field(default_factory=list)
    location: str | None = None  # where a browser is sent to sign in


def decide(configuration: Configuration, request: Request, now: float) -> Decision:
    decision = Decision(Answered(0, ()))
    request = dataclasses.replace(request, questions=decision.questions, fetches=decision.fetches)
    try:
        decision.outcome = steps(configuration, request, now, decision)
    except Refused as refused:
        decision.outcome = Answered(refused.status, refused.codes, refused.errors)
        if refused.status == 401 and decision.route and decision.route.sign_in and replies.navigates(request):
            decision.outcome = Answered(302, () if len(refused.codes) < 2 else refused.codes)
            decision.location = replies.sign_in(configuration, request, targets.parse(request.target, request.host), decision.route)
    decision.told_origin = pages.told_origin(configuration, decision.route, request)
    return decision


def steps(configuration: Configuration, request: Request, now: float, decision: Decision) -> Forwarded | Answered:
    check_method(request.method)
    places.authorization(request)
    target = targets.parse(request.target, request.host)
    if route := pages.preflight_route(configuration, request, target):
        decision.route = route
        return pages.preflight(configuration, route, request)
    match = route_of(configuration, target, request.method)
    decision.route = match.route
    decision.somebody = authenticate(configuration, request, target, match.route, now)
    authorize(match, decision.somebody)
    return forward(configuration, request, target, match.route, decision.somebody)


def check_method(method: str) -> None:
    if method in ("TRACE", "CONNECT"):
        raise Refused(405, "method_not_allowed")  # P8
    if not re.fullmatch(r"[A-Z][A-Z0-9-]*", method):
        raise targets.bad()


def authorize(match: Match, somebody: Proven | None) -> None:
    """`require`, then `scopes`. On an open route neither can be written."""
    route = match.route
    if route.require and not any(claims.holds(somebody, table, match.captures) for table in route.require):
        raise Refused(403, "not_yours") if route.denied == 403 else Refused(404, "no_route")
    if not set(route.scopes) <= (claims.scopes(somebody) if somebody else set()):
        raise Refused(403, "insufficient_scope")


def forward(configuration, request, target, route, somebody) -> Forwarded:
    upstream = configuration.upstreams[route.upstream]
    fields = upstream_fields.upstream_fields(configuration, request, target, route, upstream, somebody)
    minted = somebody.user if upstream.authorization == "mint" and somebody else None
    return Forwarded(upstream, request.method, upstream_fields.target_upstream(configuration, target, route), fields, minted)
