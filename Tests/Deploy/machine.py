"""What this machine can do, where the tools are, and how a command is run."""

from __future__ import annotations

import ctypes
import functools
import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".work" / "deploy"
BINARY = Path(os.environ.get("USHER_BINARY", ROOT / ".build" / "release" / "usher")).resolve()
STATIC_BINARY = WORK / "usher"
LINK = ROOT / "deploy" / "container" / "link"
# What `make build` has compiled, where that is the binary under test.
OBJECTS = BINARY.parent / ("usher.product/Objects.LinkFileList" if BINARY.parent.name == "release" else "no objects")
CLONE_NEWNET = 0x40000000


def run(*command, check: bool = True, timeout: float = 300, **more) -> subprocess.CompletedProcess:
    """Runs a command to its end; where it fails, what it said is the failure."""
    more = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True} | more
    done = subprocess.run([str(part) for part in command], timeout=timeout, **more)
    if check and done.returncode:
        text = f"{done.stdout or ''}{done.stderr or ''}"
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}\n{text[-6000:]}")
    return done


def free_ports(count: int) -> list[int]:
    """Ports that the kernel takes for no outgoing connection before they are listened at."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10000, 16000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def tool(name: str) -> str:
    """The path of a program of the tests' Python environment, or of the machine; skips where there is none."""
    for folder in (Path(sys.executable).parent, Path("/usr/sbin"), Path("/sbin")):
        if (folder / name).exists():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


@functools.cache
def cannot_run_containers() -> str | None:
    """Why containers cannot be run here; None where they can."""
    if os.geteuid() != 0:
        return "not root: containers are run with resource limits and networks of their own"
    for name in ("podman", "runc", "ip", "nsenter"):
        if shutil.which(name) is None:
            return f"no {name} here: scripts/install-packages --deploy"
    if ctypes.CDLL(None, use_errno=True).unshare(0):
        return "unshare is not allowed"
    done = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True)
    return f"no namespaces: {done.stderr.strip()}" if done.returncode else None


def need_containers() -> None:
    if reason := cannot_run_containers():
        pytest.skip(reason)


def enter_own_network() -> None:
    """Moves this process, and what it starts from now on, to a network with nothing but loopback.

    Ports, bridges and firewall rules of the tests vanish with it, and nothing in it can be fetched from outside.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    run("ip", "link", "set", "lo", "up")


@functools.cache
def image_binary() -> Path:
    """The static binary, as in the default image: linked here from what `make build` has compiled. Where the binary under
    test was not compiled here for release, it is that one."""
    if not OBJECTS.exists():
        return BINARY
    WORK.mkdir(parents=True, exist_ok=True)
    run(LINK, "static", STATIC_BINARY, env=os.environ | {"USHER_OBJECTS": str(OBJECTS)})
    return STATIC_BINARY
