"""Nothing is left of what is over: memory and descriptors after many requests, connections, reloads and look-ups of names.

`make leaks` does a million requests, 100,000 connections and 1,000 reloads; here they are a few (USHER_LEAKS_SCALE).
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import struct
import threading
import time

import pytest

from harness import http2
from harness.authority import Authority
from harness.ports import free_port
from harness.tokens import bearer, token
from harness.waiting import wait_until
from harness.wire import Client, render

SCALE = float(os.environ.get("USHER_LEAKS_SCALE", "0.02"))
# A million requests and all the rest take four minutes on two CPUs that others use, too; the reloads are never fewer than 200.
TIMEOUT_SECONDS = 180 + 1800 * SCALE
# Arenas of the allocator, tables that have not got their final size: far less than a byte for each request.
GROWTH_BYTES = 3 << 20
GROWTH_DESCRIPTORS = 4
# Each second reload ends a worker, whose stack has eight megabytes of addresses.
GROWTH_ADDRESSES = 512 << 20
# Requests that one connection has on its way.
BATCH = 32
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

TEXT = """
[listen.secure]
address = "127.0.0.1:{secure}"
tls.certificates = [{certificates}]

[upstream.backend]
servers = ["localhost:{port_of_backend}"]
max_connections = 64
idle_timeout = "500ms"

[issuer.main]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}

[[route]]
path = "/api/**"
auth = "main"
upstream = "backend"
"""


class Backend(asyncio.Protocol):
    """Answers each request, which has its body in the same read or has none."""

    def connection_made(self, transport) -> None:
        self.transport, self.rest = transport, b""

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while (end := self.rest.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"\r\ncontent-length: (\d+)", self.rest[:end + 2], re.I)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.rest) < size:
                return
            self.rest = self.rest[size:]
            self.transport.write(ANSWER)


@pytest.fixture
def port_of_backend():
    loop, port = asyncio.new_event_loop(), free_port()

    def serve():
        asyncio.set_event_loop(loop)
        loop.run_until_complete(loop.create_server(Backend, "127.0.0.1", port, backlog=1024))
        loop.run_forever()
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield port
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)


@pytest.fixture
def proxy(start, tmp_path, port_of_backend):
    pair, secure = Authority(tmp_path).sign("main", ["usher.test"]), free_port()
    running = start(None, TEXT, workers=2, listen='protocols = ["http/1.1", "h2"]', secure=secure, certificates=pair.toml(),
                    port_of_backend=port_of_backend, collect=False)
    # The access log goes nowhere: this harness would keep it.
    running.file.write_text(running.file.read_text().replace('access = "stdout"', 'access = "off"'))
    reload(running)
    running.secure = secure
    return running


def reload(proxy) -> None:
    with Client(proxy.admin) as client:
        answer = client.request("POST", "/reload", {}, b"", host=f"127.0.0.1:{proxy.admin}")
    assert answer.status == 200, answer.body


def used(proxy) -> tuple[int, int]:
    """Resident memory of the heap and stacks, in bytes, and descriptors; once nothing is under way any more."""
    least, end = len(proxy.descriptors), time.monotonic() + 2
    while time.monotonic() < end:
        least = min(least, len(proxy.descriptors))
        time.sleep(0.05)
    return proxy.memory("RssAnon"), least


def check(proxy, what: str, count: int, work) -> None:
    """A tenth of it brings all to the size that it keeps; after the whole there is no more."""
    work(max(count // 10, 64))
    before, started = used(proxy), time.monotonic()
    work(count)
    seconds, after = time.monotonic() - started, used(proxy)
    print(f"\n{count:,} {what} in {seconds:.0f} s: {before[0] >> 10:,} KiB before, {after[0] >> 10:,} KiB after; "
          f"{before[1]} descriptors before, {after[1]} after")
    assert after[0] - before[0] < GROWTH_BYTES
    wait_until(lambda: len(proxy.descriptors) - before[1] <= GROWTH_DESCRIPTORS, what=f"{after[1] - before[1]} descriptors more")


def from_some(count: int, work, lanes: int = 8) -> None:
    """`work(number, count)` on several threads; a failure of one is one of all."""
    failures: list[BaseException] = []

    def lane(number):
        try:
            work(number, count // lanes)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)
    threads = [threading.Thread(target=lane, args=(number,)) for number in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def requests(proxy, number: int, count: int) -> None:
    """On one connection, so many at once; each fourth batch has bodies, and each user many tokens."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as sock:
        for batch in range(max(count // BATCH, 1)):
            if batch % 64 == 0:
                headers = bearer(token(subject=f"user-{number}", jti=f"{number}-{batch}"))
                plain = render("GET", f"/api/{number}", headers) * BATCH
                posts = render("POST", f"/api/{number}", headers, b"x" * 500) * BATCH
            sock.sendall(plain if batch % 4 else posts)
            answers, tail = 0, b""
            while answers < BATCH:
                data = sock.recv(1 << 16)
                assert data, "closed"
                whole = tail + data
                answers += whole.count(b"HTTP/1.1 200 OK")
                tail = whole[-14:]


def streams(proxy, number: int, count: int) -> None:
    """The same over HTTP/2, a hundred streams to a connection."""
    for _ in range(max(count // 100, 1)):
        with http2.Connection(proxy.port, timeout=30) as connection:
            fields = http2.get(f"/api/{number}", "GET", "usher.test", "http",
                               ("authorization", bearer(token(subject=f"user-{number}"))["Authorization"]))
            for _ in range(4):
                opened = [connection.start(fields) for _ in range(25)]
                for stream in opened:
                    assert connection.answer(stream, 30).status == 200


def connections(proxy, number: int, count: int) -> None:
    """Each with one request, or none, or half of one; closed or reset; each twentieth over TLS, each tenth with HTTP/2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    whole = render("GET", "/api/x", bearer(token(subject=f"user-{number}")))
    for index in range(count):
        # An address of its own for each lane: 28,000 ports would be used up else.
        port = proxy.secure if index % 20 == 7 else proxy.port
        sock = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(f"127.0.1.{number + 1}", 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", index % 2, 0))
        try:
            if port == proxy.secure:
                sock = context.wrap_socket(sock)
            if index % 10 == 3:
                sock.sendall(http2.PREFACE + http2.frame(http2.SETTINGS))
                assert sock.recv(65536)
            elif index % 10 == 5:
                sock.sendall(whole[:40])
            elif index % 10 != 6:
                sock.sendall(whole)
                assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        finally:
            sock.close()


def reloads(proxy, count: int) -> None:
    """Another upstream, another name to look up, another listener, another number of workers, and back again."""
    good = proxy.file.read_text()
    other = good.replace("max_connections = 64", "max_connections = 65").replace("workers = 2", "workers = 1") + (
        f'\n[listen.more]\naddress = "unix:{proxy.folder}/more.sock"\n\n[upstream.more]\nservers = ["localhost:1"]\n')
    for number in range(count):
        proxy.file.write_text(good if number % 2 else other)
        reload(proxy)
    proxy.file.write_text(good)
    reload(proxy)


@pytest.mark.memory
@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_nothing_is_left(proxy):
    check(proxy, "requests", int(900_000 * SCALE), lambda count: from_some(count, lambda *lane: requests(proxy, *lane)))
    check(proxy, "requests over HTTP/2", int(100_000 * SCALE), lambda count: from_some(count, lambda *lane: streams(proxy, *lane)))
    check(proxy, "connections", int(100_000 * SCALE), lambda count: from_some(count, lambda *lane: connections(proxy, *lane)))
    before = proxy.memory("VmSize")
    check(proxy, "reloads", max(int(1000 * SCALE), 200), lambda count: reloads(proxy, count))
    assert proxy.memory("VmSize") - before < GROWTH_ADDRESSES, "stacks of threads that have ended"
    assert proxy.get("/api/x", bearer(token())).status == 200
