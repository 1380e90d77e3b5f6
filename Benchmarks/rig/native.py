"""The small C programs of the bench, built where they are older than their source."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "native"


def build(folder: Path, name: str, *flags: str) -> str:
    source, target = SOURCES / f"{name}.c", folder / name
    folder.mkdir(parents=True, exist_ok=True)
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", target, source, *flags], check=True)
    return str(target)
