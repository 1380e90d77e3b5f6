"""What a request can meet on its way: the scenarios whose cost is counted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import NamedTuple

from . import requests

# How the names of scenarios begin in which nghttp2 works.
OVER_HTTP2 = "HTTP/2: "
TO_HTTP2 = "to an HTTP/2 server: "
# How the names of backends end whose proxy speaks TLS with its clients.
BEHIND_TLS = " behind TLS"


class Scenario(NamedTuple):
    name: str
    requests: Iterator[bytes]
    status: int
    # How many requests are counted.
    count: int
    # The backend behind the proxy.
    backend: str = "small"
    # The client speaks HTTP/2, one request at a time.
    multiplexed: bool = False


def all_scenarios(tokens: dict[str, list[str]], count: int) -> list[Scenario]:
    """Endless requests of each scenario. The proxy remembers 16 tokens, so 4 in turn are cached ones, and 2,000 in
    turn are each new when they come."""
    known = tokens["HS256"][:4]

    def each(make) -> Iterator[bytes]:
        return cycle([make(token) for token in known])

    def new(algorithm: str) -> Iterator[bytes]:
        return cycle([requests.get(token) for token in tokens[algorithm]])

    return [
        Scenario("get, cached token", each(requests.get), 200, count),
        *(Scenario(f"get, new {name} token", new(name), 200, count) for name in tokens),
        Scenario("post of 1 KiB", each(lambda token: requests.post(token, 1024)), 200, count),
        Scenario("refused: no token", cycle([requests.get(None)]), 401, count),
        Scenario("refused: bad signature", each(lambda token: requests.get(spoiled(token))), 401, count),
        Scenario("answer of 1 MiB", each(lambda token: requests.get(token, f"/{1 << 20}")), 200, max(count // 10, 20),
                 "bulk"),
        Scenario(f"{OVER_HTTP2}get, cached token", each(requests.get), 200, count, multiplexed=True),
        Scenario(f"{OVER_HTTP2}TLS: get, cached token", each(requests.get), 200, count, f"small{BEHIND_TLS}", multiplexed=True),
        Scenario(f"{TO_HTTP2}get, cached token", each(requests.get), 200, count, "small over HTTP/2"),
    ]


def spoiled(token: str) -> str:
    """The token with another character in the middle of its signature."""
    place = len(token) - 20
    return token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1:]
