"""Issuers by chance whose keys come from the network: sets that change, odd keys in them, servers that fail for a while."""

from __future__ import annotations

import json
import random

from harness import betterauth
from harness import tokens as keys

from . import network_keys, random_configuration, random_requests
from .network_keys import Key, Network
from .random_credentials import Credentials, claims_of, damaged, mistaken
from .settings import Configuration, Issuer, Request

NAMES = ["k1", "k2", "k3", "k4", "k5", "k6"]  # the same ones for every issuer (J4)
ALGORITHMS = ["ES256", "ES256", "EdDSA", "ES384"]
OTHERS = ["first", "second", "third", "fourth"]


def reply(body: bytes, status: str = "200 OK", *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def document(published: list[Key]) -> bytes:
    return json.dumps({"keys": [key.jwk for key in published]}).encode()


def outages() -> list[bytes]:
    """What is no key set, whatever it looks like; each has a good key in it, where it has any."""
    good = Key(keys.jwk(keys.key("ES256", "outage"), kid="k1", alg="ES256"), "ES256", "outage")
    text = document([good])
    odd = [good.jwk | {"use": "enc"}, keys.jwk(keys.key("rsa1024", "outage"), kid="k2")]
    return [
        reply(text, "500 Internal Server Error"), reply(text, "404 Not Found"), reply(text, "203 Elsewhere"), b"", b"SSH-2.0-OpenSSH_9.2\r\n",
        reply(text)[:-30], reply(b"<html>"), reply(b""), b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", reply(b'{"keys":[]}'), reply(b"[]"),
        reply(b'{"keys":{}}'), reply(text.replace(b"{", b'{"keys":[],', 1)), reply(text + b"x"), reply(json.dumps({"keys": odd}).encode()),
        reply(json.dumps({"keys": [good.jwk | {"kid": str(number)} for number in range(101)]}).encode()), reply(text + b" " * 262144),
        reply(b"", "302 Found", "Location: http://localhost:1/jwks"), reply(b"", "302 Found", "Location: //127.0.0.2:1/jwks"), reply(b"", "302 Found")]


def configuration(chance: random.Random, port: int) -> Configuration:
    found = random_configuration.configuration(chance)
    for place, issuer in enumerate(found.issuers.values()):
        if place == 0 or chance.random() < 0.6:
            from_network(chance, issuer, found, port)
    return found


def from_network(chance: random.Random, issuer: Issuer, whole: Configuration, port: int) -> None:
    """Those that share a name are told apart by their algorithms, which stay within what the file's keys had."""
    algorithms = [name for name in issuer.algorithms if not name.startswith("HS")]
    if not algorithms:
        if any(other is not issuer and other.iss == issuer.iss for other in whole.issuers.values()):
            return
        algorithms = ["ES256", "EdDSA", "ES384"]
    issuer.source, issuer.algorithms = "network", algorithms
    issuer.network = Network(f"/{issuer.name}/jwks", cooldown=chance.choice(["1h", "100ms", "100ms"]))
    if issuer.iss not in ("*", "https://shared.test") and chance.random() < 0.3:
        issuer.network.discovers = chance.choice(["openid-configuration", "oauth-authorization-server"])
        issuer.iss, issuer.network.cooldown = f"http://127.0.0.1:{port}/{issuer.name}", "1h"
    issuer.network.published = key_set(chance, issuer)
    if chance.random() < 0.15:
        issuer.network.outage = chance.choice(outages())  # which lasts
    else:
        issuer.network.known = issuer.network.published


def key_set(chance: random.Random, issuer: Issuer) -> list[Key]:
    found = [key(chance, issuer, name) for name in chance.sample(NAMES, chance.randint(1, 4))]
    return found if network_keys.usable(found, issuer.algorithms) else key_set(chance, issuer)


def key(chance: random.Random, issuer: Issuer, name: str) -> Key:
    """Of this name there may be another one at another time."""
    algorithm = chance.choice(issuer.algorithms if chance.random() < 0.85 else ["ES256", "ES512"])
    owner = f"{issuer.name}/{name}/{chance.choice([1, 1, 2])}" if not algorithm.startswith("RS") else issuer.name
    jwk = keys.jwk(keys.key_for(algorithm, owner), kid=name)
    jwk |= chance.choice([{"alg": algorithm}] * 4 + [{}, {"alg": algorithm, "use": "sig"}, {"key_ops": ["verify"]}])
    if chance.random() < 0.12:
        jwk = jwk | chance.choice([{"use": "enc"}, {"key_ops": ["sign"]}, {"kty": "XYZ"}, {"kid": None}, {"alg": "ES512"}, {"alg": "HS256"}])
    return Key({member: value for member, value in jwk.items() if value is not None}, algorithm, owner)


class NetworkCredentials(Credentials):
    def token(self) -> None:
        issuer = self.issuer()
        if not issuer.network:
            return super().token()
        if self.configuration.tokens and self.chance.random() < 0.3:
            text = self.chance.choice(self.configuration.tokens)
        else:
            text = damaged(self.chance, signed(self.chance, self.configuration, issuer, self.somebody()))
        self.configuration.tokens.append(text)
        self.put(self.chance.choice(issuer.token_from), text)


def signed(chance: random.Random, configuration: Configuration, issuer: Issuer, user: str) -> str:
    network = issuer.network
    if network.gone and chance.random() < 0.1:
        chosen = chance.choice(network.gone)
    else:
        chosen = chance.choice(network.published if network.known is None or chance.random() < 0.2 else network.known)
    algorithm, owner = chosen.algorithm, chosen.owner
    if algorithm not in issuer.algorithms:
        algorithm = chance.choice(issuer.algorithms)  # with a signature of another key
    header = {"alg": algorithm, "typ": issuer.types[0], "kid": chosen.jwk.get("kid")}
    if header["kid"] is None or chance.random() < 0.08:
        del header["kid"]
    if chance.random() < 0.04:
        header["kid"] = chance.choice(["nobody's", "K1", "k1 ", "", 5, None, ["k1"]])
    if chance.random() < 0.05:
        # Another issuer's key of that name, or another one's kid.
        header["kid"], owner = chance.choice([(chosen.jwk.get("kid"), f"{chance.choice(OTHERS)}/k1/1"), (chance.choice(NAMES[:2]), owner)])
    if chance.random() < 0.03:
        header["jku"] = header["x5u"] = "http://127.0.0.1:1/jwks"
    claims = claims_of(chance, issuer, user)
    if chance.random() < 0.12:
        mistaken(chance, configuration, issuer, claims, header)
    return keys.raw_token(betterauth.dump(header).encode(), betterauth.dump(claims).encode(), algorithm, keys.key_for(algorithm, owner))


def request(chance: random.Random, configuration: Configuration) -> Request:
    return random_requests.request(chance, configuration, NetworkCredentials)
