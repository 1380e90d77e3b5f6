"""The systemd unit: rated, and really run in a Debian that boots in a container."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

import documents
from machine import ROOT, image_binary, need_containers, run, tool
from podman import prepare_context
from test_image import ask

UNIT = ROOT / "deploy" / "systemd" / "usher.service"


def rate(folder: Path, threshold: int):
    (folder / "etc" / "systemd" / "system").mkdir(parents=True, exist_ok=True)
    (folder / "usr" / "local" / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(UNIT, folder / "etc" / "systemd" / "system")
    shutil.copy("/bin/true", folder / "usr" / "local" / "bin" / "usher")
    return run(
        tool("systemd-analyze"), "security", "--offline=true", f"--root={folder}", f"--threshold={threshold}",
        "usher.service", check=False)


def test_exposure(tmp_path):
    """At most 2.0 of 10; and the threshold is one that can fail."""
    done = rate(tmp_path, 20)
    assert done.returncode == 0, done.stdout[-3000:]
    assert rate(tmp_path, 5).returncode != 0


def verify(folder: Path, change=("", "")):
    units = folder / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for program in ("usr/local/bin/usher", "bin/kill"):
        (folder / program).parent.mkdir(parents=True)
        shutil.copy("/bin/true", folder / program)
    for unit in (UNIT, UNIT.with_suffix(".socket")):
        (units / unit.name).write_text(unit.read_text().replace(*change))
    # What the units name of the system itself.
    for name in ("sysinit", "basic", "network-online", "network", "sockets", "multi-user", "shutdown"):
        (units / f"{name}.target").write_text("[Unit]\nDescription=part of every system\n")
    done = run(
        tool("systemd-analyze"), "verify", "--man=no", f"--root={folder}", "usher.service", "usher.socket", check=False)
    return done.returncode, "\n".join(line for line in done.stderr.splitlines() if "usher" in line)


def test_units_are_right(tmp_path):
    """No word of them is unknown to systemd; and a wrong one shows."""
    assert verify(tmp_path / "right") == (0, "")
    status, said = verify(tmp_path / "wrong", ("ProtectHome=", "ProtectHomes="))
    assert "ProtectHomes" in said, (status, said)


class Machine:
    """A booted systemd, and commands run inside."""

    def __init__(self, root: Path, log: Path):
        self.root, self.log = root, log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--directory", str(root), "--resolv-conf=off",
                 "--timezone=off", "--link-journal=no", "--console=pipe", "--boot"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        self.leader = None

    def find_leader(self) -> None:
        """The PID 1 of the container: the child of nspawn's child."""
        end = time.monotonic() + 120
        while self.leader is None:
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()[-3000:]
            for child in self._children(self.process.pid):
                for candidate in [child, *self._children(child)]:
                    if Path(f"/proc/{candidate}/comm").read_text().strip() == "systemd":
                        self.leader = candidate
            time.sleep(0.1)

    @staticmethod
    def _children(number: int) -> list[int]:
        try:
            return [int(word) for word in Path(f"/proc/{number}/task/{number}/children").read_text().split()]
        except OSError:
            return []

    def __call__(self, *command, check=True):
        return run("nsenter", "--target", self.leader, "--mount", "--pid", "--uts", "--ipc", "--cgroup", *command, check=check)

    def wait_for(self, condition, what: str, timeout: float = 120) -> None:
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"{what}\n{self.log.read_text()[-2000:]}\n{self.journal()}"
            time.sleep(0.2)

    def journal(self) -> str:
        return self("journalctl", "--unit", "usher", "--no-pager", "--output", "cat", check=False).stdout

    def execute(self, section: str) -> str:
        """Runs the commands of a section of docs/deploy/systemd.md."""
        script = "cd /src\n" + documents.sections("systemd.md")[section]
        return self("bash", "-euo", "pipefail", "-c", script).stdout

    def is_up(self) -> bool:
        state = self("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def is_active(self) -> bool:
        return self("systemctl", "is-active", "usher", check=False).stdout.strip() == "active"

    def power_off(self) -> None:
        if self.leader:
            self("systemctl", "poweroff", "--force", check=False)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


@pytest.fixture(scope="module")
def machine(bases, network, secret, sample_backend, tmp_path_factory):
    """A Debian with usher installed as docs/deploy/systemd.md says, up and running."""
    need_containers()
    tool("systemd-nspawn")
    archive = bases("system.tar")
    folder = tmp_path_factory.mktemp("machine")
    root = folder / "root"
    root.mkdir()
    run("tar", "--extract", "--file", archive, "--directory", root, "--exclude", "./dev/*")
    context = prepare_context(folder, image_binary())
    for path in context.joinpath("root").rglob("*.so*"):
        # Libraries of a binary that is not static, where the system does not have them.
        target = root / path.relative_to(context / "root")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    system = root / "etc" / "systemd" / "system"
    # This machine forbids raising resource limits.
    (system / "usher.service.d").mkdir()
    (system / "usher.service.d" / "limits.conf").write_text("[Service]\nLimitNOFILE=16384\n")
    source = documents.clone(root / "src")
    (source / "dist").mkdir()
    # "make dist" would have made it
    shutil.copy2(image_binary(), source / "dist" / "usher")
    (source / "secrets").mkdir()
    (source / "secrets" / "token_secret").write_bytes(secret.read_bytes())
    for service in ("postgresql.service", "systemd-networkd.service", "systemd-resolved.service"):
        (system / service).symlink_to("/dev/null")
    booted = Machine(root, folder / "boot.log")
    try:
        booted.find_leader()
        booted.wait_for(booted.is_up, "the machine does not come up")
        assert "active (running)" in booted.execute("Install")
        booted.wait_for(lambda: "listening on" in booted.journal(), "usher does not listen")
        yield booted
    finally:
        booted.power_off()
        shutil.rmtree(root, ignore_errors=True)


def test_it_serves(machine, sign):
    assert ask("/tasks", sign("alice"))[0] == 200
    assert ask("/tasks")[0] == 401
    assert ask("/api/bob/tasks", sign("alice"))[0] == 403


def test_what_the_process_may_do(machine):
    number = machine("systemctl", "show", "--property", "MainPID", "--value", "usher").stdout.strip()
    status = dict(re.findall(r"^(\w+):\s+(.*)$", machine("cat", f"/proc/{number}/status").stdout, re.M))
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert int(status["Uid"].split()[0]) >= 61184, "a dynamic user"


def test_reload_and_what_a_mistake_does(machine, sign):
    file = machine.root / "etc" / "usher" / "usher.toml"
    text = file.read_text()
    file.write_text(text + "mistake\n")
    machine("systemctl", "reload", "usher")
    machine.wait_for(lambda: "configuration not changed" in machine.journal(), "the mistake is not told")
    assert machine.is_active() and ask("/tasks", sign("alice"))[0] == 200
    file.write_text(text.replace('path = "/tasks/**"', 'path = "/other/**"'))
    machine.execute("Change")
    machine.wait_for(lambda: ask("/tasks", sign("alice"))[0] == 404, "the reload did nothing")
    file.write_text(text)
    machine("systemctl", "reload", "usher")
    machine.wait_for(lambda: ask("/tasks", sign("alice"))[0] == 200, "the second reload did nothing")


def test_it_tells_systemd(machine):
    """Type=notify: what it serves, and a sign of life."""
    shown = machine("systemctl", "show", "--property", "Type,StatusText,WatchdogUSec", "usher").stdout
    assert "Type=notify" in shown and "StatusText=serving 3 routes" in shown and "WatchdogUSec=30s" in shown


def test_restart_behind_the_socket(machine, sign):
    """systemd listens: nobody is refused while usher restarts."""
    machine.execute("Socket")
    machine.wait_for(lambda: machine.is_active() and ask("/tasks", sign("alice"))[0] == 200, "usher is not back")
    assert "belongs to no listener" not in machine.journal()
    listening = machine("systemctl", "show", "--property", "NAccepted,SubState", "usher.socket").stdout
    assert "SubState=running" in listening
    stop, failures, served = threading.Event(), [], [0]

    def load():
        while not stop.is_set():
            try:
                status = ask("/tasks", sign("alice"))[0]
                served[0] += 1
                if status != 200:
                    failures.append(status)
            except OSError as error:
                failures.append(error)
    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        machine("systemctl", "restart", "usher")
        before = served[0]
        machine.wait_for(lambda: served[0] > before + 5 or failures, "no answers after a restart")
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    machine("systemctl", "disable", "--now", "usher.socket")
    machine("systemctl", "restart", "usher")
    machine.wait_for(lambda: machine.is_active() and ask("/tasks", sign("alice"))[0] == 200, "usher is not back")


def test_restart_and_stop(machine):
    before = machine.journal().count("listening on")
    machine("systemctl", "restart", "usher")
    machine.wait_for(lambda: machine.journal().count("listening on") == before + 1, "usher is not back")
    machine.execute("Stop")
    shown = machine("systemctl", "show", "--property", "Result,ExecMainStatus", "usher").stdout
    assert "Result=success" in shown and "ExecMainStatus=0" in shown
    assert machine.journal().count('"exit_status":0') == before + 1
