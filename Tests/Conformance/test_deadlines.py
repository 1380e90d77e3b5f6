"""Slowness in all its forms (RFC 9110 §15.5.9, and what is called slowloris): each ends at its deadline, and good
clients are served meanwhile."""

import contextlib
import signal
import socket
import threading
import time

import pytest

from harness import configuration
from harness.delivery import unread_by
from harness.http2 import Connection, get
from harness.metrics import Metrics
from harness.waiting import wait_until
from harness.wire import render

LIMITS = """
[limits]
header_timeout = "600ms"
body_timeout = "600ms"
idle_timeout = "600ms"
"""


@pytest.fixture
def quick(start, own_backend):
    return start(own_backend, configuration.SMALL + LIMITS)


def connect(proxy, receive_bytes: int | None = None) -> socket.socket:
    sock = socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(20)
    sock.connect(("127.0.0.1", proxy.port))
    return sock


def read_to_the_end(sock) -> bytes:
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


def drip(sock, data: bytes, pause: float = 0.1) -> None:
    try:
        for at in range(len(data)):
            sock.sendall(data[at:at + 1])
            time.sleep(pause)
    except OSError:
        pass


def test_silent_connection(quick):
    """Between two requests the close is silent."""
    with connect(quick) as sock:
        started = time.monotonic()
        assert read_to_the_end(sock) == b"" and 0.4 < time.monotonic() - started < 10


def test_head_that_drips(quick):
    """The deadline of a head counts from its first byte: bytes that keep coming do not move it."""
    with connect(quick) as sock:
        started = time.monotonic()
        threading.Thread(target=drip, args=(sock, render("GET", "/public/x")), daemon=True).start()
        answer = read_to_the_end(sock)
        assert answer.startswith(b"HTTP/1.1 408") and b"request_timeout" in answer
        assert 0.4 < time.monotonic() - started < 9, "the default is ten seconds"
    quick.assert_nothing_arrived()


@pytest.mark.parametrize("framing, first", [("Content-Length: 10", b"abc"), ("Transfer-Encoding: chunked", b"5\r\nabc"),
                                            ("Transfer-Encoding: chunked", b"5\r\nabcde\r\n")])
def test_body_that_stops(quick, framing, first):
    with connect(quick) as sock:
        started = time.monotonic()
        sock.sendall(f"POST /public/x HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode() + first)
        assert read_to_the_end(sock).startswith(b"HTTP/1.1 408")
        assert 0.4 < time.monotonic() - started < 9, "the default is ten seconds"


def test_body_that_drips_ends_with_the_exchange(start, own_backend):
    """Each pause is short enough: only the deadline of the whole exchange ends it."""
    text = configuration.SMALL.replace('path = "/public/**"', 'path = "/public/**"\ntimeout = "900ms"')
    proxy = start(own_backend, text + LIMITS.replace("600ms", "4s"))
    with connect(proxy) as sock:
        started = time.monotonic()
        sock.sendall(b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        threading.Thread(target=drip, args=(sock, b"x" * 1000), daemon=True).start()
        assert read_to_the_end(sock).startswith((b"HTTP/1.1 408", b"HTTP/1.1 504"))
        assert 0.7 < time.monotonic() - started < 10


def endless(exchange):
    """Answers as long as it is let."""
    with contextlib.suppress(OSError):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            exchange.send(b"x" * 65536)


def test_client_that_does_not_read(start, own_backend):
    """The backend is held back, and the client is cut off; it never sees an end that looks whole."""
    own_backend.script = endless
    proxy = start(own_backend, configuration.SMALL + LIMITS)
    with connect(proxy, receive_bytes=4096) as sock:
        sock.sendall(render("GET", "/public/x"))
        line = proxy.wait_log(path="/public/x")
        assert line["reason"] in ("request_timeout", "client_closed") and line["bytes"] < 100_000_000
        assert len(read_to_the_end(sock)) < 100_000_000


def trickle(sock):
    """Sends a byte every now and then, and reads nothing."""
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(b"G")
            time.sleep(0.1)


@pytest.mark.parametrize("request_bytes", [
    render("GET", "/public/x"),
    # Two pauses at once, one of either body: each ends for itself, though the upload goes on.
    b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n",
], ids=["bytes behind the request", "an upload"])
def test_client_that_sends_but_does_not_read(start, own_backend, request_bytes):
    """What it sends is no reason to wait longer for it to read."""
    own_backend.script = endless
    proxy = start(own_backend, configuration.SMALL + LIMITS)
    with connect(proxy, receive_bytes=4096) as sock:
        started = time.monotonic()
        sock.sendall(request_bytes)
        threading.Thread(target=trickle, args=(sock,), daemon=True).start()
        line = proxy.wait_log(path="/public/x")
        assert line["reason"] == "request_timeout" and time.monotonic() - started < 15


def test_server_that_does_not_read_while_the_client_sends(start, own_backend):
    """The upload stands still for the server's sake: bytes that still come do not make it go on."""
    released = threading.Event()
    own_backend.script = lambda exchange: (released.wait(200), exchange.close())
    own_backend.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    text = configuration.SMALL.replace('path = "/public/**"', 'path = "/public/**"\nmax_body = "100MiB"')
    proxy = start(own_backend, text + LIMITS)

    def stands_still(path) -> bool:
        with connect(proxy) as sock:
            sock.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" % path.encode())
            idle = 0
            while idle < 5:  # the proxy reads no more, and there is room for more
                idle = idle + 1 if unread_by(proxy.port, sock.getsockname()[1]) else 0
                if not idle:
                    try:
                        sock.sendall(b"x" * 65536)
                    except OSError:  # on a busy machine its time is up before
                        break
                time.sleep(0.01)
            threading.Thread(target=trickle, args=(sock,), daemon=True).start()

            def reasons():
                return [line["reason"] for line in proxy.log_lines() if line["path"] == path]
            with contextlib.suppress(AssertionError):
                wait_until(reasons, 15)
            return reasons() == ["upstream_timeout"]

    # Half a second later the kernel may find room for more by itself: then the upload goes on, and it was no trial.
    assert any(stands_still(f"/public/{n}") for n in range(8))
    released.set()


DEAF = """
[limits]
body_timeout = "1h"

[upstream.backend]
servers = ["unix:{path}"]
response_timeout = "2s"

[[route]]
path = "/public/**"
auth = "none"
timeout = "off"
upstream = "backend"
"""


@pytest.fixture
def deaf(start, tmp_path):
    """A proxy before a server that ends its reading side in the middle of an upload, and an event that says so. It answers
    a request for /public/answer, and is silent about others."""
    is_deaf, over = threading.Event(), threading.Event()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "backend"))
    listener.listen(64)

    def serve():
        with listener, listener.accept()[0] as sock:
            head = b""
            while b"\r\n\r\n" not in head or b"some" not in head:
                head += sock.recv(65536)
            sock.shutdown(socket.SHUT_RD)
            is_deaf.set()
            if head.startswith(b"POST /public/answer "):
                sock.sendall(b"HTTP/1.1 413 Too Much\r\nContent-Length: 6\r\n\r\nenough")
            over.wait(60)

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    yield start(None, DEAF, path=tmp_path / "backend", listen='protocols = ["h2", "http/1.1"]'), is_deaf
    over.set()
    server.join(20)


@pytest.mark.parametrize("path,status,reason", [
    ("/public/silent", 504, "upstream_timeout"), ("/public/answer", 413, "ok")])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_server_that_ends_its_reading_side_in_an_upload(deaf, version, path, status, reason):
    """Nothing more can be sent: `response_timeout` begins then, and an answer is relayed if there is one."""
    proxy, is_deaf = deaf
    if version == "HTTP/2":
        with Connection(proxy.port) as client:
            size = "content-length", "1000000"
            stream = client.start(get(path, "POST", "usher.test", "http", size), end=False)
            client.data(stream, b"some")
            assert is_deaf.wait(20)
            client.data(stream, b"x" * 32768)
            answer = client.answer(stream)
    else:
        with proxy.client() as client:
            client.send(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome" % path.encode())
            assert is_deaf.wait(20)
            client.try_send(b"x" * 32768)
            answer = client.response("POST")
    assert answer.status == status, answer.body
    assert proxy.wait_log(path=path)["reason"] == reason


def test_who_only_listens_for_a_while_is_not_cut_off(start, own_backend):
    """A call in both directions: the client has more to send and waits, while the server goes on."""
    def tell(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(14):
            exchange.send(b"1\r\nx\r\n")
            time.sleep(0.5)
        assert exchange.read_body() == b"hello"
        exchange.send(b"0\r\n\r\n")

    own_backend.script = tell
    proxy = start(own_backend, configuration.SMALL + LIMITS.replace("600ms", "4s"))
    with proxy.client() as client:
        client.send(b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
        time.sleep(6.5)
        client.send(b"lo")
        answer = client.response()
        assert answer.status == 200 and answer.body == b"x" * 14


def megabytes(count: int):
    """Answers with so many, as fast as they are taken."""
    def script(exchange):
        with contextlib.suppress(OSError):
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (count << 20))
            for _ in range(count * 16):
                exchange.send(b"x" * 65536)
    return script


def test_who_reads_slowly_and_owes_a_body_is_not_cut_off(start, own_backend):
    """As above, of an answer that comes faster than the client takes it: that it takes it is what counts."""
    own_backend.script = megabytes(32)
    proxy = start(own_backend, configuration.SMALL + LIMITS.replace("600ms", "4s"))
    with connect(proxy, receive_bytes=65536) as sock:
        sock.sendall(b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
        started, count = time.monotonic(), 0
        while piece := sock.recv(65536):
            count += len(piece)
            # Nothing is waited for that comes late: it only takes its time, more than twice that of a pause.
            time.sleep(max(0, started + 9 * count / (32 << 20) - time.monotonic()))
        assert count > 32 << 20, proxy.wait_log(path="/public/x")


@pytest.mark.parametrize("request_bytes", [
    render("GET", "/public/x"), b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel",
], ids=["a whole request", "one that owes a body"])
def test_who_reads_slowly_without_a_pause_is_not_cut_off(start, own_backend, request_bytes):
    """The kernel asks for more only when a third of its megabytes has gone: between two writes lies more than `body_timeout`."""
    own_backend.script = megabytes(16)
    proxy = start(own_backend, configuration.SMALL + LIMITS.replace("600ms", "3s"))
    with connect(proxy, receive_bytes=65536) as sock:
        sock.sendall(request_bytes)
        started, count = time.monotonic(), 0
        while time.monotonic() - started < 8:
            count += len(sock.recv(6554))
            time.sleep(0.05)
        count += len(read_to_the_end(sock))
    assert count > 16 << 20, proxy.wait_log(path="/public/x")


def test_a_server_that_reads_slowly_without_a_pause_gets_it_all(start, own_backend):
    """The same for an upload."""
    size = 12_000_000
    own_backend.recording = False
    own_backend.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

    def script(exchange):
        started, count = time.monotonic(), len(exchange.reader.buffer)
        while count < size:
            is_slow = time.monotonic() - started < 8
            count += len(exchange.sock.recv(6554 if is_slow else 1 << 20))
            time.sleep(0.05 if is_slow else 0)
        exchange.request.complete = True
        exchange.reply(200, b"all")

    own_backend.script = script
    text = configuration.SMALL.replace('path = "/public/**"', 'path = "/public/**"\nmax_body = "100MiB"')
    proxy = start(own_backend, text + LIMITS.replace("600ms", "3s"))
    with proxy.client() as client:
        client.send(b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        client.try_send(b"x" * size)
        assert client.response("POST").status == 200, proxy.wait_log(path="/public/x")


def uploading(sock, stop: threading.Event) -> None:
    """Goes on with a body that nobody wants any more, a little at a time."""
    with contextlib.suppress(OSError):
        while not stop.wait(0.1):
            sock.sendall(b"x")


@pytest.mark.parametrize("seconds", [6, 0], ids=["who reads slowly", "who does not read"])
def test_an_early_answer_is_left_to_a_client_that_goes_on_sending(start, own_backend, seconds):
    """RFC 9112, 9.6: closed after two seconds, with a body that still comes, the connection was reset, and what the kernel
    had of the answer was destroyed. Who takes none of it has as long as for any other."""
    size = 1 << 20
    own_backend.script = lambda exchange: (exchange.reply(200, b"x" * size), exchange.close())
    proxy = start(own_backend, configuration.SMALL + LIMITS.replace("600ms", "3s"))
    stop = threading.Event()
    with connect(proxy, receive_bytes=32768) as sock:
        sock.sendall(b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nhel")
        thread = threading.Thread(target=uploading, args=(sock, stop))
        thread.start()
        try:
            proxy.wait_log(path="/public/x")
            if not seconds:
                return wait_until(lambda: Metrics(proxy)["usher_connections_open"] == 0)
            started, count = time.monotonic(), 0
            with contextlib.suppress(ConnectionResetError):
                while piece := sock.recv(16384):
                    count += len(piece)
                    time.sleep(max(0, started + seconds * count / size - time.monotonic()))
            assert count > size
        finally:
            stop.set()
            thread.join()


def test_an_answer_that_comes_with_its_deadline_leaves_the_next_request_alone(start, own_backend):
    """A process that stood still sees what came in time before it looks at the clock. The deadline that has passed by then
    was the first request's, which is answered."""
    asked, go = threading.Event(), threading.Event()

    def script(exchange):
        if exchange.request.target == "/public/first":
            asked.set()
            go.wait(20)
        exchange.echo()
    own_backend.script = script
    text = configuration.SMALL.replace('path = "/public/**"', 'path = "/public/**"\ntimeout = "3s"')
    proxy = start(own_backend, text)
    with proxy.client() as client:
        client.send(render("GET", "/public/first") + render("GET", "/public/second"))
        assert asked.wait(20)
        proxy.stand_still()
        go.set()
        time.sleep(3.2)
        proxy.signal(signal.SIGCONT)
        assert [client.response().status for _ in range(2)] == [200, 200]


def test_good_clients_are_served_meanwhile(start, own_backend):
    """300 slow clients of every kind hold connections, and nothing else."""
    proxy = start(own_backend, configuration.SMALL + LIMITS.replace("600ms", "3s"))
    starts = [b"", b"G", b"GET /public/x HTTP/1.1\r\n", b"POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab"]
    slow = [connect(proxy) for _ in range(300)]
    for at, sock in enumerate(slow):
        sock.sendall(starts[at % 4])
    with proxy.client() as client:
        times = []
        for _ in range(50):
            started = time.monotonic()
            assert client.request("GET", "/public/good").status == 200
            times.append(time.monotonic() - started)
    assert sorted(times)[45] < 1.5
    for sock in slow:
        read_to_the_end(sock)
        sock.close()
