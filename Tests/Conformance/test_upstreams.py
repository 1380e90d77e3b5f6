"""Several servers: how they are chosen, checked, taken out and brought back; names that change; what runs out.

The servers are processes that are killed (kill -9), stopped (SIGSTOP: they hang), broken (500) and started again.
"""

import concurrent.futures
import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from harness.backend import Backend
from harness.configuration import SMALL
from harness.http2 import Connection
from harness.kernel import Kernel
from harness.ports import free_port, refusing_port
from harness.servers import NameServer, Server
from harness.standin import StandIn, stop_listening
from harness.tokens import bearer, token
from harness.waiting import wait_until
from harness.wire import render
from test_http2 import Chat

TEXT = SMALL.replace('"127.0.0.1:{backend}"', "{servers}")

FAST_HEALTH = 'health = { path = "/health", interval = "100ms", timeout = "2s", healthy_after = 2, unhealthy_after = 2 }\n'


@pytest.fixture
def servers(tmp_path):
    """`servers("a", "b")`: so many running servers, killed at the end."""
    with contextlib.ExitStack() as stack:
        def run(*names, host="127.0.0.1"):
            return [stack.enter_context(Server(tmp_path, name, f"{host}:{free_port()}")) for name in names]
        yield run


def listed(servers):
    return ", ".join(f'"{server.address}"' for server in servers)


def tally(proxy, count, headers=()):
    """Who answered, by name; a failure counts by its status."""
    with proxy.client() as client:
        found = Counter()
        for _ in range(count):
            answer = client.request("GET", "/public/x", headers)
            found[answer.body.decode() if answer.status == 200 else answer.status] += 1
            if answer.closes:
                client = proxy.client().__enter__()
        return found


def metric(proxy, name, server=None):
    text = proxy.admin_request("/metrics").body.decode()
    labels = r'upstream="backend"' + (rf',server="(?:unix:)?{re.escape(server.address)}"' if server else "")
    return int(re.search(rf"^{name}{{{labels}}} (\d+)$", text, re.M).group(1))


# Choosing

@pytest.mark.parametrize("balance", ["round-robin", "least-requests", "random-two"])
def test_all_servers_get_their_share(start, servers, balance):
    three = servers("a", "b", "c")
    proxy = start(None, TEXT, servers=listed(three), upstream=f'balance = "{balance}"')
    found = tally(proxy, 150)
    assert set(found) == {"a", "b", "c"} and min(found.values()) >= 25, found


def test_hash_user_is_sticky_and_loses_only_who_was_there(start, servers):
    three = servers("a", "b", "c")
    proxy = start(None, TEXT, workers=2, servers=listed(three), upstream='balance = "hash-user"\nslow_start = "0s"\n' + FAST_HEALTH)

    def homes():
        return {user: proxy.get("/api/x", bearer(token(sub=f"user-{user}"))).body.decode() for user in range(60)}
    # By chance, as the ports are: with so many users each server has one but once in 10^10 runs.
    before = homes()
    assert set(before.values()) == {"a", "b", "c"}
    assert homes() == before, "on other connections, and other workers, too"
    three[1].kill()
    wait_until(lambda: metric(proxy, "usher_upstream_server_up", three[1]) == 0)
    after = homes()
    assert {user for user in before if after[user] != before[user]} == {u for u in before if before[u] == "b"}
    three[1].start()
    wait_until(lambda: metric(proxy, "usher_upstream_server_up", three[1]) == 1)
    assert homes() == before


def test_hash_user_takes_the_address_of_the_anonymous(start, servers):
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two), listen='trusted_proxies = ["127.0.0.1/32"]', upstream='balance = "hash-user"')
    homes = {}
    for client in range(40):
        found = tally(proxy, 3, {"X-Forwarded-For": f"192.0.2.{client}"})
        assert len(found) == 1, found
        homes[client] = next(iter(found))
    assert set(homes.values()) == {"a", "b"}


# Health checks

def test_an_unhealthy_server_gets_no_requests_until_it_is_well_again(start, servers):
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two), upstream='slow_start = "0s"\n' + FAST_HEALTH)
    assert set(tally(proxy, 20)) == {"a", "b"}
    two[0].answers(health=500)
    wait_until(lambda: metric(proxy, "usher_upstream_server_up", two[0]) == 0)
    assert tally(proxy, 20) == {"b": 20}
    two[0].answers(health=202)
    wait_until(lambda: metric(proxy, "usher_upstream_server_up", two[0]) == 1)
    assert set(tally(proxy, 20)) == {"a", "b"}
    for words in ("server is unhealthy", "status 500", "healthy again"):
        proxy.wait_said(words)


def test_a_hanging_server_is_noticed_and_comes_back(start, servers):
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two), upstream='slow_start = "0s"\n' + FAST_HEALTH)
    two[0].stop()
    wait_until(lambda: metric(proxy, "usher_upstream_server_up", two[0]) == 0)
    assert tally(proxy, 20) == {"b": 20}, "nobody waits for the one that hangs"
    two[0].go_on()
    wait_until(lambda: metric(proxy, "usher_upstream_server_up", two[0]) == 1)
    assert set(tally(proxy, 20)) == {"a", "b"}


def test_all_down_is_503_at_once_and_recovers_alone(start, servers):
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two), upstream='slow_start = "0s"\nconnect_timeout = "10s"\n' + FAST_HEALTH)
    for server in two:
        server.stop()
    wait_until(lambda: sum(metric(proxy, "usher_upstream_server_up", server) for server in two) == 0)
    started = time.monotonic()
    answer = proxy.get("/public/x")
    assert answer.status == 503 and answer.problem["code"] == "upstream_unavailable"
    assert answer.headers.get("retry-after") == "1" and time.monotonic() - started < 8, "connect_timeout is ten seconds"
    assert metric(proxy, "usher_upstream_unavailable_total") >= 1
    for server in two:
        server.go_on()
    wait_until(lambda: proxy.get("/public/x").status == 200)


def test_health_of_a_unix_socket(start, tmp_path):
    path = tmp_path / "s.sock"
    with Server(tmp_path, "u", str(path)) as server:
        proxy = start(None, TEXT, servers=f'"unix:{path}"', upstream='slow_start = "0s"\n' + FAST_HEALTH)
        assert tally(proxy, 3) == {"u": 3}
        server.answers(health=301)
        wait_until(lambda: metric(proxy, "usher_upstream_server_up", server) == 0)
        assert proxy.get("/public/x").status == 503
        server.answers()
        wait_until(lambda: proxy.get("/public/x").status == 200)


def test_a_health_check_that_is_answered_without_end(start, own_backend):
    """Heads of 32 bytes, which fill each buffer to its last byte: the control thread must not read on for ever."""
    listener = socket.create_server(("127.0.0.1", 0))
    heads = (b"HTTP/1.1 102 " + b"x" * 15 + b"\r\n\r\n") * 32_768

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
                connection.recv(65536)
                while True:
                    connection.sendall(heads)
            except OSError:
                if listener.fileno() < 0:
                    return

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        proxy = start(own_backend, TEXT, servers=f'"127.0.0.1:{listener.getsockname()[1]}"',
                      upstream='health = { path = "/health", interval = "100ms", timeout = "10s" }')
        wait_until(lambda: "the answer has no end" in bytes(proxy.errors).decode())
        assert proxy.admin_request("/livez").status == 200
        stop_listening(listener)


def test_one_checker_for_all_workers(start, own_backend):
    proxy = start(own_backend, TEXT, workers=4, servers=f'"127.0.0.1:{own_backend.port}"',
                  upstream='health = { path = "/health?deep=1", interval = "500ms" }')
    started = time.monotonic()
    own_backend.wait_requests(2)
    time.sleep(1)
    checks = [request for request in list(own_backend.requests) if request.target == "/health?deep=1"]
    # Four would make four times as many; the first comes before the proxy is ready.
    assert 2 <= len(checks) <= 3 + (time.monotonic() - started) / 0.5, len(checks)
    assert checks[0].headers.get("host") == f"127.0.0.1:{own_backend.port}" and not checks[0].user
    assert proxy.get("/public/x").status == 200


def test_a_health_check_proves_nobody(start, own_backend):
    """The checker's own request bears no identity, and no client can make one of it."""
    proxy = start(own_backend, TEXT, servers=f'"127.0.0.1:{own_backend.port}"',
                  upstream='health = { path = "/health", interval = "100ms" }')
    own_backend.wait_requests(2)
    for request in own_backend.requests:
        assert not any(name.lower().startswith(("x-user", "authorization", "cookie")) for name, _ in request.headers.lines)
    assert proxy.get("/health").status == 404


# Ejection

def test_a_dead_server_is_ejected_and_tried_again(start, servers):
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two),
                  upstream='slow_start = "0s"\nbalance = "round-robin"\neject = { consecutive_failures = 2, for = "4s" }')
    two[0].kill()
    assert tally(proxy, 10) == {"b": 10}, "a connect that failed is tried elsewhere"
    assert metric(proxy, "usher_upstream_server_ejected", two[0]) == 1
    assert metric(proxy, "usher_upstream_server_failures_total", two[0]) == 2, "nobody tries it while it is out"
    two[0].start()
    wait_until(lambda: set(tally(proxy, 10)) == {"a", "b"})
    proxy.wait_said("server ejected")


@pytest.mark.parametrize("then", ["", 'eject = { consecutive_failures = 2, for = "1s" }'], ids=["no rule", "a shorter one"])
def test_a_reload_with_another_rule_ends_an_ejection(start, servers, then):
    two = servers("a", "b")
    rule = 'eject = { consecutive_failures = 2, for = "1h" }'
    proxy = start(None, TEXT, servers=listed(two), upstream='slow_start = "0s"\nbalance = "round-robin"\n' + rule)
    two[0].answers(status=500)
    tally(proxy, 10)
    assert metric(proxy, "usher_upstream_server_ejected", two[0]) == 1
    two[0].answers(status=200)
    proxy.signal(signal.SIGHUP)
    proxy.wait_said("configuration reloaded")
    assert metric(proxy, "usher_upstream_server_ejected", two[0]) == 1, "the same rule changes nothing"
    proxy.file.write_text(proxy.file.read_text().replace(rule, then))
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: set(tally(proxy, 10)) == {"a", "b"})
    assert metric(proxy, "usher_upstream_server_ejected", two[0]) == 0


def test_500s_eject_but_at_most_half_of_the_servers(start, servers):
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two),
                  upstream='slow_start = "0s"\nbalance = "round-robin"\neject = { consecutive_failures = 3, for = "30s" }')
    two[0].answers(status=500)
    tally(proxy, 6)
    assert tally(proxy, 10) == {"b": 10}
    two[1].answers(status=500)
    assert tally(proxy, 10) == {500: 10}, "the last one stays, and its answers are passed on"
    assert metric(proxy, "usher_upstream_server_ejected", two[1]) == 0


def test_a_client_ejects_no_server_by_handshakes(start, servers):
    """Any client may send a page a handshake of WebSocket, and a server that answers with the page is as good as before."""
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two), listen='protocols = ["h2", "http/1.1"]',
                  upstream='slow_start = "0s"\nbalance = "round-robin"\neject = { consecutive_failures = 1, for = "30s" }')
    with Connection(proxy.port) as connection:
        for _ in range(4):
            assert Chat(connection, "/public/x").opened() == 501
    assert tally(proxy, 10) == {"a": 5, "b": 5}
    assert [metric(proxy, "usher_upstream_server_failures_total", server) for server in two] == [0, 0]


def test_refusals_of_the_backend_are_no_failures(start, servers):
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two), upstream='balance = "round-robin"\neject = { consecutive_failures = 1, for = "30s" }')
    two[0].answers(status=404)
    assert tally(proxy, 10) == {404: 5, "b": 5}
    assert metric(proxy, "usher_upstream_server_ejected", two[0]) == 0


def test_a_server_that_hangs_is_ejected(start, servers):
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two),
                  upstream='balance = "round-robin"\nresponse_timeout = "4s"\neject = { consecutive_failures = 2, for = "30s" }')
    two[0].stop()
    found = tally(proxy, 4)
    assert found == {504: 2, "b": 2}, found
    assert tally(proxy, 10) == {"b": 10}


def test_killed_while_requests_are_under_way(start, servers):
    """kill -9 in the middle of traffic: with a healthy second server nearly nobody notices, and nobody waits."""
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two), upstream='eject = { consecutive_failures = 2, for = "2s" }')
    stop, found = threading.Event(), Counter()

    def ask():
        while not stop.is_set():
            found.update(tally(proxy, 10))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(ask) for _ in range(4)]
        wait_until(lambda: found["a"] and found["b"])
        two[0].kill()
        time.sleep(0.6)
        seen = found["b"]
        wait_until(lambda: found["b"] > seen + 20)
        stop.set()
        for task in tasks:
            task.result()
    failed = sum(count for name, count in found.items() if name not in ("a", "b"))
    assert found["a"] and found["b"] and failed <= 8, found


# Retries and the queue

@pytest.mark.parametrize(("workers", "limit"), [(2, 1), (4, 3)])
def test_fewer_connections_than_workers(start, own_backend, workers, limit):
    """A server that stands one request at a time gets one at a time, whichever worker has it; nobody waits in vain."""
    lock, at_once, most = threading.Lock(), [0], [0]

    def script(exchange):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        time.sleep(0.05)
        with lock:
            at_once[0] -= 1
        exchange.echo()
    own_backend.script = script
    proxy = start(own_backend, TEXT, workers=workers, servers=f'"127.0.0.1:{own_backend.port}"', upstream=f'max_connections = {limit}\nconnect_timeout = "20s"')
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert {answer.status for answer in pool.map(lambda _: proxy.get("/public/x"), range(36))} == {200}
    assert most[0] == limit


@pytest.mark.parametrize(("workers", "clients", "most"), [(2, 1, 2), (4, 12, 750)])
def test_few_connections_are_used_again(start, own_backend, workers, clients, most):
    """Connections for a thousand requests: one, as long as one worker asks; more change hands where several want the same one."""
    proxy = start(own_backend, TEXT, workers=workers, servers=f'"127.0.0.1:{own_backend.port}"', upstream='max_connections = 1\nconnect_timeout = "20s"')

    def ask(number):
        with proxy.client() as client:
            return {client.request("GET", "/public/x").status for _ in range(1000 // clients)}
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        assert set().union(*pool.map(ask, range(clients))) == {200}
    opened = len({request.connection for request in own_backend.requests})
    print(f"{opened} connections for {len(own_backend.requests)} requests of {clients} clients")
    assert opened <= most


class CountingServer(threading.Thread):
    """Answers each request at once, and notes how many connections were open whenever one came."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.most = self.opened = 0
        self.open: list[socket.socket] = []

    def run(self):
        while True:
            try:
                new, _ = self.listener.accept()
            except OSError:
                return
            self.opened += 1
            self.open = [one for one in [*self.open, new] if not self.has_ended(one)]
            self.most = max(self.most, len(self.open))
            threading.Thread(target=self.serve, args=(new,), daemon=True).start()

    @staticmethod
    def has_ended(connection) -> bool:
        try:
            return connection.fileno() < 0 or connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def serve(self, connection):
        with connection:
            while connection.recv(65536):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_an_idle_connection_is_given_up_for_a_request_of_another_worker(start, own_backend):
    """At once, and closed before the other one opens its own: the server never has one too many."""
    server = CountingServer()
    server.start()
    proxy = start(own_backend, TEXT, workers=4, servers=f'"127.0.0.1:{server.port}"', upstream='max_connections = 2\nconnect_timeout = "10s"')
    clients = [proxy.client() for _ in range(24)]
    slowest = 0
    for _ in range(6):
        for client in clients:
            began = time.monotonic()
            assert client.request("GET", "/public/x").status == 200
            slowest = max(slowest, time.monotonic() - began)
    assert slowest < 5 and metric(proxy, "usher_upstream_queue_refused_total") == 0

    def ask(client):
        return {client.request("GET", "/public/x").status for _ in range(30)}
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        assert set().union(*pool.map(ask, clients)) == {200}
    for client in clients:
        client.close()
    stop_listening(server.listener)
    assert server.most == 2 and server.opened > 4, (server.most, server.opened)


def test_the_queue_of_one_connection_is_bounded(start, own_backend):
    """One connection, one that waits: the third is refused, with any number of workers."""
    released = threading.Event()
    own_backend.script = lambda exchange: (released.wait(30), exchange.echo())
    proxy = start(own_backend, TEXT, workers=2, servers=f'"127.0.0.1:{own_backend.port}"',
                  upstream='max_connections = 1\nmax_pending = 1\nconnect_timeout = "20s"')
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(proxy.get, "/public/1")
        own_backend.wait_requests(1)
        second = pool.submit(proxy.get, "/public/2")
        wait_until(lambda: metric(proxy, "usher_upstream_waiting") == 1)
        assert proxy.get("/public/3").status == 503
        released.set()
        assert first.result().status == second.result().status == 200


def until_spent(proxy, status) -> Counter:
    """What came of 120 requests, and of more where they are so slow that the budget, three a second, was not spent yet."""
    statuses = Counter()
    while statuses.total() < 120 or statuses[status] <= 5 and statuses.total() < 2000:
        statuses[proxy.get("/public/x").status] += 1
    return statuses


def test_retries_have_a_budget(start, own_backend):
    """A backend that closes every second request must not get twice the load."""
    served = Counter()

    def script(exchange):
        served[exchange.request.connection] += 1
        if served[exchange.request.connection] % 2 == 0:
            return exchange.close()
        exchange.echo()
    own_backend.script = script
    proxy = start(own_backend, TEXT, servers=f'"127.0.0.1:{own_backend.port}"', upstream="")
    began = time.monotonic()
    statuses = until_spent(proxy, 502)
    asked = statuses[200] + statuses[502]
    assert set(statuses) == {200, 502} and asked >= 120, statuses
    # A fifth more, ten that are there from the start, and three a second.
    most = asked * 1.2 + 12 + 3 * (time.monotonic() - began)
    assert len(own_backend.requests) <= most, (len(own_backend.requests), most)
    assert metric(proxy, "usher_upstream_retries_refused_total") == statuses[502]
    # With time the budget fills up again.
    own_backend.script = lambda exchange: exchange.echo()
    assert proxy.get("/public/x").status in (200, 502)
    assert proxy.get("/public/x").status == 200


def test_a_408_without_a_retry_is_the_answer(start, own_backend):
    """Where the budget for repeating is spent, the client hears that its request was not taken, and may repeat it itself."""
    served = Counter()

    def script(exchange):
        served[exchange.request.connection] += 1
        if served[exchange.request.connection] % 2 == 0:
            exchange.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            return exchange.close()
        exchange.echo()
    own_backend.script = script
    proxy = start(own_backend, TEXT, servers=f'"127.0.0.1:{own_backend.port}"', upstream="")
    statuses = until_spent(proxy, 408)
    assert set(statuses) == {200, 408}, statuses
    assert metric(proxy, "usher_upstream_retries_refused_total") == statuses[408]


def test_a_server_that_loses_requests_is_ejected_though_they_are_repeated(start, own_backend):
    """A request that another server answered in the end counts against the one that closed its fresh connection."""
    own_backend.script = lambda exchange: exchange.close()
    with Backend() as other:
        proxy = start(own_backend, TEXT, servers=f'"127.0.0.1:{own_backend.port}", "127.0.0.1:{other.port}"',
                      upstream='eject = { consecutive_failures = 5, for = "300s" }')
        assert {proxy.get("/public/x").status for _ in range(40)} == {200}
    assert len(own_backend.requests) == 5  # eject.consecutive_failures


def test_a_post_is_never_sent_twice(start, own_backend):
    """What may have been processed is repeated only where twice is the same as once, though the connection had served before."""
    def script(exchange):
        if exchange.request.method == "GET":
            return exchange.echo()
        exchange.read_body()
        exchange.close()
    own_backend.script = script
    other = free_port()
    with Server(Path("/tmp"), f"other-{os.getpid()}", f"127.0.0.1:{other}"):
        proxy = start(own_backend, TEXT, servers=f'{{ address = "127.0.0.1:{own_backend.port}", weight = 1000 }}, "127.0.0.1:{other}"',
                      upstream='balance = "round-robin"\nretries = 5')
        # The GET's connection is there for the POST, and the kernel has nothing to say against it.
        statuses = [(proxy.get("/public/x").status, proxy.request("POST", "/public/x", {}, b"once").status) for _ in range(3)]
    assert statuses == [(200, 502)] * 3
    posts = [request for request in own_backend.requests if request.method == "POST"]
    assert len(posts) == 3 and len({request.connection for request in own_backend.requests}) == 3, "each came where a GET had"


def test_max_connections_and_max_pending_hold_for_all_workers_together(start, own_backend):
    busy, most, lock, released = 0, 0, threading.Lock(), threading.Event()

    def script(exchange):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        released.wait(30)
        with lock:
            busy -= 1
        exchange.echo()
    own_backend.script = script
    proxy = start(own_backend, TEXT, workers=2, servers=f'"127.0.0.1:{own_backend.port}"',
                  upstream='max_connections = 3\nmax_pending = 5\nconnect_timeout = "30s"')
    # As many as make it certain that each worker has more than its part: the kernel spreads them.
    clients = [proxy.client(timeout=30) for _ in range(64)]
    for number, client in enumerate(clients):
        client.send(render("GET", "/public/x"))
        # One after the other: two that come at the same instant may both take the last place of the queue.
        wait_until(lambda: busy + metric(proxy, "usher_upstream_waiting") + metric(proxy, "usher_upstream_queue_refused_total") == number + 1)
    assert metric(proxy, "usher_upstream_waiting") == 5 and most == busy == 3
    released.set()
    statuses = Counter(client.response().status for client in clients)
    for client in clients:
        client.close()
    assert statuses == {200: 8, 503: 56} and most == 3


def test_with_no_queue_nobody_waits(start, own_backend):
    released = threading.Event()
    own_backend.script = lambda exchange: (released.wait(30), exchange.echo())
    proxy = start(own_backend, TEXT, servers=f'"127.0.0.1:{own_backend.port}"', upstream="max_connections = 1\nmax_pending = 0")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(proxy.get, "/public/1")
        own_backend.wait_requests(1)
        assert proxy.get("/public/2").status == 503
        released.set()
        assert first.result().status == 200


def test_the_queue_is_bounded_and_has_a_deadline(start, own_backend):
    released = threading.Event()

    def script(exchange):
        released.wait(60)
        exchange.echo()
    own_backend.script = script
    proxy = start(own_backend, TEXT, servers=f'"127.0.0.1:{own_backend.port}"',
                  upstream='max_connections = 1\nmax_pending = 1\nconnect_timeout = "6s"')
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        first = pool.submit(proxy.get, "/public/1")
        own_backend.wait_requests(1)
        started = time.monotonic()
        second = pool.submit(proxy.get, "/public/2")
        wait_until(lambda: metric(proxy, "usher_upstream_waiting") == 1)
        third = proxy.get("/public/3")
        assert third.status == 503 and third.problem["code"] == "overloaded"
        assert third.headers.get("retry-after") == "1" and not second.done(), "at once"
        late = second.result()
        assert late.status == 503 and late.problem["code"] == "overloaded"
        assert 5.9 < time.monotonic() - started < 20
        wait_until(lambda: metric(proxy, "usher_upstream_waiting") == 0)
        released.set()
        assert first.result().status == 200
    assert proxy.get("/public/4").status == 200


# Names

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace and port 53 need root")


@pytest.fixture
def named(start, tmp_path):
    """`named(servers, upstream)`: usher that asks our name server, and the name server."""
    with NameServer() as names:
        resolv = tmp_path / "resolv.conf"
        resolv.write_text(f"nameserver {names.host}\noptions timeout:5 attempts:2\n")
        hosts = tmp_path / "hosts"
        hosts.write_text("127.0.0.1 localhost\n")
        if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
            pytest.skip("no mount namespaces here")

        def run(servers, upstream="", hosts_text=None, interval="1s"):
            if hosts_text:
                hosts.write_text(hosts_text)
            script = f'mount --bind {resolv} /etc/resolv.conf && mount --bind {hosts} /etc/hosts && exec "$@"'
            return start(None, TEXT, servers=servers, upstream=f'resolve_interval = "{interval}"\nslow_start = "0s"\n' + upstream,
                         prefix=("unshare", "-m", "sh", "-c", script, "sh"))
        yield names, run


@needs_root
def test_a_name_may_get_its_address_later(named, tmp_path):
    names, run = named
    names.addresses = []
    port = free_port()
    proxy = run(f'"later.test:{port}"')
    answer = proxy.get("/public/x")
    assert answer.status == 503 and answer.problem["code"] == "upstream_unavailable"
    proxy.wait_said("has no address")
    with Server(tmp_path, "late", f"127.0.0.2:{port}"):
        names.addresses = ["127.0.0.2"]
        wait_until(lambda: proxy.get("/public/x").status == 200)


@needs_root
def test_addresses_change_without_a_reload_and_those_that_stay_keep_their_connections(named, tmp_path):
    names, run = named
    port = free_port()
    with contextlib.ExitStack() as stack:
        for place, name in enumerate("abc"):
            stack.enter_context(Server(tmp_path, name, f"127.0.0.{place + 2}:{port}"))
        names.addresses = ["127.0.0.2", "127.0.0.3"]
        proxy = run(f'"backend.test:{port}"', 'balance = "round-robin"')
        assert tally(proxy, 20) == {"a": 10, "b": 10}, "every address is a server of its own"
        kept = {proxy.get("/public/x").headers.get("x-connection") for _ in range(4)}
        names.addresses = ["127.0.0.3", "127.0.0.4"]
        wait_until(lambda: set(tally(proxy, 10)) == {"b", "c"})
        connections = {proxy.get("/public/x").headers.get("x-connection") for _ in range(4)}
        assert connections & kept, "b's connection went on"
        # An answer in another order changes nothing; no answer keeps what is known.
        names.addresses = ["127.0.0.4", "127.0.0.3"]
        seen = names.questions
        wait_until(lambda: names.questions > seen + 2)
        names.addresses = None
        seen = names.questions
        wait_until(lambda: names.questions > seen + 2)
        assert tally(proxy, 10) == {"b": 5, "c": 5}
        proxy.wait_said("its addresses are used on")


@needs_root
def test_a_reload_with_a_shorter_interval_looks_up_sooner(named, tmp_path):
    names, run = named
    port = free_port()
    with Server(tmp_path, "a", f"127.0.0.2:{port}"), Server(tmp_path, "b", f"127.0.0.3:{port}"):
        names.addresses = ["127.0.0.2"]
        proxy = run(f'"moving.test:{port}"', interval="1h")
        wait_until(lambda: proxy.get("/public/x").body == b"a")
        names.addresses = ["127.0.0.3"]
        proxy.file.write_text(proxy.file.read_text().replace('resolve_interval = "1h"', 'resolve_interval = "1s"'))
        proxy.signal(signal.SIGHUP)
        wait_until(lambda: proxy.get("/public/x").body == b"b")


@needs_root
def test_names_of_a_configuration_that_is_refused_are_not_looked_up(named):
    names, run = named
    port = free_port()
    names.addresses = ["127.0.0.2"]
    proxy = run(f'"127.0.0.1:{port}"')
    text = proxy.file.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        proxy.file.write_text(text.replace(
            "[listen.public]", f'[listen.more]\naddress = "127.0.0.1:{taken.getsockname()[1]}"\n\n[listen.public]').replace(
            f'"127.0.0.1:{port}"', f'"127.0.0.1:{port}", "refused.test:{port}"'))
        proxy.signal(signal.SIGHUP)
        proxy.wait_said("configuration not changed")
    assert names.questions > 0

    def is_quiet():
        """For twice the interval, and more."""
        seen = names.questions
        time.sleep(2.5)
        return names.questions == seen
    wait_until(is_quiet)


@needs_root
def test_a_refused_address_is_no_retry(named, tmp_path):
    names, run = named
    port = free_port()
    names.addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    with Server(tmp_path, "only", f"127.0.0.3:{port}"):
        proxy = run(f'"backend.test:{port}"', 'balance = "round-robin"\nretries = 0\neject = { for = "5s" }')
        assert tally(proxy, 30) == {"only": 30}


@needs_root
def test_requests_under_way_finish_on_an_address_that_is_gone(named, own_backend):
    names, run = named
    released = threading.Event()

    def script(exchange):
        released.wait(10)
        exchange.echo()
    own_backend.script = script
    names.addresses = ["127.0.0.1"]
    proxy = run(f'"backend.test:{own_backend.port}"')
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(proxy.get, "/public/x")
        own_backend.wait_requests(1)
        names.addresses = ["127.0.0.99"]
        wait_until(lambda: "127.0.0.99" in bytes(proxy.errors).decode())
        released.set()
        assert answer.result().status == 200


@needs_root
@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists() or not Path("/proc/net/if_inet6").read_text(), reason="no IPv6 here")
def test_the_family_that_answers_is_taken(named, tmp_path):
    """Happy eyeballs: the name has both, and only IPv6 listens."""
    port = free_port()
    _, run = named
    listener = socket.create_server(("::1", port), family=socket.AF_INET6)
    with listener:
        def serve():
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    if sock.recv(4096):
                        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nsix")
        threading.Thread(target=serve, daemon=True).start()
        proxy = run(f'"both.test:{port}"', "retries = 0", hosts_text="127.0.0.1 both.test\n::1 both.test\n")
        assert proxy.get("/public/x").body == b"six"
        stop_listening(listener)


@needs_root
@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists() or not Path("/proc/net/if_inet6").read_text(), reason="no IPv6 here")
@pytest.mark.parametrize("was_there", [True, False])
def test_a_server_that_is_away_keeps_its_family(named, was_there):
    """While neither family takes connections, none of them is better than the one that did; and one that never did is only
    guessed, and looked for again long before the interval is over."""
    _, run = named
    with Answering("::1") as there:
        if not was_there:
            there.down()
        proxy = run(f'"both.test:{there.port}"', "retries = 0", "127.0.0.1 both.test\n::1 both.test\n",
                    interval="1s" if was_there else "1h")
        if was_there:
            wait_until(lambda: proxy.get("/public/x").body == b"::1")
            there.down()
            time.sleep(2.5)  # two look-ups find nobody
        there.up()
        wait_until(lambda: proxy.get("/public/x").body == b"::1")
        changes = [line for line in proxy.errors.decode().splitlines() if "addresses of a server" in line]
        assert len(changes) == (1 if was_there else 2), changes


class Answering(StandIn):
    """Answers one request a connection with the address that it listens at."""

    def _serve(self, connection):
        with connection:
            if connection.recv(4096):
                body = self.host.encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def test_health_is_seen_behind_a_reload_that_failed(start, servers):
    """One that wanted more workers, and a port that is taken: it leaves no other view of the servers behind."""
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two), upstream='slow_start = "0s"\n' + FAST_HEALTH)
    text = proxy.file.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        proxy.file.write_text(text.replace("workers = 1", "workers = 2").replace(
            "[listen.public]", f'[listen.more]\naddress = "127.0.0.1:{taken.getsockname()[1]}"\n\n[listen.public]'))
        proxy.signal(signal.SIGHUP)
        proxy.wait_said("configuration not changed")
    two[0].answers(health=500)
    wait_until(lambda: metric(proxy, "usher_upstream_server_up", two[0]) == 0)
    # So seldom that a view of its own would stay wrong for an hour.
    proxy.file.write_text(text.replace('interval = "100ms"', 'interval = "1h"'))
    proxy.signal(signal.SIGHUP)
    proxy.wait_said("configuration reloaded")
    assert metric(proxy, "usher_upstream_server_up", two[0]) == 0
    assert tally(proxy, 10) == {"b": 10}
    # More workers go on with what is known, too.
    proxy.file.write_text(proxy.file.read_text().replace("workers = 1", "workers = 3"))
    proxy.signal(signal.SIGHUP)
    proxy.wait_said("number of workers changed")
    assert metric(proxy, "usher_upstream_server_up", two[0]) == 0
    assert sum(tally(proxy, 10)["b"] for _ in range(3)) == 30


def test_reload_keeps_health_and_connections(start, servers):
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two), upstream='slow_start = "0s"\n' + FAST_HEALTH)
    two[0].answers(health=500)
    wait_until(lambda: metric(proxy, "usher_upstream_server_up", two[0]) == 0)
    before = proxy.get("/public/x").headers.get("x-connection")
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: "configuration reloaded" in bytes(proxy.errors).decode())
    answer = proxy.get("/public/x")
    assert answer.body == b"b" and answer.headers.get("x-connection") == before
    assert metric(proxy, "usher_upstream_server_up", two[0]) == 0


def test_host_follows_the_server(start, tmp_path):
    """U4: where Host is the server's own, a request that moves on to another server names that one."""
    dead = refusing_port()
    with Backend() as backend:
        proxy = start(None, TEXT, servers=f'"127.0.0.1:{dead}", "127.0.0.1:{backend.port}"',
                      upstream='preserve_host = false\nbalance = "round-robin"')
        for _ in range(4):
            answer = proxy.get("/api/x", {"Authorization": f"Bearer {token(sub='u1')}"})
            assert answer.status == 200
        assert {request.headers.get("host") for request in backend.requests} == {f"127.0.0.1:{backend.port}"}
        assert all(request.user == ["u1"] for request in backend.requests)


def test_a_large_request_names_the_server_that_it_goes_to(start):
    """Its head and what came of its body filled the largest block: there was no room for the other server's name, and it went
    there under the first one's."""
    def script(exchange):
        exchange.drain()
        exchange.reply()

    with Backend() as one, Backend() as two:
        one.script = two.script = script
        servers = f'"127.0.0.1:{one.port}", "localhost:{two.port}"'
        proxy = start(None, TEXT + '\n[limits]\nheader_bytes = "240KiB"\n', servers=servers,
                      upstream='preserve_host = false\nbalance = "round-robin"')
        fields = {f"X-Filler-{number}": "x" * 8000 for number in range(27)}
        request = render("POST", "/public/x", fields, b"x" * 400_000)
        for _ in range(4):
            with proxy.client() as client:
                client.send(request[:196_608])
                time.sleep(0.3)  # read: what comes now comes at once, and fills the rest of the block
                proxy.stand_still()
                client.send(request[196_608:])
                time.sleep(0.2)
                proxy.signal(signal.SIGCONT)
                assert client.response().status == 200
        assert {request.headers.get("host") for request in one.requests} == {f"127.0.0.1:{one.port}"}
        assert {request.headers.get("host") for request in two.requests} == {f"localhost:{two.port}"}


# What runs out

TWO = TEXT + """
[upstream.second]
servers = ["127.0.0.1:{second}"]

[[route]]
path = "/second/**"
auth = "none"
upstream = "second"
"""


def test_no_descriptor_for_a_connect_takes_that_of_an_idle_connection(start, own_backend, servers):
    other, = servers("other")
    slow = threading.Barrier(5)

    def script(exchange):
        if exchange.request.target == "/public/warm":
            slow.wait(20)
        exchange.echo()
    own_backend.script = script
    proxy = start(own_backend, TWO, servers=f'"127.0.0.1:{own_backend.port}"', second=other.address.split(":")[1], upstream="")
    clients = [proxy.client().__enter__() for _ in range(5)]
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        assert {a.status for a in pool.map(lambda c: c.request("GET", "/public/warm"), clients)} == {200}
    before = resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE)
    used = max(proxy.descriptors) + 1
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (used, before[1]))
    try:
        # Fill what is free below the highest number, then one more.
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(lambda c: c.request("GET", "/second/x").status, clients[:3]))
        assert answers == [200] * 3, answers
    finally:
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, before)
        for client in clients:
            client.sock.close()
    assert proxy.get("/public/x").status == 200


def test_memory_of_messages_is_bounded(start, own_backend):
    """Near the bound new requests are 503, which scripts of listed pages can read; those that were taken on end well, and
    then all is as before."""
    released = threading.Event()

    def script(exchange):
        if exchange.request.target == "/public/slow":
            released.wait(60)
        exchange.echo()
    own_backend.script = script
    text = TEXT.replace('auth = "none"', 'auth = "none"\ncors = "app"') + '\n[cors.app]\norigins = ["https://app.test"]\n'
    proxy = start(own_backend, text, servers=f'"127.0.0.1:{own_backend.port}"', upstream="",
                  preamble='limits.buffer_bytes = "1MiB"\n')
    clients = [proxy.client(timeout=60).__enter__() for _ in range(100)]
    for client in clients:
        client.request("GET", "/public/first")
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        page = {"Origin": "https://app.test"}
        answers = [pool.submit(client.request, "POST", "/public/slow", page, b"x" * 1000) for client in clients]
        wait_until(lambda: sum(answer.done() for answer in answers) >= 10)
        refused = next(answer for answer in answers if answer.done()).result()
        assert refused.status == 503 and refused.problem["code"] == "overloaded" and refused.headers.get("retry-after") == "1"
        assert refused.headers.get("access-control-allow-origin") == "https://app.test"
        time.sleep(0.3)
        released.set()
        statuses = Counter(answer.result().status for answer in answers)
    assert statuses[200] >= 20 and statuses[200] + statuses[503] == 100, statuses
    for client in clients:
        client.sock.close()
    wait_until(lambda: proxy.get("/public/after").status == 200)


def test_the_clock_steps_back_and_forth(start, servers, tmp_path):
    """Tokens follow the time of day; everything else notices nothing, and with the right time all is as before."""
    kernel = Kernel(tmp_path)
    two = servers("a", "b")
    proxy = start(None, TEXT, servers=listed(two), upstream='slow_start = "0s"\n' + FAST_HEALTH, env=kernel.environment)
    now = int(time.time())
    good = bearer(token(sub="u1", iat=now, exp=now + 1800))

    def status():
        return proxy.get("/api/x", good).status
    assert status() == 200
    for seconds in (86400 * 365, -7200):
        kernel.set(step=seconds)
        wait_until(lambda: status() == 401, what=f"a step of {seconds} s is not seen")
        assert set(tally(proxy, 10)) <= {"a", "b"}, "what needs no token goes on"
        assert metric(proxy, "usher_upstream_server_up", two[0]) == 1
        kernel.set()
        wait_until(lambda: status() == 200, what="it does not recover")
    two[0].answers(health=500)
    kernel.set(step=-3600)
    wait_until(lambda: metric(proxy, "usher_upstream_server_up", two[0]) == 0, what="checks go by the clock that never steps")


def memory_group(name, limit):
    """A control group with that memory limit, or None where none can be made; what a process writes itself into."""
    if Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists():
        folder, file = Path("/sys/fs/cgroup/memory") / name, "memory.limit_in_bytes"
    elif "memory" in (Path("/sys/fs/cgroup/cgroup.subtree_control").read_text() if Path("/sys/fs/cgroup/cgroup.subtree_control").exists() else ""):
        folder, file = Path("/sys/fs/cgroup") / name, "memory.max"
    else:
        return None
    try:
        folder.mkdir()
        (folder / file).write_text(str(limit))
    except OSError:
        return None
    return folder


@pytest.mark.memory
def test_near_the_memory_limit_of_the_container(start):
    """More requests under way than memory: the kernel need not end the process, and it recovers alone."""
    group = memory_group(f"usher-test-{os.getpid()}", 64 << 20)
    if not group:
        pytest.skip("no memory control group can be made here")
    listener = socket.create_server(("127.0.0.1", free_port()), backlog=4096)
    kept = []

    def take():
        with contextlib.suppress(OSError):
            while True:
                kept.append(listener.accept()[0])
    threading.Thread(target=take, daemon=True).start()
    clients = []
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        proxy = start(None, TEXT, servers=f'"127.0.0.1:{listener.getsockname()[1]}"',
                      upstream='max_connections = 20000\nmax_pending = 100000\nresponse_timeout = "3s"',
                      prefix=("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"))
        # Opened before this process, too, may have no descriptor left.
        said = open(f"/proc/{proxy.process.pid}/status")
        # Each request under way holds some 20 KiB: these would hold 90 MiB.
        for _ in range(4500):
            try:
                client = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
                client.sendall(b"POST /public/x HTTP/1.1\r\nHost: usher.test\r\nContent-Length: 14000\r\n\r\n" + b"x" * 14000)
                clients.append(client)
            except OSError:
                break
        time.sleep(0.5)
        assert proxy.process.poll() is None
        held = int(re.search(r"^RssAnon:\s+(\d+) kB", said.read(), re.M).group(1))
        said.close()
        assert held < 50 << 10, f"{held} KiB: half of the limit is for buffers, and the rest is small"
        for client in clients:
            client.close()
        stop_listening(listener)
        for sock in kept:
            sock.close()
        wait_until(lambda: proxy.ready() and proxy.get("/public/x").status == 503)
        assert proxy.process.poll() is None
        assert proxy.stop() == 0
    finally:
        for sock in [*clients, *kept]:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        # After a failure the process is still there, and its group stays.
        with contextlib.suppress(OSError):
            group.rmdir()
