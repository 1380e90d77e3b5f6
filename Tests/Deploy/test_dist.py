"""`make dist` around the binary under test: what is in a release, and that it is the same a second time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile

import pytest

from machine import LINK, OBJECTS, ROOT, STATIC_BINARY, image_binary, run
from test_image import smoke


@pytest.fixture(scope="module")
def pack(podman, bases, tmp_path_factory):
    """`pack(folder)`: `make dist` but for compiling; the base of the image on glibc is one of ours, as an archive."""
    base = tmp_path_factory.mktemp("base") / "runtime.oci"
    podman("import", "--quiet", bases("runtime.tar"), "localhost/runtime:test")
    podman("save", "--quiet", "--format", "oci-archive", "--output", base, "localhost/runtime:test")
    environment = os.environ | {"RUNTIME_IMAGE": f"oci-archive:{base}", "USHER_OBJECTS": str(OBJECTS)}

    def make(folder):
        return run(ROOT / "scripts" / "dist", "--binary", image_binary(), "--into", folder, env=environment)

    return make


@pytest.fixture(scope="module")
def release(pack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist") / "dist"
    pack(folder)
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


@pytest.fixture(scope="module", params=["static", "debian"])
def loaded(request, release, podman):
    """The name of one of the two images, loaded from its archive as it is."""
    version = run(release / "usher", "version").stdout.split()[1]
    archive = release / f"usher-{version}{'' if request.param == 'static' else '-debian'}-image.tar"
    if not archive.exists() and not OBJECTS.exists():
        pytest.skip(f"no {OBJECTS}: nothing to link the image on glibc from")
    return re.search(r"(localhost/usher:\S+)", podman("load", "--quiet", "--input", archive).stdout)[1]


def test_the_images(loaded, podman):
    """They say which commit they are of, and start without a network."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert podman.inspect(loaded)["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/usher", "healthcheck"]
    assert podman.inspect(loaded)["Config"]["Labels"]["org.opencontainers.image.revision"] == (commit or "unknown")
    assert podman("run", "--rm", "--network", "none", loaded, "version").stdout.startswith("usher ")


def test_the_images_serve(loaded, podman, secret, sample_backend, sign):
    """The one on glibc finds its libraries in its base."""
    smoke(podman, loaded, secret, sample_backend, sign)


def test_the_same_again(release, pack, tmp_path):
    """Byte for byte, the images' archives too."""
    pack(tmp_path / "again")

    def sums(folder):
        return {line.split()[1]: line.split()[0] for line in (folder / "SHA256SUMS").read_text().splitlines()}

    assert sums(release) == sums(tmp_path / "again")


def test_bill_of_materials_of_the_release(release):
    components = json.loads(next(release.glob("*.cdx.json")).read_text())["components"]
    assert "libssl-dev" in {component["name"] for component in components}


def test_the_static_binary_is_static():
    if image_binary() != STATIC_BINARY:
        pytest.skip(f"{image_binary()} was not compiled for release here: nothing to link from")
    assert subprocess.run(["ldd", STATIC_BINARY], capture_output=True).returncode != 0
    assert run(STATIC_BINARY, "version", env={}).stdout.startswith("usher ")
    assert str(ROOT).encode() not in STATIC_BINARY.read_bytes(), "the folder that it was compiled in"


def test_linked_again_it_is_the_same(tmp_path):
    if image_binary() != STATIC_BINARY:
        pytest.skip(f"{image_binary()} was not compiled for release here: nothing to link from")
    run(LINK, "static", tmp_path / "again", env=os.environ | {"USHER_OBJECTS": str(OBJECTS)})
    assert (tmp_path / "again").read_bytes() == STATIC_BINARY.read_bytes()
