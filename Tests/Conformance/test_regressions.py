"""Faults that were found once, each kept as it was found."""

import contextlib
import signal
import socket
import threading
import time

import pytest

from harness import configuration
from harness.process import allocate, command, environment
from harness.tokens import bearer, token
from harness.waiting import wait_until
from harness.wire import Client, render


def read_all(sock) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def test_target_limit_beyond_what_a_target_can_have(tmp_path):
    """It passed `check` and trapped at the start, and at a reload of a proxy that served."""
    file = tmp_path / "usher.toml"
    file.write_text(configuration.PREAMBLE.format(workers=1, port=8080, admin=8081, listen="")
                    + configuration.SMALL.format(backend=1, upstream="")
                    + '\n[limits]\nheader_bytes = "128KiB"\ntarget_bytes = "100KiB"\n')
    done = command("check", "--config", file, env=environment())
    assert done.returncode == 1 and "target_bytes" in done.stderr + done.stdout


def test_method_of_another_client_does_not_decide_on_a_body(proxy):
    """After one client's HEAD, another's malformed request got a 400 that announced a body and had none."""
    with proxy.client() as first:
        assert first.request("HEAD", "/nothing").status == 404
    with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
        sock.sendall(b"GET /x HTTP/1.1\nHost: a\r\n\r\n")
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400") and b'"bad_request"' in body


def test_a_question_about_a_head_request_has_a_body(start, own_backend):
    """The refusal of a forward-auth question about HEAD announced a body that never came."""
    port, _ = allocate()
    start(own_backend, configuration.SMALL + """
[listen.verify]
address = "127.0.0.1:{verify}"
mode = "forward-auth"
trusted_proxies = ["127.0.0.1/32"]
""", verify=port)
    with Client(port) as client:
        for _ in range(2):
            answer = client.request("GET", "/", {
                "X-Forwarded-Method": "HEAD", "X-Forwarded-Uri": "/api/x", "X-Forwarded-Host": "a"})
            assert answer.status == 401 and answer.problem["code"] == "token_missing"


def test_half_closed_client_gets_a_slow_answer_whole(start, own_backend):
    """The grace period of a client that shuts its sending direction went on when the answer had begun."""
    def slow(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
        for _ in range(3):
            exchange.send(b"0123456789")
            time.sleep(0.8)

    own_backend.script = slow
    proxy = start(own_backend)
    with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
        sock.sendall(render("GET", "/public/x"))
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).endswith(b"0123456789" * 3)


def test_half_closed_client_that_reads_slowly_gets_its_answer_whole(start, own_backend):
    """Its grace period went on while the answer waited for it: whoever takes longer than a second for what no kernel holds was
    cut off."""
    def large(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (32 << 20))
        with contextlib.suppress(OSError):
            for _ in range(32 * 16):
                exchange.send(b"x" * 65536)

    own_backend.script = large
    proxy = start(own_backend)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", proxy.port))
        sock.sendall(render("GET", "/public/x"))
        sock.shutdown(socket.SHUT_WR)
        time.sleep(3)
        count = 0
        while piece := sock.recv(1 << 20):
            count += len(piece)
        assert count > 32 << 20, proxy.wait_log(path="/public/x")


def test_a_reload_that_failed_does_not_lock_out_the_next(start, own_backend, tmp_path):
    """It had taken over a new admin address before the log's path failed, and tripped over its own socket after."""
    proxy = start(own_backend, folder=tmp_path)
    good = proxy.file.read_text()
    _, other = allocate()
    proxy.file.write_text(good.replace(f":{proxy.admin}", f":{other}").replace('"stdout"', '"/nonexistent/x.log"'))
    proxy.signal(signal.SIGHUP)
    proxy.wait_said("not changed")
    proxy.file.write_text(good.replace("/public/**", "/open/**"))
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: proxy.get("/open/x").status == 200)
    assert proxy.admin_request("/livez").status == 200


def test_own_host_is_the_name_in_the_file(start, own_backend):
    """preserve_host = false sent the address that the name has, not the name."""
    text = configuration.SMALL.replace("127.0.0.1:{backend}", "localhost:{backend}")
    proxy = start(own_backend, text, upstream="preserve_host = false")
    assert proxy.get("/public/x").status == 200
    assert own_backend.last.headers.all("host") == [f"localhost:{own_backend.port}"]


def test_time_out_of_a_head_names_the_request(start, own_backend):
    """The 408 had an empty X-Request-Id."""
    proxy = start(own_backend, configuration.SMALL + '\n[limits]\nheader_timeout = "300ms"\n')
    with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
        sock.sendall(b"GET /public/x HTT")
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 408")
    name = next(line for line in answer.split(b"\r\n") if line.lower().startswith(b"x-request-id:"))
    assert len(name.split(b":")[1].strip()) == 32


def test_requests_in_the_kernel_are_served_by_a_drain(start, own_backend):
    """A drain closed connections whose request had arrived but was not read yet."""
    proxy = start(own_backend)
    clients = [proxy.client() for _ in range(20)]
    for client in clients:
        assert client.request("GET", "/public/x").status == 200
    proxy.stand_still()
    for client in clients:
        client.send(render("GET", "/public/last"))
    proxy.process.send_signal(signal.SIGTERM)
    proxy.process.send_signal(signal.SIGCONT)
    assert [client.response().status for client in clients] == [200] * 20
    assert proxy.wait() == 0


@pytest.mark.parametrize("target, raw, detail", [
    ("/api/bob", None, None), (None, b"GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n", "dot_segment"),
    (None, b"GET /a HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", "whitespace_before_colon")])
def test_log_says_who_and_why(proxy, target, raw, detail):
    """A 403 did not name the user, a 400 did not name the rule."""
    if target:
        answer = proxy.get("/api/bob/tasks/1", bearer(token()))
        assert answer.status == 403
        assert proxy.wait_log(request_id=answer.headers.get("x-request-id"))["user"] == "alice"
        return
    with socket.create_connection(("127.0.0.1", proxy.port)) as sock:
        sock.sendall(raw)
        answer = read_all(sock)
    name = next(line for line in answer.split(b"\r\n") if line.lower().startswith(b"x-request-id:"))
    assert proxy.wait_log(request_id=name.split(b":")[1].strip().decode())["detail"] == detail


def test_the_end_of_a_body_waits_for_a_slow_backend(start, own_backend, tmp_path):
    """The last piece of a body that the backend's socket did not take was taken for sent: it never came, and the request
    ended with 504 (found by Tests/Simulation)."""
    # One of these is a little more than a Unix socket takes while nobody reads.
    near, far = socket.socketpair(socket.AF_UNIX)
    with near, far:
        near.setblocking(False)
        taken = 0
        with pytest.raises(BlockingIOError):
            while True:
                taken += near.send(bytes(16_384))
    sizes = range(taken - 6_000, taken + 30_000, 2_000)
    got = []

    def serve(listener):
        for _ in sizes:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(20)
                time.sleep(0.1)
                data = b""
                while not data.endswith(b"\r\n0\r\n\r\n"):
                    data += sock.recv(65536)
                got.append(data.count(b"x"))
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "backend"))
        listener.listen(8)
        text = configuration.SMALL.replace("127.0.0.1:{backend}", f"unix:{tmp_path}/backend")
        proxy = start(own_backend, text)
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        with Client(proxy.port) as client:
            for size in sizes:
                client.send(b"POST /public/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                            + b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size))
                assert client.response().status == 200, f"{size} bytes"
    assert got == list(sizes)
