"""Handshakes of WebSocket by chance, and what only looks like one."""

from __future__ import annotations

import random

from . import random_configuration, random_requests, tunnels
from .random_credentials import Credentials
from .settings import Configuration, Request

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
PROTOCOLS = ["chat", "v2", "graphql-transport-ws"]


def configuration(chance: random.Random) -> Configuration:
    found = random_configuration.configuration(chance)
    for issuer in found.issuers.values():
        if chance.random() < 0.5:
            issuer.token_from = [*issuer.token_from, "websocket"] if chance.random() < 0.7 else ["websocket"]
            if not issuer.names("cookie"):
                issuer.trusted_origins = []
    return found


class TunnelCredentials(Credentials):
    def put(self, place: str, text: str) -> None:
        if place != "websocket":
            return super().put(place, text)
        self.offers = [*getattr(self, "offers", []), "bearer", text]

    def unusual(self) -> None:
        if self.chance.random() < 0.5:
            return super().unusual()
        self.offers = [*getattr(self, "offers", []), *self.chance.choice([["bearer"], ["bearer", "x"], ["Bearer", "a.b.c"], ["bearer", "a.b.c"]])]


def request(chance: random.Random, configuration: Configuration) -> Request:
    made: list[TunnelCredentials] = []

    def credentials(*given) -> TunnelCredentials:
        made.append(TunnelCredentials(*given))
        return made[0]
    found = random_requests.request(chance, configuration, credentials)
    is_two = found.listener.protocol == "h2"
    if chance.random() < 0.85 and not (is_two and found.body is not None):
        found.method, found.body = "GET", None
    handshake(chance, found, is_two)
    offer(chance, found, getattr(made[0], "offers", []))
    if not is_two:
        found.opens_tunnel = tunnels.is_handshake(found)
    else:
        found.opens_tunnel = found.method == "GET" and chance.random() < 0.85
        found.fields = [(name.lower(), value) for name, value in found.fields]
    return found


def handshake(chance: random.Random, found: Request, is_two: bool) -> None:
    found.fields.append(("Sec-WebSocket-Version", "13"))
    if is_two:
        return
    found.fields = [(name, value) for name, value in found.fields if name != "Connection"]
    found.fields += chance.choice([[("Sec-WebSocket-Key", KEY)]] * 9 + [[]])
    found.fields += chance.choice([[("Connection", option)] for option in ["Upgrade"] * 8 + ["upgrade", "keep-alive, Upgrade", "keep-alive", "Upgrade, X-Test"]])
    found.fields += chance.choice([[("Upgrade", wanted)] for wanted in ["websocket"] * 8 + ["WebSocket", "h2c, websocket", "h2c", "websocket2"]] + [[]])
    chance.shuffle(found.fields)


def offer(chance: random.Random, found: Request, bearers: list[str]) -> None:
    own = chance.sample(PROTOCOLS, chance.choice([0, 0, 1, 2]))
    whole = chance.choice([own + bearers, bearers + own, own[:1] + bearers + own[1:]])
    if not whole:
        return
    if chance.random() < 0.1 and len(whole) > 1:
        place = chance.randrange(1, len(whole))
        found.fields += [("Sec-WebSocket-Protocol", ", ".join(whole[:place])), ("Sec-WebSocket-Protocol", ",".join(whole[place:]))]
    else:
        found.fields.append(("Sec-WebSocket-Protocol", chance.choice([", ", ",", " , "]).join(whole)))
