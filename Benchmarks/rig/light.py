"""A light client: one request every few milliseconds, and how long each took. Run as a program, so that the load of
the bench itself does not show: `light.py PORT TOKENFILE SECONDS` prints the 99th percentile in milliseconds."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

PAUSE_SECONDS = 0.002


def p99(port: int, tokens: Path, seconds: float, core: str) -> float:
    """The light client's 99th percentile, in milliseconds."""
    command = ["taskset", "-c", core, sys.executable, "-m", "rig.light", str(port), str(tokens), str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True,
                          cwd=Path(__file__).resolve().parent.parent)
    return float(done.stdout)


def main() -> None:
    from .processes import run_at_once
    from .requests import Connection, get

    run_at_once()  # It measures the proxy, not the processes beside it.
    port, tokens, seconds = int(sys.argv[1]), Path(sys.argv[2]).read_text().split(), float(sys.argv[3])
    connection = Connection(port)
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        request = get(tokens[len(times) % len(tokens)], "/light/1")
        start = time.perf_counter()
        if connection.ask(request) != 200:
            raise SystemExit("the light client was refused")
        times.append(time.perf_counter() - start)
        time.sleep(PAUSE_SECONDS)
    print(statistics.quantiles(times, n=100)[98] * 1e3)


if __name__ == "__main__":
    main()
