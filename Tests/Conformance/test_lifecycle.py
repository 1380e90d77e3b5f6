"""Signals: a drain that loses nothing, a second signal that ends at once, a reload that drops no connection."""

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import configuration, tokens
from harness.authority import Authority
from harness.http2 import HEADERS, PREFACE, SETTINGS, Raw, frame
from harness.metrics import Metrics
from harness.ports import free_port, refusing_port
from harness.process import BINARY, environment, unused_port
from harness.tokens import bearer, token
from harness.waiting import PATIENCE_SECONDS, wait_until
from harness.wire import Client, WireError, render
from test_config_check import change

MORE = configuration.SMALL + """
[limits]
drain_timeout = "{drain}"
"""


def is_draining(proxy) -> bool:
    return proxy.admin_request("/readyz").status == 503


def is_refused(proxy, target) -> bool:
    try:
        proxy.get(target)
        return False
    except (OSError, WireError):
        return True


def slow(seconds):
    def script(exchange):
        exchange.read_body()
        if exchange.request.target.startswith("/public/slow"):
            time.sleep(seconds)
        exchange.echo()
    return script


def test_without_standard_streams(start, own_backend):
    """Their numbers are not given to sockets, which lines of the log would then be written to."""
    proxy = start(own_backend, prefix=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"))
    assert proxy.get("/public/x").status == 200
    assert [os.readlink(f"/proc/{proxy.process.pid}/fd/{number}") for number in range(3)] == 3 * ["/dev/null"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_drain(start, own_backend, number):
    """The request that is under way gets its answer; nothing new is accepted; exit status 0."""
    own_backend.script = slow(2.0)
    proxy = start(own_backend, MORE, drain="20s")
    with proxy.client() as client:
        client.send(render("GET", "/public/slow"))
        own_backend.wait_requests(1)
        proxy.signal(number)
        wait_until(lambda: is_refused(proxy, "/public/early"))
        assert all(is_refused(proxy, "/public/late") for _ in range(3))
        answer = client.response()
        assert answer.status == 200 and answer.closes, "the last answer says that it is the last"
        assert client.ended()
    assert proxy.wait() == 0
    assert "/public/late" not in [r.target for r in own_backend.requests]


def test_drain_of_many(start, own_backend):
    own_backend.script = slow(0.7)
    proxy = start(own_backend, MORE, drain="20s", workers=2)
    clients = [proxy.client() for _ in range(30)]
    for n, client in enumerate(clients):
        client.send(render("POST", f"/public/slow/{n}", {}, b"x" * 10_000))
    own_backend.wait_requests(30)
    proxy.signal(signal.SIGTERM)
    assert [client.response().json()["target"] for client in clients] == [f"/public/slow/{n}" for n in range(30)]
    assert proxy.wait() == 0


def test_drain_of_idle_connections_is_quick(start, own_backend):
    proxy = start(own_backend, MORE, drain="20s")
    clients = [proxy.client() for _ in range(5)]
    for client in clients:
        assert client.request("GET", "/public/x").status == 200
    started = time.monotonic()
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(15) == 0 and time.monotonic() - started < 15, "the drain may take twenty"
    assert all(client.ended() for client in clients)


@pytest.mark.parametrize("protocols", ['["http/1.1"]', '["h2", "http/1.1"]', '["h2"]'])
def test_a_first_request_that_crosses_the_drain_is_served(start, own_backend, protocols):
    """For a second. A machine that others want may take longer than that over the request, and has another try."""
    def is_served() -> bool:
        proxy = start(own_backend, MORE, drain="20s", listen=f"protocols = {protocols}")
        with Raw(proxy.port, handshake=False, timeout=20) as raw:
            wait_until(lambda: Metrics(proxy)["usher_connections_open"] == 1)
            proxy.signal(signal.SIGTERM)
            wait_until(lambda: cannot_connect(proxy.port))
            if "http/1.1" in protocols:
                raw.send(render("GET", "/public/x"))
                served = raw.read() is None and raw.buffer.startswith(b"HTTP/1.1 200")
            else:
                raw.send(PREFACE + frame(SETTINGS) + raw.headers(1))
                served = raw.next(HEADERS) is not None
        assert proxy.wait() == 0
        return served

    assert any(is_served() for _ in range(5))


def cannot_connect(port) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return False
    except OSError:
        return True


@pytest.mark.parametrize("first", [b"", b"PRI"], ids=["silent", "part of a preface"])
@pytest.mark.parametrize("kind", ["plain", "TLS", "PROXY"])
def test_who_has_asked_for_nothing_holds_up_no_drain(start, own_backend, tmp_path, kind, first):
    listen = 'protocols = ["h2", "http/1.1"]\n'
    if kind == "TLS":
        listen += f"tls.certificates = [{Authority(tmp_path).sign('main', ['usher.test']).toml()}]"
    elif kind == "PROXY":
        listen += 'trusted_proxies = ["127.0.0.0/8"]\nproxy_protocol = true'
        first = first and b"PROXY"
    limits = '\n[limits]\ndrain_timeout = "100s"\nhandshake_timeout = "100s"\nheader_timeout = "100s"\nidle_timeout = "100s"\n'
    proxy = start(own_backend, configuration.SMALL + limits, listen=listen)
    with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
        sock.sendall(b"\x16\x03\x01" if first and kind == "TLS" else first)
        wait_until(lambda: Metrics(proxy)["usher_connections_open"] == 1)
        proxy.signal(signal.SIGTERM)
        assert proxy.wait(50) == 0


def test_readiness_goes_first(start, own_backend):
    released = threading.Event()
    own_backend.script = lambda exchange: (released.wait(20), exchange.echo())
    proxy = start(own_backend, MORE, drain="20s")
    with proxy.client() as client:
        client.send(render("GET", "/public/slow"))
        own_backend.wait_requests(1)
        proxy.signal(signal.SIGTERM)
        wait_until(lambda: is_draining(proxy))
        assert proxy.admin_request("/livez").status == 200
        released.set()
        assert client.response().status == 200
    assert proxy.wait() == 0


def test_drain_timeout(start, own_backend):
    """A request that never ends does not hold the exit for ever."""
    own_backend.script = lambda exchange: exchange.gone(20)
    proxy = start(own_backend, MORE, drain="1s")
    with proxy.client() as client:
        client.send(render("GET", "/public/slow"))
        own_backend.wait_requests(1)
        started = time.monotonic()
        proxy.signal(signal.SIGTERM)
        # cut off what was left, as it was told: no failure
        assert proxy.wait(15) == 0
        assert 0.8 < time.monotonic() - started < 15, "the backend would take twenty"


def test_second_signal_ends_at_once(start, own_backend):
    own_backend.script = lambda exchange: exchange.gone(20)
    proxy = start(own_backend, MORE, drain="30s")
    with proxy.client() as client:
        client.send(render("GET", "/public/slow"))
        own_backend.wait_requests(1)
        proxy.signal(signal.SIGTERM)
        wait_until(lambda: is_draining(proxy))  # two signals that are pending at once are one
        assert proxy.process.poll() is None
        proxy.signal(signal.SIGTERM)
        status = proxy.wait(15)
    proxy.expected_status = status  # it did not drain: any status that says so


def test_the_same_signal_twice_in_one_breath_is_one(start, own_backend):
    """As `timeout` of coreutils ends a process: by itself, and then with its group."""
    own_backend.script = slow(1.0)
    for _ in range(20):
        proxy = start(own_backend, MORE, drain="20s")
        with proxy.client() as client:
            client.send(render("GET", "/public/slow"))
            own_backend.wait_requests(1)
            own_backend.requests.clear()
            began = time.monotonic()
            proxy.signal(signal.SIGTERM)
            while time.monotonic() < began + 0.001:
                pass
            proxy.signal(signal.SIGTERM)
            if time.monotonic() - began < 0.004:
                assert client.response().status == 200
                assert proxy.wait() == 0
                return
        proxy.expected_status = proxy.wait(30)  # this machine was too busy for one breath
    pytest.fail("no two signals in four milliseconds")


def test_upload_finishes_during_drain(start, own_backend):
    proxy = start(own_backend, MORE, drain="10s")
    with proxy.client() as client:
        client.send(render("POST", "/public/up", {"Content-Length": 10}) + b"01234")
        own_backend.wait_requests(1)
        proxy.signal(signal.SIGTERM)
        wait_until(lambda: is_draining(proxy))
        client.send(b"56789")
        assert client.response().json()["body"] == "0123456789"
    assert proxy.wait() == 0


# SIGHUP

def rewrite(proxy, change) -> None:
    """As a careful operator does: written beside it, then renamed over it."""
    text = change(proxy.file.read_text())
    new = proxy.file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, proxy.file)
    proxy.signal(signal.SIGHUP)


ADDED = """
[[route]]
path = "/added"
auth = "none"
upstream = "backend"
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_reload_swaps_the_whole_configuration(start, own_backend, workers):
    proxy = start(own_backend, workers=workers)
    with proxy.client() as old:
        assert old.request("GET", "/added").status == 404
        assert old.request("GET", "/public/x").status == 200
        rewrite(proxy, lambda text: text.replace('path = "/public/**"', 'path = "/renamed/**"') + ADDED)
        # New connections, whatever worker they come to: one may hear of it a moment after the other.
        wait_until(lambda: all(proxy.get("/added").status == 200 and proxy.get("/public/x").status == 404 for _ in range(8)))
        # The connection from before goes on, under the new rules.
        assert old.request("GET", "/added").status == 200
        assert old.request("GET", "/renamed/x").status == 200


def test_reload_drops_no_request(start, own_backend):
    released = threading.Event()
    own_backend.script = lambda exchange: (exchange.request.target != "/public/slow" or released.wait(60), exchange.echo())
    proxy = start(own_backend)
    with proxy.client() as client:
        client.send(render("GET", "/public/slow"))
        own_backend.wait_requests(1)
        rewrite(proxy, lambda text: text + ADDED)
        wait_until(lambda: proxy.get("/added").status == 200)
        released.set()
        assert client.response().status == 200
        assert client.request("GET", "/added").status == 200


def test_reload_under_load(start, own_backend):
    proxy = start(own_backend, workers=2)
    stop, failures, served = threading.Event(), [], [0]

    def load():
        with proxy.client() as client:
            while not stop.is_set():
                try:
                    answer = client.request("GET", "/api/x", bearer(token()))
                    if answer.status != 200 or answer.json()["user"] != ["alice"]:
                        failures.append(answer)
                    served[0] += 1
                except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                    failures.append(error)
                    return
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        proxy.signal(signal.SIGHUP)
        time.sleep(0.1)
    wait_until(lambda: served[0] > 50 or failures)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]


@pytest.mark.parametrize("broken", [lambda text: "nonsense", lambda text: text.replace('auth = "main"', 'auth = "mian"'), lambda text: ""],
                         ids=["not-toml", "unknown-name", "empty"])
def test_bad_file_keeps_the_old_one(start, own_backend, broken):
    proxy = start(own_backend)
    good = proxy.file.read_text()
    rewrite(proxy, broken)
    wait_until(lambda: b"error" in proxy.errors.lower() or b"error" in proxy.log.lower())
    wait_until(lambda: b"usher.toml" in proxy.errors or b"usher.toml" in proxy.log, what="says why")
    assert proxy.get("/public/x").status == 200
    assert proxy.get("/api/x", bearer(token())).status == 200
    assert proxy.get("/api/x").status == 401
    assert proxy.ready()
    rewrite(proxy, lambda _: good + ADDED)  # and a good one afterwards is taken
    wait_until(lambda: proxy.get("/added").status == 200)


def test_missing_file_keeps_the_old_one(start, own_backend):
    proxy = start(own_backend)
    proxy.file.rename(proxy.file.with_suffix(".away"))
    proxy.signal(signal.SIGHUP)
    time.sleep(0.5)
    assert proxy.get("/public/x").status == 200


def test_a_file_that_has_become_a_pipe_keeps_the_old_one(start, own_backend):
    proxy = start(own_backend)
    good = proxy.file.read_text()
    proxy.file.unlink()
    os.mkfifo(proxy.file)
    proxy.signal(signal.SIGHUP)
    proxy.wait_said("configuration not changed")
    assert proxy.get("/public/x").status == 200 and proxy.ready()
    proxy.file.unlink()
    proxy.file.write_text(good + ADDED)
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: proxy.get("/added").status == 200)


def test_J6_reload_forgets_verified_tokens(start, own_backend, tmp_path):
    """A token that was good under the old key is not good from the cache under the new one."""
    secret = tmp_path / "secret"
    secret.write_text("a" * 40)
    proxy = start(own_backend, configuration.SMALL.replace('{{ env = "USHER_TEST_SECRET" }}', '{{ file = "secret" }}'), folder=tmp_path)
    text = token(secret_or_key=b"a" * 40)
    for _ in range(3):
        assert proxy.get("/api/x", bearer(text)).status == 200
    secret.write_text("b" * 40)
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: proxy.get("/api/x", bearer(text)).status == 401)
    assert proxy.get("/api/x", bearer(token(secret_or_key=b"b" * 40))).status == 200


def test_J7_key_removed_from_the_file(start, own_backend, tmp_path):
    import json
    from harness import tokens
    keys = [tokens.jwk(tokens.key(name, "rotate"), kid=name, alg=name, use="sig") for name in ("ES256", "EdDSA")]
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": keys}))
    proxy = start(own_backend, configuration.SMALL.replace('secret = {{ env = "USHER_TEST_SECRET" }}', 'jwks = {{ file = "keys.json" }}'),
                  folder=tmp_path)
    texts = {n: token(n, tokens.key(n, "rotate"), header={"kid": n}) for n in ("ES256", "EdDSA")}
    assert all(proxy.get("/api/x", bearer(t)).status == 200 for t in texts.values())
    file.write_text(json.dumps({"keys": keys[1:]}))
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: proxy.get("/api/x", bearer(texts["ES256"])).status == 401)
    assert proxy.get("/api/x", bearer(texts["EdDSA"])).status == 200


# Starting

class HeldStart:
    """A start that stands still: it reads a secret from a pipe, and nobody writes yet."""

    def __init__(self, folder, *prefix):
        self.pipe = folder / "secret"
        os.mkfifo(self.pipe)
        file = folder / "usher.toml"
        file.write_text(change('{ env = "USHER_TEST_SECRET" }', '{ file = "secret" }').replace("127.0.0.1:8080", f"127.0.0.1:{free_port()}"))
        self.process = subprocess.Popen([*prefix, BINARY, "run", "--config", file], env=environment(), stderr=subprocess.PIPE)
        self.said = bytearray()
        threading.Thread(target=lambda: [self.said.extend(line) for line in self.process.stderr], daemon=True).start()
        wait_until(self._is_read)

    def _is_read(self) -> bool:
        assert self.process.poll() is None, bytes(self.said)
        try:
            self.writer = os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
            return True
        except OSError:
            return False

    def go_on(self) -> None:
        """From now on there is a secret, in a file that stays."""
        self.pipe.unlink()
        self.pipe.write_bytes(tokens.SECRET)
        os.write(self.writer, tokens.SECRET)
        os.close(self.writer)

    def first_process(self) -> int:
        """The process that unshare has started, which is the first in its namespace."""
        number = self.process.pid
        return int(Path(f"/proc/{number}/task/{number}/children").read_text().split()[0])


@pytest.fixture
def held(tmp_path):
    starts = []

    def begin(*prefix):
        starts.append(HeldStart(tmp_path, *prefix))
        return starts[0]
    yield begin
    for start in starts:
        if start.process.poll() is None:
            start.process.kill()
        start.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_told_to_end_while_the_configuration_is_read(held, number):
    """Nothing is begun yet: the end comes at once, and it is no failure."""
    start = held()
    start.process.send_signal(number)
    assert start.process.wait(PATIENCE_SECONDS) == 0


def test_told_to_end_as_the_first_process_of_a_container(held):
    """The kernel does nothing by itself for signals to process 1: `docker stop` waited ten seconds, and killed."""
    alone = ("unshare", "--pid", "--fork", "--kill-child")
    if subprocess.run([*alone, "true"], capture_output=True).returncode != 0:
        pytest.skip("a namespace of processes can be made by root alone")
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("the kernel does not tell of children")
    start = held(*alone)
    os.kill(start.first_process(), signal.SIGTERM)
    assert start.process.wait(PATIENCE_SECONDS) == 0


def test_other_signals_do_not_end_a_start(held):
    """A reload that was asked for meanwhile is done behind it."""
    start = held()
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
        start.process.send_signal(number)
    start.go_on()
    wait_until(lambda: b"configuration reloaded" in start.said, what=start.said)
    assert start.said.index(b"listening on") < start.said.index(b"configuration reloaded")
    start.process.send_signal(signal.SIGUSR2)
    start.process.send_signal(signal.SIGTERM)
    assert start.process.wait(PATIENCE_SECONDS) == 0


def test_port_in_use(start, tmp_path):
    """Another program listens there: an error that names the address, not a hang."""
    from harness.process import command
    from test_config_check import GOOD
    port = unused_port()
    with socket.create_server(("127.0.0.1", port)):
        file = tmp_path / "usher.toml"
        file.write_text(GOOD.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
        done = command("run", "--config", file, env=environment())
    assert done.returncode == 1 and str(port) in done.stdout + done.stderr


def test_started_twice(start, own_backend, tmp_path):
    """Listeners share their port between workers; a second process must not slip in between them."""
    from harness.process import command
    proxy = start(own_backend)
    done = command("run", "--config", proxy.file, env=environment())
    assert done.returncode == 1 and (str(proxy.port) in done.stderr or str(proxy.admin) in done.stderr), done.stderr
    assert all(proxy.get("/public/x").status == 200 for _ in range(5))


def test_starts_without_its_backend(start):
    text = configuration.SMALL.replace("{backend}", str(refusing_port()))
    proxy = start(None, text)
    assert proxy.get("/public/x").status in (502, 503)
    assert proxy.get("/api/x").status == 401


@pytest.mark.parametrize("workers", ["1", "3"])
def test_workers_of_the_environment(start, own_backend, workers):
    proxy = start(own_backend, env={"USHER_WORKERS": workers})
    assert all(proxy.get("/public/x").status == 200 for _ in range(10))
    tasks = len(os.listdir(f"/proc/{proxy.process.pid}/task"))
    assert tasks >= int(workers)


def test_idle_process_costs_nothing(start, own_backend):
    """No polling: an idle proxy uses no CPU to speak of."""
    proxy = start(own_backend, workers=2)
    with Client(proxy.port):
        def ticks():
            fields = open(f"/proc/{proxy.process.pid}/stat").read().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
        def used():
            before = ticks()
            time.sleep(2)
            return ticks() - before
        # What the start has left to do may fall into the first two seconds.
        assert any(used() <= 6 for _ in range(3)), "of 200 clock ticks"
