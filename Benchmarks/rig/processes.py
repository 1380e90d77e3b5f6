"""Starting what is measured, and reading what it used."""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

# The proxy has the first core for itself; backend and load share the other.
PROXY_CORE = "0"
LOAD_CORE = "1"
TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """One that the kernel takes for no outgoing connection before somebody listens at it."""
    while True:
        port = random.randrange(10000, 16000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Process:
    """A program that serves on a port, pinned to a core; ends with its `with` block."""

    def __init__(
        self, command: list[str], port: int, log: Path, core: str | None = PROXY_CORE, at_once: bool = False,
        **environment: str):
        """`at_once`: it runs whenever it can, whatever else has its core."""
        pinned = ["taskset", "-c", core, *command] if core else command
        self.port = port
        self.log = log
        with log.open("wb") as output:
            self.child = subprocess.Popen(
                pinned, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                preexec_fn=run_at_once if at_once else prepare_proxy if core == PROXY_CORE else raise_descriptor_limit,
                env=os.environ | environment)

    def __enter__(self) -> "Process":
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_ready(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.child.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise SystemExit(f"{self.child.args} does not serve:\n{self.log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        # Descendants by themselves: strace leaves the program that it watches running.
        for pid in reversed(self.pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    @property
    def pids(self) -> list[int]:
        """The process and its descendants (nginx has a master and a worker)."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    parents[int(entry)] = int(stat_fields(int(entry))[1])
        found = [self.child.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def cpu(self) -> "CPU":
        """The CPU time used so far."""
        user = system = 0
        for pid in self.pids:
            fields = stat_fields(pid)
            user += int(fields[11])
            system += int(fields[12])
        return CPU(user / TICK, system / TICK)

    def resident_bytes(self) -> int:
        total = 0
        for pid in self.pids:
            found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
            total += int(found[1]) * 1024 if found else 0
        return total


class CPU:
    """Seconds of CPU time."""

    def __init__(self, user: float, system: float):
        self.user, self.system = user, system

    @property
    def total(self) -> float:
        return self.user + self.system

    def __sub__(self, other: "CPU") -> "CPU":
        return CPU(self.user - other.user, self.system - other.system)

    def per(self, count: float) -> "CPU":
        """Microseconds for each of so many."""
        return CPU(self.user * 1e6 / count, self.system * 1e6 / count)


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: the second may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def prepare_proxy() -> None:
    """What is measured goes before what else the machine does, where the bench may say so."""
    raise_descriptor_limit()
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def run_at_once() -> None:
    """No process of the usual kind makes this one wait, where the bench may say so."""
    prepare_proxy()
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def raise_descriptor_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
