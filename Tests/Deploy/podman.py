"""Podman with storage and settings of its own, and the images that the tests make."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from machine import ROOT, image_binary, run

SETTINGS = Path(__file__).with_name("containers.conf")
IMAGE = "localhost/usher:test"


class Podman:
    """One storage, thrown away at the end. Everything runs in the network that this process is in."""

    def __init__(self) -> None:
        # A short path: podman puts sockets below it.
        self.folder = Path(tempfile.mkdtemp(prefix="usher-deploy-"))
        storage = self.folder / "storage.conf"
        storage.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.folder}/graph"\nrunroot = "{self.folder}/run"\n')
        self.environment = os.environ | {
            "CONTAINERS_CONF": str(SETTINGS), "CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_RUNTIME": "runc",
            "BUILDAH_FORMAT": "docker", "TMPDIR": str(self.folder)}

    def __call__(self, *arguments, **more) -> subprocess.CompletedProcess:
        return run("podman", *arguments, **({"env": self.environment} | more))

    def inspect(self, name: str) -> dict:
        return json.loads(self("inspect", name).stdout)[0]

    def wait_log(self, name: str, text: str, timeout: float = 60) -> str:
        end = time.monotonic() + timeout
        while True:
            done = self("logs", name, check=False)
            said = done.stdout + done.stderr
            if text in said:
                return said
            assert time.monotonic() < end, f"{name} does not say {text!r}:\n{said[-3000:]}"
            time.sleep(0.05)

    def remove(self, *names: str) -> None:
        self("rm", "--force", "--time", "2", *names, check=False)

    def close(self) -> None:
        self("rm", "--all", "--force", "--time", "2", check=False)
        self("pod", "rm", "--all", "--force", check=False)
        run("umount", self.folder / "graph" / "overlay", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def prepare_context(folder: Path, binary: Path) -> Path:
    """A build context for Containerfile.prebuilt around a binary, with its libraries where it needs any."""
    bill = folder / "sbom.json"
    bill.write_text(run(ROOT / "deploy" / "sbom" / "make-sbom").stdout)
    context = folder / "context"
    run(ROOT / "deploy" / "container" / "prepare-root", binary, bill, context / "root")
    return context


def build_prebuilt(podman: Podman, folder: Path, tag: str = IMAGE, *options: str) -> str:
    """The image around the binary under test: the static one wherever that can be linked."""
    context = prepare_context(folder, image_binary())
    podman(
        "build", "--quiet", "--isolation", "chroot", "--network", "host", "--timestamp", "0", *options, "--file",
        ROOT / "deploy" / "container" / "Containerfile.prebuilt", "--tag", tag, context)
    return tag


def layer_files(archive: Path) -> dict[str, tarfile.TarInfo]:
    """What is in the image of a docker-archive, all layers together."""
    files: dict[str, tarfile.TarInfo] = {}
    with tarfile.open(archive) as outer:
        manifest = json.load(outer.extractfile("manifest.json"))
        for name in manifest[0]["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(name)) as layer:
                files |= {entry.name.removeprefix("./"): entry for entry in layer}
    return files
