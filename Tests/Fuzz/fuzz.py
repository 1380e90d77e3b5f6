"""Runs libFuzzer on each target: `fuzz.py --seconds 10 PROGRAM`, or on those that are named behind the program. With
--cpu-time these are seconds that the fuzzer has had of a CPU: on a machine that others use, only they say how much was tried.

New inputs go to .work/fuzz/TARGET, a finding to .work/fuzz/TARGET.found-…; a finding that is fixed belongs into
findings/TARGET. The canary must be found, or the fuzzer finds nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent
WORK = ROOT.parents[1] / ".work" / "fuzz"
DICTIONARIES = {
    "request-head": "http", "response-head": "http", "body": "http", "target": "http", "policy": "http",
    "json": "json", "claims": "json", "jwks": "json", "session-data": "json", "revocation": "json", "token": "json",
    "toml": "toml", "proxy-header": "text", "forwarded": "text", "pem": "text", "session": "text",
}
# Two tokens, two keys or a configuration fit; what is larger finds its limits in unit tests.
LONGEST = {"toml": 8192, "request-head": 40_000}
CANARY_SECONDS = 30


def cpu_seconds(process: subprocess.Popen) -> float:
    """What a process that has not been waited for has used so far, in user mode and in the kernel."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait(process: subprocess.Popen, seconds: int, by_cpu: bool) -> tuple[int, float]:
    """Waits for the end, by itself or when its CPU time is up; the status, and what it has used."""
    started, used, is_told = time.monotonic(), 0.0, False
    while process.poll() is None:
        used = max(used, cpu_seconds(process))
        if by_cpu and used >= seconds and not is_told:
            process.send_signal(signal.SIGUSR1)  # libFuzzer ends in good order, with its figures
            is_told = True
        if not by_cpu and time.monotonic() - started > seconds + 120:
            process.kill()
        time.sleep(0.1)
    return process.returncode, used


def run(program: Path, target: str, seconds: int, seed: int, by_cpu: bool) -> tuple[str, bool, str]:
    """One target; its name, whether it found something, and what there is to say."""
    corpus = WORK / target
    corpus.mkdir(parents=True, exist_ok=True)
    folders = [str(corpus)] + [str(ROOT / kind / target) for kind in ("seeds", "findings")
                               if (ROOT / kind / target).is_dir()]
    arguments = [
        str(program), f"-max_total_time={0 if by_cpu else seconds}", f"-timeout={300 if by_cpu else 10}", "-rss_limit_mb=1024",
        "-print_final_stats=1", f"-max_len={LONGEST.get(target, 4096)}", f"-artifact_prefix={WORK}/{target}.found-", f"-seed={seed}",
    ]
    if target in DICTIONARIES:
        arguments.append(f"-dict={ROOT}/dictionaries/{DICTIONARIES[target]}.dict")
    # Symbols would be looked up with a program that may not be there; the input tells more.
    options = {"ASAN_OPTIONS": "symbolize=0:allocator_may_return_null=1", "UBSAN_OPTIONS": "symbolize=0",
               "SWIFT_BACKTRACE": "enable=no", "USHER_FUZZ_TARGET": target}
    started = time.monotonic()
    with open(WORK / f"{target}.log", "wb") as log:
        process = subprocess.Popen(arguments + folders, env={**os.environ, **options}, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT)
        code, used = wait(process, seconds, by_cpu)
    text = (WORK / f"{target}.log").read_text(errors="replace")
    executions = re.search(r"number_of_executed_units: (\d+)", text)
    coverage = re.findall(r"cov: (\d+)", text)
    said = (f"{int(executions.group(1)) if executions else 0:>10,} inputs, {coverage[-1] if coverage else 0:>6} places, "
            f"{time.monotonic() - started:4.0f} s, {used:4.0f} s of CPU time")
    if code:
        lines = [line for line in text.splitlines()
                 if re.search(r"VIOLATION|ERROR|SUMMARY|Fatal error|Test unit written", line)]
        said += "".join(f"\n    {line}" for line in lines[:8])
    return target, code != 0, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--cpu-time", action="store_true", help="the seconds are of CPU time")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="0 takes another one each time")
    given = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    targets = given.targets or sorted(path.name for path in (ROOT / "seeds").iterdir())
    for old in (WORK / "canary").glob("*") if "canary" in targets else []:
        old.unlink()
    failed = []
    with ThreadPoolExecutor(given.jobs) as pool:
        runs = [pool.submit(run, given.program.resolve(), target,
                            CANARY_SECONDS if target == "canary" else given.seconds, given.seed, given.cpu_time)
                for target in targets]
        for result in runs:
            target, found, said = result.result()
            is_wrong = found != (target == "canary")
            print(f"{target:14} {'FAILED' if is_wrong else 'ok':6} {said}", flush=True)
            failed += [target] if is_wrong else []
    if failed:
        sys.exit(f"fuzzing: {', '.join(failed)}")


if __name__ == "__main__":
    main()
