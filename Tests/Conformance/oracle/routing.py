"""Which route a request is for: the most specific one that has its path, host and method. Order in the file means nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .settings import Configuration, Refused, Route
from .targets import Target, bad, decoded

LITERAL, CAPTURE, END, REST = range(4)


@dataclass
class Match:
    route: Route
    captures: dict[str, str]


def rank(route: Route) -> tuple:
    """Less is more specific: the segments from the left, then a route with `host`, then one with `methods`."""
    kinds = [REST if s == "**" else CAPTURE if s.startswith("{") else LITERAL for s in route.segments]
    if kinds[-1] != REST:
        kinds.append(END)
    return (kinds, not route.hosts, not route.methods)


def fold(text: str) -> str:
    """As comparisons that do not look at case: by Unicode, where İ, ı are i, the Kelvin sign is k and ſ is s."""
    return re.sub("[\u0130\u0131]", "i", text).casefold()


def exactly(want: str, got: str, _: int) -> bool:
    return want == got


def capture(route: Route, segments: list[str], same=exactly) -> dict[str, str] | None:
    """What the path's captures hold; None where the path is another one."""
    pattern = route.segments
    if pattern[-1] == "**":
        pattern = pattern[:-1]
        if len(segments) < len(pattern):
            return None
        segments = segments[:len(pattern)]
    if len(segments) != len(pattern):
        return None
    captures = {}
    for place, (want, got) in enumerate(zip(pattern, segments)):
        if want.startswith("{"):
            if not got:
                return None
            captures[want[1:-1]] = decoded(got)
        elif not same(want, decoded(got), place):
            return None
    return captures


def matches(configuration: Configuration, target: Target, method: str, segments: list[str] | None = None,
            same=exactly) -> list[Match]:
    """All routes that serve this, the most specific first."""
    found = []
    for route in configuration.routes:
        if route.hosts and target.host not in route.hosts or route.methods and method not in route.methods:
            continue
        captures = capture(route, target.segments if segments is None else segments, same)
        if captures is not None:
            found.append(Match(route, captures))
    return sorted(found, key=lambda match: rank(match.route))


def route_of(configuration: Configuration, target: Target, method: str) -> Match:
    if any(segment and not decoded(segment).partition(";")[0] for segment in target.segments):
        raise bad()  # without its parameters a segment would be empty
    found = matches(configuration, target, method)
    own = found[0] if found else None
    refuse_other_case(configuration, target, method, own, target.segments)
    plain = without_parameters(target.segments)
    if plain != target.segments:
        bare = matches(configuration, target, method, plain)
        if (bare[0].route if bare else None) is not (own.route if own else None):
            raise bad()
        refuse_other_case(configuration, target, method, own, plain)
    if own is None:
        raise Refused(404, "no_route")
    return own


def without_parameters(segments: list[str]) -> list[str]:
    """Some backends take `/api;x` for `/api`: where that is another route's, it goes by neither."""
    return [re.split(";|%3[bB]", segment)[0] for segment in segments]


def refuse_other_case(configuration, target, method, own: Match | None, segments: list[str]) -> None:
    """A path that is another route's, one that asks for a user, but for the case of its letters goes by no wider one."""
    if own is None:
        return

    def blindly(want: str, got: str, place: int) -> bool:
        # A route with a literal segment there tells the two apart itself.
        is_told = place < len(own.route.segments) and not re.match(r"\{|\*\*", own.route.segments[place])
        return want == got or not is_told and fold(want) == fold(got)
    for match in matches(configuration, target, method, segments, blindly):
        if rank(match.route) >= rank(own.route):
            break
        if match.route.names:
            raise bad()
