"""What the NetworkPolicies allow, worked out as Kubernetes describes it: no cluster that enforces them can be had here."""

from __future__ import annotations

import json

import pytest

from test_artefacts import DEPLOY, documents

USHER = {"app.kubernetes.io/name": "usher"}
TASKS = {"app.kubernetes.io/name": "tasks"}
STRANGER = {"app.kubernetes.io/name": "stranger"}


def selects(selector: dict | None, labels: dict) -> bool:
    assert selector is not None and set(selector) <= {"matchLabels"}, "the only form that the manifests use"
    return selector.get("matchLabels", {}).items() <= labels.items()


def allows(rule: dict, side: str, pod: dict, namespace: str, port: int, protocol: str) -> bool:
    """One rule of a policy: its peers and its ports; what is not written is everything."""
    if "ports" in rule and not any(p["port"] == port and p.get("protocol", "TCP") == protocol for p in rule["ports"]):
        return False
    if side not in rule:
        return True
    for peer in rule[side]:
        assert set(peer) <= {"podSelector", "namespaceSelector"}
        inside = selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace}) \
            if "namespaceSelector" in peer else namespace == "default"
        if inside and selects(peer.get("podSelector", {}), pod):
            return True
    return False


def passes(policies, source: dict, target: dict, port: int, source_namespace="default", target_namespace="default", protocol="TCP") -> bool:
    """Whether a connection gets out of the one pod and into the other. The policies are those of the namespace default."""
    for direction, side, selected, namespace, other, there in (
            ("Egress", "to", source, source_namespace, target, target_namespace),
            ("Ingress", "from", target, target_namespace, source, source_namespace)):
        concerned = [p["spec"] for p in policies if namespace == "default" and direction in p["spec"]["policyTypes"]
                     and selects(p["spec"]["podSelector"], selected)]
        rules = [rule for policy in concerned for rule in policy.get(direction.lower(), [])]
        if concerned and not any(allows(rule, side, other, there, port, protocol) for rule in rules):
            return False
    return True


def plain() -> list[dict]:
    return [d for path in sorted((DEPLOY / "kubernetes" / "gateway").glob("*.yaml")) for d in documents(path.read_text())]


@pytest.fixture(params=["manifests", "chart"])
def gateway(request, tmp_path):
    """The gateway's documents; of the chart with the sample backend named, and the names as the manifests have them."""
    if request.param == "manifests":
        return plain(), USHER
    values = tmp_path / "values.json"
    values.write_text(json.dumps({"networkPolicy": {"backends": [{"name": "tasks", "port": 8000, "podLabels": TASKS}]}}))
    found = documents(request.getfixturevalue("render")(values).stdout)
    return found, next(d for d in found if d["kind"] == "Deployment")["spec"]["template"]["metadata"]["labels"]


def test_only_usher_reaches_the_backend(gateway):
    found, usher = gateway
    policies = [d for d in found if d["kind"] == "NetworkPolicy"]
    assert passes(policies, usher, TASKS, 8000)
    assert not passes(policies, STRANGER, TASKS, 8000)
    assert not passes(policies, usher, TASKS, 8000, source_namespace="other"), "a namesake in another namespace"
    assert not passes(policies, STRANGER, TASKS, 8000, source_namespace="monitoring")
    assert not passes(policies, usher, TASKS, 22)


def test_who_reaches_usher_and_where_it_goes(gateway):
    found, usher = gateway
    policies = [d for d in found if d["kind"] == "NetworkPolicy"]
    assert passes(policies, STRANGER, usher, 8080) and passes(policies, STRANGER, usher, 8080, source_namespace="other")
    assert not passes(policies, STRANGER, usher, 9901), "the admin listener"
    assert passes(policies, STRANGER, usher, 9901, source_namespace="monitoring")
    assert not passes(policies, usher, STRANGER, 8000) and not passes(policies, usher, STRANGER, 443, target_namespace="other")
    assert passes(policies, usher, STRANGER, 53, target_namespace="kube-system", protocol="UDP")


def test_the_policies_decide_it(gateway):
    """Without them everybody reaches everything: what the tests above refuse, the policies do."""
    found, usher = gateway
    assert passes([], STRANGER, TASKS, 8000) and passes([], STRANGER, usher, 9901)
    alone = [d for d in found if d["kind"] == "NetworkPolicy" and d["metadata"]["name"].startswith("tasks")]
    assert len(alone) == 1 and not passes(alone, STRANGER, TASKS, 8000)


def test_selectors_find_the_pods(gateway):
    """Service, disruption budget and autoscaler are about the Deployment's pods, and ports are those of the container."""
    found, usher = gateway
    one = {d["kind"]: d for d in found if d["kind"] != "NetworkPolicy"}
    pod = one["Deployment"]["spec"]["template"]["spec"]
    assert selects(one["Deployment"]["spec"]["selector"], usher)
    assert one["Service"]["spec"]["selector"].items() <= usher.items()
    assert selects(one["PodDisruptionBudget"]["spec"]["selector"], usher)
    if "HorizontalPodAutoscaler" in one:
        target = one["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == ("Deployment", one["Deployment"]["metadata"]["name"])
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    assert ports == {"http": 8080, "admin": 9901}
    assert {port["targetPort"] for port in one["Service"]["spec"]["ports"]} == {"http"}, "the admin listener has no Service"
    mounted = {v["name"] for v in pod["containers"][0]["volumeMounts"]}
    assert mounted == {v["name"] for v in pod["volumes"]}
    assert pod["terminationGracePeriodSeconds"] >= pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] + 30
