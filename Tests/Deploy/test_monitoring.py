"""Rules and dashboard: their expressions are PromQL, over metrics that a running usher really shows."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request

import pytest
import yaml

from conftest import wait_for
from machine import ROOT, free_ports, image_binary, run, tool
from monitored import Monitored

MONITORING = ROOT / "deploy" / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text())
# Prometheus makes these itself, or a rule of ours does.
NOT_USHERS = re.compile(r"^(up|job:\w+:\w+)$")
# Shown by usher, and on no panel: the limit of something that is on one, a part of it, or of use in a search alone.
LEFT_OUT = {
    "usher_build_info", "usher_config_last_success_timestamp_seconds", "usher_connections_limit", "usher_credential_connections",
    "usher_credential_questions_open", "usher_keys", "usher_token_cache_bytes", "usher_tokens_verified_total",
    "usher_trace_export_failures_total", "usher_upstream_connections_limit", "usher_upstream_retried_total",
    "usher_upstream_retries_refused_total", "usher_upstream_server_connections_opened_total",
    "usher_upstream_server_requests_in_flight", "usher_upstream_server_requests_total", "usher_upstream_unavailable_total"}

@pytest.fixture(scope="module")
def promtool(bases):
    return bases("promtool")


@contextlib.contextmanager
def running(folder, secret, admin_keys=""):
    """The binary under test; its public port and its admin port."""
    public, admin = free_ports(2)
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
        assert process.wait(60) == 0


@pytest.fixture(scope="module")
def monitored(network, secret, tmp_path_factory):
    """The binary under test with everything that has metrics, after requests of every kind."""
    tool("redis-server")
    with Monitored(image_binary(), tmp_path_factory.mktemp("monitored"), secret) as running:
        yield running


@pytest.fixture(scope="module")
def metrics(monitored, sign) -> str:
    monitored.ask(sign("watched"))
    return monitored.metrics()


def scrape(admin: int, host: str) -> int:
    """The status of /metrics, asked for by that host, as Prometheus asks by its target."""
    request = urllib.request.Request(f"http://127.0.0.1:{admin}/metrics", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
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


def filled_in(expression: str, interval: str) -> str:
    """An expression of the dashboard as Grafana asks it."""
    text = expression.replace("$__rate_interval", interval).replace("$job", ".*").replace("$instance", ".*")
    assert "$" not in text, text
    return text


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
    for part in ("sum", "count"):
        there |= {f"{name}_{part}" for name in re.findall(r"^# TYPE (\S+) (?:histogram|summary)", metrics, re.M)}
    wanted = {name for expression in expressions for name in names_in(expression)}
    assert len(wanted) >= 8, wanted
    assert {name for name in wanted if not NOT_USHERS.match(name)} - there == set()


def test_no_metric_is_forgotten(metrics):
    """Whatever a running usher counts is looked at by a panel or an alert, or said here not to be."""
    there = set(re.findall(r"^# TYPE (usher_\S+)", metrics, re.M))
    seen = {name for expression in dashboard_expressions() + rule_expressions() for name in names_in(expression)}
    seen |= {re.sub(r"_(bucket|sum|count)$", "", name) for name in seen}
    assert there - seen == LEFT_OUT


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
        text = filled_in(expression, "5m")
        rules.append({"record": f"dashboard:panel:{number}", "expr": text})
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(promtool, "check", "rules", file)
    rules[0]["expr"] += ")"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert run(promtool, "check", "rules", file, check=False).returncode != 0


def test_a_real_prometheus(monitored, metrics, sign):
    """It scrapes usher by the example's configuration; every panel finds something, and every rule can be evaluated."""
    example = MONITORING / "prometheus.example.yaml"
    monitored.start_prometheus(tool("prometheus"), MONITORING / "prometheus-rules.yaml", example)
    monitored.wait(lambda: monitored.query("usher_requests_total"), "nothing is scraped")
    monitored.ask(sign("scraped"))
    scraped = "count_over_time(usher_ready[1m])"
    have = float(monitored.query(scraped)[0]["value"][1])
    monitored.wait(lambda: float(monitored.query(scraped)[0]["value"][1]) >= have + 3, "no further scrapes")
    empty = [expression for expression in dashboard_expressions() if not monitored.query(filled_in(expression, "1m"))]
    assert not empty, empty
    assert monitored.query("up")[0]["metric"]["job"] == "usher"
    monitored.wait(lambda: all(rule["lastEvaluation"] > "0002" for rule in monitored.rules()), "rules are not evaluated")
    assert len(monitored.rules()) == len(rule_expressions())
    assert {rule["health"] for rule in monitored.rules()} == {"ok"}, monitored.rules()
    assert monitored.query("job:usher_requests:rate5m")
