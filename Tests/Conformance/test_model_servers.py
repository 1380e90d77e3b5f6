"""Random servers that are asked: about sessions (`oracle/asked_sessions.py`), for keys (`oracle/network_keys.py`).

As `test_model.py`; a request alone is sent behind all those before it, since what was said is remembered.
"""

from __future__ import annotations

import pytest

from oracle.network_witness import NetworkWitness
from oracle.sessions_witness import SessionsWitness
from test_model import backends, check, seeds  # noqa: F401

SEEDS = "0-3"


@pytest.mark.parametrize("seed", seeds("USHER_MODEL_SESSIONS_SEEDS", SEEDS))
def test_the_program_asks_about_sessions_what_the_model_says(tmp_path, backends, seed):  # noqa: F811
    check(SessionsWitness(seed, tmp_path, backends))


# Others: USHER_MODEL_NETWORK_SEEDS.
NETWORK_SEEDS = "1-4"


@pytest.mark.parametrize("seed", seeds("USHER_MODEL_NETWORK_SEEDS", NETWORK_SEEDS))
def test_the_program_believes_key_servers_as_the_model_says(tmp_path, backends, seed):  # noqa: F811
    check(NetworkWitness(seed, tmp_path, backends))
