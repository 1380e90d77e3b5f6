"""Mistakes with keys from the network, for `mistakes`."""

from __future__ import annotations

from . import network_keys, proof
from .network_keys import KeysUnavailable, Network
from .settings import with_settings


def never_gone(network, *rest, right=network_keys.is_signed):
    """Sets that are added to one another."""
    return with_settings(right, 0, known=network.known and network.known + network.gone)(network, *rest)


def dropped(network, algorithms, right=network_keys.after_fetch):
    return None if network.outage is not None else right(network, algorithms)


def spoiled_by_one(known, algorithms, right=network_keys.usable):
    found = right(known, algorithms)
    return found if len(found) == len(known) else []


def whatever_it_names(known, algorithms, header, right=network_keys.candidates):
    return right(known, algorithms, {name: value for name, value in header.items() if name != "kid"})


def named_alone(known, algorithms, header, right=network_keys.candidates):
    return right(known, algorithms, header) if "kid" in header else []


def missing_is_invalid(*given, right=network_keys.is_signed):
    try:
        return right(*given)
    except KeysUnavailable:
        raise proof.invalid() from None


MISTAKES = [
    ("a key that is not known is no reason to fetch", network_keys, "is_reason_to_fetch", lambda known, *rest: known is None),
    ("neither is a token without `kid`", network_keys, "is_reason_to_fetch",
     lambda known, algorithms, header, holds, right=network_keys.is_reason_to_fetch: (known is None or "kid" in header) and right(known, algorithms, header, holds)),
    ("each is one", Network, "may_ask", lambda self: True),
    ("keys are added, and none is taken away", network_keys, "is_signed", never_gone),
    ("a server that fails takes the keys", network_keys, "after_fetch", dropped),
    ("without keys a token is invalid", network_keys, "is_signed", missing_is_invalid),
    ("`kid` does not matter", network_keys, "candidates", whatever_it_names),
    ("a token needs one", network_keys, "candidates", named_alone),
    ("one without is tried with one key", network_keys, "LARGEST_COUNT", 1),
    ("one odd key spoils the set", network_keys, "usable", spoiled_by_one),
    ("`use` and `key_ops` do not matter", network_keys, "is_for_signatures", lambda jwk: True),
    ("a key's `alg` does not matter", network_keys, "algorithms_of",
     lambda jwk, right=network_keys.algorithms_of: right({name: value for name, value in jwk.items() if name != "alg"})),
    ("keys for other algorithms than the issuer's are known", network_keys, "usable",
     lambda known, algorithms: [key for key in known if network_keys.is_for_signatures(key.jwk) and network_keys.algorithms_of(key.jwk)]),
]
