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
# Where the tests are, as a pod on the bridge sees them.
GATEWAY = "10.97.0.1"
IMAGE = "registry.example.com/usher:0.1.0"


@pytest.fixture
def play(podman, image, secret, tmp_path):
    """`play(documents)`: runs them with the secret on a bridge; the pod's address. Taken down at the end."""
    tool("catatonit")
    tool("iptables")
    podman("network", "create", "--disable-dns", "--subnet", "10.97.0.0/24", "--gateway", GATEWAY, "pods", check=False)
    played = []

    def run_it(wanted: list[dict]):
        example = documents((KUBERNETES / "secret.example.yaml").read_text())[0]
        # podman 4.3 mounts the data as it is written, without decoding it as Kubernetes does
        example["data"] = {name: secret.read_text().strip() for name in example.pop("stringData")}
        file = tmp_path / "play.yaml"
        file.write_text(yaml.safe_dump_all([example, *wanted]))
        podman("tag", image, IMAGE)
        played.append(file)
        podman("kube", "play", "--network", "pods", file)
        pod = podman.inspect(podman("pod", "ps", "--quiet").stdout.split()[0])
        address = podman.inspect(pod["InfraContainerID"])["NetworkSettings"]["Networks"]["pods"]["IPAddress"]
        try:
            wait_for(f"http://{address}:9901/readyz", timeout=60)
        except AssertionError as error:
            said = podman("logs", *[c["Id"] for c in pod["Containers"] if c["Name"].endswith("-usher")], check=False)
            raise AssertionError(f"{error}\n{podman('ps', '--all').stdout}\n{said.stdout}{said.stderr}") from None
        return address

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
    container["env"] = [{"name": "TASKS_ADDRESS", "value": f"{GATEWAY}:8000"}]
    host = play(wanted)
    alice, bob = sign("alice-k8s"), sign("bob-k8s")
    assert ask("/tasks", alice, method="POST", body={"title": "t"}, host=host)[0] == 201
    assert ask("/tasks", host=host)[0] == 401
    assert ask("/api/alice-k8s/tasks", bob, host=host)[0] == 403
    assert json.loads(ask("/tasks", bob, {"X-User-Id": "alice-k8s"}, host=host)[2]) == []
    name = next(n for n in podman("ps", "--format", "{{.Names}}").stdout.split() if n.endswith("-usher"))
    found = podman.inspect(name)
    assert found["HostConfig"]["ReadonlyRootfs"] and not found["EffectiveCaps"]
    assert found["HostConfig"]["Memory"] == 256 * 1024 * 1024
    assert metric("usher_workers", host=host) <= 2, "Prometheus asks by the pod's address"
    status, _, text = ask("/reload", method="POST", host=host, port=9901)
    assert status == 403 and b"admin.token" in text, "nobody in the network changes anything"
    assert ask("/metrics", headers={"Host": "usher.default.svc:9901"}, host=host, port=9901)[0] == 403
    podman("stop", "--time", "20", name)
    assert podman.inspect(name)["State"]["ExitCode"] == 0


def test_sidecar(podman, play, tasks_image, sign):
    """Usher and the backend in one pod: the backend is on the pod's loopback, and not to be reached from outside."""
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
    host = play(wanted)
    wait_for(f"http://{host}:8080/health")
    alice = sign("alice-sidecar")
    made = ask("/tasks", alice, method="POST", body={"title": "t"}, host=host)
    assert made[0] == 201 and json.loads(made[2])["owner"] == "alice-sidecar"
    assert ask("/tasks", host=host)[0] == 401
    with pytest.raises(ConnectionRefusedError):
        ask("/tasks", headers={"X-User-Id": "alice-sidecar"}, host=host, port=8000)
