"""Random configurations, random requests: the program, and `usher explain`, do what the model (`oracle`) says.

A seed is a configuration and its 200 requests. What fails names a line that does it again.
"""

from __future__ import annotations

import os

import pytest

from harness.backend import Backend
from oracle.witness import Witness
from oracle.keys_witness import KeysWitness, People

REQUESTS = 200
# About 20 seconds. Others: USHER_MODEL_SEEDS is one number or "from-to"; USHER_MODEL_REQUEST one request of each.
SEEDS = "0-23"
SHOWN = 5


def seeds(variable: str, usual: str) -> list[int]:
    first, _, last = os.environ.get(variable, usual).partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.fixture(scope="module")
def backends():
    with Backend() as red, Backend() as green, Backend() as blue:
        yield [red, green, blue]


def check(witness: Witness) -> None:
    only = os.environ.get("USHER_MODEL_REQUEST")
    with witness:
        found = witness.disagreements(REQUESTS, only and int(only))
    assert not found, f"{len(found)} disagreements:\n" + "\n".join(found[:SHOWN])
    assert witness.status == 0
    assert not any(backend.errors for backend in witness.backends), "the program sent what is not HTTP"


@pytest.mark.parametrize("seed", seeds("USHER_MODEL_SEEDS", SEEDS))
def test_the_program_does_what_the_model_says(tmp_path, backends, seed):
    check(Witness(seed, tmp_path, backends))


# About 12 seconds, with USHER_MODEL_KEYS_SEEDS as above.
KEYS_SEEDS = "0-9"


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return People(tmp_path_factory.mktemp("people"))


@pytest.mark.parametrize("seed", seeds("USHER_MODEL_KEYS_SEEDS", KEYS_SEEDS))
def test_the_program_does_what_the_model_says_with_keys(tmp_path, backends, people, seed):
    check(KeysWitness(seed, tmp_path, backends, people))
