"""`[tracing]`: the trace that a request belongs to, what is recorded of it, and a collector that may do what it likes."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import configuration
from harness.collector import Collector
from harness.http2 import Connection, get
from harness.keyserver import Authority
from harness.metrics import Metrics, promtool
from harness.ports import refusing_port
from harness.servers import with_hosts
from harness.standin import StandIn
from harness.tokens import bearer, token
from harness.wire import Client, render

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"
FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0([01])$")

TRACING = configuration.SMALL + """
[[route]]
path = "/users/{{user_id}}"
auth = "main"
require = {{ sub = "{{user_id}}" }}
upstream = "backend"

[tracing]
url = "{collector}"
interval = "100ms"
{tracing}
"""


@pytest.fixture
def collector():
    with Collector() as running:
        yield running


@pytest.fixture
def traced(start, own_backend, collector):
    def run(tracing="", text=TRACING, **more):
        more.setdefault("collector", collector.url)
        return start(own_backend, text, tracing=tracing, **more)
    return run


def sent(backend, name="traceparent"):
    return [request.headers.all(name) for request in backend.requests]


# Which trace a request belongs to (W3C Trace Context)

def test_a_trace_is_made(traced, own_backend, collector):
    proxy = traced()
    for _ in range(2):
        assert proxy.get("/public/x").status == 200
    found = [FORM.match(value) for [value] in sent(own_backend)]
    assert all(found) and [m[3] for m in found] == ["1", "1"]
    assert len({m[1] for m in found}) == len({m[2] for m in found}) == 2
    servers = collector.wait(2, kind="server")
    assert {s.trace for s in servers} == {m[1] for m in found} and all(s.parent == "" for s in servers)


def test_a_trace_is_gone_on_with(traced, own_backend, collector):
    proxy = traced()
    assert proxy.get("/public/x", {"traceparent": PARENT, "tracestate": "a=1,b=2"}).status == 200
    [[value]] = sent(own_backend)
    trace, span, flag = FORM.match(value).groups()
    assert trace == TRACE and span != SPAN and flag == "1" and sent(own_backend, "tracestate") == [["a=1,b=2"]]
    [server], [client] = collector.wait(1, kind="server"), collector.wait(1, kind="client")
    assert (server.trace, server.parent, server.state) == (TRACE, SPAN, "a=1,b=2")
    assert (client.trace, client.parent, client.id, client.state) == (TRACE, server.id, span, "a=1,b=2")
    assert server.raw.flags & 0x300 == 0x300 and client.raw.flags & 0x300 == 0x100
    assert server.start <= client.start <= client.end <= server.end and abs(server.end - time.time()) < 10


@pytest.mark.parametrize("value", [
    "", "00", PARENT[:-1], PARENT + "-", PARENT + "-01", PARENT + "0", PARENT.upper(), f"ff-{TRACE}-{SPAN}-01", f"0x-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-{SPAN}-0g", f"00-{TRACE}-{SPAN}-0A",
    f"00_{TRACE}-{SPAN}-01", f"00-{TRACE}_{SPAN}-01", f"00-{TRACE}-{SPAN}_01", f"00-{TRACE[:-1]}g-{SPAN}-01", f"00-{TRACE}-{SPAN[:-1]}G-01",
    f"01-{TRACE}-{SPAN}-01x", f"000-{TRACE[1:]}-{SPAN}-01", f"00--{TRACE}-{SPAN}-1", "x" * 4000],
    ids=lambda value: value[:60] or "empty")
def test_what_is_no_context_begins_a_new_trace(traced_default, value):
    """W3C Trace Context, 3.2.2 and 4.3; and without a valid traceparent, tracestate means nothing."""
    proxy, backend = traced_default
    assert proxy.get("/public/x", {"traceparent": value, "tracestate": "a=1"}).status == 200
    [[value]] = sent(backend)
    assert FORM.match(value) and TRACE not in value and sent(backend, "tracestate") == [[]]


@pytest.mark.parametrize("value, flag", [
    (PARENT, "1"), (UNSAMPLED, "0"), (f"00-{TRACE}-{SPAN}-03", "1"), (f"00-{TRACE}-{SPAN}-02", "0"), (f"00-{TRACE}-{SPAN}-ff", "1"),
    (f"cc-{TRACE}-{SPAN}-01", "1"), (f"01-{TRACE}-{SPAN}-01-and-more", "1"), (f"fe-{TRACE}-{SPAN}-00-", "0")])
def test_versions_and_flags(traced_default, value, flag):
    """Unknown versions are read as far as they are known, unknown flags are not passed on. The sender is trusted here."""
    proxy, backend = traced_default
    assert proxy.get("/public/x", {"traceparent": value}).status == 200
    [[value]] = sent(backend)
    trace, span, found = FORM.match(value).groups()
    assert (trace, found) == (TRACE, flag) and span != SPAN


@pytest.fixture(scope="module")
def traced_once(tmp_path_factory):
    """One proxy for the tables: it trusts everybody's word."""
    from conftest import Proxy, _finish
    from harness.backend import Backend
    from harness.process import allocate, environment
    with Backend() as backend, Collector() as collector:
        port, admin = allocate()
        text = (configuration.PREAMBLE + TRACING).format(
            workers=1, port=port, admin=admin, listen="", upstream="", backend=backend.port, collector=collector.url,
            tracing='sampled_by = "anyone"')
        proxy = Proxy(tmp_path_factory.mktemp("traced"), text, port, admin, environment())
        proxy.backend, proxy.collector = backend, collector
        yield proxy.wait_ready()
        _finish(proxy)


@pytest.fixture
def traced_default(traced_once):
    traced_once.backend.clear()
    return traced_once, traced_once.backend


def test_two_contexts_are_none(traced_default):
    proxy, backend = traced_default
    with proxy.client() as client:
        client.send(render("GET", "/public/x", [("traceparent", PARENT), ("Traceparent", PARENT), ("tracestate", "a=1")]))
        assert client.response().status == 200
    [[value]] = sent(backend)
    assert TRACE not in value and sent(backend, "tracestate") == [[]]


def test_lists_of_states_are_kept(traced_default):
    """Several lines are one list; all of them are passed on, whatever their case and order."""
    proxy, backend = traced_default
    headers = [("TraceState", "a=1"), ("TRACEPARENT", PARENT), ("tracestate", "b=2, c=3"), ("tracestate", "")]
    with proxy.client() as client:
        client.send(render("GET", "/public/x", headers))
        assert client.response().status == 200
    [value], states = sent(backend)[0], [v for v in sent(backend, "tracestate")[0] if v]
    assert value.startswith(f"00-{TRACE}-") and ",".join(states) == "a=1,b=2, c=3"


def test_a_nominated_context_is_the_connections_own(traced_default):
    proxy, backend = traced_default
    assert proxy.get("/public/x", {"traceparent": PARENT, "Connection": "traceparent"}).status == 200
    assert TRACE not in sent(backend)[0][0]


def test_without_tracing_nothing_is_touched(start, own_backend):
    proxy = start(own_backend)
    assert proxy.get("/public/x", {"traceparent": "anything", "tracestate": "a=1"}).status == 200
    assert proxy.get("/public/x").status == 200
    assert sent(own_backend) == [["anything"], []] and sent(own_backend, "tracestate") == [["a=1"], []]
    assert "trace" not in Metrics(proxy).text
    assert "trace_id" not in proxy.wait_log(path="/public/x")


def test_explain_tells_of_the_trace(traced, own_backend):
    """`usher explain` shows the fields that the backend gets."""
    from harness.process import command

    def shown(proxy, value):
        done = command("explain", "--config", str(proxy.file), "GET", "http://usher.test/public/x", "-H", f"traceparent: {value}",
                       "-H", "tracestate: a=1")
        assert done.returncode == 0, done.stderr
        return done.stdout
    proxy = traced()
    assert "traceparent: (one for each attempt)" in shown(proxy, PARENT) and "tracestate: a=1" in shown(proxy, PARENT)
    assert PARENT not in shown(proxy, PARENT) and "tracestate: a=1" not in shown(proxy, "nonsense")


# What is recorded

def test_shares(traced, own_backend, collector):
    proxy = traced("sample = 0.3")
    with proxy.client() as client:
        for _ in range(600):
            client.request("GET", "/public/x")
    marks = [value[-1] for [value] in sent(own_backend)]
    assert 110 < marks.count("1") < 260
    until(lambda: Metrics(proxy)["usher_trace_spans_total"] == 2 * marks.count("1"))
    assert len(collector.wait(2 * marks.count("1"))) == 2 * marks.count("1")
    assert len({value for [value] in sent(own_backend)}) == 600


def test_none_of_ones_own(traced, own_backend, collector):
    proxy = traced("sample = 0")
    assert proxy.get("/public/x", {"traceparent": PARENT}).status == 200
    assert proxy.get("/public/x").status == 200
    assert [value[-1] for [value] in sent(own_backend)] == ["0", "0"] and TRACE in sent(own_backend)[0][0]
    time.sleep(0.3)
    assert not collector.heads and Metrics(proxy)["usher_trace_spans_total"] == 0


@pytest.mark.parametrize("tracing, trusted, given, continued, flag", [
    ("sample = 0", False, PARENT, True, "0"),
    ("sample = 0", True, PARENT, True, "1"),
    ("sample = 1", True, UNSAMPLED, True, "0"),
    ("sample = 1", False, UNSAMPLED, True, "1"),
    ('sample = 0\nsampled_by = "anyone"', False, PARENT, True, "1"),
    ('sample = 0\nsampled_by = "nobody"', True, PARENT, True, "0"),
    ('sample = 0\nsampled_by = "anyone"\ncontinue_from = "trusted"', False, PARENT, False, "0"),
    ('sample = 1\ncontinue_from = "trusted"', False, PARENT, False, "1"),
    ('sample = 0\ncontinue_from = "trusted"', True, PARENT, True, "1"),
    ('sample = 0\ncontinue_from = "nobody"', True, PARENT, False, "0")])
def test_whose_word_is_taken(traced, own_backend, tracing, trusted, given, continued, flag):
    proxy = traced(tracing, listen='trusted_proxies = ["127.0.0.1"]' if trusted else "")
    assert proxy.get("/public/x", {"traceparent": given, "tracestate": "a=1"}).status == 200
    [[value]] = sent(own_backend)
    assert (TRACE in value, value[-1]) == (continued, flag)
    assert sent(own_backend, "tracestate") == [["a=1"] if continued else []]


# What spans tell

def test_what_is_told(traced, own_backend, collector):
    proxy = traced('service = "front"\nresource = {{ "deployment.environment.name" = "test" }}'.replace("{{", "{").replace("}}", "}"))
    own_backend.script = lambda exchange: (time.sleep(0.05), exchange.reply(404, b"no"))
    assert proxy.get("/users/alice?token=secret-query", bearer(token()) | {"Cookie": "secret-cookie", "X-Secret": "secret-field"}).status == 404
    [server], [client] = collector.wait(1, kind="server"), collector.wait(1, kind="client")
    assert server.name == "GET /users/{user_id}" and client.name == "GET"
    assert server.attributes == {
        "http.request.method": "GET", "url.scheme": "http", "http.route": "/users/{user_id}", "server.address": "usher.test",
        "http.response.status_code": 404, "network.protocol.version": "1.1", "usher.reason": "ok", "usher.listener": "public"}
    assert client.attributes == {
        "http.request.method": "GET", "server.address": "127.0.0.1", "server.port": own_backend.port, "http.response.status_code": 404,
        "error.type": "404", "usher.upstream": "backend"}
    assert not server.is_error and client.is_error, "404 is the client's mistake, and a server's answer to this client"
    assert 0.05 <= client.end - client.start < 20
    version = proxy.admin_request("/version").json()["version"]
    assert len(server.resource.pop("service.instance.id")) > 8
    assert server.resource == {"service.name": "front", "service.version": version, "deployment.environment.name": "test"}
    assert (server.scope.name, server.scope.version) == ("usher", version)


def test_no_secret_is_told(traced, own_backend, collector):
    """Not the query, not a header, not the user, the path or the address, unless the file says so."""
    proxy = traced()
    mine = token()
    proxy.get("/api/secret-path?q=secret-query", bearer(mine) | {
        "Cookie": "secret-cookie", "User-Agent": "secret-agent", "Referer": "http://secret-referer/", "X-Secret": "secret-field"})
    proxy.get("/api/secret-path", bearer("secret.token.here"))
    collector.wait(3)
    text = "".join(repr(span.raw) for span in collector.spans)
    assert "secret" not in text and "alice" not in text and "127.0.0.1" not in "".join(
        repr(span.raw) for span in collector.spans if span.kind == "server") and mine not in text


def test_more_is_told_where_the_file_says_so(traced, own_backend, collector):
    proxy = traced('include = ["path", "user", "client"]')
    assert proxy.get("/api/p%20q/x?token=secret-query", bearer(token())).status == 200
    assert proxy.get("/users/bob", bearer(token())).status == 403
    assert proxy.get("/public/x").status == 200
    ours, refused, nobody = sorted(collector.wait(3, kind="server"), key=lambda s: s.start)
    assert (ours.attributes["url.path"], ours.attributes["enduser.id"]) == ("/api/p%20q/x", "alice")
    assert ours.attributes["client.address"] == "127.0.0.1" and "secret" not in repr(ours.raw)
    assert "enduser.id" not in nobody.attributes
    assert refused.attributes["usher.reason"] == "not_yours"


def test_refusals_and_failures(start, own_backend, collector):
    proxy = start(own_backend, TRACING.replace("{backend}", "{nobody}"), nobody=refusing_port(), collector=collector.url, tracing="")
    assert proxy.get("/api/x").status == 401
    assert proxy.get("/nowhere").status == 404
    assert proxy.request("BREW", "/public/x").status == 503
    missing, nowhere, down = sorted(collector.wait(3, kind="server"), key=lambda s: s.start)
    assert (missing.attributes["http.response.status_code"], missing.attributes["usher.reason"], missing.is_error) == (401, "token_missing", False)
    assert nowhere.name == "GET" and "http.route" not in nowhere.attributes
    assert down.name == "_OTHER /public/**" and down.is_error and down.attributes["error.type"] == "upstream_unavailable"
    clients = [s for s in collector.spans if s.kind == "client"]
    assert all(s.is_error and s.parent == down.id and "http.response.status_code" not in s.attributes for s in clients)


def test_each_attempt_is_a_span(traced, own_backend, collector):
    """A connection that was closed as the request went: a second attempt, and the backend is told its span."""
    proxy = traced()
    with proxy.client() as client:
        assert client.request("GET", "/public/first").status == 200
        own_backend.script = lambda exchange: exchange.reset() if exchange.request.target == "/public/again" and len(
            own_backend.requests) == 2 else exchange.echo()
        assert client.request("GET", "/public/again", {"traceparent": PARENT}).status == 200
    first, second = [r.headers.get("traceparent") for r in own_backend.requests if r.target == "/public/again"]
    assert first[:36] == second[:36] and first[36:52] != second[36:52]
    server = next(s for s in collector.wait(2, kind="server") if s.trace == TRACE)
    attempts = sorted((s for s in collector.wait(3, kind="client") if s.trace == TRACE), key=lambda s: s.attributes.get("http.request.resend_count", 0))
    assert [s.id for s in attempts] == [first[36:52], second[36:52]] and {s.parent for s in attempts} == {server.id}
    assert attempts[0].attributes["error.type"] == "connection_closed" and attempts[0].is_error
    assert attempts[1].attributes["http.request.resend_count"] == 1 and attempts[1].attributes["http.response.status_code"] == 200
    assert not server.is_error


def test_a_body_that_looks_like_a_context(traced, own_backend, collector):
    """What is sent again names the new span in the head, and leaves the body alone."""
    proxy = traced()
    body = f"x\r\ntraceparent: {PARENT}\r\n".encode()
    bodies = []

    def answer(exchange):
        bodies.append(exchange.read_body())
        exchange.reset() if len(bodies) == 2 else exchange.reply()
    own_backend.script = answer
    with proxy.client() as client:
        assert client.request("PUT", "/public/x", body=body).status == 200
        assert client.request("PUT", "/public/x", body=body).status == 200
    assert bodies == [body] * 3
    assert len({r.headers.get("traceparent") for r in own_backend.requests}) == 3


def test_the_access_log_names_the_trace(traced, own_backend):
    proxy = traced("sample = 0")
    proxy.get("/public/logged", {"traceparent": PARENT})
    assert proxy.wait_log(path="/public/logged")["trace_id"] == TRACE
    proxy.get("/nowhere")
    assert re.fullmatch("[0-9a-f]{32}", proxy.wait_log(path="/nowhere")["trace_id"])


def test_odd_bytes_are_valid_text(traced, own_backend, collector):
    """A collector refuses a whole batch for a text that is no UTF-8: what a client sends must not do that."""
    proxy = traced('include = ["path"]')
    with proxy.client() as client:
        client.send(b"GET /public/\xff\xfe\xc3 HTTP/1.1\r\nHost: usher.test\r\n\r\n")
        client.response()
    with proxy.client() as client:
        client.send(render("GET", "/public/ok", {"tracestate": "a=\u00ff", "traceparent": PARENT}))
        assert client.response().status == 200
    collector.wait(1, name="GET /public/**")


def test_H11_a_name_beyond_ascii_is_no_trouble(traced, own_backend, collector):
    text = TRACING + '[identity]\nheaders = {{ "X-User-Id" = "sub", "X-Name" = "name" }}\n'
    proxy = traced("", text)
    assert proxy.get("/users/alice", bearer(token(name="Zo\xeb")) | {"traceparent": PARENT}).status == 200
    assert own_backend.last.headers.all("x-name") == ["Zo\xeb".encode().decode("latin-1")]
    [span] = collector.wait(1, kind="server")
    assert span.trace == TRACE and "Zo" not in repr(span.attributes)


def test_streams_of_http2(traced, own_backend, collector):
    """Each stream is a request of its own, with a trace and counts of its own."""
    proxy = traced(listen='protocols = ["h2", "http/1.1"]')
    with Connection(proxy.port) as connection:
        streams = [connection.start(get(f"/public/{n}", "GET", "usher.test", "http", ("traceparent", PARENT), ("tracestate", "a=1")))
                   for n in range(3)]
        assert [connection.answer(stream).status for stream in streams] == [200] * 3
        assert connection.get("/nowhere").status == 404
    servers = collector.wait(4, kind="server")
    assert {s.attributes["network.protocol.version"] for s in servers} == {"2"}
    assert sorted(s.attributes["server.address"] for s in servers) == ["usher.test"] * 4
    clients = collector.wait(3, kind="client")
    assert {s.trace for s in clients} == {TRACE} and len({s.parent for s in clients}) == 3
    assert {FORM.match(value)[2] for [value] in sent(own_backend)} == {s.id for s in clients}
    assert sent(own_backend, "tracestate") == [["a=1"]] * 3
    until(lambda: Metrics(proxy)["usher_route_requests_total", {"route": "/public/**", "class": "2xx"}] == 3)
    metrics = Metrics(proxy)
    assert metrics["usher_request_duration_seconds_count", {"route": "/public/**"}] == 3
    assert metrics["usher_route_requests_total", {"route": "none", "class": "4xx"}] == 1 and metrics["usher_requests_in_flight"] == 0


# The collector

def test_what_the_collector_gets(traced, own_backend, collector):
    proxy = traced('headers = {{ "Authorization" = {{ env = "OTLP" }} }}'.replace("{{", "{").replace("}}", "}"), env={"OTLP": "Bearer opaque"})
    for _ in range(3):
        proxy.get("/public/x")
        collector.wait(1)
    collector.wait(6)
    assert collector.connections == 1, "connections stay open"
    assert all(head.startswith("POST /v1/traces HTTP/1.1\r\n") and "Authorization: Bearer opaque" in head for head in collector.heads)
    # The collector has them before the proxy has its answer.
    until(lambda: Metrics(proxy)["usher_trace_spans_exported_total"] == 6)
    metrics = Metrics(proxy)
    assert metrics["usher_trace_spans_total"] == 6
    assert b"opaque" not in proxy.admin_request("/config").body
    result = promtool(metrics.text)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def lost(proxy, reason):
    return Metrics(proxy)["usher_trace_spans_lost_total", {"reason": reason}]


def until(condition, timeout=30):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_collector_that_is_away_comes_back(traced, own_backend, collector):
    collector.down()
    proxy = traced()
    began = time.monotonic()
    with proxy.client() as client:
        for _ in range(20):
            assert client.request("GET", "/public/x").status == 200
    assert time.monotonic() - began < 10
    until(lambda: Metrics(proxy)["usher_trace_export_failures_total"] >= 1)
    collector.up()
    collector.wait(40)
    assert sum(lost(proxy, reason) for reason in ("queue_full", "collector", "rejected")) == 0
    proxy.wait_said(b"spans could not be exported")


def test_a_connection_that_was_closed_in_between(traced, own_backend, collector):
    """No batch is lost, and none waits, for a connection that the collector has given up."""
    proxy = traced()
    collector.closes = True
    for number in range(1, 4):
        proxy.get("/public/x")
        collector.wait(2 * number)
    collector.closes = False
    proxy.get("/public/x")
    collector.wait(8)
    collector.down()
    collector.up()
    proxy.get("/public/x")
    collector.wait(10)
    assert Metrics(proxy)["usher_trace_export_failures_total"] == 0


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500])
def test_what_will_never_be_taken_is_given_up(traced, own_backend, collector, status):
    proxy = traced()
    collector.status = status
    proxy.get("/public/x")
    until(lambda: lost(proxy, "collector") == 2)
    collector.status = 200
    proxy.get("/public/y")
    collector.wait(2)
    assert len(collector.spans) == 2


def test_what_may_be_taken_later_is_sent_again(traced, own_backend, collector):
    proxy = traced()
    collector.status, collector.fields = 503, "Retry-After: 1\r\n"
    proxy.get("/public/x")
    until(lambda: len(collector.heads) >= 2)
    assert 0.9 < collector.times[1] - collector.times[0] < 9
    collector.status = 200
    collector.wait(2)
    assert lost(proxy, "collector") == 0


def test_what_the_collector_refuses_is_counted(traced, own_backend, collector):
    proxy = traced()
    collector.partial = 1
    proxy.get("/public/x")
    until(lambda: lost(proxy, "rejected") == 1)
    until(lambda: Metrics(proxy)["usher_trace_spans_exported_total"] == 1)


@pytest.mark.parametrize("raw", [
    b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\xff", b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"], ids=range(7))
def test_answers_that_are_none(traced, own_backend, collector, raw):
    proxy = traced()
    collector.raw = raw
    proxy.get("/public/x")
    until(lambda: collector.heads)
    assert [proxy.get("/public/x").status for _ in range(5)] == [200] * 5
    collector.raw = None
    collector.wait(10)


def test_a_slow_collector_at_a_high_rate(traced, own_backend, collector):
    """Requests are as fast as ever, memory is bounded, and every span is either there or counted as lost."""
    proxy = traced(workers=1)
    collector.delay = 1.5
    own_backend.recording = False
    stop, rounds = time.monotonic() + 2, []

    def load():
        count = 0
        with proxy.client() as client:
            while time.monotonic() < stop or count < 150:
                assert client.request("GET", "/public/x", {"traceparent": PARENT, "tracestate": "a=" + "x" * 250}).status == 200
                count += 1
        rounds.append(count)
    threads = [threading.Thread(target=load) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    collector.delay = 0
    total = 2 * sum(rounds)
    assert len(rounds) == 4 and total > 500

    def settled():
        metrics = Metrics(proxy)
        gone = sum(metrics["usher_trace_spans_lost_total", {"reason": r}] for r in ("queue_full", "collector", "rejected"))
        return metrics["usher_trace_spans_total"] == total == metrics["usher_trace_spans_exported_total"] + gone
    until(settled, 60)
    assert len(collector.spans) == Metrics(proxy)["usher_trace_spans_exported_total"]


@pytest.mark.parametrize("url", ["http://localhost:{port}", "http://localhost:{port}/", "http://127.0.0.1:{port}/v1/traces"])
def test_collectors_by_name(traced, own_backend, collector, url):
    """The name is looked up off the loop; where it has several addresses, one that answers is found."""
    proxy = traced(collector=url.format(port=collector.port))
    proxy.get("/public/x")
    collector.wait(2)
    assert collector.heads[0].startswith("POST /v1/traces ")


def test_a_collector_that_has_no_address(traced, own_backend):
    proxy = traced(collector="http://collector.invalid:4318")
    assert proxy.get("/public/x").status == 200
    until(lambda: Metrics(proxy)["usher_trace_export_failures_total"] >= 1)
    assert proxy.get("/public/x").status == 200
    proxy.wait_said("has no address")


def test_no_answer_in_time(traced, own_backend, collector):
    proxy = traced('timeout = "300ms"')
    collector.delay = 1
    proxy.get("/public/x")
    until(lambda: Metrics(proxy)["usher_trace_export_failures_total"] >= 1)
    collector.delay = 0
    collector.wait(2)


def test_collectors_over_tls(traced, own_backend, tmp_path):
    authority = Authority(tmp_path)
    with Collector(tls=authority.context(["127.0.0.1", "localhost"])) as collector:
        proxy = traced(f'ca = "{authority.file}"', collector=collector.url)
        for _ in range(3):
            proxy.get("/public/x")
        collector.wait(6)
        stranger = traced("", collector=collector.url)
        stranger.get("/public/x")
        until(lambda: Metrics(stranger)["usher_trace_export_failures_total"] >= 1)
        assert len(collector.spans) == 6


def test_the_last_spans_leave_before_the_end(traced, own_backend, collector):
    proxy = traced(text=TRACING.replace('"100ms"', '"30s"'))
    time.sleep(0.2)
    proxy.get("/public/x")
    assert not collector.heads
    proxy.stop()
    collector.wait(2)


def test_the_end_does_not_wait_for_a_collector(traced, own_backend, collector):
    proxy = traced()
    collector.delay = 30
    proxy.get("/public/x")
    until(lambda: collector.heads)
    began = time.monotonic()
    proxy.stop()
    assert time.monotonic() - began < 15, "half a minute is what the collector takes"


def test_a_reload_changes_everything(traced, own_backend, collector):
    proxy = traced("sample = 0")
    proxy.get("/public/x")
    text = proxy.file.read_text()

    def reload(new):
        proxy.file.write_text(new)
        with Client(proxy.admin) as client:
            assert client.request("POST", "/reload", {}, b"", host="localhost").status == 200
    reload(text.replace("sample = 0", "sample = 1"))
    until(lambda: proxy.get("/public/x").status == 200 and sent(own_backend)[-1][0].endswith("-01"))
    collector.wait(2)
    with Collector() as other:
        reload(text.replace("sample = 0", "sample = 1").replace(collector.url, f"http://127.0.0.1:{other.port}"))
        proxy.get("/public/x")
        other.wait(2)
        assert other.heads[0].startswith("POST /v1/traces ")
    reload(text[:text.index("[tracing]")])
    own_backend.clear()
    until(lambda: proxy.get("/public/x", {"traceparent": "mine"}).status == 200 and sent(own_backend)[-1] == ["mine"])


class Closer(StandIn):
    """Takes connections, and ends each at once."""

    def _serve(self, connection):
        connection.close()


def test_an_address_that_gives_no_answer_is_followed_by_the_next_one(start, own_backend, tmp_path):
    with Closer("127.0.0.2") as first, Collector(host="127.0.0.3", port=first.port) as second:
        proxy = start(own_backend, TRACING, tracing="", collector=f"http://spans.test:{first.port}/v1/traces",
                      prefix=with_hosts(tmp_path, "127.0.0.1 localhost\n127.0.0.2 spans.test\n127.0.0.3 spans.test\n"))
        assert proxy.get("/public/x").status == 200
        second.wait(1)
        assert first.connections


# What it costs

def allocations(proxy, counts, headers) -> float:
    """What a request asks of the allocator, on a connection that is warm."""
    def read():
        return sum(struct.unpack("6Q", counts.read_bytes()[:48]))
    with proxy.client() as client:
        for _ in range(50):
            assert client.request("GET", "/public/x", headers).status == 200
        rounds = []
        for _ in range(6):
            before = read()
            for _ in range(100):
                assert client.request("GET", "/public/x", headers).status == 200
            rounds.append((read() - before) / 100)
    # The control thread looks once a second how things are, also while this is counted: not in each round.
    return min(rounds)


def test_what_is_not_recorded_allocates_nothing(start, own_backend, tmp_path):
    """The trace of a request that is not recorded costs bytes in its head, and no memory of its own."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler here, to build what counts allocations (Benchmarks/native/count_allocations.c)")
    library = tmp_path / "count.so"
    source = Path(__file__).resolve().parents[2] / "Benchmarks" / "native" / "count_allocations.c"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    own_backend.recording = False
    own_backend.script = lambda exchange: exchange.reply(200, b"ok")
    headers = {"traceparent": UNSAMPLED, "tracestate": "a=1"}
    found = []
    for text in (TRACING[:TRACING.index("[tracing]")], TRACING):
        counts = tmp_path / f"counts-{len(found)}"
        counts.write_bytes(bytes(72))
        proxy = start(own_backend, text, collector="http://127.0.0.1:9", tracing="sample = 0",
                      env={"LD_PRELOAD": str(library), "USHER_COUNTS": str(counts)})
        found.append(allocations(proxy, counts, headers))
    assert abs(found[1] - found[0]) < 1, found
