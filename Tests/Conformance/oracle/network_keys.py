"""Keys that are fetched while the program runs: which set counts, who is a reason to fetch, and what is the case without one
(docs/configuration.md, Keys from the network; docs/security.md, J4, J7, J9, J17, J23)."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness import tokens as keys

from . import signatures

LARGEST_COUNT = 4  # of keys that a token without `kid` is tried with


@dataclass
class Key:
    """As the server publishes it, and whose it is."""

    jwk: dict
    algorithm: str
    owner: str


@dataclass
class Network:
    """The keys of one issuer: what its server says, and what was last fetched of it."""

    path: str
    discovers: str | None = None  # "openid-configuration" or "oauth-authorization-server"
    cooldown: str = "1h"
    published: list[Key] = field(default_factory=list)
    outage: bytes | None = None  # what the server answers meanwhile
    known: list[Key] | None = None
    was_asked: bool = False  # because of a key that was not known
    gone: list[Key] = field(default_factory=list)  # keys that were known once

    def may_ask(self) -> bool:
        """Within `cooldown` once; where that is short, it has passed."""
        return self.cooldown != "1h" or not self.was_asked

    def replace_known(self) -> None:
        self.gone += self.known or []
        self.known = self.published


class KeysUnavailable(Exception):
    """Neither yes nor no: there are no keys."""


def is_signed(network: Network, issuer, header: dict, signed: bytes, signature: bytes, fetches: list[str]) -> bool:
    def holds(known: list[Key]) -> bool:
        return any(signatures.holds(header["alg"], key.jwk, signed, signature) for key in candidates(known, issuer.algorithms, header))
    known = network.known
    if is_reason_to_fetch(known, issuer.algorithms, header, holds) and network.may_ask():
        fetches.append(issuer.name)
        known = after_fetch(network, issuer.algorithms)
    if known is None:
        raise KeysUnavailable
    return holds(known)


def is_reason_to_fetch(known: list[Key] | None, algorithms: list[str], header: dict, holds) -> bool:
    """A key with that name is not there; or, where the token names none, none that made its signature."""
    if known is None:
        return True
    if "kid" not in header:
        return not holds(known)
    return not any(key.jwk.get("kid") == header["kid"] for key in usable(known, algorithms))


def after_fetch(network: Network, algorithms: list[str]) -> list[Key] | None:
    """A new set replaces the old one whole (J7); one that cannot be used changes nothing."""
    return network.published if network.outage is None and usable(network.published, algorithms) else network.known


def candidates(known: list[Key], algorithms: list[str], header: dict) -> list[Key]:
    if "kid" in header:
        return [key for key in usable(known, algorithms) if key.jwk.get("kid") == header["kid"]]
    return [key for key in usable(known, algorithms) if header["alg"] in algorithms_of(key.jwk)][:LARGEST_COUNT]


def usable(known: list[Key], algorithms: list[str]) -> list[Key]:
    """J23: an odd one is passed over, the others count, as far as they are for the issuer's algorithms."""
    return [key for key in known if is_for_signatures(key.jwk) and algorithms_of(key.jwk) & set(algorithms)]


def is_for_signatures(jwk: dict) -> bool:
    return jwk.get("use", "sig") == "sig" and "verify" in jwk.get("key_ops", ["verify"])


def algorithms_of(jwk: dict) -> set[str]:
    """By its type, its curve and, where it says so, its `alg`."""
    if jwk["kty"] == "RSA":
        found = {f"{family}{size}" for family in ("RS", "PS") for size in (256, 384, 512)} if len(keys.unb64(jwk["n"])) >= 256 else set()
    else:
        found = {("EC", "P-256"): {"ES256"}, ("EC", "P-384"): {"ES384"}, ("EC", "P-521"): {"ES512"}, ("OKP", "Ed25519"): {"EdDSA"}}.get(
            (jwk["kty"], jwk.get("crv")), set())
    return found & {jwk["alg"]} if "alg" in jwk else found
