"""`make dist` around the binary under test: what is in a release, and that it is the same a second time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile

import pytest

from machine import ROOT, STATIC_BINARY, run
from podman import image_binary


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist") / "dist"
    run(ROOT / "scripts" / "dist", "--binary", image_binary(), "--into", folder)
    return folder


def test_what_is_in_it(release):
    names = {path.name for path in release.iterdir()}
    version = run(release / "usher", "version").stdout.split()[1]
    assert {"usher", "SHA256SUMS", f"usher-{version}.cdx.json", f"usher-{version}-linux-{os.uname().machine}.tar.gz"} <= names
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=release)
    assert {line.split()[1] for line in (release / "SHA256SUMS").read_text().splitlines()} == names - {"SHA256SUMS"}
    with tarfile.open(next(release.glob("*-linux-*.tar.gz"))) as archive:
        members = {member.name.partition("/")[2]: member for member in archive}
    assert {"usher", "usher.example.toml", "usher.service", f"usher-{version}.cdx.json"} <= set(members)
    assert all(member.uid == member.gid == 0 for member in members.values())
    assert members["usher"].mode == 0o755


def test_the_image(release, podman):
    """The archive is loaded as it is, and says which commit it is of."""
    archive = next(release.glob("*-image.tar"))
    said = podman("load", "--quiet", "--input", archive).stdout
    name = re.search(r"(localhost/usher:\S+)", said)[1]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert podman.inspect(name)["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/usher", "healthcheck"]
    assert podman.inspect(name)["Config"]["Labels"]["org.opencontainers.image.revision"] == (commit or "unknown")
    assert podman("run", "--rm", "--network", "none", name, "version").stdout.startswith("usher ")


def test_the_same_again(release, tmp_path):
    """Byte for byte, the image's archive too."""
    run(ROOT / "scripts" / "dist", "--binary", image_binary(), "--into", tmp_path / "again")

    def sums(folder):
        return {line.split()[1]: line.split()[0] for line in (folder / "SHA256SUMS").read_text().splitlines()}

    assert sums(release) == sums(tmp_path / "again")


def test_bill_of_materials_of_the_release(release):
    components = json.loads(next(release.glob("*.cdx.json")).read_text())["components"]
    assert "libssl-dev" in {component["name"] for component in components}


@pytest.mark.skipif(not STATIC_BINARY.exists(), reason="no static binary here: `make dist` makes one")
def test_the_static_binary_is_static():
    assert subprocess.run(["ldd", STATIC_BINARY], capture_output=True).returncode != 0
    done = run(STATIC_BINARY, "version", env={})
    assert done.stdout.startswith("usher ")
