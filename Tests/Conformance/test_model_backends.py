"""Random backends of HTTP/2 and HTTP/1.1, with clients of both: what arrives there (`oracle/two.py`); and handshakes of WebSocket
(`oracle/tunnels.py`). As `test_model.py`."""

from __future__ import annotations

import pytest

from oracle.tunnels_witness import TunnelsWitness
from oracle.two_witness import TwoWitness
from test_model import backends, check, seeds  # noqa: F401

# Others: USHER_MODEL_TWO_SEEDS.
SEEDS = "0-4"


@pytest.mark.parametrize("seed", seeds("USHER_MODEL_TWO_SEEDS", SEEDS))
def test_backends_of_both_versions_see_what_the_model_says(tmp_path, backends, seed):  # noqa: F811
    check(TwoWitness(seed, tmp_path, backends))


# Others: USHER_MODEL_TUNNELS_SEEDS.
TUNNELS_SEEDS = "0-3"


@pytest.mark.parametrize("seed", seeds("USHER_MODEL_TUNNELS_SEEDS", TUNNELS_SEEDS))
def test_handshakes_of_websocket_are_what_the_model_says(tmp_path, backends, seed):  # noqa: F811
    check(TunnelsWitness(seed, tmp_path, backends))
