#!/usr/bin/env python3
"""`simulate.py PROGRAM COUNT [FIRST]`: runs COUNT seeds, from FIRST on, on all CPUs; without FIRST, other ones each time."""

import os
import subprocess
import sys
import time

program, count = sys.argv[1], int(sys.argv[2])
first = int(sys.argv[3]) if len(sys.argv) > 3 else int.from_bytes(os.urandom(4), "big")
workers = min(os.cpu_count() or 1, count)
share = -(-count // workers)
started = time.monotonic()
runs = []
for worker in range(workers):
    begin = first + worker * share
    number = min(share, first + count - begin)
    if number > 0:
        arguments = [program, str(number), str(begin)]
        # Symbols would be looked up with a program that may not be there; the seed tells more.
        environment = {**os.environ, "ASAN_OPTIONS": "symbolize=0:detect_leaks=0", "SWIFT_BACKTRACE": "enable=no"}
        runs.append((begin, number, subprocess.Popen(arguments, stdin=subprocess.DEVNULL, env=environment)))
failed = [(begin, number) for begin, number, run in runs if run.wait()]
print(f"{count} seeds in {time.monotonic() - started:.0f} s")
for begin, number in failed:
    print(f"failed: see above, or look for the seed with {program} {number} {begin}")
sys.exit(bool(failed))
