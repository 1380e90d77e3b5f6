"""A fuzzer on both sides of the real binary: clients that send spoilt requests and leave when they like, and a
backend that answers too early, too late, too much or not at all. Meanwhile good clients see that every answer is
theirs, and the backend sees that nobody comes with somebody else's name.

`USHER_FUZZ_SECONDS` and `USHER_FUZZ_SEED` make it longer, and another one.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import struct

import pytest

from harness import mutations, soaking
from harness.ports import free_port
from harness.tokens import token

SECONDS = float(os.environ.get("USHER_FUZZ_SECONDS", "15"))
SEED = os.environ.get("USHER_FUZZ_SEED", "1")
GOOD_CLIENTS, BAD_CLIENTS = 4, 32

TEXT = """
[limits]
header_timeout = "1s"
body_timeout = "1s"
idle_timeout = "2s"

[upstream.backend]
servers = ["127.0.0.1:{backend}"]
connect_timeout = "1s"
response_timeout = "1s"
max_connections = 24
max_pending = 64

[issuer.main]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}

[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"

[[route]]
path = "/api/**"
auth = "main"
upstream = "backend"
"""

NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/1\.1")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([^\r\n\0]*)")
USER_ALIAS = re.compile(rb"x[^a-z0-9]user[^a-z0-9]id", re.I)


class Finding(AssertionError):
    """Something that must never happen."""


class HostileBackend:
    """Answers good requests well, and everything else as it likes."""

    def __init__(self, findings: list[str]):
        self.findings, self.port, self.served, self.connections = findings, free_port(), 0, 0
        # Requests of good clients that are not the same when they come twice.
        self.posted: set[bytes] = set()
        self.open: set[asyncio.StreamWriter] = set()

    def reset_all(self) -> None:
        for writer in list(self.open):
            reset(writer)
            writer.transport.abort()

    async def serve(self, reader, writer):
        self.connections += 1
        self.open.add(writer)
        rng = random.Random(f"{SEED}/backend/{self.connections}")
        try:
            while await self.exchange(rng, reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            if rng.random() < 0.3:
                reset(writer)
            writer.close()

    async def exchange(self, rng, reader, writer) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        fields, target = self.check(head)
        self.served += 1
        if target.startswith(b"/api/good/"):
            if b"upgrade" in fields:
                await soaking.serve_tunnel(reader, writer, fields, target)
            body = await read_body(reader, fields)
            writer.write(echo(fields, target, body, head.startswith(b"HEAD ")))
            await writer.drain()
            return True
        return await self.misbehave(rng, reader, writer, fields, head.startswith(b"HEAD "))

    def check(self, head: bytes):
        """The head is one canonical request, and whoever it names sent it."""
        lines = head[:-4].split(b"\r\n")
        line = LINE.fullmatch(lines[0])
        fields = [FIELD.fullmatch(each) for each in lines[1:]]
        if not line or not all(fields):
            self.findings.append(f"not a request: {head[:300]!r}")
            raise ConnectionError
        pairs = [(each[1].lower(), each[2]) for each in fields]
        users = [value for name, value in pairs if USER_ALIAS.fullmatch(name)]
        target = line[2]
        expected = re.match(rb"/api/good/(\d+)/", target)
        if expected:
            right = users == [b"good-" + expected[1]]
            if line[1] == b"POST" and target in self.posted:
                self.findings.append(f"sent twice: {head[:300]!r}")
            self.posted |= {target} if line[1] == b"POST" else set()
        elif target.startswith(b"/api"):
            right = users == [b"mallory"]
        else:
            right = users == []
        if not right:
            self.findings.append(f"{users} at {target!r}: {head[:600]!r}")
        names = [name for name, _ in pairs]
        if names.count(b"host") != 1 or names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
            self.findings.append(f"framed or hosted twice: {head[:600]!r}")
        return dict(pairs), target

    async def misbehave(self, rng, reader, writer, fields, is_head) -> bool:
        deed = rng.randrange(14)
        if deed not in (3, 4):
            await read_body(reader, fields)
        if b"upgrade" in fields and rng.random() < 0.7:
            return await tunnel(rng, reader, writer)
        body = b"e" * rng.choice([0, 1, 20, 4000, 16_384, 65_536, 300_000])
        right, lives = mutations.answer(rng, b"" if is_head else body)
        match deed:
            case 0 | 1 | 2:
                data = right
            case 3:  # before the request is read
                data = right
                lives = rng.random() < 0.5
            case 4:  # no answer
                await asyncio.sleep(rng.choice([0, 0.05, 1.2]))
                return False
            case 5 | 6 | 7:
                data, lives = mutations.spoil(rng, right, mutations.SERVER_WORDS), False
            case 8:  # one answer too many, at once
                data, lives = right + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nJUNK", True
            case 9:
                data = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * rng.choice([1, 3, 70, 500]) + right
            case 10:  # cut off
                data, lives = right[:rng.randrange(len(right) + 1)], False
            case 11:
                data, lives = b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\nhello" % rng.choice([204, 304, 100, 101, 199]), False
            case 12:
                data, lives = rng.randbytes(rng.choice([1, 100, 20_000])), False
            case _:
                data = right
                await asyncio.sleep(rng.choice([0, 0.2, 1.5]))
        for piece in mutations.pieces(rng, data) if rng.random() < 0.3 and deed != 8 else [data]:
            writer.write(piece)
            await writer.drain()
            if rng.random() < 0.2:
                await asyncio.sleep(0.002)
        if deed == 3 and lives:
            await read_body(reader, fields)
        if not lives and rng.random() < 0.5:
            await asyncio.sleep(rng.choice([0.05, 0.3]))
        return lives


async def tunnel(rng, reader, writer) -> bool:
    """A WebSocket, or something like it, until somebody has had enough."""
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n" + b"\x81\x02hi" * rng.choice([0, 1, 2000]))
    for _ in range(rng.randrange(6)):
        if rng.random() < 0.5:
            await asyncio.wait_for(reader.read(65536), 0.2)
        writer.write(rng.choice([b"\x81\x05hello", b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", b"\x88\x00", rng.randbytes(70_000)]))
        await writer.drain()
    return False


def reset(writer) -> None:
    if sock := writer.get_extra_info("socket"):
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass


async def read_body(reader, fields) -> bytes:
    if fields.get(b"transfer-encoding") == b"chunked":
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return body
    return await reader.readexactly(int(fields.get(b"content-length", b"0")))


def echo(fields, target: bytes, body: bytes, is_head: bool) -> bytes:
    text = json.dumps({"user": fields[b"x-user-id"].decode(), "target": target.decode(), "size": len(body)}).encode()
    return b"HTTP/1.1 200 OK\r\nX-Target: %s\r\nContent-Length: %d\r\n\r\n" % (target, len(text)) + (b"" if is_head else text)


class GoodClient:
    """Every answer is its own, or says honestly that there is none."""

    # After so long without an answer it hangs.
    patience_seconds = 15

    def __init__(self, number: int, port: int, findings: list[str]):
        self.number, self.port, self.findings = number, port, findings
        self.bearer = token(subject=f"good-{number}")
        self.answered = self.failed = 0

    async def run(self, until: float) -> None:
        count, connection = 0, None
        while asyncio.get_running_loop().time() < until:
            count += 1
            if connection is None:
                connection = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                lives = await asyncio.wait_for(self.once(*connection, count), self.patience_seconds)
            except asyncio.TimeoutError:
                self.findings.append(f"good client {self.number} hangs at request {count}")
                lives = False
            except (asyncio.IncompleteReadError, ConnectionError):
                self.failed += 1
                lives = False
            if not lives:
                connection[1].close()
                connection = None
            await asyncio.sleep(0.005)

    async def once(self, reader, writer, count: int) -> bool:
        rng = random.Random(f"{SEED}/good/{self.number}/{count}")
        method = rng.choice(["GET", "GET", "POST", "HEAD"])
        body = b"g" * rng.choice([0, 10, 5000, 40_000]) if method == "POST" else b""
        target = f"/api/good/{self.number}/{count}"
        writer.write(
            f"{method} {target} HTTP/1.1\r\nHost: usher.test\r\nAuthorization: Bearer {self.bearer}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = int(re.search(rb"\r\ncontent-length: (\d+)", head, re.I)[1])
        text = b"" if method == "HEAD" else await reader.readexactly(length)
        if status == 200:
            self.answered += 1
            named = re.search(rb"\r\nX-Target: (\S+)", head)
            right = named and named[1].decode() == target
            if right and method != "HEAD":
                right = json.loads(text) == {"user": f"good-{self.number}", "target": target, "size": len(body)}
            if not right:
                self.findings.append(f"good client {self.number} asked {target} and got {head!r} {text[:200]!r}")
        elif status in (502, 503, 504):
            self.failed += 1
        else:
            self.findings.append(f"good client {self.number} got {head!r} {text[:200]!r}")
        return b"\r\nconnection: close" not in head.lower()


async def bad_client(number: int, port: int, until: float) -> None:
    bearer = token(subject="mallory").encode()
    loop, count = asyncio.get_running_loop(), 0
    while loop.time() < until:
        count += 1
        rng = random.Random(f"{SEED}/bad/{number}/{count}")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        try:
            await asyncio.wait_for(attack(rng, reader, writer, bearer), rng.choice([0.03, 0.1, 0.3, 3]))
        except (asyncio.TimeoutError, ConnectionError, OSError):
            pass
        if rng.random() < 0.4:
            reset(writer)
        writer.close()


async def attack(rng, reader, writer, bearer: bytes) -> None:
    stream = b""
    for _ in range(rng.choice([1, 1, 2, 5])):
        target = rng.choice([b"/public/x", b"/api/m", b"/public/a/b?c=d", b"/api/good/1/1", b"/nowhere", b"/public/%41"])
        credential = rng.choice([None, bearer, bearer[:-1] + b"x", b"a.b.c"])
        if target.startswith(b"/api/good"):
            credential = None
        one = mutations.request(rng, target, credential)
        if rng.random() < 0.6:
            one = mutations.spoil(rng, one, mutations.CLIENT_WORDS)
        stream += one
    if credential == bearer and b"/api/good" in stream:
        return  # with a token of one's own that is no attack
    reads = rng.random() < 0.7
    for piece in mutations.pieces(rng, stream):
        writer.write(piece)
        await writer.drain()
        if rng.random() < 0.2:
            await asyncio.sleep(rng.choice([0, 0.001, 0.02]))
        if rng.random() < 0.02:
            return
    if rng.random() < 0.3 and writer.can_write_eof():
        writer.write_eof()
    if reads:
        while await reader.read(65536):
            pass
    else:
        await asyncio.sleep(rng.choice([0, 0.1, 0.5]))


async def reload_now_and_then(proxy, until: float) -> None:
    """Other settings for the upstream, while everything is under way."""
    text, loop, count = proxy.file.read_text(), asyncio.get_running_loop(), 0
    while loop.time() < until and proxy.process.poll() is None:
        await asyncio.sleep(0.7)
        count += 1
        proxy.file.write_text(text.replace('response_timeout = "1s"', f'response_timeout = "{1000 + count % 7}ms"'))
        proxy.signal(signal.SIGHUP)


async def fuzz(proxy, backend: HostileBackend, findings: list[str]) -> list[GoodClient]:
    server = await asyncio.start_server(backend.serve, "127.0.0.1", backend.port, limit=1 << 20)
    until = asyncio.get_running_loop().time() + SECONDS
    good = [GoodClient(number, proxy.port, findings) for number in range(GOOD_CLIENTS)]
    tasks = [asyncio.create_task(client.run(until)) for client in good]
    tasks += [asyncio.create_task(bad_client(number, proxy.port, until)) for number in range(BAD_CLIENTS)]
    tasks.append(asyncio.create_task(reload_now_and_then(proxy, until)))
    while any(not task.done() for task in tasks):
        await asyncio.wait(tasks, timeout=0.5)
        if proxy.process.poll() is not None:
            findings.append(f"the proxy died with {proxy.process.returncode}")
            for task in tasks:
                task.cancel()
            break
        if len(findings) > 10:
            until = 0
    results = await asyncio.gather(*tasks, return_exceptions=True)
    findings += [repr(each) for each in results if isinstance(each, Exception) and proxy.process.poll() is None]
    server.close()
    return good


@pytest.mark.timeout(SECONDS + 60)
def test_both_sides_at_once(start):
    findings: list[str] = []
    backend = HostileBackend(findings)
    proxy = start(backend, text=TEXT, workers=2)
    good = asyncio.run(fuzz(proxy, backend, findings))
    errors = bytes(proxy.errors)[-3000:].decode("utf-8", "replace") if proxy.process.poll() is not None else ""
    assert not findings, f"seed {SEED}:\n" + "\n".join(findings[:10]) + errors
    answered = sum(client.answered for client in good)
    failed = sum(client.failed for client in good)
    print(f"served {backend.served}, good {answered}, unanswered {failed}")
    # Of a process that a sanitizer slows down only that it answers at all.
    assert answered > (10 if "USHER_SANITIZED" in os.environ else 100) and failed < answered, (answered, failed)
    assert proxy.get("/nowhere").status == 404


async def fuzz_and_drain(proxy, backend: HostileBackend) -> int:
    """The exit status of a proxy that is told to end in the middle of it all."""
    server = await asyncio.start_server(backend.serve, "127.0.0.1", backend.port, limit=1 << 20)
    until = asyncio.get_running_loop().time() + 4
    tasks = [asyncio.create_task(bad_client(number, proxy.port, until)) for number in range(BAD_CLIENTS)]
    good = GoodClient(0, proxy.port, [])
    tasks.append(asyncio.create_task(good.run(until)))
    await asyncio.sleep(1)
    proxy.signal(signal.SIGTERM)
    try:
        return await asyncio.to_thread(proxy.process.wait, 40)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()


@pytest.mark.parametrize("grace", ["0s", "1500ms"])
def test_drain_in_the_middle(start, grace):
    findings: list[str] = []
    backend = HostileBackend(findings)
    proxy = start(backend, text=TEXT.replace("[limits]", f'[limits]\ndrain_timeout = "{grace}"'), workers=2)
    assert asyncio.run(fuzz_and_drain(proxy, backend)) == 0, bytes(proxy.errors)[-2000:].decode("utf-8", "replace")
    assert not findings
