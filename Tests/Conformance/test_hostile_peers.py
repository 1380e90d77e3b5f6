"""Clients and backends that do what they should not, at the moment that hurts most: the process lives, nobody gets
what is not theirs, and the books of connections stay right."""

import resource
import signal
import socket
import threading
import time
from collections import Counter

import pytest

from harness.configuration import SMALL
from harness.delivery import unread_by
from harness.metrics import Metrics
from harness.ports import free_port
from harness.standin import stop_listening
from harness.waiting import wait_until
from harness.wire import Closed, render

ONE_CONNECTION = 'max_connections = 1\nmax_pending = 4\nconnect_timeout = "30s"'


@pytest.fixture
def deaf_port():
    """A port where a connect neither succeeds nor fails: the queue of its listener is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", free_port()))
    listener.listen(0)
    port = listener.getsockname()[1]
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    time.sleep(0.1)
    yield port
    for each in fillers + [listener]:
        each.close()


def reload(proxy, change) -> None:
    """Until the worker goes by the new settings, which have a path of their own; there is one of each."""
    path = f"/settings-{proxy.errors.count(b'configuration reloaded')}"
    proxy.file.write_text(change(proxy.file.read_text()) + f'\n[[route]]\npath = "{path}"\nauth = "none"\nredirect = "https"\n')
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: proxy.get(path).status == 308)
    proxy.wait_said("configuration reloaded")


def alive(proxy) -> None:
    assert proxy.process.poll() is None, bytes(proxy.errors)[-3000:].decode("utf-8", "replace")


def test_reload_while_a_connect_is_pending(own_backend, start, deaf_port):
    """The upstream is gone from the settings when its connect fails."""
    proxy = start(own_backend, upstream='connect_timeout = "1500ms"')
    text = proxy.file.read_text()
    good = f"127.0.0.1:{own_backend.port}"
    reload(proxy, lambda _: text.replace(good, f"127.0.0.1:{deaf_port}"))
    client = proxy.client()
    client.send(render("GET", "/public/x"))
    wait_until(lambda: Metrics(proxy)["usher_requests_in_flight"] == 1)
    reload(proxy, lambda _: text)
    answer = client.response()
    assert answer.status == 503
    client.close()
    alive(proxy)
    assert proxy.get("/public/after").status == 200


def test_reload_before_a_retry(own_backend, start):
    """The upstream is gone from the settings when the backend closes a reused connection without an answer."""
    proxy = start(own_backend)
    text = proxy.file.read_text()
    assert proxy.get("/public/warm").status == 200
    held = threading.Event()

    def script(exchange):
        held.wait(10)
        exchange.close()

    own_backend.script = script
    client = proxy.client()
    client.send(render("GET", "/public/x"))
    own_backend.wait_requests(2)
    reload(proxy, lambda _: text.replace("[upstream.backend]", '[upstream.backend]\nconnect_timeout = "3s"'))
    own_backend.script = lambda exchange: exchange.echo()
    held.set()
    assert client.response().status in (200, 502)
    client.close()
    alive(proxy)


def test_interim_answers_without_end(own_backend, start):
    """1xx after 1xx to a client that does not read: bounded, and neither an answer in an answer nor the end."""
    proxy = start(own_backend, upstream='response_timeout = "3s"')
    stop = threading.Event()

    def flood(exchange):
        hint = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 700 + b"\r\n\r\n"
        while not stop.is_set():
            exchange.send(hint * 20)

    own_backend.script = flood
    client = proxy.client()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.send(render("GET", "/public/x"))
    end = time.monotonic() + 6
    own_backend.wait_requests(1)
    time.sleep(1)
    own_backend.script = lambda exchange: exchange.echo()
    assert proxy.get("/public/others").status == 200, "one flood keeps others out"
    while time.monotonic() < end:
        alive(proxy)
        time.sleep(0.1)
    stop.set()
    try:
        answer = client.response()
        assert answer.status in (502, 504)
    except Closed:
        pass
    client.close()
    alive(proxy)


def test_interim_answers_then_a_final_one(own_backend, start):
    proxy = start(own_backend)
    own_backend.script = lambda exchange: (
        exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10), exchange.echo())
    client = proxy.client()
    client.send(render("GET", "/public/x"))
    statuses = []
    while True:
        answer = client.head()
        statuses.append(answer.status)
        if answer.status >= 200:
            break
    assert statuses == [103] * 10 + [200]


def test_early_answer_to_a_request_that_is_half_sent(start, tmp_path):
    """The backend answers, and goes on answering, before it has read the request: what is left of the request is
    still sent in order, or the connection is given up; no later request is read as the rest of it."""
    # a Unix socket holds about 200 KiB, and less than the head below
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "backend"))
    listener.listen(64)
    streams = []

    def serve(sock, stream):
        try:
            if stream is streams[0]:
                sock.recv(1, socket.MSG_PEEK)  # some of the request is there
                time.sleep(0.3)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
                time.sleep(0.3)
                while not stream.endswith(b"\r\n\r\n"):
                    stream.extend(sock.recv(65536))
                sock.sendall(b"cd")
            while data := sock.recv(65536):
                stream.extend(data)
                if stream.endswith(b"\r\n\r\n"):
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except OSError:
            pass

    def accept():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            streams.append(bytearray())
            threading.Thread(target=serve, args=(sock, streams[-1]), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()

    proxy = start(None, text=BIG_HEADS, path=tmp_path / "backend")
    fields = [(f"X-Fill-{i:03}", "y" * 2000) for i in range(118)]
    with proxy.client() as client:
        client.send(render("GET", "/public/first", fields))
        assert client.response().body == b"abcd"
        for i in range(3):
            with proxy.client() as other:
                assert other.request("GET", f"/public/next-{i}").body == b"ok"
    stop_listening(listener)
    first = bytes(streams[0]).split(b"\r\n\r\n")[:-1]
    assert first and all(head.startswith(b"GET /public/") for head in first), [head[:60] for head in first]
    assert len(first[0]) > 180_000
    assert [line for line in first[0].split(b"\r\n") if line.startswith(b"X-Fill-")] == [
        f"{name}: {value}".encode() for name, value in fields]


BIG_HEADS = """
[limits]
header_bytes = "240KiB"
header_count = 1000

[upstream.backend]
servers = ["unix:{path}"]

[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"
"""


def test_slow_upload_on_a_connection_that_was_idle(own_backend, start):
    """A reused connection's idle deadline must not end the request that is on it now."""
    proxy = start(own_backend, upstream='idle_timeout = "1500ms"')
    assert proxy.get("/public/warm").status == 200
    time.sleep(0.7)
    client = proxy.client()
    client.send(b"POST /public/slow HTTP/1.1\r\nHost: usher.test\r\nContent-Length: 20\r\n\r\n")
    for _ in range(20):
        client.send(b"x")
        time.sleep(0.1)
    answer = client.response("POST")
    assert answer.status == 200, answer.body
    assert answer.json()["body"] == "x" * 20
    client.close()


def test_a_full_queue_of_clients_that_have_left(own_backend, start):
    """Who has left keeps no place in the queue for a connection."""
    proxy = start(own_backend, upstream=ONE_CONNECTION)
    release = threading.Event()
    own_backend.script = lambda exchange: (release.wait(60), exchange.echo())

    def wait_in_queue(count):
        wait_until(lambda: Metrics(proxy)["usher_upstream_waiting", {"upstream": "backend"}] == count)
    busy = proxy.client()
    busy.send(render("GET", "/public/busy"))
    own_backend.wait_requests(1)
    for _ in range(8):
        client = proxy.client()
        client.send(render("GET", "/public/leaves"))
        wait_in_queue(1)
        client.reset()
        wait_in_queue(0)
    waits = proxy.client()
    waits.send(render("GET", "/public/waits"))
    wait_in_queue(1)
    release.set()
    assert waits.response().status == 200
    assert busy.response().status == 200
    assert "/public/leaves" not in [r.target for r in own_backend.requests]
    waits.close()
    busy.close()


@pytest.mark.parametrize("size", [4096, 16384, 65536, 262144])
@pytest.mark.parametrize("around", [-1400, -2, -1, 0, 1, 2])
def test_an_answer_of_about_a_block(proxy, backend, size, around):
    """Head, and head with body, that end just before, at and behind the end of a block."""
    own_backend, target = backend, size + around

    def script(exchange):
        # each short line grows by a space on its way
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + b"X-S:v\r\n" * 200
        count = 0
        while target - len(head) - 2 > 3000:
            line = b"X-P%03d: " % count
            head += line + b"p" * (2000 - len(line)) + b"\r\n"
            count += 1
        rest = target - len(head) - 2
        head += b"X-Q: " + b"q" * (rest - 7) + b"\r\n\r\n"
        assert len(head) == target
        exchange.send(head + b"hello")

    own_backend.script = script
    with proxy.client() as client:
        answer = client.request("GET", "/public/x")
        if size < 65536 or (size == 65536 and around <= 0):
            assert (answer.status, answer.body) == (200, b"hello")
        else:
            assert answer.status in (200, 502)
    own_backend.script = lambda exchange: exchange.reply(200, b"z" * (target - 40))
    with proxy.client() as client:
        assert client.request("GET", "/public/x").body == b"z" * (target - 40)
        assert client.request("GET", "/public/x").body == b"z" * (target - 40)
    alive(proxy)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_words_behind_an_answer_are_no_answer_to_the_next(own_backend, start, method):
    """What a backend says on an idle connection is nobody's, though the next request is there in the same moment."""
    proxy = start(own_backend)
    connections = []

    def script(exchange):
        connections.append(exchange)
        exchange.echo()

    own_backend.script = script
    first, second = proxy.client(), proxy.client()
    assert first.request("GET", "/public/first").status == 200
    assert second.request("GET", "/nowhere").status == 404
    time.sleep(0.1)
    proxy.stand_still()
    second.send(render(method, "/public/second", body=b"" if method == "POST" else None))
    time.sleep(0.1)
    connections[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nJUNK")
    time.sleep(0.1)
    proxy.signal(signal.SIGCONT)
    answer = second.response(method)
    assert (answer.status, answer.json()["target"]) == (200, "/public/second")
    first.close()
    second.close()


def test_no_descriptor_left(own_backend, start):
    """EMFILE at accept and at connect: answers are 503 or late, the process lives, and all is well when it is over."""
    proxy = start(own_backend)
    used = len(proxy.descriptors)
    before = resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (used + 6, before[1]))
    clients = [proxy.client(timeout=3) for _ in range(30)]
    for client in clients:
        client.send(render("GET", "/public/x"))
    statuses = []
    for client in clients:
        try:
            statuses.append(client.response().status)
        except (TimeoutError, Closed, OSError):
            statuses.append(None)
        client.close()
    assert set(statuses) <= {200, 503, None} and 503 in statuses, statuses
    assert proxy.process.poll() is None
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, before)
    end = time.monotonic() + 30
    while proxy.get("/public/after").status != 200:
        assert time.monotonic() < end, "it does not recover"
        time.sleep(0.1)


def test_more_clients_than_connections(own_backend, start):
    """At the limit nobody is accepted, and somebody is as soon as one has gone."""
    proxy = start(own_backend, text=FEW + SMALL)
    idle = [proxy.client() for _ in range(4)]
    for client in idle:
        assert client.request("GET", "/public/x").status == 200
    late = proxy.client()
    late.send(render("GET", "/public/late"))
    assert late.quiet(0.5)
    idle[0].reset()
    assert late.response().status == 200
    for client in idle[1:] + [late]:
        client.close()
    for _ in range(20):
        assert proxy.get("/public/x").status == 200


FEW = """
[limits]
connections = 4
"""


@pytest.mark.parametrize("count", [100, 300])
def test_unasked_words_are_nobodys_answer_in_the_middle_of_a_turn(own_backend, start, count):
    """More requests than a worker writes at the end of a turn, or more events than one wait brings: some go out before it has
    looked at what the kernel tells of their connections, where an answer to nothing lies."""
    sockets, gate = set(), threading.Barrier(count)

    def script(exchange):
        sockets.add(exchange.sock)
        if exchange.request.target == "/public/first":
            gate.wait(60)
        exchange.echo()

    own_backend.script = script
    proxy = start(own_backend, upstream="max_connections = 400\nretries = 1", workers=1)
    clients = [proxy.client() for _ in range(count)]
    for client in clients:
        client.send(render("GET", "/public/first"))
    assert {client.response().status for client in clients} == {200}
    proxy.stand_still()
    for client in clients:
        client.send(render("GET", "/public/next"))
    for sock in sockets:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    time.sleep(0.2)
    proxy.signal(signal.SIGCONT)
    answers = [client.response() for client in clients]
    assert all(b"poison" not in answer.body for answer in answers)
    assert Counter(answer.status for answer in answers)[200] > count // 2, "most find a server with their retry"


def test_an_answer_is_not_taken_for_unasked_words(own_backend, start):
    """A connection ends an answer, is used again and answers again, all before the worker looks at what the kernel told it at
    first: that there is something to read. It is the second answer by then, and no reason for 502."""
    full, end, ended = threading.Event(), threading.Event(), threading.Event()

    def script(exchange):
        if exchange.request.target != "/public/long":
            return exchange.echo()
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        port = exchange.sock.getpeername()[1]
        while not unread_by(port, own_backend.port):
            exchange.send(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")
            time.sleep(0.01)
        full.set()
        end.wait(30)
        exchange.send(b"0\r\n\r\n")
        ended.set()

    own_backend.script = script
    proxy = start(own_backend, upstream="max_connections = 1\nretries = 0")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.connect(("127.0.0.1", proxy.port))
    slow.sendall(render("GET", "/public/long"))
    assert full.wait(30)
    busy = [proxy.client() for _ in range(150)]
    next_client = proxy.client()
    for client in busy + [next_client]:
        assert client.request("GET", "/api/x").status == 401
    proxy.stand_still()
    # What the worker will find, in this order: room for the slow client, a request, many that take it a while, and the
    # end of the answer.
    slow.settimeout(0.3)
    received = b""
    try:
        while piece := slow.recv(65536):
            received += piece
    except TimeoutError:
        pass
    next_client.send(render("GET", "/public/next"))
    time.sleep(0.05)
    for client in busy:
        client.send(render("GET", "/api/x"))
    end.set()
    assert ended.wait(30)
    time.sleep(0.05)
    proxy.signal(signal.SIGCONT)
    assert next_client.response().status == 200
    slow.settimeout(20)
    while not received.endswith(b"0\r\n\r\n"):
        received += slow.recv(65536)
    assert [request.target for request in own_backend.requests] == ["/public/long", "/public/next"]
    assert {request.connection for request in own_backend.requests} == {own_backend.requests[0].connection}
    for client in busy + [next_client, slow]:
        client.close()
