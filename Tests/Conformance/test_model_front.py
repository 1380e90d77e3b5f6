"""Random proxies in front and random browsers: who is believed, what questions are answered, what pages are told (`oracle/front.py`).

As `test_model.py`; a request alone is sent behind all those before it, since rate limits count them.
"""

from __future__ import annotations

import os

import pytest

from harness.backend import Backend
from oracle.front_witness import FrontWitness
from test_model import REQUESTS, SHOWN

# About 10 seconds. Others: USHER_MODEL_SEEDS, as for test_model.py.
SEEDS = "0-9"


def seeds() -> list[int]:
    first, _, last = os.environ.get("USHER_MODEL_SEEDS", SEEDS).partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.fixture(scope="module")
def backends():
    with Backend() as red, Backend() as green, Backend() as blue:
        yield [red, green, blue]


@pytest.mark.parametrize("seed", seeds())
def test_the_program_believes_and_tells_what_the_model_says(tmp_path, backends, seed):
    only = os.environ.get("USHER_MODEL_REQUEST")
    with FrontWitness(seed, tmp_path, backends) as witness:
        found = witness.disagreements(REQUESTS, only and int(only))
    assert not found, f"{len(found)} disagreements:\n" + "\n".join(found[:SHOWN])
    assert witness.status == 0
    assert not any(backend.errors for backend in backends), "the program sent what is not HTTP"
