"""A kernel that fails as a test says, and a time of day that it sets: a library preloaded into the binary (faults.c)."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

import pytest


class Kernel:
    """Start the binary with `environment`; `set` says what happens from then on, everything else being as it is."""

    def __init__(self, folder: Path):
        compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
        if not compiler:
            pytest.skip("no C compiler for a kernel that fails")
        library, file = folder / "faults.so", folder / "faults"
        source = Path(__file__).with_name("faults.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        file.write_bytes(bytes(4096))
        self.environment = {"LD_PRELOAD": str(library), "FAULTS_FILE": str(file)}
        with open(file, "r+b") as opened:
            self.memory = mmap.mmap(opened.fileno(), 4096)

    def set(self, step: int = 0, held: int = 0, accept=(0, 0), connect=(0, 0)) -> None:
        """The time of day is off by `step` seconds, or stands still at the second `held`; `accept` and `connect` fail with the
        first number as errno every so many calls as the second says."""
        struct.pack_into("=qqiiii", self.memory, 0, step, held, *accept, *connect)

    @property
    def failed(self) -> int:
        """How many calls have failed."""
        return struct.unpack_from("=i", self.memory, 32)[0]
