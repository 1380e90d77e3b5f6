"""The Kubernetes manifests as they are, run by `podman kube play`: no cluster, but the real pods, limits and mounts.

Services, policies, disruption budgets and autoscalers mean nothing to podman; test_artefacts.py holds them to
Kubernetes' schemas.
"""

from __future__ import annotations

import json

import pytest
import yaml

from conftest import wait_for
from machine import ROOT, tool
from test_artefacts import documents
from test_image import ask, metric

KUBERNETES = ROOT / "deploy" / "kubernetes"
IMAGE = "registry.example.com/usher:0.1.0"


@pytest.fixture
def play(podman, image, secret, tmp_path):
    """`play(documents)`: runs them with the secret, in the tests' network; taken down at the end."""
    tool("catatonit")
    played = []

    def run_it(wanted: list[dict]):
        example = documents((KUBERNETES / "secret.example.yaml").read_text())[0]
        example["stringData"]["token_secret"] = secret.read_text()
        # podman 4.3 knows only the encoded form
        import base64
        example["data"] = {k: base64.b64encode(v.encode()).decode() for k, v in example.pop("stringData").items()}
        file = tmp_path / "play.yaml"
        file.write_text(yaml.safe_dump_all([example, *wanted]))
        podman("tag", image, IMAGE)
        played.append(file)
        return podman("kube", "play", "--network", "host", file).stdout

    yield run_it
    for file in played:
        podman("kube", "down", file, check=False)
    podman("pod", "rm", "--all", "--force", check=False)


def load(*paths: str) -> list[dict]:
    found = []
    for path in paths:
        found += documents((KUBERNETES / path).read_text())
    return [d for d in found if d["kind"] in ("ConfigMap", "Deployment")]


def only(found: list[dict], kind: str) -> dict:
    return next(document for document in found if document["kind"] == kind)


def test_in_front_of_a_service(podman, play, sample_backend, sign):
    """The gateway's Deployment: what it answers, what it may do, how it ends."""
    wanted = load("gateway/configuration.yaml", "gateway/deployment.yaml")
    deployment = only(wanted, "Deployment")
    deployment["spec"]["replicas"] = 1
    # The only thing that is not as committed: where the Service would be.
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "TASKS_ADDRESS", "value": sample_backend}]
    play(wanted)
    wait_for("http://127.0.0.1:9901/readyz")
    alice, bob = sign("alice-k8s"), sign("bob-k8s")
    assert ask("/tasks", alice, method="POST", body={"title": "t"})[0] == 201
    assert ask("/tasks")[0] == 401
    assert ask("/api/alice-k8s/tasks", bob)[0] == 403
    assert json.loads(ask("/tasks", bob, {"X-User-Id": "alice-k8s"})[2]) == []
    name = next(n for n in podman("ps", "--format", "{{.Names}}").stdout.split() if n.endswith("-usher"))
    found = podman.inspect(name)
    assert found["HostConfig"]["ReadonlyRootfs"] and not found["EffectiveCaps"]
    assert found["HostConfig"]["Memory"] == 256 * 1024 * 1024
    assert metric("usher_workers") <= 2
    podman("stop", "--time", "20", name)
    assert podman.inspect(name)["State"]["ExitCode"] == 0


def test_sidecar(podman, play, tasks_image, sign):
    """Usher and the backend in one pod. The backend is on loopback; here that is the tests' own."""
    if tasks_image is None:
        pytest.skip("no image of the sample backend")
    podman("tag", tasks_image, "registry.example.com/tasks:0.1.0")
    wanted = load("sidecar/tasks.yaml")
    pod = only(wanted, "Deployment")["spec"]
    pod["replicas"] = 1
    pod = pod["template"]["spec"]
    # podman 4.3 has no sidecars that are init containers: there they are ordinary ones.
    sidecar = pod.pop("initContainers")[0]
    assert sidecar.pop("restartPolicy") == "Always"
    pod["containers"].append(sidecar)
    # nor a size limit of an emptyDir
    for volume in pod["volumes"]:
        if "emptyDir" in volume:
            volume["emptyDir"] = {}
    play(wanted)
    wait_for("http://127.0.0.1:9901/readyz")
    wait_for("http://127.0.0.1:8080/health")
    alice = sign("alice-sidecar")
    made = ask("/tasks", alice, method="POST", body={"title": "t"})
    assert made[0] == 201 and json.loads(made[2])["owner"] == "alice-sidecar"
    assert ask("/tasks")[0] == 401
