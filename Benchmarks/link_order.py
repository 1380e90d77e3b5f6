#!/usr/bin/env python3
"""Writes Sources/link-order.txt: the functions that each request runs, for the linker to put them side by side.

They are spread over megabytes otherwise, and a request that finds its code on a hundred pages waits for most of them.
Those of a GET with a known token stand first, the ones that run longest in front; then those of the other scenarios.
Names that are no more are passed over by the linker, and code that is not named stands behind: the file needs no upkeep
to be right, only to be fast.
"""
import argparse
import re
from collections import Counter
from pathlib import Path

import budgets
from rig import native, tokens
from rig.proxies import Stage
from rig.scenarios import Scenario, all_scenarios

ORDER = Path(__file__).resolve().parent.parent / "Sources/link-order.txt"


def costs(dump: str) -> Counter[str]:
    """The instructions of each function alone, from callgrind's text."""
    found: Counter[str] = Counter()
    function, is_call = "", False
    for line in dump.splitlines():
        if line.startswith("fn="):
            function = line[3:]
        elif line.startswith("calls="):
            is_call = True
        elif re.match(r"[-+*\d]", line):
            # The line behind `calls=` is what the callee has used.
            if not is_call:
                found[function] += int(line.split()[1])
            is_call = False
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--usher", default=".build/release/usher")
    options = parser.parse_args()
    folder = budgets.HERE / ".work"
    stage = Stage(folder / "order", tokens.prepare(folder / "keys"))
    usher = budgets.without_debug_information(options.usher, stage.folder)
    known = {algorithm: tokens.read(folder / "keys", algorithm)[:400] for algorithm in tokens.ALGORITHMS}
    counter = budgets.Instructions(stage.folder)
    names: dict[str, None] = {}

    def note(scenario: Scenario) -> None:
        for name, cost in costs(counter.dump.read_text()).most_common():
            # Swift's own names; what runs less than once a request does not matter.
            if re.match(r"\$s", name) and cost >= 5 * scenario.count:
                names.setdefault(name.split("'")[0])

    with stage.backend() as small, stage.bulk(native.build(folder, "bulk", "-pthread")) as bulk:
        budgets.measure(counter, usher, stage, all_scenarios(known, counter.count), {"small": small, "bulk": bulk}, note)
    ORDER.write_text("".join(f"{name}\n" for name in names))
    print(f"{ORDER}: {len(names)} functions")


if __name__ == "__main__":
    main()
