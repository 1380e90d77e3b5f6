"""Large bodies in bounded memory: 1 GB each way below 64 MB, and back pressure where one side is slow."""

import socket
import threading
import time

import pytest

from harness import configuration
from harness.backend import Backend
from harness.tokens import bearer, token
from harness.wire import Client, render

GB = 1 << 30
MB = 1 << 20
MEMORY = 64 * MB
BLOCK = bytes(range(256)) * 1024  # 256 KiB

UNLIMITED = configuration.SMALL.replace('path = "/api/**"', 'path = "/api/**"\nmax_body = "2GiB"\ntimeout = "10m"')
SIZES = [("length", GB), ("chunked", 256 * MB)]


@pytest.fixture(scope="module")
def bulk():
    with Backend() as backend:
        yield backend


@pytest.fixture
def quiet_backend(bulk):
    bulk.clear()
    bulk.recording = False
    bulk.close_connections()
    return bulk


def upload(client: Client, size: int, framing: str):
    view = memoryview(BLOCK)
    if framing == "length":
        client.send(render("POST", "/api/up", bearer(token()) | {"Content-Length": size}))
        for _ in range(size // len(BLOCK)):
            client.sock.sendall(view)
    else:
        client.send(render("POST", "/api/up", bearer(token()) | {"Transfer-Encoding": "chunked"}))
        piece = b"%x\r\n" % len(BLOCK) + BLOCK + b"\r\n"
        for _ in range(size // len(BLOCK)):
            client.sock.sendall(piece)
        client.send(b"0\r\n\r\n")


def drain_and_count(exchange):
    total = exchange.drain()
    exchange.reply(200, str(total).encode())


def bulk_answer(size: int, framing: str):
    def script(exchange):
        view = memoryview(BLOCK)
        if framing == "length":
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // len(BLOCK)):
                exchange.sock.sendall(view)
        else:
            exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            piece = b"%x\r\n" % len(BLOCK) + BLOCK + b"\r\n"
            for _ in range(size // len(BLOCK)):
                exchange.sock.sendall(piece)
            exchange.send(b"0\r\n\r\n")
    return script


def receive(client: Client, count: int) -> int:
    """Reads `count` bytes of a body with a length; keeps none."""
    left = count - len(client.reader.buffer)
    client.reader.buffer = b""
    scratch = bytearray(1 << 20)
    while left > 0:
        got = client.sock.recv_into(scratch, min(len(scratch), left))
        if not got:
            return count - left
        left -= got
    return count


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("framing, size", SIZES, ids=[s[0] for s in SIZES])
def test_upload(start, quiet_backend, framing, size):
    proxy = start(quiet_backend, UNLIMITED)
    quiet_backend.script = drain_and_count
    with proxy.client(timeout=60) as client:
        upload(client, size, framing)
        answer = client.response("POST")
    assert answer.status == 200 and int(answer.body) == size
    assert proxy.memory("VmHWM") < MEMORY, f"{proxy.memory('VmHWM') / MB:.1f} MB"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("framing, size", SIZES, ids=[s[0] for s in SIZES])
def test_download(start, quiet_backend, framing, size):
    proxy = start(quiet_backend, UNLIMITED)
    quiet_backend.script = bulk_answer(size, framing)
    with proxy.client(timeout=60) as client:
        client.send(render("GET", "/api/down", bearer(token())))
        answer = client.head()
        assert answer.status == 200
        if framing == "length":
            assert receive(client, size) == size
        else:
            total = 0
            while chunk := int(client.reader.until(b"\r\n"), 16):
                total += chunk
                client.reader.exactly(chunk + 2)
            assert total == size and client.reader.until(b"\r\n") == b"\r\n"
    assert proxy.memory("VmHWM") < MEMORY, f"{proxy.memory('VmHWM') / MB:.1f} MB"


@pytest.mark.timeout(300)
def test_content_survives(start, quiet_backend):
    """The bytes, not only their number: 32 MB echoed and compared by digest."""
    import hashlib
    import random
    proxy = start(quiet_backend, UNLIMITED)
    body = random.Random(7).randbytes(32 * MB)

    def script(exchange):
        exchange.reply(200, exchange.read_body())
    quiet_backend.script = script
    with proxy.client(timeout=60) as client:
        sender = threading.Thread(target=client.send, args=(render("POST", "/api/echo", bearer(token()), body),))
        sender.start()
        answer = client.response("POST")
        sender.join()
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest()


def wait_until_it_stops(sent: list[int]) -> None:
    """Until nothing was sent for two seconds, before it has become too much."""
    last, since = -1, 0.0
    while time.monotonic() - since < 2:
        assert sent[0] < 40 * MB, f"{sent[0] / MB:.0f} MB and counting"
        if sent[0] != last:
            last, since = sent[0], time.monotonic()
        time.sleep(0.05)


@pytest.mark.timeout(300)
def test_slow_reader_holds_the_backend_back(start, quiet_backend):
    """The client reads nothing: the backend's sending must come to a stop, and memory must not grow."""
    sent = [0]

    def script(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GB)
        while sent[0] < GB:
            sent[0] += exchange.sock.send(BLOCK)
    quiet_backend.script = script
    proxy = start(quiet_backend, UNLIMITED)
    with proxy.client() as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(render("GET", "/api/down", bearer(token())))
        client.head()
        wait_until_it_stops(sent)
        assert proxy.memory("VmHWM") < MEMORY
        # others are served meanwhile
        quiet_backend.script = lambda exchange: exchange.echo()
        assert proxy.get("/public/x").status == 200
        # and it goes on where it stopped
        receive(client, 16 * MB)
        client.reset()


@pytest.mark.timeout(300)
def test_slow_backend_holds_the_client_back(start, quiet_backend):
    release = threading.Event()

    def script(exchange):
        if exchange.request.target == "/api/up":
            release.wait(60)
            drain_and_count(exchange)
        else:
            exchange.echo()
    quiet_backend.script = script
    proxy = start(quiet_backend, UNLIMITED)
    size = 64 * MB
    with proxy.client(timeout=60) as client:
        sent = [0]
        client.send(render("POST", "/api/up", bearer(token()) | {"Content-Length": size}))

        def push():
            while sent[0] < size:
                sent[0] += client.sock.send(BLOCK[: size - sent[0]])
        sender = threading.Thread(target=push)
        sender.start()
        wait_until_it_stops(sent)
        assert proxy.get("/public/x").status == 200
        release.set()
        sender.join()
        assert int(client.response("POST").body) == size
    assert proxy.memory("VmHWM") < MEMORY


@pytest.mark.timeout(300)
def test_many_slow_readers(start, quiet_backend):
    """Two hundred of them cost their buffers, not the answers."""
    quiet_backend.script = bulk_answer(64 * MB, "length")
    proxy = start(quiet_backend, UNLIMITED)
    clients = []
    for _ in range(200):
        client = proxy.client(timeout=20)
        client.send(render("GET", "/api/down", bearer(token())))
        clients.append(client)
    time.sleep(3)
    peak = proxy.memory("VmHWM")
    for client in clients:
        client.reset()
    assert peak < 200 * 256 * 1024 + MEMORY, f"{peak / MB:.0f} MB"
    quiet_backend.script = lambda exchange: exchange.echo()
    assert proxy.get("/public/x").status == 200
