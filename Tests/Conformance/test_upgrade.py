"""One process follows another and no connection is refused: takeover, socket activation, and what a service manager hears."""

import ctypes
import fcntl
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from harness import configuration
from harness.backend import slow_at
from harness.load import Load
from harness.ports import refusing_port
from harness.process import command, environment, unused_port
from harness.store import SERVER, Store
from harness.tokens import bearer, token
from harness.waiting import wait_until
from harness.wire import Client, Closed, render

PREAMBLE = 'takeover = "next.sock"\n'
MORE = configuration.SMALL + """
[limits]
drain_timeout = "4s"
"""
# With keys that do not come, for tokens that a route accepts.
LATE = MORE.replace('auth = "main"', 'auth = ["main", "late"]') + """
[issuer.late]
issuer = "https://late.test"
audience = ["a"]
jwks = {{ url = "http://127.0.0.1:{nobody}/jwks" }}
"""


def successor(start, old, text=MORE, workers=1, **more):
    """Another process with the same configuration, that takes over."""
    return start(old.backend, text, workers=workers, folder=old.folder, ports=(old.port, old.admin), preamble=PREAMBLE,
                 arguments=("--takeover",), wait=False, **more)


def wait_for(proxy, what: bytes, timeout: float = 30) -> None:
    end = time.monotonic() + timeout
    while what not in proxy.errors:
        assert time.monotonic() < end and proxy.process.poll() in (None, 0), bytes(proxy.errors)[-2000:].decode()
        time.sleep(0.02)


def test_takeover_under_load(start, own_backend):
    """Three processes, one after the other, with other numbers of workers: not one request fails."""
    proxy = start(own_backend, MORE, workers=2, preamble=PREAMBLE)
    with Load(proxy.port, keeping=3, fresh=3) as load:
        for workers in (1, 3, 2):
            load.wait(60)
            following = successor(start, proxy, workers=workers)
            wait_for(following, b"took over the listeners")
            assert proxy.wait() == 0, bytes(proxy.errors)[-2000:]
            proxy = following
        load.wait(60)
    load.check()
    assert proxy.ready() and proxy.get("/api/x", bearer(token())).status == 200


def test_requests_in_flight_stay_with_the_old_one(start, own_backend):
    own_backend.script = slow_at("/public/slow", 1)
    proxy = start(own_backend, MORE.replace("4s", "20s"), preamble=PREAMBLE)
    with proxy.client() as busy, proxy.client() as idle:
        assert idle.request("GET", "/public/x").status == 200
        busy.send(b"GET /public/slow HTTP/1.1\r\nHost: a\r\n\r\n")
        own_backend.wait_requests(2)
        following = successor(start, proxy, MORE.replace("4s", "20s"))
        wait_for(following, b"took over the listeners")
        # an idle connection gets one more answer, which says that it is the last
        answer = idle.request("GET", "/public/y")
        assert answer.status == 200 and answer.closes and idle.ended()
        answer = busy.response()
        assert answer.status == 200 and answer.closes
    assert proxy.wait() == 0
    assert following.get("/public/z").status == 200


def test_idle_connections_do_not_hold_the_old_one_for_long(start, own_backend):
    text = MORE.replace("4s", "10s")
    proxy = start(own_backend, text, preamble=PREAMBLE)
    with proxy.client() as idle:
        assert idle.request("GET", "/public/x").status == 200
        following = successor(start, proxy, text)
        wait_for(following, b"took over the listeners")
        assert proxy.wait(9.5) == 0, "half the drain timeout"
        assert idle.ended()


def test_unix_listener_and_admin(start, own_backend, tmp_path):
    text = MORE + f'\n[listen.local]\naddress = "unix:{tmp_path}/public.sock"\n'
    proxy = start(own_backend, text, workers=2, preamble=PREAMBLE)

    def ask():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(f"{tmp_path}/public.sock")
            client.sendall(b"GET /public/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return client.recv(65536)
    assert ask().startswith(b"HTTP/1.1 200")
    following = successor(start, proxy, text, workers=2)
    wait_for(following, b"took over the listeners")
    assert proxy.wait() == 0
    assert ask().startswith(b"HTTP/1.1 200")
    assert following.ready() and following.process.poll() is None
    # a reload of the new one keeps what it has inherited
    following.signal(signal.SIGHUP)
    wait_for(following, b"configuration reloaded")
    assert ask().startswith(b"HTTP/1.1 200") and following.get("/public/x").status == 200


def test_a_successor_that_cannot_start_changes_nothing(start, own_backend):
    """Its keys do not come: it gives up or is killed, and the old one goes on."""
    proxy = start(own_backend, MORE, preamble=PREAMBLE)
    with Load(proxy.port, keeping=1, fresh=2) as load:
        load.wait(20)
        following = successor(start, proxy, LATE, nobody=refusing_port())
        wait_for(proxy, b"listeners lent to another process")
        load.wait(50)
        assert proxy.ready(), "the admin pages are still the old one's"
        following.process.kill()
        following.expected_status = following.wait()
        load.wait(50)
        broken = successor(start, proxy, MORE.replace('auth = "main"', 'auth = "mian"'))
        assert broken.wait() == 1
        broken.expected_status = 1
        load.wait(20)
        proxy.file.write_text(proxy.file.read_text().replace("mian", "main"))
        good = successor(start, proxy)
        wait_for(good, b"took over the listeners")
        load.wait(20)
    load.check()
    assert proxy.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda n: n.name)
def test_the_old_one_ends_while_the_successor_waits_for_keys(start, own_backend, number):
    """Nobody else serves then: it begins, as it would have begun with nobody to take over from."""
    proxy = start(own_backend, MORE, preamble=PREAMBLE)
    following = successor(start, proxy, LATE, nobody=refusing_port())
    wait_for(proxy, b"listeners lent to another process")
    proxy.signal(number)
    proxy.expected_status = proxy.wait()
    with following.client(timeout=50) as client:
        assert client.request("GET", "/public/x").status == 200, "a minute is what keys are waited for"
    answer = following.admin_request("/readyz")
    assert answer.status == 503 and b"late" in answer.body, "the admin pages are its own"
    # the next one finds it where it looked for the first one
    last = successor(start, proxy)
    wait_for(last, b"took over the listeners")
    assert following.wait() == 0


@pytest.mark.skipif(SERVER is None, reason="no redis-server: scripts/install-packages installs it")
def test_a_successor_that_does_not_know_what_is_revoked_does_not_begin(start, own_backend, tmp_path):
    """While the shared store is away, the list is in the process before alone, which goes on. The store keeps it on its disk: one
    that comes back empty has it from the old process again, if that has not ended by then."""
    with Store(tmp_path, "appendonly yes", "appendfsync always") as store:
        text = MORE + f'[shared]\nredis = "redis://127.0.0.1:{store.port}"\n'
        proxy = start(own_backend, text, preamble=PREAMBLE)
        store.call("ZADD", "usher:revocations", int(time.time() * 1e6), '{"jti": ["a"]}')
        revoked = bearer(token(jti="a"))
        wait_until(lambda: proxy.get("/api/x", revoked).status == 401)
        store.kill()
        following = successor(start, proxy, text)
        wait_for(following, b"the shared store cannot be used")
        time.sleep(2)
        assert b"took over the listeners" not in following.errors and proxy.get("/api/x", revoked).status == 401
        store.start()
        wait_for(following, b"took over the listeners")
        assert proxy.wait() == 0
        wait_until(lambda: following.get("/api/x", revoked).status == 401)


@pytest.mark.parametrize("preamble", ['takeover = "elsewhere.sock"\n', ""], ids=["moved", "removed"])
def test_the_old_one_moves_its_takeover_while_a_successor_waits_for_keys(start, own_backend, preamble):
    """It goes on: its successor took it for dead, and both answered, by two configurations."""
    proxy = start(own_backend, MORE, preamble=PREAMBLE)
    text = proxy.file.read_text()
    following = successor(start, proxy, LATE, nobody=refusing_port())
    wait_for(proxy, b"listeners lent to another process")
    proxy.file.write_text(text.replace(PREAMBLE, preamble))
    proxy.signal(signal.SIGHUP)
    following.expected_status = following.wait()
    assert following.expected_status == 1 and b"the process before goes on" in following.errors
    assert b"starting without waiting" not in following.errors
    assert all(proxy.get("/public/x").status == 200 for _ in range(10)) and proxy.ready()


def test_who_connects_and_says_nothing_holds_no_takeover_up(start, own_backend):
    proxy = start(own_backend, MORE, preamble=PREAMBLE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(str(proxy.folder / "next.sock"))
        end = time.monotonic() + 60
        while True:
            following = successor(start, proxy)
            wait_until(lambda: b"took over the listeners" in following.errors or following.process.poll() is not None)
            if following.process.poll() is None:
                break
            following.expected_status = following.wait()
            assert time.monotonic() < end, bytes(following.errors)[-2000:]
            time.sleep(0.2)
    assert proxy.wait() == 0
    assert following.get("/public/x").status == 200


def held_at(target: str, released: threading.Event):
    def answer(exchange):
        exchange.read_body()
        if exchange.request.target == target:
            released.wait(60)
        exchange.echo()
    return answer


def test_the_first_signal_after_a_takeover_cuts_nothing_off(start, own_backend):
    """`systemctl stop` signals every process of a unit, the one that drains for the other too: it had none before."""
    released = threading.Event()
    own_backend.script = held_at("/public/slow", released)
    text = MORE.replace("4s", "60s")
    proxy = start(own_backend, text, preamble=PREAMBLE)
    with proxy.client() as busy, proxy.client() as idle:
        assert idle.request("GET", "/public/x").status == 200
        busy.send(render("GET", "/public/slow"))
        own_backend.wait_requests(2)
        following = successor(start, proxy, text)
        wait_for(following, b"took over the listeners")
        proxy.wait_said("another process has taken over: draining")
        proxy.signal(signal.SIGTERM)
        assert idle.ended(25), "what is idle waits for no last request any more"
        released.set()
        assert busy.response().status == 200
    assert proxy.wait() == 0


def test_the_second_signal_after_a_takeover_ends_at_once(start, own_backend):
    released = threading.Event()
    own_backend.script = held_at("/public/slow", released)
    text = MORE.replace("4s", "60s")
    proxy = start(own_backend, text, preamble=PREAMBLE)
    with proxy.client() as busy:
        busy.send(render("GET", "/public/slow"))
        own_backend.wait_requests(1)
        wait_for(successor(start, proxy, text), b"took over the listeners")
        proxy.wait_said("another process has taken over: draining")
        proxy.signal(signal.SIGTERM)
        proxy.wait_said("told to end")
        proxy.signal(signal.SIGINT)  # another one than the first, which may come twice in a breath
        proxy.expected_status = proxy.wait()
        assert proxy.expected_status == 1
    released.set()


def test_nobody_to_take_over_from(start, own_backend):
    proxy = start(own_backend, MORE, preamble=PREAMBLE, arguments=("--takeover",))
    assert proxy.get("/public/x").status == 200
    proxy.wait_said("nobody to take over from")


def test_takeover_needs_its_path(tmp_path):
    from test_config_check import GOOD
    (tmp_path / "usher.toml").write_text(GOOD)
    done = command("run", "--takeover", "--config", tmp_path / "usher.toml", env=environment())
    assert done.returncode == 1 and '"takeover"' in json.loads(done.stderr)["reason"]


def test_who_may_ask(start, own_backend):
    """The socket is for this user alone, and nonsense ends the conversation."""
    proxy = start(own_backend, MORE, preamble=PREAMBLE)
    path = proxy.folder / "next.sock"
    assert path.stat().st_mode & 0o777 & ~0o600 == 0
    for words in (b"nonsense", b"\xff" * 900, b"ready"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(20)
            client.connect(str(path))
            client.send(words)
            assert client.recv(100) == b"", "the conversation is over"
    wait = time.monotonic() + 1
    while time.monotonic() < wait:
        assert proxy.process.poll() is None
        time.sleep(0.05)


# Socket activation

def activated(start, backend, listener, names, text=MORE, **more):
    script = f'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={names}; exec "$@" 3<&{listener.fileno()}'
    return start(backend, text, prefix=("bash", "-c", script, "sh"), pass_fds=(listener.fileno(),), **more)


@pytest.mark.parametrize("by", ["name", "address"])
def test_restart_behind_an_activated_socket(start, own_backend, by):
    """The service manager holds the socket: a restart refuses nobody, clients wait in the queue."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=500)
    port = listener.getsockname()[1]
    # by name, the address of the file is another one
    ports = (port if by == "address" else unused_port(), unused_port())
    name = "usher.socket" if by == "address" else "public"
    proxy = activated(start, own_backend, listener, name, workers=2, ports=ports)
    with Load(port, keeping=0, fresh=4) as load:
        for _ in range(3):
            load.wait(30)
            assert proxy.stop() == 0
            proxy = activated(start, own_backend, listener, name, workers=2, ports=ports)
            load.wait(30)
    load.check()
    assert proxy.process.poll() is None
    listener.close()


def test_socket_of_nobody(start, own_backend):
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = activated(start, own_backend, listener, "other")
    wait_for(proxy, b"belongs to no listener")
    assert proxy.get("/public/x").status == 200
    listener.close()


def test_sockets_of_another_process_are_left_alone(start, own_backend):
    proxy = start(own_backend, MORE, env={"LISTEN_PID": "1", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "public:a:b"})
    assert proxy.get("/public/x").status == 200


@pytest.mark.parametrize("configured", ["127.0.0.1:{admin}", "unix:admin.sock"], ids=["loopback", "unix"])
def test_F9_admin_pages_are_where_their_socket_is(start, own_backend, monkeypatch, configured):
    """Whoever can reach it counts, not the address of the file: changes need a token, and names of others are refused."""
    monkeypatch.setattr(configuration, "PREAMBLE", configuration.PREAMBLE.replace("127.0.0.1:{admin}", configured))
    listener = socket.create_server(("0.0.0.0", 0))
    port = listener.getsockname()[1]
    text = MORE + "\n[revocation]\n"
    proxy = activated(start, own_backend, listener, "admin", text, ports=(unused_port(), port), preamble=PREAMBLE)
    proxy.wait_said(f"admin pages on 0.0.0.0:{port}")
    assert b"the admin listener can be reached from other machines" in proxy.errors

    def check():
        for path in ("/reload", "/revocations"):
            with Client(port) as client:
                answer = client.request("POST", path, body=b"{}", host=f"127.0.0.1:{port}")
            assert answer.status == 403 and b"admin.token" in answer.body
        with Client(port) as client:
            assert client.request("GET", "/status.json", host="evil.example").status == 403
        assert proxy.admin_request("/status.json").status == 200
    check()
    # who takes the socket over judges it in the same way
    following = successor(start, proxy, text)
    wait_for(following, b"took over the listeners")
    assert proxy.wait() == 0
    check()
    listener.close()


def test_admin_pages_on_a_socket_of_this_machine(start, own_backend, monkeypatch):
    monkeypatch.setattr(configuration, "PREAMBLE", configuration.PREAMBLE.replace("127.0.0.1:{admin}", "0.0.0.0:{admin}"))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    proxy = activated(start, own_backend, listener, "admin", ports=(unused_port(), port))
    with Client(port) as client:
        assert client.request("POST", "/reload", body=b"", host=f"127.0.0.1:{port}").status == 200
    assert proxy.ready()
    listener.close()


def was_closed(asks) -> bool:
    try:
        return bool(asks())
    except Closed:
        return True


def test_admin_pages_on_several_sockets(start, own_backend):
    """Several ListenStream= of one unit have one name: only the first was answered, and clients of the others waited for ever."""
    listeners = [socket.create_server((host, 0)) for host in ("127.0.0.1", "0.0.0.0")]
    own, public = (listener.getsockname()[1] for listener in listeners)
    high = [fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 60) for listener in listeners]
    script = f'export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=admin:admin; exec "$@" 3<&{high[0]} 4<&{high[1]}'
    proxy = start(own_backend, MORE, prefix=("bash", "-c", script, "sh"), pass_fds=tuple(high), ports=(unused_port(), own), preamble=PREAMBLE)

    def check():
        for port, status in ((own, 200), (public, 403)):
            with Client(port) as client:
                assert client.request("GET", "/livez", host=f"127.0.0.1:{port}").status == 200
            with Client(port) as client:
                assert client.request("POST", "/reload", body=b"", host=f"127.0.0.1:{port}").status == status
    check()
    for port in (own, public):
        proxy.wait_said(f":{port}")
    # whoever crowds one of them keeps nobody out of the other
    crowd = [socket.create_connection(("127.0.0.1", public)) for _ in range(100)]
    # 32 have room, and the oldest makes it for the next: so does whoever asks before all of the crowd were accepted
    for client in crowd[:60]:
        client.settimeout(20)
        assert client.recv(1) == b""
    wait_until(lambda: not was_closed(check))
    for client in crowd:
        client.close()
    following = successor(start, proxy)
    wait_for(following, b"took over the listeners")
    assert proxy.wait() == 0
    check()
    for place in (*listeners, *crowd):
        place.close()
    for descriptor in high:
        os.close(descriptor)


# sd_notify

class Manager:
    """Hears what the service tells its manager."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.heard: list[dict[str, str]] = []
        self.times: list[float] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            message = self.socket.recv(4096).decode()
            self.heard.append(dict(line.split("=", 1) for line in message.split("\n")))
            self.times.append(time.monotonic())

    def wait(self, timeout=30, **wanted):
        end = time.monotonic() + timeout
        while True:
            for message in self.heard:
                if all(message.get(key) == value for key, value in wanted.items()):
                    return message
            assert time.monotonic() < end, (wanted, self.heard)
            time.sleep(0.01)

    def count(self, key):
        return sum(key in message for message in self.heard)


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_what_the_manager_hears(start, own_backend, tmp_path, abstract):
    name = f"usher-test-{os.getpid()}-{tmp_path.name}"
    manager = Manager("\0" + name if abstract else str(tmp_path / "notify"))
    proxy = start(own_backend, MORE, env={"NOTIFY_SOCKET": "@" + name if abstract else str(tmp_path / "notify")})
    ready = manager.wait(READY="1")
    assert "serving 2 routes" in ready["STATUS"]
    manager.heard.clear()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    proxy.signal(signal.SIGHUP)
    reloading = manager.wait(RELOADING="1")
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.wait(READY="1")
    # a reload that fails ends too
    proxy.file.write_text("nonsense")
    manager.heard.clear()
    proxy.signal(signal.SIGHUP)
    manager.wait(RELOADING="1")
    assert "configuration not changed" in manager.wait(READY="1")["STATUS"]
    assert proxy.stop() == 0
    manager.wait(STOPPING="1")
    assert not manager.count("WATCHDOG")


def test_watchdog(start, own_backend, tmp_path):
    """A sign of life twice in the time that the manager waits, and none when a worker's loop is stuck."""
    manager = Manager(str(tmp_path / "notify"))
    proxy = start(own_backend, MORE, workers=2, env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"})
    manager.wait(READY="1")
    wait_until(lambda: manager.count("WATCHDOG") >= 9)
    beats = [at for at, message in list(zip(manager.times, manager.heard)) if "WATCHDOG" in message]
    gaps = [later - earlier for earlier, later in zip(beats, beats[1:])]
    # Twice, that is once a second; a single one may be late where others want the CPUs.
    assert 0.5 < sum(gaps) / len(gaps) < 1.8, gaps
    assert proxy.get("/public/x").status == 200


def test_watchdog_while_workers_are_added(start, own_backend, tmp_path):
    """Workers of a reload owe no answer to a question that was asked before they were there."""
    manager = Manager(str(tmp_path / "notify"))
    proxy = start(own_backend, MORE, env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"})
    manager.wait(WATCHDOG="1")

    def add(workers):
        proxy.file.write_text(proxy.file.read_text().replace(f"workers = {workers - 1}\n", f"workers = {workers}\n"))
        proxy.signal(signal.SIGHUP)
        wait_until(lambda: proxy.errors.count(b"number of workers changed") == workers - 1)
    add(2)
    before = manager.count("WATCHDOG")
    for workers in range(3, 41):
        add(workers)
        time.sleep(0.3)
        if manager.count("WATCHDOG") > before:
            return
    pytest.fail("no sign of life while workers are added in each interval of two")


PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WAIT_ALL = 0x4206, 0x4207, 17, 0x40000000


class Frozen:
    """One thread of a process does nothing, as if its loop were stuck; the others go on."""

    def __init__(self, process: int, name: str):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.thread = next(int(task.name) for task in Path(f"/proc/{process}/task").iterdir()
                           if (task / "comm").read_text().strip() == name)

    def _call(self, request: int) -> None:
        if self.libc.ptrace(request, self.thread, None, None) != 0:
            pytest.skip(f"a thread cannot be stopped here: {os.strerror(ctypes.get_errno())}")

    def __enter__(self):
        self._call(PTRACE_SEIZE)
        self._call(PTRACE_INTERRUPT)
        os.waitpid(self.thread, WAIT_ALL)

    def __exit__(self, *_):
        self._call(PTRACE_DETACH)


def test_watchdog_of_a_stuck_worker(start, own_backend, tmp_path):
    """One worker of two does not turn: no sign of life until it does, so that the manager starts the process anew."""
    manager = Manager(str(tmp_path / "notify"))
    proxy = start(own_backend, MORE, workers=2, env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"})
    manager.wait(WATCHDOG="1")
    with Frozen(proxy.process.pid, "usher-1"):
        time.sleep(2)  # what was on its way
        manager.heard.clear()
        time.sleep(1.2)
        assert not manager.count("WATCHDOG")
        assert proxy.ready(), "the control thread and the other worker are well"
    manager.wait(WATCHDOG="1")
    assert all(proxy.get("/public/x").status == 200 for _ in range(10))


def test_watchdog_of_another_process(start, own_backend, tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    start(own_backend, MORE, env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
    manager.wait(READY="1")
    time.sleep(0.5)
    assert not manager.count("WATCHDOG")
