#!/usr/bin/env python3
"""`coverage.py PROGRAM COUNT [FIRST]`: which lines of the program COUNT seeds run, by folder. PROGRAM is a `simulate` that counts them
(`make simulate-coverage`)."""

import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "Sources"
# What the simulation runs; the others' lines belong to the control thread, to start and to configuration.
TARGETS = ["HTTP", "HTTP1", "HTTP2", "Policy", "Proxy", "TLS", "Upstream"]


def tool(name: str) -> str:
    """Swift's own: another version cannot read what Swift has written."""
    beside = Path(os.path.realpath(shutil.which("swift") or "")).parent / name
    return str(beside) if beside.exists() else name


def covered(program: str, count: str, first: str) -> dict[str, tuple[int, int]]:
    """By folder: how many lines were run, of how many."""
    with tempfile.TemporaryDirectory() as folder:
        raw, merged = f"{folder}/raw", f"{folder}/merged"
        environment = {**os.environ, "LLVM_PROFILE_FILE": raw, "SWIFT_DETERMINISTIC_HASHING": "1"}
        subprocess.run([program, count, first], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
        subprocess.run([tool("llvm-profdata"), "merge", "-sparse", raw, "-o", merged], check=True)
        exported = subprocess.run([tool("llvm-cov"), "export", "-summary-only", "-instr-profile", merged, program, str(SOURCES)],
                                  check=True, stdout=subprocess.PIPE)
    lines = collections.defaultdict(lambda: [0, 0])
    for file in json.loads(exported.stdout)["data"][0]["files"]:
        place = Path(file["filename"]).relative_to(SOURCES)
        if place.parts[0] in TARGETS:
            of = file["summary"]["lines"]
            both = lines["/".join(place.parts[:2]) if len(place.parts) > 2 else place.parts[0]]
            both[0] += of["covered"]
            both[1] += of["count"]
    return {name: (run, of) for name, (run, of) in sorted(lines.items())}


def main() -> None:
    program, count, *first = sys.argv[1:]
    found = covered(program, count, *(first or ["1000000"]))
    print("| lines of | run | of | |\n|---|---|---|---|")
    for name, (run, of) in [*found.items(), ("all of these", tuple(map(sum, zip(*found.values()))))]:
        print(f"| `{name}` | {run:,} | {of:,} | {100 * run / of:.0f} % |")


if __name__ == "__main__":
    main()
