"""Reloads by signal, by call and by file change: whole, under load, many of them, without a loss or a leak."""

import json
import os
import re
import resource
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path

import pytest

from harness import configuration
from harness.backend import slow_at
from harness.delivery import was_read
from harness.keyserver import KeyServer, key_set, response, signed
from harness.load import Load
from harness.ports import free_port
from harness.process import command, environment
from harness.tokens import bearer, token
from harness.waiting import wait_until
from harness.wire import Client, render

RELOADS = int(os.environ.get("USHER_TEST_RELOADS", "1000"))


def reload(proxy):
    with Client(proxy.admin) as client:
        return client.request("POST", "/reload", {}, b"", host=f"127.0.0.1:{proxy.admin}")


def metric(proxy, name) -> int:
    return int(re.search(rf"^{re.escape(name)} (\d+)$", proxy.admin_request("/metrics").body.decode(), re.M)[1])


@pytest.mark.memory
def test_many_reloads_under_load(start, own_backend):
    """Routes, upstreams, limits and a listener come and go; no request is lost, no descriptor and no memory."""
    proxy = start(own_backend, workers=2)
    good = proxy.file.read_text()
    other = good.replace('servers = ["127.0.0.1', 'max_connections = 77\nservers = ["127.0.0.1') + f"""
[limits]
connections = 5000
header_count = 64

[listen.more]
address = "unix:{proxy.folder}/more.sock"

[[route]]
path = "/added/**"
auth = "none"
upstream = "backend"
"""
    with Load(proxy.port, keeping=2, fresh=2, pause=0.002) as load:
        load.wait(50)
        for number in range(20):  # until every table has the size that it keeps
            proxy.file.write_text(other if number % 2 else good)
            assert reload(proxy).status == 200
        before = proxy.memory(), len(proxy.descriptors), metric(proxy, 'usher_requests_total{class="2xx"}')
        for number in range(RELOADS):
            proxy.file.write_text(other if number % 2 else good)
            answer = reload(proxy)
            assert answer.status == 200, answer.body
        load.wait(50)
    load.check()
    wait_until(lambda: len(proxy.descriptors) <= before[1] + 4)
    print(f"{RELOADS} reloads, {load.served} requests, {len(load.failures)} failed; resident {before[0] >> 10} KiB before, "
          f"{proxy.memory() >> 10} KiB after; {before[1]} descriptors before, {len(proxy.descriptors)} after")
    assert metric(proxy, 'usher_requests_total{class="2xx"}') > before[2], "the counts go on"
    assert proxy.memory() - before[0] < 8 << 20, "no more than some blocks"
    wait_until(lambda: metric(proxy, "usher_connections_open") <= 4)


def test_pooled_connections_survive(start, own_backend):
    proxy = start(own_backend)
    for number in range(6):
        assert proxy.get("/public/x").status == 200
        proxy.file.write_text(proxy.file.read_text() + f'\n[[route]]\npath = "/added{number}"\nauth = "none"\nupstream = "backend"\n')
        assert reload(proxy).status == 200
    assert proxy.get("/added5").status == 200
    assert metric(proxy, "usher_upstream_connects_total") == 1


@pytest.mark.parametrize("limit", ["connections = 2", "connections = 1"])
def test_connection_limit_changes(start, own_backend, limit):
    """Raised and lowered: who is there stays, who comes waits."""
    proxy = start(own_backend)
    good = proxy.file.read_text()
    allowed = int(limit.split()[-1])
    proxy.file.write_text(good + f"\n[limits]\n{limit}\n" + ADDED)
    assert reload(proxy).status == 200
    wait_until(lambda: proxy.get("/added").status == 200)  # the worker may hear of it a moment after the answer has left
    clients = [proxy.client() for _ in range(3)]
    for client in clients[:allowed]:
        assert client.request("GET", "/public/x").status == 200
    clients[-1].send(b"GET /public/late HTTP/1.1\r\nHost: a\r\n\r\n")
    assert clients[-1].quiet(0.4)
    proxy.file.write_text(good + "\n[limits]\nconnections = 50\n")
    assert reload(proxy).status == 200
    assert clients[-1].response().status == 200
    for client in clients:
        client.close()


def test_a_listener_goes_while_a_client_waits_at_it(start, own_backend):
    """It is accepted with the listener's old number, which the new settings do not have."""
    proxy = start(own_backend)
    good = proxy.file.read_text()
    port = free_port()
    proxy.file.write_text(f'{good}\n[listen.extra]\naddress = "127.0.0.1:{port}"\n' + "\n[limits]\nconnections = 1\n")
    assert reload(proxy).status == 200
    with proxy.client() as first:
        assert first.request("GET", "/public/x").status == 200
        with Client(port) as waiting:
            assert waiting.quiet(0.3)
            proxy.file.write_text(good + "\n[limits]\nconnections = 50\n")
            assert reload(proxy).status == 200
            assert waiting.ended(20)
        assert first.request("GET", "/public/x").status == 200


FETCHED = """
[issuer.keys]
issuer = "https://keys.test"
audience = ["https://api.test"]
jwks = {{ url = "{url}", cooldown = "1s" }}
algorithms = ["ES256"]
"""
EXTRA = """
[listen.extra]
address = "127.0.0.1:{extra}"
trusted_proxies = {extra_trusts}
"""


@pytest.mark.parametrize(("public", "extra", "seen"), [
    ([], ["127.0.0.0/8"], "203.0.113.9, 127.0.0.1"), (["127.0.0.0/8"], [], "127.0.0.1")], ids=["believed", "not believed"])
def test_a_request_that_waits_while_its_listener_goes(start, own_backend, public, extra, seen):
    """It is judged by the rules of the listener where it came, not by those of the one that has its number now."""
    asked, gate = threading.Event(), threading.Event()

    def slow(connection, _):
        asked.set()
        gate.wait(30)
        connection.sendall(response(key_set("one", "two")))

    with KeyServer() as server:
        server.publish("one")
        text = configuration.SMALL.replace('auth = "main"', 'auth = ["main", "keys"]') + FETCHED + EXTRA
        proxy = start(own_backend, text, listen=f"trusted_proxies = {json.dumps(public)}", extra=(port := free_port()),
                      extra_trusts=json.dumps(extra), url=server.url)
        time.sleep(1.5)  # the cooldown, and more
        server.answer = slow
        with Client(port) as client:
            client.send(render("GET", "/api/late", bearer(signed("two")) | {"X-Forwarded-For": "203.0.113.9"}))
            assert asked.wait(20)
            written = proxy.file.read_text()
            proxy.file.write_text(written[:written.index("[listen.extra]")])
            assert reload(proxy).status == 200
            gate.set()
            answer = client.response()
            assert answer.status == 200 and answer.closes
            assert client.ended(20)
    assert own_backend.last.headers.get("x-forwarded-for") == seen
    assert proxy.wait_log(path="/api/late")["listener"] == "extra"
    assert proxy.get("/public/x").status == 200


def test_a_request_that_has_begun_while_its_listener_goes(start, own_backend):
    """It is served, and is the last of its connection; where none has begun, the connection closes."""
    proxy = start(own_backend, configuration.SMALL + EXTRA, extra=(port := free_port()), extra_trusts="[]")
    with Client(port) as begun, Client(port) as idle:
        assert begun.request("GET", "/public/x").status == idle.request("GET", "/public/x").status == 200
        begun.send(b"GET /public/late HTTP/1.1\r\nHost: a\r\n")
        wait_until(lambda: was_read(begun.sock))
        written = proxy.file.read_text()
        for number in range(2):  # the second finds one of a listener that is gone already
            proxy.file.write_text(written[:written.index("[listen.extra]")] + "\n" * number)
            assert reload(proxy).status == 200
        assert idle.ended(20)
        begun.send(b"\r\n")
        answer = begun.response()
        assert answer.status == 200 and answer.closes and begun.ended(20)
    assert proxy.wait_log(path="/public/late")["listener"] == "extra"


# watch = true

ADDED = '\n[[route]]\npath = "/added"\nauth = "none"\nupstream = "backend"\n'


def in_place(file, text):
    file.write_text(text)


def renamed(file, text):
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


def gone_for_a_moment(file, text):
    """As some editors do: the old one away, the new one written."""
    file.rename(file.with_suffix(".bak"))
    time.sleep(0.05)
    file.write_text(text)


def in_pieces(file, text):
    with file.open("w") as output:
        for start in range(0, len(text), 200):
            output.write(text[start:start + 200])
            output.flush()
            time.sleep(0.02)


@pytest.mark.parametrize("write", [in_place, renamed, gone_for_a_moment, in_pieces], ids=lambda w: w.__name__)
def test_watched_file(start, own_backend, write):
    proxy = start(own_backend, preamble="watch = true\n")
    assert proxy.get("/added").status == 404
    write(proxy.file, proxy.file.read_text() + ADDED)
    wait_until(lambda: proxy.get("/added").status == 200)
    # a mistake keeps the old one, and the next change counts again
    good = proxy.file.read_text()
    write(proxy.file, good + "mistake\n")
    wait_until(lambda: b"configuration not changed" in proxy.errors)
    assert proxy.get("/added").status == 200
    write(proxy.file, good.replace('path = "/added"', 'path = "/again"'))
    wait_until(lambda: proxy.get("/again").status == 200)


def test_watched_config_map(start, own_backend, tmp_path):
    """Kubernetes: the file is a link through a directory's link, which is turned in one step. A key file beside it too."""
    versions = tmp_path / "volume"
    secret = {1: "a" * 40, 2: "b" * 40}

    def publish(number, text):
        folder = versions / f"..v{number}"
        folder.mkdir(parents=True)
        (folder / "usher.toml").write_text(text)
        (folder / "secret").write_text(secret[min(number, 2)])
        (versions / "..next").symlink_to(folder.name)
        os.replace(versions / "..next", versions / "..data")
    versions.mkdir()
    for name in ("usher.toml", "secret"):
        (versions / name).symlink_to(f"..data/{name}")
    publish(1, "")
    text = configuration.SMALL.replace('{{ env = "USHER_TEST_SECRET" }}', '{{ file = "secret" }}')
    proxy = start(own_backend, text, folder=versions, preamble="watch = true\n")
    first, second = (bearer(token(secret_or_key=value.encode())) for value in secret.values())
    assert proxy.get("/api/x", first).status == 200 and proxy.get("/api/x", second).status == 401
    publish(2, proxy.file.read_text())
    wait_until(lambda: proxy.get("/api/x", second).status == 200)
    assert proxy.get("/api/x", first).status == 401


def test_a_change_while_the_start_reads(start, own_backend, tmp_path):
    """What changes between the moment when the start reads the file and the one when it looks for changes is a change."""
    secret = tmp_path / "secret"
    os.mkfifo(secret)
    text = configuration.SMALL.replace('{{ env = "USHER_TEST_SECRET" }}', f'{{{{ file = "{secret}" }}}}')
    proxy = start(own_backend, text, preamble="watch = true\n", wait=False)
    with secret.open("w") as pipe:  # opens when the other side does: the configuration has been read by then
        renamed(secret, "b" * 40)
        proxy.file.write_text(proxy.file.read_text() + ADDED)
        pipe.write("a" * 40)
    proxy.wait_ready()
    wait_until(lambda: proxy.get("/added").status == 200)
    assert proxy.get("/api/x", bearer(token(secret_or_key=b"b" * 40))).status == 200


def asked_at_once(proxy) -> int:
    """The status of a reload that is asked for as soon as the admin listener is there, ready or not."""
    def is_there():
        with socket.socket() as probe:
            return not probe.connect_ex(("127.0.0.1", proxy.admin))
    wait_until(is_there)
    return reload(proxy).status


@pytest.mark.parametrize("ask", [lambda proxy: proxy.signal(signal.SIGHUP), asked_at_once], ids=["signal", "POST"])
def test_a_reload_during_the_start_is_done_behind_it(start, own_backend, ask):
    """A start may wait, here for a store that says nothing: who has changed the file meanwhile, and says so, is heard."""
    with socket.create_server(("127.0.0.1", 0)) as store:
        store.settimeout(30)
        shared = f'\n[revocation]\n\n[shared]\nredis = "redis://127.0.0.1:{store.getsockname()[1]}"\n'
        proxy = start(own_backend, configuration.SMALL + shared, wait=False)
        connection, _ = store.accept()
        proxy.file.write_text(proxy.file.read_text() + ADDED)
        assert ask(proxy) in (None, 200, 202)
        proxy.wait_ready()
        wait_until(lambda: proxy.get("/added").status == 200)
        connection.close()


def test_files_that_nobody_looks_at_any_more_cost_no_time(start, own_backend):
    """During a drain there is no reload: the look that was due then was waited for without a pause, on a whole core."""
    proxy = start(own_backend, configuration.SMALL, preamble="watch = true\n")
    release = threading.Event()
    own_backend.script = lambda exchange: (release.wait(60), exchange.echo())
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
        own_backend.wait_requests(1)
        proxy.signal(signal.SIGTERM)
        wait_until(lambda: b'draining' in proxy.errors)
        before = processor_seconds(proxy)
        time.sleep(2)
        assert processor_seconds(proxy) - before < 0.2
        release.set()
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    assert proxy.process.wait(60) == 0


def processor_seconds(proxy) -> float:
    fields = Path(f"/proc/{proxy.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_not_watched_unless_told(start, own_backend):
    proxy = start(own_backend)
    proxy.file.write_text(proxy.file.read_text() + ADDED)
    time.sleep(1)
    assert proxy.get("/added").status == 404
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: proxy.get("/added").status == 200)


# workers

def set_workers(proxy, number):
    proxy.file.write_text(re.sub(r"^workers = \d+$", f"workers = {number}", proxy.file.read_text(), flags=re.M))
    assert reload(proxy).status == 200


def threads(proxy) -> set[str]:
    names = set()
    for task in Path(f"/proc/{proxy.process.pid}/task").iterdir():
        try:
            names.add((task / "comm").read_text().strip())
        except (FileNotFoundError, ProcessLookupError):
            pass
    return {name for name in names if re.fullmatch(r"usher-\d+", name)}


def test_workers_change_under_load(start, own_backend):
    """More of them, fewer, and more again: nobody in a queue and nobody on a connection is lost, and the counts go on."""
    folder = tempfile.mkdtemp(prefix="usher-")
    local = f'\n[listen.local]\naddress = "unix:{folder}/public.sock"\n'
    proxy = start(own_backend, configuration.SMALL + local + '\n[limits]\ndrain_timeout = "4s"\n', workers=1)

    def ask_locally():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(f"{folder}/public.sock")
            client.sendall(b"GET /public/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return client.recv(65536)
    counted = 0
    with Load(proxy.port, keeping=3, fresh=3) as load:
        for number in (3, 1, 2, 4, 2):
            load.wait(60)
            set_workers(proxy, number)
            assert metric(proxy, "usher_workers") == number
            wanted = {f"usher-{index}" for index in range(number)}
            wait_until(lambda: threads(proxy) == wanted)
            assert all(ask_locally().startswith(b"HTTP/1.1 200") for _ in range(8))
            load.wait(60)
            now = metric(proxy, 'usher_requests_total{class="2xx"}')
            assert now >= counted + 60
            counted = now
    load.check()
    wait_until(lambda: metric(proxy, "usher_connections_open") == 0)
    text = proxy.admin_request("/metrics").body.decode()
    assert int(re.search(r"^usher_upstream_server_requests_total\{.*\} (\d+)$", text, re.M)[1]) >= counted
    assert proxy.ready() and proxy.get("/api/x", bearer(token())).status == 200


def test_more_workers_than_there_are_descriptors_for(start, own_backend):
    """Whatever is wanting, a socket, an eventfd or an epoll instance: those that there are go on by the old settings."""
    proxy = start(own_backend)
    process, limit = proxy.process.pid, resource.RLIMIT_NOFILE
    before = resource.prlimit(process, limit)
    proxy.file.write_text(proxy.file.read_text().replace("workers = 1", "workers = 4"))
    for room in range(24):
        refusals = proxy.errors.count(b"configuration not changed")
        resource.prlimit(process, limit, (max(proxy.descriptors) + 1 + room, before[1]))
        proxy.signal(signal.SIGHUP)
        wait_until(lambda: proxy.errors.count(b"configuration not changed") > refusals
                   or b"configuration reloaded" in proxy.errors or proxy.process.poll() is not None)
        resource.prlimit(process, limit, before)
        assert proxy.process.poll() is None, bytes(proxy.errors)[-2000:]
        assert proxy.get("/public/x").status == 200
        if b"configuration reloaded" in proxy.errors:
            break
        wait_until(lambda: threads(proxy) == {"usher-0"})
    assert b"cannot start a worker" in proxy.errors
    wait_until(lambda: threads(proxy) == {f"usher-{index}" for index in range(4)})
    assert all(proxy.get("/public/x").status == 200 for _ in range(16))


def test_requests_under_way_finish_on_a_worker_that_ends(start, own_backend):
    own_backend.script = slow_at("/public/slow", 1)
    # Half of it is how long who is idle may wait with the last request.
    proxy = start(own_backend, configuration.SMALL + '\n[limits]\ndrain_timeout = "20s"\n', workers=4)
    clients = [proxy.client() for _ in range(24)]
    for client in clients[:12]:
        client.send(b"GET /public/slow HTTP/1.1\r\nHost: a\r\n\r\n")
    for client in clients[12:]:
        assert client.request("GET", "/public/x").status == 200
    own_backend.wait_requests(24)
    set_workers(proxy, 1)
    assert all(client.response().status == 200 for client in clients[:12])
    # who is idle gets one more answer; on workers that end it says that it is the last
    answers = [client.request("GET", "/public/y") for client in clients[12:]]
    assert all(answer.status == 200 for answer in answers) and any(answer.closes for answer in answers)
    # while some drain still, their numbers are taken
    wait_until(lambda: threads(proxy) == {"usher-0"})
    for client in clients:
        client.close()
    set_workers(proxy, 2)
    wait_until(lambda: threads(proxy) == {"usher-0", "usher-1"})
    assert all(proxy.get("/public/z").status == 200 for _ in range(10))


def test_workers_that_still_drain_keep_their_numbers(start, own_backend):
    proxy = start(own_backend, configuration.SMALL + '\n[limits]\ndrain_timeout = "10s"\n', workers=2)
    # As many as make it certain that the one that ends has some: the kernel spreads them.
    clients = [proxy.client() for _ in range(32)]
    for client in clients:
        assert client.request("GET", "/public/x").status == 200
    set_workers(proxy, 1)
    set_workers(proxy, 2)
    assert metric(proxy, "usher_workers") == 1
    wait_until(lambda: b"some of those before still drain" in proxy.errors)
    # the new rules hold for whoever is left on the one that ends, too
    proxy.file.write_text(proxy.file.read_text().replace('path = "/public/**"', 'path = "/renamed/**"'))
    set_workers(proxy, 1)
    wait_until(lambda: threads(proxy) == {"usher-0"})
    assert proxy.get("/public/x").status == 404
    # one with its number is left alone when the time of the first is over
    set_workers(proxy, 2)
    assert metric(proxy, "usher_workers") == 2
    time.sleep(10.5)
    assert threads(proxy) == {"usher-0", "usher-1"} and proxy.ready()
    for client in clients:
        client.close()


def test_a_reload_leaves_idle_connections_of_workers_that_end_alone(start, own_backend):
    """Each gets its last answer, by the new rules: closed at once, a connection would cross the request on its way."""
    proxy = start(own_backend, configuration.SMALL + '\n[limits]\ndrain_timeout = "20s"\n', workers=4)
    clients = [proxy.client() for _ in range(16)]
    for client in clients:
        assert client.request("GET", "/public/x").status == 200
    set_workers(proxy, 1)
    proxy.file.write_text(proxy.file.read_text().replace('path = "/public/**"', 'path = "/renamed/**"'))
    set_workers(proxy, 1)
    statuses = [client.request("GET", path).status for client, path in zip(clients, ["/public/x", "/renamed/x"] * 8, strict=True)]
    assert statuses == [404, 200] * 8
    for client in clients:
        client.close()
    wait_until(lambda: threads(proxy) == {"usher-0"})


def test_a_drain_waits_for_workers_that_a_reload_has_left_over(start, own_backend):
    own_backend.script = lambda exchange: (exchange.read_body(), time.sleep(1), exchange.echo())
    proxy = start(own_backend, configuration.SMALL + '\n[limits]\ndrain_timeout = "8s"\n', workers=3)
    clients = [proxy.client() for _ in range(9)]
    for client in clients:
        client.send(b"GET /public/slow HTTP/1.1\r\nHost: a\r\n\r\n")
    own_backend.wait_requests(9)
    set_workers(proxy, 1)
    proxy.signal(signal.SIGTERM)
    assert all(client.response().status == 200 for client in clients)
    assert proxy.wait() == 0


@pytest.mark.parametrize("moved", [True, False])
def test_another_admin_address_waits_for_the_next_start(start, own_backend, moved):
    """`usher healthcheck` goes by the file, and says that the proxy is unwell: the log says why."""
    proxy = start(own_backend)
    text = proxy.file.read_text()
    proxy.file.write_text(text.replace(f"127.0.0.1:{proxy.admin}", f"127.0.0.1:{free_port()}") if moved else text)
    proxy.signal(signal.SIGHUP)
    proxy.wait_said("configuration reloaded")
    lines = [json.loads(line) for line in proxy.errors.decode().splitlines() if "admin address" in line]
    assert len(lines) == moved
    for line in lines:
        assert "usher healthcheck, which goes by the file" in line["message"] and line["in_force"] == f"127.0.0.1:{proxy.admin}"
    healthy = command("healthcheck", "--config", proxy.file, env=environment()).returncode == 0
    assert healthy != moved


def test_an_address_that_is_taken_is_told_with_the_file(start, own_backend):
    proxy = start(own_backend)
    with socket.create_server(("127.0.0.1", 0)) as other:
        proxy.file.write_text(proxy.file.read_text() + f'\n[listen.more]\naddress = "127.0.0.1:{other.getsockname()[1]}"\n')
        proxy.signal(signal.SIGHUP)
        proxy.wait_said("configuration not changed")
    (line,) = [json.loads(line) for line in proxy.errors.decode().splitlines() if "configuration not changed" in line]
    assert line["file"] == str(proxy.file) and "already in use" in line["reason"]
