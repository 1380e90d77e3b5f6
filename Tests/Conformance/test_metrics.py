"""/metrics: well-formed by promtool, counted values for traffic of every kind, and no label that a request can choose."""

from __future__ import annotations

import re
import ssl
import threading
import time

import pytest
from websockets.sync.client import connect
from websockets.sync.server import serve

from harness import betterauth, configuration
from harness.authority import Authority
from harness.betterauth import AuthServer, payload, signed
from harness.keyserver import KeyServer, signed as key_token
from harness.metrics import Metrics, promtool
from harness.ports import free_port, refusing_port
from harness.tokens import bearer, token
from harness.wire import Client, chunk, render

EVERYTHING = """
[listen.secure]
address = "127.0.0.1:{secure}"
tls.certificates = [{certificate}]
""" + configuration.BACKEND + """
[upstream.nobody]
servers = ["127.0.0.1:{nobody}"]
retries = 0

[upstream.quick]
servers = ["127.0.0.1:{backend}"]
response_timeout = "300ms"
""" + configuration.MAIN_ISSUER + configuration.KEYS_ISSUER + """\
jwks = {{ url = "{keys}" }}

[session.browser]
provider = "better-auth"
secret = {{ env = "AUTH_SECRET" }}
secure_cookies = false
url = "{auth}"

[limits]
failed_authentications = {{ requests = 100, per = "1s", burst = 1000 }}

[rate_limit.per-user]
key = "user"
requests = 1
per = "60s"
burst = 2

[revocation]
file = "revoked.json"
""" + configuration.OPEN_ROUTE + """
[[route]]
path = "/api/**"
auth = ["main", "keys", "browser"]
upstream = "backend"

[[route]]
path = "/users/{{user_id}}"
auth = "main"
require = {{ sub = "{{user_id}}" }}
upstream = "backend"

[[route]]
path = "/limited/**"
auth = "main"
upstream = "backend"
rate_limit = "per-user"

[[route]]
path = "/nobody/**"
auth = "none"
upstream = "nobody"

[[route]]
path = "/quick/**"
auth = "none"
upstream = "quick"
"""


def until(proxy, condition, timeout=30):
    end = time.monotonic() + timeout
    while not condition(metrics := Metrics(proxy)):
        assert time.monotonic() < end, metrics.text
        time.sleep(0.05)
    return metrics


@pytest.fixture
def everything(start, own_backend, tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics")
    (folder / "revoked.json").write_text('{"jti": ["one", "two"]}')
    authority = Authority(tmp_path_factory.mktemp("authority"))
    pair = authority.sign("main", ["usher.test"])
    with KeyServer() as keys, AuthServer() as auth:
        keys.publish("ed")
        secure = free_port()
        proxy = start(own_backend, EVERYTHING, folder=folder, secure=secure, certificate=pair.toml(), keys=keys.url, auth=auth.url,
                      nobody=refusing_port(), env={"AUTH_SECRET": betterauth.SECRET})
        proxy.secure, proxy.auth, proxy.pair = secure, auth, pair
        yield proxy


def test_traffic_of_every_kind(everything):
    """Each kind of request once or a few times, and what is counted of it; then promtool."""
    proxy, backend = everything, everything.backend
    before = Metrics(proxy)
    assert promtool(before.text).stdout == "" == promtool(before.text).stderr

    with proxy.client() as client:
        for _ in range(3):
            assert client.request("GET", "/public/x").status == 200
        for _ in range(3):
            assert client.request("GET", "/api/x", bearer(token())).status == 200
        assert client.request("GET", "/users/bob", bearer(token())).status == 403
        assert client.request("GET", "/nowhere").status == 404
    same = token(sub="again")
    for _ in range(4):
        assert proxy.get("/api/x", bearer(same)).status == 200
    assert proxy.get("/api/x", bearer("no.token.at-all")).status == 401
    assert proxy.get("/api/x", bearer(token(secret_or_key="x" * 32))).status == 401
    assert proxy.get("/api/x").status == 401
    assert proxy.get("/api/x", bearer(key_token("ed"))).status == 200
    session = payload("session-of-alice")
    proxy.auth.sessions["session-of-alice"] = {k: session[k] for k in ("session", "user")}
    assert proxy.get("/api/x", bearer(signed("session-of-alice"))).status == 200
    assert proxy.get("/api/x", bearer(signed("nobody"))).status == 401
    assert [proxy.get("/limited/x", bearer(token())).status for _ in range(4)] == [200, 200, 429, 429]
    assert proxy.get("/nobody/x").status == 503
    backend.script = lambda exchange: time.sleep(1)
    assert proxy.get("/quick/x").status == 504
    backend.script = lambda exchange: exchange.reply(500, b"no")
    assert proxy.get("/public/broken").status == 500
    backend.script = lambda exchange: (time.sleep(2.6), exchange.reply(204))
    assert proxy.get("/public/slow").status == 204
    backend.script = lambda exchange: exchange.echo()
    secure_request(proxy)

    now = until(proxy, lambda m: m["usher_connections_open"] == 0)
    result = promtool(now.text)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")

    def gained(name, labels=None):
        return now.get(name, labels, 0) - before.get(name, labels, 0)

    assert gained("usher_requests_total", {"class": "2xx"}) == 3 + 3 + 4 + 1 + 1 + 2 + 1 + 1
    assert gained("usher_requests_total", {"class": "4xx"}) == 2 + 3 + 1 + 2
    assert gained("usher_requests_total", {"class": "5xx"}) == 3
    for reason, count in {"ok": 17, "not_yours": 1, "no_route": 1, "token_invalid": 3, "token_missing": 1, "rate_limited": 2,
                          "upstream_unavailable": 1, "upstream_timeout": 1}.items():
        assert gained("usher_request_ends_total", {"reason": reason}) == count, reason
    # by route: the same requests, and those without one
    assert sum(value for (name, _), value in now.samples.items() if name == "usher_route_requests_total") == 16 + 8 + 3
    for route, kind, count in [("/public/**", "2xx", 5), ("/public/**", "5xx", 1), ("/api/**", "2xx", 9), ("/api/**", "4xx", 4),
                               ("/users/{user_id}", "4xx", 1), ("/limited/**", "4xx", 2), ("/nobody/**", "5xx", 1),
                               ("/quick/**", "5xx", 1), ("none", "4xx", 1)]:
        assert now["usher_route_requests_total", {"route": route, "class": kind}] == count, route
    # durations: cumulative buckets, whole, and in the right one
    public = {le: now["usher_request_duration_seconds_bucket", {"route": "/public/**", "le": le}]
              for le in ("0.00025", "0.1", "2.5", "10", "+Inf")}
    assert public["+Inf"] == public["10"] == now["usher_request_duration_seconds_count", {"route": "/public/**"}] == 6
    # One, and what a machine that stood still for as long has made of another.
    assert 1 <= public["10"] - public["2.5"] <= 3 and list(public.values()) == sorted(public.values())
    assert 2.6 <= now["usher_request_duration_seconds_sum", {"route": "/public/**"}] < 15
    # tokens: the cache, verdicts, keys, sessions
    assert gained("usher_token_cache_hits_total") >= 3 + 3
    assert gained("usher_tokens_verified_total") >= 3
    assert now["usher_token_cache_entries"] == gained("usher_tokens_verified_total")
    assert now["usher_token_cache_bytes"] > 100 and now["usher_token_cache_evictions_total"] == 0
    assert gained("usher_token_refusals_total", {"reason": "token_bad_signature"}) == 1
    assert gained("usher_token_refusals_total", {"reason": "token_malformed"}) == 1
    assert now["usher_keys", {"issuer": "keys"}] == 1
    assert now["usher_credential_questions_total", {"source": "session.browser", "result": "accepted"}] == 1
    assert now["usher_credential_questions_total", {"source": "session.browser", "result": "refused"}] == 1
    assert now["usher_credential_question_duration_seconds_count", {"source": "session.browser"}] == 2
    assert now["usher_credential_questions_open", {"source": "session.browser"}] == 0
    assert now["usher_revocations"] == 2
    # limits
    assert now["usher_rate_limit_refusals_total", {"limit": "per-user"}] == 2
    assert now["usher_rate_limit_refusals_total", {"limit": "failed-authentications"}] == 0
    # upstreams and their connections
    assert now["usher_upstream_responses_total", {"upstream": "backend", "class": "2xx"}] == 16
    assert now["usher_upstream_responses_total", {"upstream": "backend", "class": "5xx"}] == 1
    assert now["usher_upstream_responses_total", {"upstream": "quick", "class": "2xx"}] == 0
    assert now["usher_upstream_response_duration_seconds_count", {"upstream": "backend"}] == 17
    assert now["usher_upstream_unavailable_total", {"upstream": "backend"}] == 0
    assert gained("usher_upstream_connect_failures_total") == 1
    server = {"upstream": "backend", "server": f"127.0.0.1:{backend.port}"}
    assert now["usher_upstream_server_requests_total", server] == 17
    assert now["usher_upstream_server_connections_opened_total", server] < 17, "connections are used again"
    assert now["usher_upstream_connections_limit", {"upstream": "backend"}] == 1024
    # TLS
    assert gained("usher_tls_handshakes_total") == 1 and gained("usher_tls_handshake_failures_total") == 1
    expiry = now["usher_tls_certificate_expiry_timestamp_seconds", {"listener": "secure", "certificate": re.findall(r'certificate = "([^"]+)"', proxy.pair.toml())[0]}]
    assert time.time() < expiry < time.time() + 400 * 86400


def secure_request(proxy):
    """One handshake that succeeds, with a request behind it, and one that fails."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Client(proxy.secure) as client:
        client.sock = client.reader.sock = context.wrap_socket(client.sock, server_hostname="usher.test")
        assert client.request("GET", "/public/tls").status == 200
    with Client(proxy.secure) as client:
        client.send(b"\x16\x03\x01\x00\x05hello")
        client.ended()


def test_bytes(start, own_backend):
    """Heads and bodies as they came, and the bodies of answers."""
    proxy = start(own_backend)
    own_backend.script = lambda exchange: (exchange.read_body(), exchange.reply(200, b"y" * 5000))
    plain = render("POST", "/public/x", {}, b"x" * 3000)
    chunked = render("POST", "/public/x", {"Transfer-Encoding": "chunked"}) + chunk(b"x" * 1000, b"x" * 500)
    with proxy.client() as client:
        for request in (plain, chunked):
            client.send(request)
            assert client.response("POST").status == 200
    now = until(proxy, lambda m: m["usher_connections_open"] == 0)
    head = plain.index(b"\r\n\r\n") + 4 + chunked.index(b"\r\n\r\n") + 4
    assert now["usher_received_bytes_total"] == head + 3000 + 1500
    assert now["usher_sent_bytes_total"] == 10_000


def test_what_is_under_way(start, own_backend):
    """Gauges go up and down again; a tunnel is one request as long as it lasts."""
    released = threading.Event()
    proxy = start(own_backend, upstream='max_connections = 2\nmax_pending = 1\nconnect_timeout = "20s"', workers=1)
    own_backend.script = lambda exchange: (released.wait(30), exchange.reply(200))
    clients = [proxy.client() for _ in range(4)]
    for client in clients:
        client.send(render("GET", "/public/x"))
    until(proxy, lambda m: m["usher_requests_in_flight"] == 3 and m["usher_upstream_waiting", {"upstream": "backend"}] == 1
          and m["usher_upstream_queue_refused_total", {"upstream": "backend"}] == 1 and m["usher_buffer_bytes"] > 0
          and m["usher_connections_open"] == 4)
    released.set()
    for client in clients:
        client.response()
        client.close()
    now = until(proxy, lambda m: m["usher_connections_open"] == 0)
    assert now["usher_requests_in_flight"] == 0 and now["usher_buffer_bytes"] == 0


def test_reloads(start, own_backend):
    """What came of reloads; counts of routes survive, also those of routes that are gone."""
    proxy = start(own_backend)
    for _ in range(3):
        proxy.get("/public/x")
    first = Metrics(proxy)
    assert first["usher_config_last_reload_successful"] == 1 and first["usher_config_reloads_total", {"result": "success"}] == 0
    text = proxy.file.read_text()

    def reload(new):
        proxy.file.write_text(new)
        with Client(proxy.admin) as client:
            return client.request("POST", "/reload", {}, b"", host="localhost").status
    assert reload(text + "\nnonsense = 1") == 409
    assert reload(text.replace('"/public/**"', '"/other/**"')) == 200
    assert proxy.get("/other/x").status == 200
    now = until(proxy, lambda m: m.get("usher_route_requests_total", {"route": "/other/**", "class": "2xx"}) == 1)
    assert now["usher_config_reloads_total", {"result": "success"}] == 1 == now["usher_config_reloads_total", {"result": "failure"}]
    assert now["usher_config_last_reload_successful"] == 1
    assert now["usher_config_last_success_timestamp_seconds"] > first["usher_config_last_success_timestamp_seconds"]
    assert now["usher_route_requests_total", {"route": "/public/**", "class": "2xx"}] == 3
    assert reload(text + "\nnonsense = 1") == 409
    assert Metrics(proxy)["usher_config_last_reload_successful"] == 0


def test_the_process_and_its_loops(start, own_backend):
    proxy = start(own_backend, workers=2)
    now = until(proxy, lambda m: m["usher_worker_lag_seconds_count"] >= 4)
    assert now["usher_worker_lag_seconds_sum"] < 20 and now["usher_worker_lag_seconds_bucket", {"le": "+Inf"}] >= 4
    assert all(0 <= now["usher_worker_answer_age_seconds", {"worker": str(number)}] < 10 for number in range(2))
    version = proxy.admin_request("/version").json()["version"]
    assert any(name == "usher_build_info" and ("version", version) in labels for name, labels in now.samples)
    assert now["process_max_fds"] >= now["process_open_fds"] >= 10
    assert 0.5 < now["process_resident_memory_bytes"] / proxy.memory() < 2 < now["process_virtual_memory_bytes"]
    assert abs(now["process_open_fds"] - len(proxy.descriptors)) <= 2
    assert abs(now["process_start_time_seconds"] - time.time()) < 60 and now["process_cpu_seconds_total"] > 0
    assert now["usher_connections_limit"] > 0


def test_no_label_that_a_request_can_choose(start, own_backend):
    """Paths, users, hosts, methods and tokens of requests are nowhere."""
    proxy = start(own_backend)
    with proxy.client() as client:
        for number in range(200):
            client.request("GET" if number % 2 else f"M{number}", f"/public/secret-{number}?q=secret",
                           bearer(token(sub=f"secret-{number}")) | {"X-Request-Id": "secret"}, host=f"secret-{number}.test")
            client.request("GET", f"/api/secret-{number}", bearer(token(sub=f"secret-{number}")))
            client.request("GET", f"/secret-{number}")
    now = until(proxy, lambda m: m["usher_route_requests_total", {"route": "none", "class": "4xx"}] == 200)
    assert "secret" not in now.text and len(now.samples) < 500


def test_more_routes_than_rows(start, own_backend):
    """512 rows: further routes are counted together, and the text stays small."""
    more = "".join(f'[[route]]\npath = "/r{n}"\nauth = "none"\nupstream = "backend"\n' for n in range(600))
    proxy = start(own_backend, configuration.SMALL + more)
    for number in (0, 598, 599):
        assert proxy.get(f"/r{number}").status == 200
    now = until(proxy, lambda m: m["usher_connections_open"] == 0)
    routes = {dict(labels)["route"] for name, labels in now.samples if name == "usher_route_requests_total"}
    assert len(routes) == 512 and "other" in routes
    assert now["usher_route_requests_total", {"route": "other", "class": "2xx"}] >= 1
    assert len(now.text) < 4 << 20 and promtool(now.text).returncode == 0


def test_a_tunnel_is_one_request(start, own_backend):
    def talk(connection):
        for message in connection:
            connection.send(message)
    with serve(talk, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        proxy = start(own_backend, configuration.SMALL.replace("{backend}", str(port)))
        with connect(f"ws://127.0.0.1:{proxy.port}/public/x") as client:
            client.send("x")
            assert client.recv() == "x"
            now = until(proxy, lambda m: m["usher_requests_in_flight"] == 1)
            assert now.get("usher_request_ends_total", {"reason": "upgraded"}, 0) == 0
        now = until(proxy, lambda m: m["usher_requests_in_flight"] == 0)
        assert now["usher_request_ends_total", {"reason": "upgraded"}] == 1
        assert now["usher_requests_total", {"class": "1xx"}] == 1
        server.shutdown()
