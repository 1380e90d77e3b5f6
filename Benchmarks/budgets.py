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
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rig import native, tokens
from rig.processes import Process
from rig.proxies import Stage
from rig.requests import Connection, MultiplexedConnection
from rig.scenarios import BEHIND_TLS, OVER_HTTP2, TO_HTTP2, Scenario, all_scenarios

HERE = Path(__file__).resolve().parent
BUDGETS = HERE / "budgets.json"
# How far above its budget a figure may be, and how far below, as a share of the budget. Instructions differ a little
# from one run to the next with the number of turns that a request takes, and with the libraries of the system.
TOLERANCE = {
    "allocations": (0, 0.2),
    "allocations by nghttp2": (0, 0.2),
    "allocations by TLS": (0, 0.2),
    "instructions": (0.05, 0.15),
    "system calls": (0.02, 0.2),
    "reference counting": (0, 0.2),
    "call sites": (0, 0.2),
}
# In how many pieces a large body comes is the kernel's affair, and differs with what else the machine does; so does
# whether a frame that opens a window comes with the next request.
LOOSE = {"answer of 1 MiB": 0.4} | {f"{version}get, cached token": 0.1 for version in (OVER_HTTP2, TO_HTTP2, f"{OVER_HTTP2}TLS: ")}
# Under valgrind the number of pieces, and with it that of instructions, is another by a factor of three each time.
UNSTEADY = {("instructions", "answer of 1 MiB")}
# What the program does beside the requests, once a second or when it is asked for its counts, shows as a part of one.
SLACK = {"reference counting": 1.0}
SMALL_SLACK = 0.1
# The first refusals of each second are kept for the status page: how many of those that are counted depends on the time.
# With TLS, the files of certificates are looked at each second besides.
BY_THE_SECOND = {("reference counting", "refused: no token"): 6.0, ("reference counting", "refused: bad signature"): 6.0,
                 ("reference counting", f"{OVER_HTTP2}TLS: get, cached token"): 6.0}
WARM_REQUESTS = 50
# What the program does beside the requests comes by the second, and adds the more to a figure the longer the requests take: on a
# machine that others want it is counted so often again, and the lowest is the requests' own.
REPEATS = 2
# The part of the runtime that the way of a request must not need.
COUNTING = re.compile(r"swift_(retain|release|allocObject|beginAccess|bridgeObjectRetain|bridgeObjectRelease)(_n)?")


class Counter:
    """One way to count: the command in front of the proxy's, and what it has counted so far."""

    name = ""
    count = 0

    def __init__(self, folder: Path):
        self.folder = folder
        self.before: tuple[str, ...] = ()
        self.environment: dict[str, str] = {}
        # The scenario's client speaks TLS.
        self.is_secure = False

    def reset(self, proxy: Process) -> None:
        raise NotImplementedError

    def read(self, proxy: Process) -> float:
        raise NotImplementedError


class Allocations(Counter):
    """Calls of malloc, calloc, realloc, posix_memalign, aligned_alloc and memalign, by a preloaded library, which counts
    those apart that libnghttp2 and OpenSSL make. What OpenSSL asks for is TLS's where there is TLS, and else ours: it checks
    signatures."""

    name, count = "allocations", 400

    def __init__(self, folder: Path):
        super().__init__(folder)
        counts = folder / "counts"
        counts.write_bytes(bytes(72))
        library = native.build(folder, "count_allocations", "-shared", "-fPIC")
        self.environment = {"LD_PRELOAD": library, "USHER_COUNTS": str(counts)}
        self.file = counts.open("r+b")
        self.memory = mmap.mmap(self.file.fileno(), 72)

        # Of the last scenario: those of libnghttp2, and those of OpenSSL.
        self.by_nghttp2 = self.by_openssl = 0

    def reset(self, proxy: Process) -> None:
        self.start = self._now()

    def read(self, proxy: Process) -> float:
        own, self.by_nghttp2, self.by_openssl = (now - start for now, start in zip(self._now(), self.start))
        return own if self.is_secure else own + self.by_openssl

    def _now(self) -> tuple[int, int, int]:
        counts = struct.unpack("9Q", self.memory[:72])
        return sum(counts[:6]), counts[7], counts[8]


class Instructions(Counter):
    """Instructions in user space, by callgrind, and which functions they are of."""

    name, count = "instructions", 60

    def __init__(self, folder: Path):
        super().__init__(folder)
        for old in folder.glob("callgrind.out*"):
            old.unlink()
        self.before = ("valgrind", "-q", "--tool=callgrind", "--compress-strings=no",
                       f"--callgrind-out-file={folder}/callgrind.out.%p")
        # Of the last scenario: calls of the reference-counting runtime, and how often each function was called.
        self.counting = 0
        self.called: dict[str, int] = {}

    def reset(self, proxy: Process) -> None:
        self._control(proxy, "--zero")

    def read(self, proxy: Process) -> float:
        name = f"callgrind.out.{proxy.child.pid}"
        number = len(list(self.folder.glob(name + ".*"))) + 1
        self._control(proxy, "--dump")
        self.dump = self.folder / f"{name}.{number}"
        text = self.dump.read_text()
        self.called = {}
        for callee, count in re.findall(r"^cfn=(.+)\ncalls=(\d+)", text, re.M):
            self.called[callee] = self.called.get(callee, 0) + int(count)
        self.counting = sum(count for callee, count in self.called.items() if COUNTING.fullmatch(callee))
        return int(re.search(r"^(?:totals|summary): (\d+)", text, re.M)[1])

    @staticmethod
    def _control(proxy: Process, option: str) -> None:
        subprocess.run(["callgrind_control", option, str(proxy.child.pid)], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)


class SystemCalls(Counter):
    """System calls, by strace: those while nobody asks anything, as the control thread's, are too few to show."""

    name, count = "system calls", 200

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.out = folder / "strace.out"
        self.before = ("strace", "-f", "-q", "-o", str(self.out))

    def reset(self, proxy: Process) -> None:
        self.start = self._size()

    def read(self, proxy: Process) -> float:
        with self.out.open() as lines:
            lines.seek(self.start)
            return sum(1 for line in lines if re.match(r"\d+ +[a-z_0-9]+\(", line))

    @staticmethod
    def works() -> bool:
        """False where the machine does not let programs be traced, as some containers."""
        return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode == 0

    def _size(self) -> int:
        time.sleep(0.2)
        return self.out.stat().st_size


def measure(
    counter: Counter, usher: str, stage: Stage, scenarios: list[Scenario], backends: dict[str, Process],
    after: Callable[[Scenario], None] | None = None,
) -> dict[str, float]:
    """The figure of each scenario, a request; one proxy serves all that share a backend."""
    figures = {}
    for kind, backend in backends.items():
        mine = [scenario for scenario in scenarios if scenario.backend == kind]
        with stage.usher(
            backend, usher, tokens_cached=16, core=None, before=counter.before, http2=True, tls=kind.endswith(BEHIND_TLS),
            http2_backend="HTTP/2" in kind, **counter.environment,
        ) as proxy:
            counter.is_secure = kind.endswith(BEHIND_TLS)
            connections = {True: MultiplexedConnection(proxy.port, counter.is_secure)}
            if not counter.is_secure:
                connections[False] = Connection(proxy.port)
            for scenario in mine:
                connection = connections[scenario.multiplexed]
                run(connection, scenario, WARM_REQUESTS if scenario.count > 10 else 5)
                counter.reset(proxy)
                run(connection, scenario, scenario.count)
                figures[scenario.name] = round(counter.read(proxy) / scenario.count, 2)
                if after:
                    after(scenario)
            for connection in connections.values():
                connection.close()
    return figures


def run(connection: Connection | MultiplexedConnection, scenario: Scenario, count: int) -> None:
    for _ in range(count):
        status = connection.ask(next(scenario.requests))
        if status != scenario.status:
            raise SystemExit(f"{scenario.name}: status {status}")


def without_debug_information(usher: str, folder: Path) -> str:
    """The same code in a file that valgrind can read: the one of Debian 12 knows no DWARF 5."""
    copy = folder / "usher"
    subprocess.run(["objcopy", "--strip-debug", usher, copy], check=True)
    return str(copy)


# MARK: Reference counting


def call_sites(usher: str, hot: set[str]) -> dict[str, float]:
    """How many calls of the reference-counting runtime stand in each of these functions: also those that the way of
    a request only passes by, such as growing a table."""
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", usher], check=True, capture_output=True, text=True)
    found: dict[str, float] = {}
    symbol = ""
    for line in listing.stdout.splitlines():
        if line.endswith(">:"):
            symbol = line[line.index("<") + 1:-2]
        elif symbol in hot and "call" in line and "<swift_" in line:
            if COUNTING.fullmatch(line.split("<")[1].rstrip(">").removesuffix("@plt")):
                found[symbol] = found.get(symbol, 0) + 1
    names = subprocess.run(["swift", "demangle", "--compact", "--simplified", *found], check=True, capture_output=True,
                           text=True).stdout.split("\n") if found else []
    figures: dict[str, float] = {}
    for name, count in zip(names, found.values()):
        figures[name] = figures.get(name, 0) + count
    return dict(sorted(figures.items()))


# MARK: The check


def figures_of(
    part: str, usher: str, stage: Stage, known: dict[str, list[str]], backends: dict[str, Process]
) -> dict[str, dict[str, float]]:
    """The figures of a part, and of those that come with it."""
    counter = {counter.name: counter for counter in (Allocations, Instructions, SystemCalls)}[part](stage.folder)
    scenarios = all_scenarios(known, counter.count)
    if isinstance(counter, Allocations):
        by_nghttp2: dict[str, float] = {}
        by_openssl: dict[str, float] = {}

        def note_libraries(scenario: Scenario) -> None:
            if counter.is_secure:
                by_openssl[scenario.name] = round(counter.by_openssl / scenario.count, 2)
            if scenario.name.startswith((OVER_HTTP2, TO_HTTP2)):
                by_nghttp2[scenario.name] = round(counter.by_nghttp2 / scenario.count, 2)
            elif counter.by_nghttp2 > 0:
                raise SystemExit(f"{scenario.name}: nghttp2 has no part in it, and allocates")

        figures = measure(counter, usher, stage, scenarios, backends, note_libraries)
        if not any(by_openssl.values()):
            raise SystemExit("allocations by TLS: none were seen, so that calls of libraries are not told from others")
        return {part: figures, "allocations by nghttp2": by_nghttp2, "allocations by TLS": by_openssl}
    if not isinstance(counter, Instructions):
        return {part: measure(counter, usher, stage, scenarios, backends)}
    counting: dict[str, float] = {}
    hot: set[str] = set()

    def note(scenario: Scenario) -> None:
        counting[scenario.name] = round(counter.counting / scenario.count, 2)
        if scenario is scenarios[0]:
            hot.update(name for name, count in counter.called.items() if count >= scenario.count)

    figures = measure(counter, usher, stage, scenarios, backends, note)
    return {part: figures, "reference counting": counting, "call sites": call_sites(usher, hot)}


def compare(part: str, figures: dict[str, float], budgets: dict[str, float]) -> list[str]:
    complaints = []
    for name in sorted(figures.keys() | budgets.keys()):
        if (part, name) in UNSTEADY:
            continue
        slack = BY_THE_SECOND.get((part, name), SLACK.get(part, SMALL_SLACK))
        above, below = (max(share, LOOSE.get(name, 0)) for share in TOLERANCE[part])
        figure, budget = figures.get(name), budgets.get(name)
        if budget is None:
            complaints.append(f"{part}: {name}: {figure:g}, and no budget")
        elif figure is None:
            complaints.append(f"{part}: {name}: a budget of {budget:g}, and nothing that it is for")
        elif figure > budget * (1 + above) + slack:
            complaints.append(f"{part}: {name}: {figure:g} is above its budget of {budget:g}")
        elif figure < budget * (1 - below) - slack:
            complaints.append(f"{part}: {name}: {figure:g} is far below its budget of {budget:g}; tighten it")
    return complaints


def is_above(part: str, figures: dict[str, float], budgets: dict[str, float]) -> bool:
    return any(" is above its budget " in text for text in compare(part, figures, budgets))


def lowest(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {name: min(figure, other.get(name, figure)) for name, figure in one.items()}


def show(results: dict[str, dict[str, float]]) -> None:
    titles = {
        "reference counting": "calls of the reference-counting runtime, a request",
        "call sites": "call sites of the reference-counting runtime in the functions of a cached GET",
    }
    for part, figures in results.items():
        print("\n" + titles.get(part, f"{part}, a request"))
        for name, figure in figures.items():
            print(f"  {name:<40} {figure:>14,.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--usher", default=".build/release/usher")
    parser.add_argument("--write", action="store_true", help="take the figures of this run as the budgets")
    parser.add_argument("--only", default="allocations,instructions,system calls")
    options = parser.parse_args()
    folder = HERE / ".work"
    keys = tokens.prepare(folder / "keys")
    stage = Stage(folder / "budgets", keys)
    options.usher = without_debug_information(options.usher, stage.folder)
    known = {algorithm: tokens.read(keys, algorithm)[:400] for algorithm in tokens.ALGORITHMS}
    budgets = json.loads(BUDGETS.read_text()) if BUDGETS.exists() else {}
    results: dict[str, dict[str, float]] = {}
    with (
        stage.backend() as small, stage.backend(http2=True) as small2,
        stage.bulk(native.build(folder, "bulk", "-pthread")) as bulk,
    ):
        backends = {"small": small, "bulk": bulk, "small over HTTP/2": small2, f"small{BEHIND_TLS}": small}
        for part in options.only.split(","):
            if part == SystemCalls.name and not SystemCalls.works():
                print("system calls: not counted, since this machine does not let strace trace", file=sys.stderr)
                continue
            figures = figures_of(part, options.usher, stage, known, backends)
            for _ in range(0 if options.write else REPEATS):
                if not any(is_above(name, found, budgets.get(name, {})) for name, found in figures.items()):
                    break
                print(f"{part}: above the budget, counted again", file=sys.stderr)
                again = figures_of(part, options.usher, stage, known, backends)
                figures = {name: lowest(found, again[name]) for name, found in figures.items()}
            results |= figures
    show(results)
    if options.write:
        BUDGETS.write_text(json.dumps(budgets | results, indent=2) + "\n")
        return
    complaints = [text for part, figures in results.items() for text in compare(part, figures, budgets.get(part, {}))]
    print("\n" + "\n".join(complaints or ["every figure is within its budget"]))
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
