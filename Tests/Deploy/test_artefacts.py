"""What can be said of the files of deploy/ without running them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from machine import ROOT, image_binary, run, tool

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "usher"
KUBERNETES_VERSIONS = ["1.30", "1.37"]  # the oldest that has preStop.sleep, and the newest that the validator knows


def scripts() -> list[Path]:
    found = []
    for folder in (DEPLOY, ROOT / "scripts", ROOT / ".ci", ROOT / "Tests" / "Deploy"):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.read_bytes()[:60].split(b"\n")[0] in (b"#!/bin/sh", b"#!/usr/bin/env bash"):
                found.append(path)
    return found


def test_scripts():
    assert len(scripts()) >= 5
    run(tool("shellcheck"), "--external-sources", *scripts())
    assert all(os.access(path, os.X_OK) for path in scripts())


CONTAINERFILES = [path for folder in ("deploy", "config") for path in sorted((ROOT / folder).rglob("Containerfile*"))]


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_containerfiles(path):
    # DL3006: bases are arguments, with a tag in their default. DL3002 and the like stay on.
    run(tool("hadolint"), "--ignore", "DL3006", path)


def test_yaml():
    run(tool("yamllint"), "--strict", "--config-file", ROOT / ".yamllint.yaml", "deploy", cwd=ROOT)


def validate(document: dict, version: str) -> None:
    """What the command kubernetes-validate --strict does, without starting it for every file."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    kubernetes_validate.validate(document, version, strict=True)


def manifests() -> list[dict]:
    found = [d for path in sorted((DEPLOY / "kubernetes").rglob("*.yaml")) for d in documents(path.read_text())]
    assert len(found) >= 12
    return found


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_manifests(version):
    for document in manifests():
        validate(document, version)


def test_the_validator_finds_mistakes():
    pod = next(d for d in manifests() if d["kind"] == "Deployment")
    context = pod["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    context["readOnlyRootFileSystem"] = context.pop("readOnlyRootFilesystem")
    with pytest.raises(Exception, match="readOnlyRootFileSystem"):
        validate(pod, "1.37")


def documents(text: str) -> list[dict]:
    import yaml
    return [document for document in yaml.safe_load_all(text) if document]


def configurations() -> dict[str, str]:
    """Every configuration that a file of deploy/ carries."""
    found = {str(path.relative_to(ROOT)): path.read_text() for path in sorted(DEPLOY.rglob("*.toml"))}
    for path in sorted((DEPLOY / "kubernetes").rglob("*.yaml")):
        for document in documents(path.read_text()):
            if document["kind"] == "ConfigMap":
                found[str(path.relative_to(ROOT))] = document["data"]["usher.toml"]
    found["chart"] = documents((CHART / "values.yaml").read_text())[0]["configuration"]
    return found


@pytest.mark.parametrize("name", configurations())
def test_configurations_are_right(name, tmp_path, secret):
    """`usher check` takes each of them as it is; only the secret's path is this machine's."""
    text = configurations()[name]
    for path in ("/etc/usher-secrets/token_secret", "${TOKEN_SECRET_FILE:-/run/secrets/token_secret}",
                 "${CREDENTIALS_DIRECTORY:-/etc/usher}/token_secret"):
        text = text.replace(path, str(secret))
    assert str(secret) in text
    file = tmp_path / "usher.toml"
    file.write_text(text)
    done = run(image_binary(), "check", "--config", file, env={"PATH": os.environ["PATH"], "REDIS_PASSWORD_FILE": str(secret)})
    assert "ok" in done.stdout


def pods() -> list[tuple[str, dict]]:
    found = []
    for path in sorted((DEPLOY / "kubernetes").rglob("*.yaml")):
        for document in documents(path.read_text()):
            if document["kind"] == "Deployment":
                found.append((str(path.relative_to(ROOT)), document["spec"]["template"]["spec"]))
    return found


@pytest.mark.parametrize(("name", "pod"), pods(), ids=lambda v: v if isinstance(v, str) else "")
def test_pods_are_restricted(name, pod):
    """Kubernetes' Pod Security Standard "restricted", and limits."""
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    for container in pod["containers"] + pod.get("initContainers", []):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True
        assert context["capabilities"]["drop"] == ["ALL"]
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])


EVERYTHING = {
    "autoscaling": {"enabled": True}, "podLabels": {"team": "a"}, "podAnnotations": {"b": "c"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"}, "tolerations": [{"key": "x", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}}, "imagePullSecrets": [{"name": "pull"}],
    "env": [{"name": "TASKS_ADDRESS", "value": "tasks:8000"}], "service": {"annotations": {"d": "e"}, "type": "LoadBalancer"},
    "networkPolicy": {"backends": [{"name": "tasks", "port": 8000, "podLabels": {"app.kubernetes.io/name": "tasks"}}]}}


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["default", "everything"])
def test_chart(render, tmp_path, version, values):
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values))
    found = documents(render(file).stdout)
    for document in found:
        validate(document, version)
    kinds = sorted(document["kind"] for document in found)
    expected = ["ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"]
    assert kinds == sorted(expected + (["HorizontalPodAutoscaler", "NetworkPolicy"] if values else []))


def test_the_chart_is_the_manifests(render):
    """The Deployment of the chart is that of deploy/kubernetes/gateway, but for names, labels and the checksum."""
    chart = next(d for d in documents(render().stdout) if d["kind"] == "Deployment")["spec"]["template"]["spec"]
    plain = documents((DEPLOY / "kubernetes" / "gateway" / "deployment.yaml").read_text())[0]["spec"]["template"]["spec"]
    chart["volumes"][0]["configMap"]["name"] = "usher"
    for pod in (chart, plain):
        pod["topologySpreadConstraints"][0].pop("labelSelector")
    assert chart == plain


def test_a_changed_configuration_makes_new_pods(render, tmp_path):
    file = tmp_path / "values.json"
    file.write_text(json.dumps({"configuration": "# another"}))

    def checksum(text):
        template = next(d for d in documents(text) if d["kind"] == "Deployment")["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/configuration"]

    assert checksum(render().stdout) != checksum(render(file).stdout)
    file.write_text(json.dumps({"configuration": ""}))
    assert render(file, check=False).returncode != 0


def test_schema_of_the_values():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    text = (CHART / "values.yaml").read_text()
    validator.validate(documents(text)[0])
    validator.validate(documents(text)[0] | {k: v for k, v in EVERYTHING.items() if k != "service"})
    for change in (("replicaCount: 2", "replicaCount: two"), ("existingSecret:", "existingSecrets:"), ("http: 8080", "http: 80")):
        assert not validator.is_valid(documents(text.replace(*change))[0]), change


def test_bill_of_materials(tmp_path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    validator = JsonStrictValidator(SchemaVersion.V1_5)
    for options in ((), ("--dynamic",)):
        text = run(DEPLOY / "sbom" / "make-sbom", *options).stdout
        assert validator.validate_str(text) is None
        names = {component["name"]: component["version"] for component in json.loads(text)["components"]}
        assert {"swift", "swift-log", "swift-argument-parser", "libtomlplusplus-dev"} <= set(names)
        assert ("libssl-dev" in names) == (not options)
        assert all(names.values()), names
    assert validator.validate_str(text.replace('"library"', '"librari"')) is not None
    assert run(DEPLOY / "sbom" / "make-sbom", "--dynamic").stdout == text
