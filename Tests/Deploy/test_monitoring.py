"""Rules and dashboard: their expressions are PromQL, over metrics that a running usher really shows."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import pytest
import yaml

from conftest import wait_for
from machine import ROOT, run
from podman import image_binary

MONITORING = ROOT / "deploy" / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text())
# Prometheus makes these itself, or a rule of ours does.
NOT_USHERS = re.compile(r"^(up|job:\w+:\w+)$")
# Shown only where there is something to show: the container's configuration has no TLS, no keys from the network, no
# tracing and no store.
WHERE_CONFIGURED = {
    "usher_tls_certificate_expiry_timestamp_seconds", "usher_key_fetch_failures_total", "usher_trace_spans_lost_total",
    "usher_shared_up", "usher_shared_revocations_pending"}


@pytest.fixture(scope="module")
def promtool(bases):
    return bases("promtool")


@contextlib.contextmanager
def running(folder, secret, admin_keys=""):
    """The binary under test; its public port and its admin port."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0)), two.bind(("127.0.0.1", 0))
        public, admin = one.getsockname()[1], two.getsockname()[1]
    text = (ROOT / "deploy" / "container" / "usher.toml").read_text().replace("127.0.0.1:9901", f"127.0.0.1:{admin}")
    (folder / "usher.toml").write_text(text.replace("0.0.0.0:", "127.0.0.1:") + admin_keys)
    process = subprocess.Popen(
        [image_binary(), "run", "--config", folder / "usher.toml"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "PORT": str(public), "BACKEND": "127.0.0.1:9", "TOKEN_SECRET_FILE": str(secret)})
    try:
        wait_for(f"http://127.0.0.1:{admin}/readyz", lambda: process.poll() is None)
        yield public, admin
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def metrics(secret, tmp_path_factory) -> str:
    """The /metrics of the binary under test, after one request."""
    with running(tmp_path_factory.mktemp("metrics"), secret) as (public, admin):
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{public}/tasks", timeout=5)
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=5) as answer:
            return answer.read().decode()


def scrape(admin: int, host: str) -> int:
    """The status of /metrics, asked for by that host, as Prometheus asks by its target."""
    request = urllib.request.Request(f"http://127.0.0.1:{admin}/metrics", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_targets_that_are_answered(secret, tmp_path):
    """Those of the example as they stand; a name with a dot once it is in admin.names."""
    example = yaml.safe_load((MONITORING / "prometheus.example.yaml").read_text())
    targets = [t for job in example["scrape_configs"] for group in job["static_configs"] for t in group["targets"]]
    with running(tmp_path, secret) as (_, admin):
        assert targets and {scrape(admin, target) for target in targets} == {200}
        assert scrape(admin, "usher:9901") == 200 and scrape(admin, "usher.internal:9901") == 403
    with running(tmp_path, secret, 'names = ["usher.internal"]\n') as (_, admin):
        assert scrape(admin, "usher.internal:9901") == 200 and scrape(admin, "other.internal:9901") == 403


def test_metrics_are_well_formed(promtool, metrics):
    run(promtool, "check", "metrics", input=metrics, stdin=None)


def test_rules(promtool):
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", MONITORING / "prometheus-rules.yaml")
    done = run(promtool, "test", "rules", MONITORING / "prometheus-rules.test.yaml", cwd=MONITORING)
    assert "SUCCESS" in done.stdout + done.stderr


def test_every_alert_has_a_test():
    rules = yaml.safe_load((MONITORING / "prometheus-rules.yaml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    tests = yaml.safe_load((MONITORING / "prometheus-rules.test.yaml").read_text())["tests"]
    assert alerts == {
        case["alertname"] for test in tests for case in test.get("alert_rule_test", []) if case["exp_alerts"]}


def test_the_tests_of_the_rules_can_fail(promtool, tmp_path):
    for name in ("prometheus-rules.yaml", "prometheus-rules.test.yaml"):
        (tmp_path / name).write_text((MONITORING / name).read_text().replace("usher_ready == 0", "usher_ready == 2"))
    assert run(promtool, "test", "rules", tmp_path / "prometheus-rules.test.yaml", check=False).returncode != 0


def test_example_of_prometheus(promtool):
    run(promtool, "check", "config", MONITORING / "prometheus.example.yaml", cwd=MONITORING)


def dashboard_expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def rule_expressions() -> list[str]:
    rules = yaml.safe_load((MONITORING / "prometheus-rules.yaml").read_text())
    return [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def names_in(expression: str) -> set[str]:
    """The metrics of an expression: words that are no function, no label and no keyword."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    return set(re.findall(r"(?<![\w:])([a-z_][\w:]*)(?!\s*\()(?![\w:])", bare)) - {"and", "or", "unless", "bool"}


@pytest.mark.parametrize("what", ["dashboard", "rules"])
def test_only_metrics_that_are_there(metrics, what):
    expressions = dashboard_expressions() if what == "dashboard" else rule_expressions()
    assert len(expressions) >= 10
    there = set(re.findall(r"^# TYPE (\S+)", metrics, re.M))
    there |= {f"{name}_bucket" for name in re.findall(r"^# TYPE (\S+) histogram", metrics, re.M)}
    wanted = {name for expression in expressions for name in names_in(expression)}
    assert len(wanted) >= 8, wanted
    missing = {name for name in wanted if not NOT_USHERS.match(name)} - there
    assert missing <= WHERE_CONFIGURED, missing


def test_metrics_that_are_there_where_configured():
    sources = "".join(file.read_text() for file in (ROOT / "Sources").rglob("*.swift"))
    for name in WHERE_CONFIGURED:
        assert f'"{name}"' in sources


def test_reasons_that_are_there():
    """A reason that an expression names is one of the closed list."""
    source = (ROOT / "Sources" / "HTTP" / "ReasonCode.swift").read_text()
    known = set(re.findall(r'case \.\w+: "([a-z_]+)"$', source, re.M))
    assert "token_invalid" in known
    for expression in dashboard_expressions() + rule_expressions():
        for text in re.findall(r'reason(?:=|=~|!=)"([^"]*)"', expression):
            for name in text.split("|"):
                assert any(re.fullmatch(name, reason) for reason in known), name


def test_dashboard(promtool, tmp_path):
    """Panels are told apart, lie side by side, and their expressions are PromQL."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y) for panel in panels for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])]
    assert len(set(cells)) == len(cells) and max(x for x, _ in cells) < 24
    rules = []
    for number, expression in enumerate(dashboard_expressions()):
        text = expression.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")
        assert "$" not in text, text
        rules.append({"record": f"dashboard:panel:{number}", "expr": text})
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(promtool, "check", "rules", file)
    rules[0]["expr"] += ")"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert run(promtool, "check", "rules", file, check=False).returncode != 0
