"""The commands of the documents: every ```sh block below a heading, run as it stands."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from machine import ROOT, run

STAND_INS = Path(__file__).with_name("stand-ins")


def sections(page: str | Path) -> dict[str, str]:
    """The shell blocks of docs/deploy/PAGE, or of the file at a path, by the heading they stand below."""
    found: dict[str, str] = {}
    heading, block = "", None
    for line in (ROOT / "docs" / "deploy" / page).read_text().splitlines():
        if block is None and (match := re.match(r"##? (.*)", line)):
            heading = match[1]
        elif line == "```sh":
            block = []
        elif line == "```" and block is not None:
            found[heading] = found.get(heading, "") + "\n".join(block) + "\n"
            block = None
        elif block is not None:
            block.append(line)
    return found


def clone(folder: Path) -> Path:
    """What the commands need of a clone of the repository."""
    for name in ("deploy", "config"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    return folder


def execute(script: str, folder: Path, environment: dict[str, str], timeout: float = 300):
    """Runs a section in bash, ending at the first command that fails; `docker`, `kubectl` and `helm` are stand-ins."""
    path = f"{STAND_INS}:{Path(sys.executable).parent}:{environment['PATH']}"
    # Into files: a server that goes on in the background would hold a pipe open.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        done = run(
            "bash", "-euxo", "pipefail", "-c", script, cwd=folder, env=environment | {"PATH": path}, timeout=timeout,
            check=False, capture_output=False, stdout=output, stderr=errors)
        for file in (output, errors):
            file.seek(0)
        done.stdout, done.stderr = output.read(), errors.read()
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"[-6000:]
    return done
