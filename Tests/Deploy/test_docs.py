"""docs/deploy/: every command of the pages is run. compose.md is in test_compose.py, systemd.md in test_systemd.py, and those
of other proxies in test_forward_auth.py."""

from __future__ import annotations

import json
import os
import re

import pytest

import documents
from machine import ROOT, image_binary, run
from test_image import ask

PAGES = {
    "docker.md": {"Start", "Try", "Change", "Stop"},
    "compose.md": {"Start", "Try", "Stop"},
    "kubernetes.md": {"Kubernetes", "In front of a Service", "Beside the backend", "With Helm"},
    "systemd.md": {"Install", "Socket", "Change", "Stop"},
    "nginx.md": {"Start", "Try", "Stop"},
    "caddy.md": {"Start", "Try", "Stop"},
    "traefik.md": {"Start", "Try", "Stop"},
}


@pytest.mark.parametrize("page", PAGES)
def test_no_command_is_left_out(page):
    """The sections with commands are those that a test runs."""
    assert set(documents.sections(page)) == PAGES[page]
    text = (ROOT / "docs" / "deploy" / page).read_text()
    assert not re.search(r"^```(?!sh$|$)", text, re.M), "a block that is not run"


def test_every_page_is_here():
    assert {path.name for path in (ROOT / "docs" / "deploy").glob("*.md")} == set(PAGES)


def test_docker(podman, image, sample_backend, tmp_path):
    page = documents.sections("docker.md")
    folder = documents.clone(tmp_path / "usher")
    environment = podman.environment | {"USHER_TEST_IMAGE": image}
    try:
        documents.execute(page["Start"], folder, environment)
        podman.wait_log("usher", "listening on")
        said = documents.execute(page["Try"], folder, environment).stdout
        assert "HTTP/1.1 401" in said and "healthy:" in said and '"reason":"token_missing"' in said
        documents.execute(page["Change"], folder, environment)
        podman.wait_log("usher", "configuration reloaded")
        documents.execute(page["Stop"], folder, environment)
        with pytest.raises(OSError):
            ask("/health")
    finally:
        podman.remove("usher")


def test_readme(podman, image, sample_backend, tmp_path):
    """From a clone of what is committed to a running container in front of a backend, by three commands."""
    script = documents.sections(ROOT / "README.md")["In a container"]
    commands = script.replace("\\\n", " ").strip().splitlines()
    assert len(commands) == 3
    url = re.search(r"git clone (\S+)", script)[1]
    if run("git", "-C", ROOT, "rev-parse", "HEAD", check=False).returncode:
        pytest.skip("no git repository here")
    environment = podman.environment | {
        "USHER_TEST_IMAGE": image, "GIT_CONFIG_COUNT": "2", "GIT_CONFIG_KEY_0": f"url.{ROOT}.insteadOf", "GIT_CONFIG_VALUE_0": url,
        "GIT_CONFIG_KEY_1": "safe.directory", "GIT_CONFIG_VALUE_1": "*"}
    try:
        documents.execute(script, tmp_path, environment)
        podman.wait_log("usher", "listening on")
        assert ask("/tasks")[0] == 401 and ask("/health")[0] == 200
        secret = tmp_path / "usher" / "secrets" / "token_secret"
        token = run(
            image_binary(), "token", "sign", "--algorithm", "HS256", "--secret-file", secret, "--subject", "readme",
            "--issuer", "https://app.example.com", "--audience", "https://app.example.com").stdout.strip()
        assert ask("/tasks", token)[0] == 200
    finally:
        podman.remove("usher")


def test_kubernetes(render, tmp_path):
    page = documents.sections("kubernetes.md")
    folder = documents.clone(tmp_path / "usher")
    environment = dict(os.environ) | {"KUBECTL_STATE": str(tmp_path / "state.json"), "RENDER_CHART": str(render.binary)}
    for script in page.values():
        documents.execute(script, folder, environment)
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["Secret/usher"]["keys"] == ["token_secret"] and state["Secret/usher"]["bytes"] >= 48
    assert {"Deployment/usher", "Deployment/tasks", "Deployment/edge", "NetworkPolicy/tasks-only-from-usher"} <= set(state)
    for deployment in ("usher", "tasks", "edge"):
        volumes = state[f"Deployment/{deployment}"]["spec"]["template"]["spec"]["volumes"]
        secret = next(volume["secret"] for volume in volumes if volume["name"] == "secrets")
        assert f"Secret/{secret['secretName']}" in state
