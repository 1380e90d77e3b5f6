"""Backends of HTTP/2 by chance, fields that are of one connection alone, and trailers."""

from __future__ import annotations

import random

from . import random_configuration, random_requests
from .random_requests import FORGED, OF_THIS_HOP
from .settings import Configuration, Request

TRAILERS = ["X-End", "X-Sum", "X-Test", "Grpc-Status", "Content-MD5", "X-Users", "Server-Timing", "ETag"]
NO_TRAILERS = [
    "Authorization", "Cookie", "DPoP", "Content-Length", "Transfer-Encoding", "Host", "Connection", "TE", "Trailer", "Keep-Alive", "Upgrade", "Proxy-Connection"]


def configuration(chance: random.Random) -> Configuration:
    found = random_configuration.configuration(chance)
    for upstream in found.upstreams.values():
        upstream.protocol = chance.choice(["h2", "h2", "http/1.1"])
    return found


def request(chance: random.Random, configuration: Configuration) -> Request:
    found = random_requests.request(chance, configuration)
    is_two = found.listener.protocol == "h2"
    found.fields += chance.choice([[]] * 2 + [[("TE", "trailers")]])
    if not is_two:
        found.fields += chance.choice([[]] * 3 + of_the_hop(chance))
    found.fields += chance.choice([[]] * 12 + [[("Content-Type", kind)] for kind in ("application/grpc", "application/grpc+proto", "application/grpc-web", "text/html")])
    if chance.random() < 0.2:
        found.fields += [("Cookie", chance.choice(["a=1", "b=2; c=3", "d", "e=1;f=2"])) for _ in range(chance.randint(1, 3))]
    if is_two:
        found.fields = [(name.lower(), value) for name, value in found.fields]
    chance.shuffle(found.fields)
    if found.method in ("POST", "PUT", "PATCH") and chance.random() < 0.6:
        found.body = chance.choice([b"", b"x", b"a" * 5000, bytes(range(256)) * 80])
        found.trailers = trailers(chance, is_two)
        if is_two and found.trailers and chance.random() < 0.5:
            found.fields.append(("content-length", str(len(found.body))))
    return found


def of_the_hop(chance: random.Random) -> list[list[tuple[str, str]]]:
    return [
        [("TE", "gzip")], [("TE", "gzip, trailers;q=0.5")], [("TE", "Trailers, deflate")], [("TE", "trailers"), ("Connection", "TE")],
        [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")], [("Upgrade", "h2c")],
        [("Keep-Alive", "timeout=5")], [("Proxy-Connection", "keep-alive")], [("Connection", "keep-alive, X-Test, Cookie")],
        [("Connection", chance.choice(["Host", "Via", "te, x-sum", "X-End", "x-user-id"]))], [("HTTP2-Settings", "AAMAAABk")],
        [("Proxy-Authorization", "Basic dTpw")], [("Trailer", "X-End")], [("X-Large", "y" * 9000)]]


def trailers(chance: random.Random, is_two: bool) -> list[tuple[str, str]]:
    found = [(name, "fine") for name in chance.sample(TRAILERS, chance.choice([0, 1, 1, 2]))]
    found += [(name, "evil") for name in chance.sample(FORGED + OF_THIS_HOP, chance.choice([0, 1, 3]))]
    if not is_two and chance.random() < 0.3:
        found.append((chance.choice(NO_TRAILERS), "5"))
    if is_two and chance.random() < 0.3:
        found.append((chance.choice(["Authorization", "Cookie", "DPoP", "Trailer"]), "5"))
    chance.shuffle(found)
    return [(name.lower(), value) for name, value in found] if is_two else found
