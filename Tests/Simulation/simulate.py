#!/usr/bin/env python3
"""`simulate.py PROGRAM COUNT [FIRST]`: runs COUNT seeds, from FIRST on, on all CPUs; without FIRST, other ones each time.
Before that some are run by two processes, which must come to the same: else no seed would repeat a run."""

import os
import subprocess
import sys
import time

program, count = sys.argv[1], int(sys.argv[2])
first = int(sys.argv[3]) if len(sys.argv) > 3 else int.from_bytes(os.urandom(4), "big")
workers = min(os.cpu_count() or 1, count)
share = -(-count // workers)
started = time.monotonic()
# Symbols would be looked up with a program that may not be there; the seed tells more. What is in no order has the same one
# in each process.
environment = {**os.environ, "ASAN_OPTIONS": "symbolize=0:detect_leaks=0", "SWIFT_BACKTRACE": "enable=no",
               "SWIFT_DETERMINISTIC_HASHING": "1"}
if count >= 1000:
    twice = [subprocess.run([program, "200", str(first)], stdin=subprocess.DEVNULL, env=environment, stdout=subprocess.PIPE).stdout
             for _ in range(2)]
    if twice[0] != twice[1]:
        sys.exit(f"a seed is not a run: {twice[0]} and then {twice[1]}")
runs = []
for worker in range(workers):
    begin = first + worker * share
    number = min(share, first + count - begin)
    if number > 0:
        arguments = [program, str(number), str(begin)]
        runs.append((begin, number, subprocess.Popen(arguments, stdin=subprocess.DEVNULL, env=environment)))
failed = [(begin, number) for begin, number, run in runs if run.wait()]
print(f"{count} seeds in {time.monotonic() - started:.0f} s")
for begin, number in failed:
    print(f"failed: see above, or look for the seed with SWIFT_DETERMINISTIC_HASHING=1 {program} {number} {begin}")
sys.exit(bool(failed))
