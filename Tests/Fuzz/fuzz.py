"""Runs libFuzzer on each target: `fuzz.py --seconds 10 PROGRAM`, or on those that are named behind the program. With
--cpu-time these are seconds that the fuzzer has had of a CPU: on a machine that others use, only they say how much was tried.

New inputs go to .work/fuzz/TARGET, a finding to .work/fuzz/TARGET.found-…; a finding that is fixed belongs into
findings/TARGET. The canary must be found, or the fuzzer finds nothing. What a target has had in all of its runs is in
.work/fuzz/TARGET.total, and --totals prints that. --keep runs nothing new: it takes into corpus/TARGET what reaches every
place that is reached.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent
WORK = ROOT.parents[1] / ".work" / "fuzz"
DICTIONARIES = {
    "request-head": "http", "response-head": "http", "body": "http", "target": "http", "policy": "http",
    "json": "json", "claims": "json", "jwks": "json", "session-data": "json", "revocation": "json", "token": "json",
    "toml": "toml", "proxy-header": "text", "forwarded": "text", "pem": "text", "session": "text",
    "proof": "json", "issuer-answer": "json", "redis": "text",
}
# Two tokens, two keys or a configuration fit; what is larger finds its limits in unit tests.
LONGEST = {"toml": 8192, "request-head": 40_000}
# It ends when it is found; by the clock, of which a busy machine gives a part.
CANARY_SECONDS = 300


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
        if not by_cpu and time.monotonic() - started > seconds + 600:
            process.kill()
        time.sleep(0.1)
    return process.returncode, used


def inputs_run(log: str) -> int:
    found = re.search(r"number_of_executed_units: (\d+)", log)
    return int(found[1]) if found else 0


def add_up(target: str, log: str, cpu_seconds: float) -> dict:
    """Adds a run to what the target has had in all of its runs; `grew_at` is the input that last reached a new place."""
    file = WORK / f"{target}.total"
    total = json.loads(file.read_text()) if file.exists() else {"cpu_seconds": 0, "inputs": 0, "grew_at": 0}
    # The corpus is run first, up to INITED: what it reaches is not new.
    places, has_begun = 0, False
    for number, what, reached in re.findall(r"^#(\d+)\s+(\w+)\s+cov: (\d+)", log, re.MULTILINE):
        if has_begun and int(reached) > places:
            total["grew_at"] = total["inputs"] + int(number)
        places, has_begun = max(places, int(reached)), has_begun or what == "INITED"
    total["cpu_seconds"] += round(cpu_seconds)
    total["inputs"] += inputs_run(log)
    total["places"] = places
    file.write_text(json.dumps(total) + "\n")
    return total


def inputs_of(target: str) -> list[str]:
    """The corpus that grows, and what is committed."""
    corpus = WORK / target
    corpus.mkdir(parents=True, exist_ok=True)
    committed = [ROOT / kind / target for kind in ("seeds", "corpus", "findings")]
    return [str(corpus)] + [str(folder) for folder in committed if folder.is_dir()]


def start(program: Path, target: str, arguments: list[str], log) -> subprocess.Popen:
    # Symbols would be looked up with a program that may not be there; the input tells more.
    options = {"ASAN_OPTIONS": "symbolize=0:allocator_may_return_null=1", "UBSAN_OPTIONS": "symbolize=0",
               "SWIFT_BACKTRACE": "enable=no", "USHER_FUZZ_TARGET": target}
    return subprocess.Popen([str(program)] + arguments, env={**os.environ, **options}, stdin=subprocess.DEVNULL, stdout=log,
                            stderr=subprocess.STDOUT)


def run(program: Path, target: str, seconds: int, seed: int, by_cpu: bool) -> tuple[str, bool, str]:
    """One target; its name, whether it found something, and what there is to say."""
    # By CPU time it may stand still for long, which says nothing about an input; and by the clock for a while.
    limit = 300 if by_cpu else 30
    arguments = [
        f"-max_total_time={0 if by_cpu else seconds}", f"-timeout={limit}", f"-report_slow_units={limit}", "-rss_limit_mb=1024",
        "-print_final_stats=1", f"-max_len={LONGEST.get(target, 4096)}", f"-artifact_prefix={WORK}/{target}.found-", f"-seed={seed}",
    ]
    if target in DICTIONARIES:
        arguments.append(f"-dict={ROOT}/dictionaries/{DICTIONARIES[target]}.dict")
    started = time.monotonic()
    with open(WORK / f"{target}.log", "wb") as log:
        process = start(program, target, arguments + inputs_of(target), log)
        code, used = wait(process, seconds, by_cpu)
    text = (WORK / f"{target}.log").read_text(errors="replace")
    total = add_up(target, text, used)
    said = (f"{inputs_run(text):>10,} inputs, {total['places']:>6} places, {time.monotonic() - started:4.0f} s, "
            f"{used:4.0f} s of CPU time; in all {total['inputs']:,} in {total['cpu_seconds']:,} s, "
            f"the last new place at {total['grew_at']:,}")
    if code:
        lines = [line for line in text.splitlines()
                 if re.search(r"VIOLATION|ERROR|SUMMARY|Fatal error|Test unit written", line)]
        said += "".join(f"\n    {line}" for line in lines[:8])
    return target, code != 0, said


def keep(program: Path, target: str) -> str:
    """Takes into corpus/TARGET what, beside seeds and findings, is needed to reach every place; the smallest inputs first.
    How often a place is passed makes an input worth something to the fuzzer, too, but these it finds again in minutes."""
    kept = ROOT / "corpus" / target
    given = [path for kind in ("seeds", "findings") for path in (ROOT / kind / target).glob("*")]
    with TemporaryDirectory() as folder, open(WORK / f"{target}.kept.log", "wb") as log:
        for path in given:
            shutil.copy(path, folder)
        arguments = ["-merge=1", "-use_counters=0", f"-max_len={LONGEST.get(target, 4096)}", folder] + inputs_of(target)
        if start(program, target, arguments, log).wait():
            return f"see {log.name}"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for path in sorted(set(Path(folder).iterdir()) - {Path(folder) / each.name for each in given}):
            shutil.copy(path, kept)
    sizes = [path.stat().st_size for path in kept.iterdir()]
    return f"{len(sizes)} inputs of {sum(sizes):,} bytes"


def print_totals(targets: list[str]) -> None:
    """A row a target, those first that have looked for the shortest part of their time without finding a new place."""
    rows = []
    for target in targets:
        file = WORK / f"{target}.total"
        total = json.loads(file.read_text()) if file.exists() and target != "canary" else {"inputs": 0}
        if total["inputs"]:
            rows.append((total["grew_at"] / total["inputs"], target, total))
    for grew, target, total in sorted(rows, reverse=True):
        print(f"| `{target}` | {total['cpu_seconds']:,} s | {total['inputs']:,} | {total['places']:,} | {100 * grew:.0f} % |")
    print(f"in all {sum(row[2]['cpu_seconds'] for row in rows):,} s, {sum(row[2]['inputs'] for row in rows):,} inputs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--cpu-time", action="store_true", help="the seconds are of CPU time")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="0 takes another one each time")
    parser.add_argument("--keep", action="store_true", help="only write corpus/, from all that was found")
    parser.add_argument("--totals", action="store_true", help="only print what each target has had")
    given = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    targets = given.targets or sorted(path.name for path in (ROOT / "seeds").iterdir())
    if given.totals:
        return print_totals(targets)
    if given.keep:
        for target in targets:
            if target != "canary":
                print(f"{target:14} {keep(given.program.resolve(), target)}", flush=True)
        return
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
