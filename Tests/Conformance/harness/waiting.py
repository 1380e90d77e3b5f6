"""Waiting for what comes about by itself."""

from __future__ import annotations

import time
from typing import Callable

# What comes about in a moment may take this long on a machine that others want; only a failure waits so long.
PATIENCE_SECONDS = 30


def wait_until(condition: Callable[[], object], timeout: float = PATIENCE_SECONDS, what: str = "it did not come about in time") -> None:
    """Asks again and again, until the condition holds; after `timeout` seconds `what` is the failure."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)
