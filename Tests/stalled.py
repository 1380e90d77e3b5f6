#!/usr/bin/env python3
"""`stalled.py COMMAND…`: runs it, and lets its descendants stand still in turn, as on a machine that others want: one of them,
by chance, for up to a second, then another. A test that waits for what it is about passes all the same; one that counts on a
time does not."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

# Between two stalls on the average, and for how long one lasts.
PAUSE_SECONDS = 0.15
STALL_SECONDS = (0.05, 1.0)


def descendants(ancestor: int) -> list[int]:
    """Those that run: what a test has stopped itself is its own affair."""
    children: dict[int, list[tuple[int, str]]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = file.read_text().rpartition(")")[2].split()[:2]
            children.setdefault(int(parent), []).append((int(file.parent.name), state))
    found, ancestors = [], [ancestor]
    while ancestors:
        for number, state in children.get(ancestors.pop(), []):
            ancestors.append(number)
            if state not in "TtZ":
                found.append(number)
    return found


def stall(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGSTOP)
        try:
            time.sleep(random.uniform(*STALL_SECONDS))
        finally:
            os.kill(process, signal.SIGCONT)


def main() -> int:
    command = subprocess.Popen(sys.argv[1:])
    while command.poll() is None:
        time.sleep(random.expovariate(1 / PAUSE_SECONDS))
        if running := descendants(command.pid):
            stall(random.choice(running))
    return command.returncode


if __name__ == "__main__":
    sys.exit(main())
