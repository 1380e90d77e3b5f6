"""Fixtures: an own network, podman with its own storage, the image under test, a sample backend.

What a test needs and this machine lacks is a reason to skip, printed at the end (-ra).
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from machine import ROOT, WORK, enter_own_network, image_binary, need_containers, run, tool
from podman import Podman, build_prebuilt

SAMPLE = ROOT / "config" / "examples" / "tasks-api"
# How long the first test that needs what is fetched waits for it; those behind it take what has come by then.
FETCH_SECONDS = 240


def pytest_sessionstart(session):
    if not image_binary().exists() and not session.config.option.collectonly:
        pytest.exit(f"no binary at {image_binary()}: run `make build`, or set USHER_BINARY", returncode=3)
    session.config.started = time.monotonic()
    # What has to be fetched is fetched beside the first tests: they need none of it.
    session.config.bases = subprocess.Popen(
        [Path(__file__).with_name("prepare-bases")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True, env=os.environ | {"PYTHON": sys.executable})


# What needs nothing that is fetched comes first, so that nobody waits for it.
ORDER = [
    "test_artefacts", "test_policies", "test_hosts", "test_image", "test_forward_auth", "test_monitoring", "test_docs",
    "test_kubernetes", "test_systemd", "test_compose", "test_dist"]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: ORDER.index(item.module.__name__) if item.module.__name__ in ORDER else len(ORDER))


def pytest_runtest_setup(item):
    limit = float(os.environ.get("DEPLOY_SECONDS", "inf"))
    if time.monotonic() - item.config.started > limit:
        pytest.skip(f"not begun within {limit:.0f} s (DEPLOY_SECONDS): `make deploy-test` runs all")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """DEPLOY_WITHOUT_SKIPS: where everything has to run, what is skipped has failed; but for what only DEPLOY_FULL runs."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and "DEPLOY_WITHOUT_SKIPS" in os.environ and "DEPLOY_FULL" not in str(report.longrepr):
        report.outcome, report.longrepr = "failed", f"skipped: {report.longrepr}"


def pytest_sessionfinish(session):
    """What is still being fetched is given up, with all that fetches it: the next run begins it anew."""
    bases = getattr(session.config, "bases", None)
    if bases and bases.poll() is None:
        os.killpg(bases.pid, signal.SIGTERM)
        bases.wait()


@pytest.fixture(scope="session")
def bases(pytestconfig):
    """The folder of what is fetched: `bases("system.tar")` is the path of one thing, or skips."""
    said: list[str] = []

    def path(name: str) -> Path:
        if not said:
            try:
                said.append(pytestconfig.bases.communicate(timeout=FETCH_SECONDS)[0] or "-")
            except subprocess.TimeoutExpired:
                said.append(f"nothing within {FETCH_SECONDS} s: what it fetches from is slow")
        if not (WORK / name).exists():
            pytest.skip(f"no {name}: Tests/Deploy/prepare-bases said: {said[0][-500:]}")
        return WORK / name

    return path


@pytest.fixture(scope="session")
def network():
    """This process, and all that it starts from here on, in a network of its own."""
    need_containers()
    enter_own_network()


@pytest.fixture(scope="session")
def podman(network):
    instance = Podman()
    yield instance
    instance.close()


@pytest.fixture(scope="session")
def image(podman, tmp_path_factory):
    return build_prebuilt(podman, tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="session")
def render():
    """The chart's manifests, by the stand-in for `helm template` beside these tests: real Helm is not to be had here."""
    go = tool("go")
    if not Path("/usr/share/gocode/src/github.com/Masterminds/sprig").exists():
        pytest.skip("no golang-github-masterminds-sprig-dev here: scripts/install-packages --deploy")
    WORK.mkdir(parents=True, exist_ok=True)
    binary = WORK / "render-chart"
    run(go, "build", "-o", binary, ".", cwd=Path(__file__).with_name("render-chart"),
        env=os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(WORK / "go-cache")})

    def make(*values: Path, check=True):
        return run(binary, ROOT / "deploy" / "helm" / "usher", "edge", *values, check=check)

    make.binary = binary
    return make


@pytest.fixture(scope="session")
def debian_image(podman, bases):
    """Debian with Python, PostgreSQL and systemd, for what cannot be fetched from a registry here."""
    podman("import", "--quiet", bases("system.tar"), "localhost/debian:test")
    return "localhost/debian:test"


@pytest.fixture(scope="session")
def tasks_image(podman, debian_image, bases):
    """The sample backend's image, from its own Containerfile, without a network."""
    podman(
        "build", "--isolation", "chroot", "--network", "host", "--build-arg", f"PYTHON_IMAGE={debian_image}",
        "--volume", f"{bases('wheels')}:/wheels:ro", "--env", "PIP_NO_INDEX=1", "--env", "PIP_FIND_LINKS=/wheels",
        "--file", SAMPLE / "Containerfile", "--tag", "localhost/tasks:test", SAMPLE)
    return "localhost/tasks:test"


@pytest.fixture(scope="session")
def secret(tmp_path_factory) -> Path:
    """The file with the key that tokens are signed with, readable for the container's user."""
    folder = tmp_path_factory.mktemp("secret")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)
    file = folder / "token_secret"
    file.write_text(base64.b64encode(secrets.token_bytes(48)).decode() + "\n")
    file.chmod(0o444)
    return file


@pytest.fixture(scope="session")
def sign(secret):
    """`sign("alice")`: a token for a user, made by the binary under test."""

    def make(user: str, *more: str) -> str:
        return run(
            image_binary(), "token", "sign", "--algorithm", "HS256", "--secret-file", secret, "--subject", user,
            "--issuer", "https://app.example.com", "--audience", "https://app.example.com", *more).stdout.strip()

    return make


@pytest.fixture(scope="session")
def sample_backend(network, tmp_path_factory):
    """The sample tasks backend on port 8000 of the tests' network."""
    database = tmp_path_factory.mktemp("tasks") / "tasks.db"
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8000", "--log-level", "warning"],
        cwd=SAMPLE, env=os.environ | {"TASKS_DATABASE": str(database), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL)
    try:
        wait_for("http://127.0.0.1:8000/health", lambda: server.poll() is None)
        yield "127.0.0.1:8000"
    finally:
        server.terminate()
        server.wait(60)


def wait_for(url: str, alive=lambda: True, timeout: float = 60) -> None:
    end = time.monotonic() + timeout
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert alive() and time.monotonic() < end, f"no answer from {url}"
            time.sleep(0.05)
