"""Whether the model can fail: one mistake at a time is put into it, and it must disagree with the program soon.

`python -m oracle.mistakes 0-3` in Tests/Conformance prints after how many requests of these seeds each was found; the status is 1 where
one never is. With `keys` behind it the mistakes are those of `keys_mistakes`, and so on.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from harness.backend import Backend

from . import authentication, claims, decision, front_mistakes, keys_mistakes, network_mistakes, pages, places, proof, routing, sessions, \
    sessions_mistakes, tunnels_mistakes, two_mistakes, upstream_fields
from .front_witness import FrontWitness
from .keys_witness import KeysWitness, People
from .network_witness import NetworkWitness
from .sessions_witness import SessionsWitness
from .settings import Refused, with_settings
from .tunnels_witness import TunnelsWitness
from .two_witness import TwoWitness
from .witness import Witness

REQUESTS = 200


def never_expired(found, issuer, now, right=proof.check_claims):
    later = {"exp": now + 100} if proof.is_number(found.get("exp")) else {}
    return right(found | later, issuer, now)


def first_that_fits(found, header, issuers):
    return next((issuer for issuer in issuers if header.get("alg") in issuer.algorithms), None) or refuse()


def refuse():
    raise proof.invalid()


def nobody_for_a_bad_token(configuration, asked, target, route, now, right=authentication.authenticate):
    try:
        return right(configuration, asked, target, route, now)
    except Refused as refused:
        if refused.status == 401 and route.optional and not route.asks_for_somebody:
            return None
        raise


def without_nominated(configuration, asked, *rest, right=upstream_fields.upstream_fields):
    names = {one.strip().lower() for value in asked.all("connection") for one in value.split(",")} - {"host"}
    return {name: values for name, values in right(configuration, asked, *rest).items() if name not in names}


def kept_authorization(asked, upstream, right=upstream_fields.authorization):
    return asked.first("authorization") if upstream.authorization == "remove" else right(asked, upstream)


def not_decoded(route, segments, same=routing.exactly, right=routing.capture):
    found = right(route, segments, same)
    if found:
        found = {part[1:-1]: segments[place] for place, part in enumerate(route.segments) if part.startswith("{")}
    return found


def first_token(*given, right=places.tokens):
    result = right(*given)
    result.found = dict(list(result.found.items())[:1])
    return result


def rank_without(position: int, right=routing.rank):
    return lambda route: tuple(part for place, part in enumerate(right(route)) if place != position)


def captures_like_the_rest(route, right=routing.rank):
    kinds, *others = right(route)
    return ([routing.REST if kind == routing.CAPTURE else kind for kind in kinds], *others)


# What it is, where it is put in, and what stands there then.
MISTAKES = [
    ("routes in the order of the file", routing, "rank", lambda route: 0),
    ("`host` before none", routing, "rank", rank_without(1)),
    ("`methods` before none", routing, "rank", rank_without(2)),
    ("a capture before `**`", routing, "rank", captures_like_the_rest),
    ("another case of a path goes by the wider route", routing, "refuse_other_case", lambda *given: None),
    ("so does a path with parameters", routing, "without_parameters", lambda segments: segments),
    ("`X-Accel-*` not stripped", upstream_fields, "NEVER", [name for name in upstream_fields.NEVER if name != "x-accel-*"]),
    ("names not folded", upstream_fields, "fold", str.lower),
    ("`strip` not looked at", upstream_fields, "kept", with_settings(upstream_fields.kept, 0, strip=[])),
    ("`Connection` takes away what the proxy adds", upstream_fields, "upstream_fields", without_nominated),
    ("`Authorization` stays", upstream_fields, "authorization", kept_authorization),
    ("a token stays in the query", places, "without_parameters", lambda target, names: target),
    ("a session's cookies are forwarded", sessions, "is_own", lambda *given: False),
    ("another spelling of a token's cookie is forwarded", places, "spelled_alike", lambda name, wanted: name == wanted),
    ("the audience not checked", proof, "check_claims", with_settings(proof.check_claims, 1, audience=["*"])),
    ("`exp` not checked", proof, "check_claims", never_expired),
    ("`refuse_claims` not checked", proof, "check_claims", with_settings(proof.check_claims, 1, refuse_claims=[])),
    ("`typ` not checked", proof, "check_type", lambda header, issuer: None),
    ("the issuer found by trying", proof, "issuer_of", first_that_fits),
    ("the first of two tokens counts", places, "tokens", first_token),
    ("a bad token is nobody on an optional route", decision, "authenticate", nobody_for_a_bad_token),
    ("`require` always holds", claims, "holds", lambda *given: True),
    ("a capture compared without decoding", routing, "capture", not_decoded),
    ("whose page it is does not matter for a token's cookie", pages, "check_token_page", lambda *given: None),
    ("nor for a session's", pages, "check_session_page", lambda *given: None),
]


def find(seeds: list[int], backends: list[Backend], mistakes: list, kind) -> dict[str, int]:
    """After how many requests each of the mistakes was found; those that were not are missing."""
    found, count = {}, 0
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder, kind(seed, Path(folder), backends) as witness:
            for number in range(REQUESTS):
                count += 1
                asked, now = witness.random_request(number), time.time()
                right, observed = witness.decide(asked, now), witness.observe(asked)
                if said := witness.compare(asked, right, observed):
                    raise SystemExit(witness.report(number, asked, right, said))  # without any mistake
                for what, module, name, wrong in mistakes:
                    if what in found:
                        continue
                    with patch.object(module, name, wrong):
                        if witness.compare(asked, witness.decide(asked, now), observed):
                            found[what] = count
                witness.remember(right, observed)
    return found


def with_people(seed: int, folder: Path, backends: list[Backend]) -> KeysWitness:
    return KeysWitness(seed, folder, backends, People(folder))


KINDS = {"": (MISTAKES, Witness), "keys": (keys_mistakes.MISTAKES, with_people), "front": (front_mistakes.MISTAKES, FrontWitness),
         "sessions": (sessions_mistakes.MISTAKES, SessionsWitness), "network": (network_mistakes.MISTAKES, NetworkWitness),
         "two": (two_mistakes.MISTAKES, TwoWitness), "tunnels": (tunnels_mistakes.MISTAKES, TunnelsWitness)}


def main() -> None:
    first, _, last = sys.argv[1].partition("-")
    mistakes, kind = KINDS["".join(sys.argv[2:])]
    with Backend() as red, Backend() as green, Backend() as blue:
        found = find(list(range(int(first), int(last or first) + 1)), [red, green, blue], mistakes, kind)
    for what, *_ in mistakes:
        print(f"| {what} | {found.get(what, 'not found')} |")
    sys.exit(len(found) < len(mistakes))


if __name__ == "__main__":
    main()
