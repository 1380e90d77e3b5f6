"""A long run of everything at once: clients good and bad, HTTP/1.1 and HTTP/2, plain and over TLS, tunnels, backends that
misbehave and die, reloads, keys that rotate, and a process that is stopped and goes on. Memory and descriptors stay flat, and no
answer is wrong.

`make soak` runs it for half an hour; USHER_SOAK_SECONDS says for how long.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
from pathlib import Path

import pytest

import test_fuzz_sockets as fuzz
from harness import soaking, tokens
from harness.authority import Authority
from harness.ports import free_port

SECONDS = float(os.environ.get("USHER_SOAK_SECONDS", "30"))
# What may come beside what the first third of the run has taken: blocks that are kept, and arenas of the allocator.
GROWTH_BYTES = 24 << 20
GROWTH_DESCRIPTORS = 64

LISTEN = """
protocols = ["http/1.1", "h2"]

[listen.secure]
address = "127.0.0.1:{secure}"
protocols = ["http/1.1", "h2"]
tls.certificates = [{certificates}]
"""
ROTATING = """
[issuer.rotating]
issuer = "https://rotating.test"
audience = ["https://api.test"]
jwks = {{ file = "{jwks}" }}
"""


class SecureClient(fuzz.GoodClient):
    """A good client over TLS."""

    def __init__(self, number, port, findings, context):
        super().__init__(number, port, findings)
        self.context = context

    async def run(self, until: float) -> None:
        plain = asyncio.open_connection

        async def secure(host, port):
            return await plain(host, port, ssl=self.context, server_hostname="usher.test")
        loop = asyncio.get_running_loop()
        count, connection = 0, None
        while loop.time() < until:
            count += 1
            try:
                if connection is None:
                    connection = await asyncio.wait_for(secure("127.0.0.1", self.port), 15)
                lives = await asyncio.wait_for(self.once(*connection, count), 15)
            except asyncio.TimeoutError:
                self.findings.append(f"good client {self.number} over TLS hangs at request {count}")
                lives = False
            except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                self.failed += 1
                lives = False
            if not lives and connection:
                connection[1].close()
                connection = None
            await asyncio.sleep(0.005)


class RotatingClient(fuzz.GoodClient):
    """A good client whose token is signed by the key of the hour."""

    def __init__(self, number, port, findings):
        super().__init__(number, port, findings)
        self.turn(0)

    def turn(self, count: int) -> None:
        key = tokens.key("ES256", f"rotating-{count % 2}")
        self.bearer = tokens.token(
            "ES256", key, header={"alg": "ES256", "kid": f"k{count % 2}"},
            payload=tokens.claims(f"good-{self.number}", "https://rotating.test"))


def key_set(count: int) -> str:
    """The key of the hour, and the one before."""
    return json.dumps({"keys": [
        tokens.jwk(tokens.key("ES256", f"rotating-{number}"), kid=f"k{number}") for number in {count % 2, (count + 1) % 2}]})


async def rotate(file: Path, client: RotatingClient, proxy, until: float) -> None:
    count, loop = 0, asyncio.get_running_loop()
    while loop.time() < until and proxy.process.poll() is None:
        await asyncio.sleep(3)
        count += 1
        file.write_text(key_set(count))
        proxy.signal(signal.SIGHUP)
        await asyncio.sleep(1)
        client.turn(count)


async def stop_and_go(proxy, until: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < until and proxy.process.poll() is None:
        await asyncio.sleep(4)
        proxy.signal(signal.SIGSTOP)
        await asyncio.sleep(0.4)
        proxy.signal(signal.SIGCONT)


async def die_and_come_back(backend, server, until: float):
    """What kill -9 does to a backend: all of its connections are reset, and nobody listens until it runs again."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        await asyncio.sleep(7)
        server.close()
        backend.reset_all()
        await asyncio.sleep(0.5)
        server = await asyncio.start_server(backend.serve, "127.0.0.1", backend.port, limit=1 << 20, reuse_address=True)
    server.close()


async def measure(proxy, until: float, samples: list[tuple[int, int]]) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < until and proxy.process.poll() is None:
        await asyncio.sleep(1)
        samples.append((proxy.memory(), len(proxy.descriptors)))


async def soak(proxy, backend, findings, secure, context, authority_file, keys) -> tuple[list[fuzz.GoodClient], list[tuple[int, int]]]:
    loop = asyncio.get_running_loop()
    until = loop.time() + SECONDS
    server = await asyncio.start_server(backend.serve, "127.0.0.1", backend.port, limit=1 << 20)
    rotating = RotatingClient(90, proxy.port, findings)
    good = [fuzz.GoodClient(number, proxy.port, findings) for number in range(3)]
    good += [SecureClient(50 + number, secure, findings, context) for number in range(2)] + [rotating]
    multiplexing = ssl.create_default_context(cafile=authority_file)
    multiplexing.set_alpn_protocols(["h2"])
    good += [soaking.MultiplexedClient(100, [100, 101, 102], secure, findings, multiplexing),
             soaking.MultiplexedClient(110, [110, 111, 112], proxy.port, findings, None),
             soaking.TunnelClient(120, proxy.port, findings, None), soaking.TunnelClient(121, secure, findings, context)]
    samples: list[tuple[int, int]] = []
    work = [client.run(until) for client in good] + [fuzz.bad_client(number, proxy.port, until) for number in range(12)]
    work += [soaking.bad_http2_client(number, proxy.port, until, fuzz.SEED) for number in range(4)]
    work += [fuzz.reload_now_and_then(proxy, until), rotate(keys, rotating, proxy, until), stop_and_go(proxy, until),
             die_and_come_back(backend, server, until), measure(proxy, until, samples)]
    tasks = [asyncio.create_task(each) for each in work]
    while any(not task.done() for task in tasks):
        await asyncio.wait(tasks, timeout=1)
        if proxy.process.poll() is not None or len(findings) > 10:
            findings.append(f"ended early; the proxy's status is {proxy.process.poll()}")
            for task in tasks:
                task.cancel()
            break
    results = await asyncio.gather(*tasks, return_exceptions=True)
    findings += [repr(each) for each in results if isinstance(each, Exception)]
    return good, samples


@pytest.mark.timeout(SECONDS + 120)
def test_soak(start, tmp_path):
    findings: list[str] = []
    backend = fuzz.HostileBackend(findings)
    authority = Authority(tmp_path)
    pair = authority.sign("main", ["usher.test"])
    secure, keys = free_port(), tmp_path / "keys.json"
    keys.write_text(key_set(0))
    text = (fuzz.TEXT.replace('auth = "main"', 'auth = ["main", "rotating"]') + ROTATING)
    proxy = start(backend, text=text, workers=2, listen=LISTEN.format(secure=secure, certificates=pair.toml()), jwks=keys)
    context = ssl.create_default_context(cafile=str(authority.file))
    good, samples = asyncio.run(soak(proxy, backend, findings, secure, context, str(authority.file), keys))
    errors = bytes(proxy.errors)[-2000:].decode("utf-8", "replace")
    assert not findings, "\n".join(findings[:10]) + errors
    answered = [client.answered for client in good]
    first = samples[len(samples) // 3]
    print(f"{SECONDS:.0f} s: backend served {backend.served}, good clients were answered {sum(answered)} times "
          f"{answered}, not answered {sum(client.failed for client in good)}; resident {first[0] >> 10} KiB after a third, "
          f"{samples[-1][0] >> 10} KiB at the end; descriptors {first[1]}, {samples[-1][1]}")
    assert min(answered) > SECONDS / 2, "everybody is served"
    assert samples[-1][0] - first[0] < GROWTH_BYTES
    assert samples[-1][1] - first[1] < GROWTH_DESCRIPTORS
    assert proxy.get("/nowhere").status == 404
