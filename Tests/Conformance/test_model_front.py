"""Random proxies in front and random browsers: who is believed, what questions are answered, what pages are told (`oracle/front.py`).

As `test_model.py`; a request alone is sent behind all those before it, since rate limits count them.
"""

from __future__ import annotations

import pytest

from oracle.front_witness import FrontWitness
from test_model import backends, check, seeds  # noqa: F401

# About 10 seconds. Others: USHER_MODEL_FRONT_SEEDS, as for test_model.py.
SEEDS = "0-9"


@pytest.mark.parametrize("seed", seeds("USHER_MODEL_FRONT_SEEDS", SEEDS))
def test_the_program_believes_and_tells_what_the_model_says(tmp_path, backends, seed):  # noqa: F811
    check(FrontWitness(seed, tmp_path, backends))
