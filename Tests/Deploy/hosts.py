"""Several hosts on one switch, each a network namespace, and what can go wrong between them.

There is no way out of any of them. Cables are cut at the switch; packets are dropped or answered with a reset in the host
that they come to; a host freezes by SIGSTOP of what runs on it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from pathlib import Path

from machine import CLONE_NEWNET, run

FAULTS = ("cut", "drop", "reset", "freeze")


class Hosts:
    def __init__(self, *names: str):
        self.prefix = f"usher{os.getpid()}"
        self.addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, 1)}
        self.processes: dict[str, subprocess.Popen] = {}
        self.logs: dict[str, Path] = {}

    def __enter__(self) -> "Hosts":
        switch = self.space("switch")
        run("ip", "netns", "add", switch)
        try:
            run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
            run("ip", "-n", switch, "link", "set", "br0", "up")
            for name, address in self.addresses.items():
                space, port = self.space(name), f"p-{name}"
                run("ip", "netns", "add", space)
                run("ip", "-n", space, "link", "set", "lo", "up")
                run("ip", "link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", port, "netns", switch)
                run("ip", "-n", switch, "link", "set", port, "master", "br0", "up")
                run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
                run("ip", "-n", space, "link", "set", "eth0", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for process in self.processes.values():
            process.kill()
            process.send_signal(signal.SIGCONT)
            process.wait(10)
        for name in (*self.addresses, "switch"):
            run("ip", "netns", "del", self.space(name), check=False)

    def space(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def start(self, host: str, *command, folder: Path, **environment: str) -> None:
        """Runs a program on a host; what it says goes into a file."""
        self.logs[host] = folder / f"{host}.log"
        with self.logs[host].open("wb") as log:
            self.processes[host] = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.space(host)}", *map(str, command)], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=folder, env=os.environ | environment)

    def on(self, host: str, *command, **more) -> subprocess.CompletedProcess:
        """Runs a command on a host to its end."""
        return run("nsenter", f"--net=/run/netns/{self.space(host)}", *command, **more)

    def move_thread(self, host: str) -> None:
        """From now on this thread opens its sockets on that host."""
        library = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{self.space(host)}") as space:
            if library.setns(space.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def break_host(self, fault: str, host: str) -> None:
        match fault:
            case "cut": run("ip", "-n", self.space("switch"), "link", "set", f"p-{host}", "down")
            case "freeze": self.processes[host].send_signal(signal.SIGSTOP)
            case _: self.filter(host, "", fault)

    def break_link(self, fault: str, here: str, there: str) -> None:
        """What `there` sends does not reach `here`."""
        self.filter(here, f"ip saddr {self.addresses[there]}", fault)

    def mend(self, fault: str, host: str) -> None:
        match fault:
            case "cut": run("ip", "-n", self.space("switch"), "link", "set", f"p-{host}", "up")
            case "freeze": self.processes[host].send_signal(signal.SIGCONT)
            case _: self.on(host, "nft", "delete table inet fault")

    def filter(self, host: str, whose: str, fault: str) -> None:
        verdict = f"{whose} drop" if fault == "drop" else f"{whose} meta l4proto tcp reject with tcp reset"
        self.on(host, "nft", "add table inet fault; "
                "add chain inet fault in { type filter hook input priority 0; policy accept; }; "
                f"add rule inet fault in iif lo accept; add rule inet fault in {verdict}")
