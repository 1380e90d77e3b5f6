"""One fault at a time under load, on the real binary: of backends, key servers, the kernel, the disk, the clock. Whatever happens,
no answer goes to the wrong client, no request is sent twice, no identity is mixed up, nothing hangs past its deadline, and
afterwards everybody is served again.
"""

from __future__ import annotations

import asyncio
import collections
import ctypes
import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import test_fuzz_sockets as fuzz
from harness import faulty_backend, soaking
from harness.configuration import API_ROUTE, KEYS_ISSUER, MAIN_ISSUER
from harness.kernel import Kernel
from harness.keyserver import KeyServer, response, signed
from harness.ports import free_port
from harness.tokens import token

# The deadlines of the file below are one second each; a request may meet several, on a machine that does other things too.
PATIENCE_SECONDS = 10
# Until everybody has been answered some times; somebody who is served no more is not served by then either.
EVERYBODY_SECONDS = 30
RETRIES = 1

TEXT = """
[limits]
header_timeout = "1s"
body_timeout = "1s"

[upstream.backend]
servers = ["127.0.0.1:{first}", "127.0.0.1:{second}"]
connect_timeout = "1s"
response_timeout = "1s"
retries = 1
""" + MAIN_ISSUER + KEYS_ISSUER + """\
jwks = {{ url = "{keys}", refresh = "1s", cooldown = "300ms", stale_for = "1h" }}
algorithms = ["ES256"]
""" + API_ROUTE.replace('"main"', '["main", "keys"]')


class Server:
    """A backend that runs as a process, and again after it has died."""

    def __init__(self, folder: Path, name: str):
        self.port, self.record, self.conduct = free_port(), folder / f"{name}.record", folder / f"{name}.conduct"
        self.conduct.write_text("well")
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, faulty_backend.__file__, str(self.port), str(self.conduct), str(self.record)], stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def behave(self, conduct: str) -> None:
        fresh = self.conduct.with_suffix(".new")
        fresh.write_text(conduct)
        fresh.rename(self.conduct)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(5)
        self.process.stdout.close()


class World:
    def __init__(self, servers, keys, proxy=None, kernel=None):
        self.servers, self.keys, self.proxy, self.kernel = servers, keys, proxy, kernel


@pytest.fixture
def world(start, tmp_path):
    servers = [Server(tmp_path, name) for name in ("first", "second")]
    kernel = Kernel(tmp_path)
    with KeyServer() as keys:
        keys.publish("one")
        log = tmp_path / "log"
        log.mkdir()
        mounted = ctypes.CDLL(None).mount(b"tmpfs", str(log).encode(), b"tmpfs", 0, b"size=256k") == 0
        made = World(servers, keys, kernel=kernel)
        made.log = log if mounted else None
        made.proxy = start(None, TEXT, workers=2, first=servers[0].port, second=servers[1].port, keys=keys.url,
                           env=kernel.environment, listen='protocols = ["http/1.1", "h2"]')
        try:
            yield made
        finally:
            made.kernel.set()
            for server in servers:
                server.process.send_signal(signal.SIGCONT)
                server.kill()
            if mounted:
                ctypes.CDLL(None).umount2(str(log).encode(), 2)


# What goes wrong. Each function lets it, and sets it right again.

def conduct(word: str):
    async def backends(world: World) -> None:
        for server in world.servers:
            server.behave(word)
        await asyncio.sleep(1.5)
        for server in world.servers:
            server.behave("well")
    return backends


async def crash(world: World) -> None:
    """Processes that end in the middle of a request, and are started again, over and over."""
    loop = asyncio.get_running_loop()
    begun, crashes = loop.time(), 0
    for server in world.servers:
        server.behave("crash")
    # By chance, and later where the machine is slow: at least one.
    while loop.time() < begun + 2 or not crashes and loop.time() < begun + 30:
        for server in world.servers:
            if server.process.poll() is not None:
                server.kill()
                server.start()
                crashes += 1
        await asyncio.sleep(0.05)
    for server in world.servers:
        server.behave("well")
        if server.process.poll() is not None:
            server.kill()
            server.start()
    assert crashes > 0


async def killed(world: World) -> None:
    """kill -9 of one, then of the other, then of both."""
    for dying in (world.servers[:1], world.servers[1:], world.servers):
        for server in dying:
            server.kill()
        await asyncio.sleep(0.4)
        for server in dying:
            server.start()
        await asyncio.sleep(0.2)


async def stopped_backend(world: World) -> None:
    """SIGSTOP: the kernel takes what comes, and nobody answers."""
    for server in world.servers:
        server.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(1.5)
    for server in world.servers:
        server.process.send_signal(signal.SIGCONT)


async def stopped_proxy(world: World) -> None:
    for _ in range(4):
        world.proxy.signal(signal.SIGSTOP)
        await asyncio.sleep(0.3)
        world.proxy.signal(signal.SIGCONT)
        await asyncio.sleep(0.1)


def accepting(*codes: int):
    async def fails(world: World) -> None:
        """First each second call, then all of them: those who come wait, those who are there are served."""
        for every in (2, 1):
            for code in codes:
                world.kernel.set(accept=(code, every))
                await asyncio.sleep(0.4)
        end = asyncio.get_running_loop().time() + 30
        while world.kernel.failed <= 2 and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
        world.kernel.set()
        assert world.kernel.failed > 2
    return fails


def connecting(code: int):
    async def fails(world: World) -> None:
        for server in world.servers:
            server.kill()
            server.start()
        world.kernel.set(connect=(code, 2))
        await asyncio.sleep(1)
        world.kernel.set()
    return fails


async def descriptors(world: World) -> None:
    """The real EMFILE: not one descriptor more than there are."""
    process = world.proxy.process.pid
    before = resource.prlimit(process, resource.RLIMIT_NOFILE)
    most = max(int(name) for name in os.listdir(f"/proc/{process}/fd")) + 1
    resource.prlimit(process, resource.RLIMIT_NOFILE, (most, before[1]))
    await asyncio.sleep(1.5)
    resource.prlimit(process, resource.RLIMIT_NOFILE, before)


async def full_disk(world: World) -> None:
    """ENOSPC under the access log: lines are lost, requests never."""
    if not world.log:
        pytest.skip("a file system can be mounted by root alone")
    text = world.proxy.file.read_text()
    world.proxy.file.write_text(text.replace('access = "stdout"', f'access = "{world.log}/access.log"'))
    world.proxy.signal(signal.SIGHUP)
    await asyncio.sleep(0.5)
    os.posix_fallocate(os.open(world.log / "filler", os.O_WRONLY | os.O_CREAT), 0, os.statvfs(world.log).f_bavail * 4096)
    await asyncio.sleep(1)
    (world.log / "filler").unlink()


async def clock(world: World) -> None:
    """The time of day jumps by half an hour, both ways; the tokens are good for more than that."""
    for step in (1800, -1800, 0):
        world.kernel.set(step=step)
        await asyncio.sleep(0.5)


def key_server(answer):
    async def fails(world: World) -> None:
        """Its keys are known: until `stale_for` nobody who has a good token notices."""
        good, asked = world.keys.answer, len(world.keys.requests)
        world.keys.answer = answer
        # Tokens of keys that nobody knows make the proxy ask.
        unknown = asyncio.create_task(asyncio.to_thread(
            lambda: [world.proxy.get("/api/x", {"Authorization": f"Bearer {signed(f'unknown-{n}')}"}).status for n in range(3)]))
        await asyncio.sleep(1.5)
        assert set(await unknown) <= {401, 503}
        assert len(world.keys.requests) > asked
        world.keys.answer = good
    return fails


async def key_server_dies(world: World) -> None:
    world.keys.down()
    await asyncio.sleep(1.5)
    world.keys.up()


FAULTS = {
    "backends that crash": crash,
    "backends killed by SIGKILL": killed,
    "backends that hang": conduct("hang"),
    "backends that are stopped": stopped_backend,
    "backends that are slow": conduct("slow"),
    "backends that drip": conduct("drip"),
    "backends that answer garbage": conduct("garbage"),
    "backends that close after some bytes": conduct("cut"),
    "key server that hangs": key_server(lambda connection, path: time.sleep(5)),
    "key server that answers garbage": key_server(os.urandom(3000)),
    "key server that closes after some bytes": key_server(response(b'{"keys":[{"kty":"EC"}]}')[:-9]),
    "key server that answers slowly": key_server(lambda connection, path: [connection.sendall(b"H") or time.sleep(0.2) for _ in range(20)]),
    "key server that dies": key_server_dies,
    "accept without memory": accepting(errno.ENOMEM, errno.ENOBUFS),
    "accept without descriptors": accepting(errno.EMFILE, errno.ENFILE),
    "accept of connections that have gone": accepting(errno.ECONNABORTED),
    "connect without memory": connecting(errno.ENOMEM),
    "no descriptor left": descriptors,
    "a full disk": full_disk,
    "steps of the clock": clock,
    "a proxy that is stopped": stopped_proxy,
}


class Client(fuzz.GoodClient):
    patience_seconds = PATIENCE_SECONDS


class FreshClient(Client):
    """One with a connection of its own for each request."""

    async def once(self, *wire) -> bool:
        await super().once(*wire)
        return False


def good_clients(world: World, findings: list[str]) -> list:
    now = int(time.time())
    lasting = {"iat": now - 3600, "exp": now + 7200}
    clients = [(FreshClient if number == 1 else Client)(number, world.proxy.port, findings) for number in range(4)]
    clients.append(soaking.MultiplexedClient(50, [50, 51, 52], world.proxy.port, findings, None))
    for client in clients[:3]:
        client.bearer = token(subject=f"good-{client.number}", **lasting)
    clients[3].bearer = signed("one", subject="good-3", **lasting)
    clients[4].bearers = [token(subject=f"good-{user}", **lasting) for user in clients[4].users]
    return clients


async def under_load(world: World, fault, findings: list[str]) -> None:
    loop = asyncio.get_running_loop()
    clients = good_clients(world, findings)
    tasks = [asyncio.create_task(client.run(loop.time() + 150)) for client in clients]

    async def everybody(count: int, what: str) -> None:
        goals = [client.answered + count for client in clients]
        limit = loop.time() + EVERYBODY_SECONDS
        while any(client.answered < goal for client, goal in zip(clients, goals)) and not findings:
            if loop.time() > limit:
                findings.append(f"{what}: {[client.answered for client in clients]}, not {goals}")
            assert world.proxy.process.poll() is None, "the proxy has died"
            await asyncio.sleep(0.02)
    try:
        await everybody(10, "before it all")
        await fault(world)
        await everybody(10, "not everybody is served again")
    finally:
        # A wait that ends at the same moment swallows being cancelled.
        while any(not task.done() for task in tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.2)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                findings.append(repr(result))


def check_records(world: World, findings: list[str]) -> None:
    """What has reached the backends: whose, and how often."""
    times: collections.Counter[tuple[str, str]] = collections.Counter()
    for server in world.servers:
        for line in server.record.read_text().splitlines():
            method, target, users = line.split(" ")
            times[method, target] += 1
            if users != f"good-{target.split('/')[3]}":
                findings.append(f"{method} {target} came as {users}")
    assert len(times) > 50
    findings += [f"{method} {target} was sent {count} times" for (method, target), count in times.items()
                 if count > (1 if method == "POST" else 1 + RETRIES)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", FAULTS)
def test_under_load(world, name):
    findings: list[str] = []
    asyncio.run(under_load(world, FAULTS[name], findings))
    check_records(world, findings)
    assert not findings, "\n".join(findings[:10]) + bytes(world.proxy.errors)[-1500:].decode("utf-8", "replace")
