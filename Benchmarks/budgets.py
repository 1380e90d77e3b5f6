#!/usr/bin/env python3
"""Holds what a request costs against budgets.json: allocations, instructions, system calls, reference counting.

  budgets.py [--usher PATH] [--write] [--only PART,...]

Counted figures, so that they hold on any machine of this architecture, however busy. A figure above its budget
fails, and so does one far below it: a budget that is far too wide guards nothing, and has to be tightened
(`make bench-budgets WRITE=1`) in the change that made it so.
"""

from __future__ import annotations

import argparse
import json
import mmap
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

from rig import native, tokens
from rig.processes import Process
from rig.proxies import Stage
from rig.requests import Connection
from rig.scenarios import Scenario, all_scenarios

HERE = Path(__file__).resolve().parent
BUDGETS = HERE / "budgets.json"
# Part, how far above its budget a figure may be, and how far below, as a share of the budget. Instructions differ a
# little from one run to the next with the number of turns that a request takes.
TOLERANCE = {"allocations": (0, 0.2), "instructions": (0.05, 0.15), "system calls": (0.01, 0.2), "reference counting": (0, 0)}
WARM_REQUESTS = 50


class Counter:
    """One way to count: the command in front of the proxy's, and what it has counted so far."""

    name = ""
    count = 0

    def __init__(self, folder: Path):
        self.folder = folder
        self.before: tuple[str, ...] = ()
        self.environment: dict[str, str] = {}

    def reset(self, proxy: Process) -> None:
        raise NotImplementedError

    def read(self, proxy: Process) -> float:
        raise NotImplementedError


class Allocations(Counter):
    """Calls of malloc, calloc, realloc, posix_memalign, aligned_alloc and memalign, by a preloaded library."""

    name, count = "allocations", 400

    def __init__(self, folder: Path):
        super().__init__(folder)
        counts = folder / "counts"
        counts.write_bytes(bytes(64))
        library = native.build(folder, "count_allocations", "-shared", "-fPIC")
        self.environment = {"LD_PRELOAD": library, "USHER_COUNTS": str(counts)}
        self.file = counts.open("r+b")
        self.memory = mmap.mmap(self.file.fileno(), 64)

    def reset(self, proxy: Process) -> None:
        self.start = self._now()

    def read(self, proxy: Process) -> float:
        return self._now() - self.start

    def _now(self) -> int:
        return sum(struct.unpack("8Q", self.memory[:64])[:6])


class Instructions(Counter):
    """Instructions in user space, by callgrind."""

    name, count = "instructions", 60

    def __init__(self, folder: Path):
        super().__init__(folder)
        for old in folder.glob("callgrind.out*"):
            old.unlink()
        self.before = ("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind.out.%p")

    def reset(self, proxy: Process) -> None:
        self._control(proxy, "--zero")

    def read(self, proxy: Process) -> float:
        name = f"callgrind.out.{proxy.child.pid}"
        number = len(list(self.folder.glob(name + ".*"))) + 1
        self._control(proxy, "--dump")
        dump = self.folder / f"{name}.{number}"
        found = re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.M)
        return int(found[1])

    @staticmethod
    def _control(proxy: Process, option: str) -> None:
        subprocess.run(["callgrind_control", option, str(proxy.child.pid)], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)


class SystemCalls(Counter):
    """System calls, by strace: those while nobody asks anything, as the control thread's, are too few to show."""

    name, count = "system calls", 200
    # The commands of the proxy that a request on kept-alive connections may need; anything else shows as `other`.
    usual = ("recvfrom", "sendto", "epoll_wait")

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.out = folder / "strace.out"
        self.before = ("strace", "-f", "-q", "-o", str(self.out))

    def reset(self, proxy: Process) -> None:
        self.start = self._size()

    def read(self, proxy: Process) -> float:
        self.calls = {}
        with self.out.open() as lines:
            lines.seek(self.start)
            for line in lines:
                found = re.match(r"\d+ +([a-z_0-9]+)\(", line)
                if found:
                    self.calls[found[1]] = self.calls.get(found[1], 0) + 1
        return sum(self.calls.values())

    def _size(self) -> int:
        time.sleep(0.2)
        return self.out.stat().st_size


def measure(counter: Counter, usher: str, stage: Stage, scenarios: list[Scenario], backends: dict) -> dict[str, float]:
    """The figure of each scenario, a request; one proxy serves all that share a backend."""
    figures = {}
    for kind, backend in backends.items():
        mine = [scenario for scenario in scenarios if ("MiB" in scenario.name) == (kind == "bulk")]
        with stage.usher(backend, usher, tokens_cached=16, core=None, before=counter.before, **counter.environment) as proxy:
            connection = Connection(proxy.port)
            for scenario in mine:
                run(connection, scenario, WARM_REQUESTS if scenario.count > 10 else 5)
                counter.reset(proxy)
                run(connection, scenario, scenario.count)
                figures[scenario.name] = round(counter.read(proxy) / scenario.count, 3)
            connection.close()
    return figures


def run(connection: Connection, scenario: Scenario, count: int) -> None:
    for _ in range(count):
        status = connection.ask(next(scenario.requests))
        if status != scenario.status:
            raise SystemExit(f"{scenario.name}: status {status}")


def without_debug_information(usher: str, folder: Path) -> str:
    """The same code in a file that valgrind can read: the one of Debian 12 knows no DWARF 5."""
    copy = folder / "usher"
    subprocess.run(["objcopy", "--strip-debug", usher, copy], check=True)
    return str(copy)


# MARK: Reference counting, in the code itself

# Calls that the way of a request must not contain, and the symbols on that way, by their mangled names.
COUNTING = re.compile(r"call.*<(swift_retain|swift_release|swift_allocObject|swift_beginAccess|swift_bridgeObject\w+)")


def reference_counting(usher: str) -> dict[str, float]:
    """How many calls of the reference-counting runtime stand in each hot function."""
    hot = re.compile((HERE / "hot-symbols.txt").read_text().replace("\n", "|").strip("|"))
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", usher], check=True, capture_output=True, text=True)
    figures: dict[str, float] = {}
    symbol = ""
    for line in listing.stdout.splitlines():
        header = re.match(r"^[0-9a-f]+ <([^>]+)>:", line)
        if header:
            symbol = header[1] if hot.search(header[1]) else ""
        elif symbol and COUNTING.search(line):
            figures[symbol] = figures.get(symbol, 0) + 1
    return figures


# MARK: The check


def compare(part: str, figures: dict[str, float], budgets: dict[str, float]) -> list[str]:
    above, below = TOLERANCE[part]
    complaints = []
    for name in sorted(figures.keys() | budgets.keys()):
        figure, budget = figures.get(name), budgets.get(name)
        if budget is None:
            complaints.append(f"{part}: {name}: {figure:g}, and no budget")
        elif figure is None:
            complaints.append(f"{part}: {name}: a budget of {budget:g}, and nothing that it is for")
        elif figure > budget * (1 + above):
            complaints.append(f"{part}: {name}: {figure:g} is above its budget of {budget:g}")
        elif figure < budget * (1 - below):
            complaints.append(f"{part}: {name}: {figure:g} is far below its budget of {budget:g}; tighten it")
    return complaints


def show(results: dict[str, dict[str, float]]) -> None:
    for part, figures in results.items():
        print(f"\n{part}, a request" if part != "reference counting" else "\ncalls of the reference-counting runtime")
        for name, figure in figures.items():
            print(f"  {name:<40} {figure:>14,.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--usher", default=".build/release/usher")
    parser.add_argument("--write", action="store_true", help="take the figures of this run as the budgets")
    parser.add_argument("--only", default=",".join(TOLERANCE))
    options = parser.parse_args()
    folder = HERE / ".work"
    keys = tokens.prepare(folder / "keys")
    stage = Stage(folder / "budgets", keys)
    options.usher = without_debug_information(options.usher, stage.folder)
    known = {algorithm: tokens.read(keys, algorithm)[:400] for algorithm in tokens.ALGORITHMS}
    results: dict[str, dict[str, float]] = {}
    with stage.backend() as small, stage.bulk(native.build(folder, "bulk", "-pthread")) as bulk:
        for counter_type in (Allocations, Instructions, SystemCalls):
            if counter_type.name not in options.only:
                continue
            if counter_type.__init__ is not Allocations.__init__ and not shutil.which(
                    "valgrind" if counter_type is Instructions else "strace"):
                raise SystemExit(f"{counter_type.name}: install valgrind and strace")
            counter = counter_type(stage.folder)
            scenarios = all_scenarios(known, counter.count)
            results[counter.name] = measure(counter, options.usher, stage, scenarios, {"small": small, "bulk": bulk})
    if "reference counting" in options.only:
        results["reference counting"] = reference_counting(options.usher)
    show(results)
    if options.write:
        saved = json.loads(BUDGETS.read_text()) if BUDGETS.exists() else {}
        BUDGETS.write_text(json.dumps(saved | results, indent=2) + "\n")
        return
    budgets = json.loads(BUDGETS.read_text())
    complaints = [text for part, figures in results.items() for text in compare(part, figures, budgets.get(part, {}))]
    print("\n" + "\n".join(complaints or ["every figure is within its budget"]))
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
