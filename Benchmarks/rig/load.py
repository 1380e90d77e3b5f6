"""Load by wrk, and what a proxy spent on it."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
from pathlib import Path
from typing import NamedTuple

from .processes import CPU, LOAD_CORE, Process

SCRIPT = Path(__file__).resolve().parent.parent / "load" / "tokens.lua"


class Result(NamedTuple):
    cpu: CPU  # microseconds a request
    requests: int
    refused: int
    seconds: float
    p99: float  # milliseconds


def run(
    proxy: Process, tokens: Path, seconds: int, connections: int = 64, before: tuple[str, ...] = (), scheme: str = "http",
    **environment: str,
) -> Result:
    """One round of load on a proxy."""
    command = [*before, "taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", str(SCRIPT),
               f"{scheme}://127.0.0.1:{proxy.port}/"]
    start = proxy.cpu()
    output = subprocess.run(command, capture_output=True, text=True,
                            env=os.environ | environment | {"TOKENS": str(tokens)}).stdout
    used = proxy.cpu() - start
    done = re.search(r"(\d+) requests in ([\d.]+)(m?s)", output)
    if not done or int(done[1]) == 0:
        raise SystemExit(f"wrk: {output}\n{proxy.log.read_text(errors='replace')[-500:]}")
    count = int(done[1])
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    tail = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    scale = {"us": 1e-3, "ms": 1, "s": 1e3}
    return Result(used.per(count), count, int(refused[1]) if refused else 0, float(done[2]),
                  float(tail[1]) * scale[tail[2]])


class Series:
    """The rounds of one proxy with one load."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def add(self, result: Result) -> None:
        self.results.append(result)

    @property
    def middle(self) -> Result:
        """The round with the median CPU time."""
        return sorted(self.results, key=lambda result: result.cpu.total)[len(self.results) // 2]

    def ratio(self, yardstick: "Series") -> float:
        """The median of the ratios of the rounds: both sides of each ratio were measured right after one another."""
        return statistics.median(
            mine.cpu.total / theirs.cpu.total for mine, theirs in zip(self.results, yardstick.results))

    @property
    def refused(self) -> int:
        return sum(result.refused for result in self.results)
