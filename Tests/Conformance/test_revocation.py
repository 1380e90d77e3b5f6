"""Revocation by `jti`, and by `sub` with "issued before": from the watched file and over the admin listener."""

from __future__ import annotations

import json
import os
import resource
import time

import threading

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

from harness import tokens
from harness.configuration import SMALL
from harness.waiting import wait_until
from harness.wire import Client

REVOCATION = SMALL + """
[issuer.other]
issuer = "https://other.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}

[[route]]
path = "/both/**"
auth = ["main", "other"]
upstream = "backend"

[revocation]
{file}
"""


def wait_status(proxy, token, status, path="/api/x"):
    """Whatever worker is asked: one may hear of it a moment after the other."""
    wait_until(lambda: all(proxy.get(path, tokens.bearer(token)).status == status for _ in range(6)), what=f"not {status} in time")
    return proxy.get(path, tokens.bearer(token))


def test_what_was_posted_is_known_again_behind_a_reload_without_the_table(start, own_backend):
    """It counts until the process ends."""
    proxy = start(own_backend, REVOCATION, file="")
    revoked = tokens.token(jti="a")
    assert post(proxy, {"jti": ["a"]}).status == 200
    wait_status(proxy, revoked, 401)
    text = proxy.file.read_text()
    for whole, status in ((text[:text.index("[revocation]")], 200), (text, 401)):
        proxy.file.write_text(whole)
        proxy.signal(1)
        wait_status(proxy, revoked, status)


def write(path, value) -> None:
    """As a careful program does: another file, then a rename."""
    text = value if isinstance(value, str) else json.dumps(value)
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


@pytest.fixture
def watched(start, own_backend, tmp_path):
    file = tmp_path / "revoked.json"
    file.write_text("{}")
    proxy = start(own_backend, REVOCATION, workers=2, file=f'file = "{file}"')
    return proxy, file


def post(proxy, value, headers=(), path="/revocations"):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    with Client(proxy.admin) as client:
        return client.request("POST", path, headers, body, host="127.0.0.1")


def test_a_file_of_another_century(watched):
    """As one is whose machine's clock, or archive, was wrong: its nanoseconds since 1970 are more than 64 bits hold."""
    proxy, file = watched
    for number, year in enumerate((2300, 1600, 2400)):
        write(file, {"jti": [f"t{number}"]})
        os.utime(file, ns=((year - 1970) * 31_556_952 * 10**9,) * 2)
        wait_status(proxy, tokens.token(jti=f"t{number}"), 401)


def test_a_jti_from_the_file_cached_verdict_too(watched):
    proxy, file = watched
    revoked, other = tokens.token(jti="a"), tokens.token(jti="b")
    assert [proxy.get("/api/x", tokens.bearer(t)).status for t in (revoked, revoked, other)] == [200] * 3
    write(file, {"jti": ["a"]})
    answer = wait_status(proxy, revoked, 401)
    assert answer.problem["code"] == "token_invalid"
    proxy.wait_log(detail="token_revoked", reason="token_invalid")
    for _ in range(8):
        assert proxy.get("/api/x", tokens.bearer(revoked)).status == 401
    assert proxy.get("/api/x", tokens.bearer(other)).status == 200
    write(file, {})
    wait_status(proxy, revoked, 200)


def test_a_subject_from_the_file_for_tokens_issued_before(watched):
    proxy, file = watched
    now = int(time.time())
    old, new = tokens.token(iat=now - 100), tokens.token(iat=now - 50)
    undated, other = tokens.token(iat=...), tokens.token("HS256", subject="bob", iat=now - 100)
    assert {proxy.get("/api/x", tokens.bearer(t)).status for t in (old, new, undated, other)} == {200}
    write(file, {"sub": {"alice": now - 50}})
    wait_status(proxy, old, 401)
    wait_status(proxy, undated, 401)
    assert {proxy.get("/api/x", tokens.bearer(t)).status for t in (new, other)} == {200}


def test_j8_a_jti_of_one_issuer(watched):
    proxy, file = watched
    main, other = tokens.token(jti="a"), tokens.token(jti="a", issuer="https://other.test")
    write(file, {"jti": [{"iss": "https://other.test", "jti": "a"}]})
    wait_status(proxy, other, 401, "/both/x")
    assert proxy.get("/both/x", tokens.bearer(main)).status == 200


@pytest.mark.parametrize("text", ["", "[]", '{"jti": "a"}', '{"jti": [1]}', '{"sub": ["a"]}', '{"sub": {"a": "1"}}',
                                  '{"jit": []}', '{"jti": [], "jti": []}', '{"jti": [{"jti": "a"}]}'])
def test_a_file_that_is_not_understood_leaves_the_old_list(watched, text):
    proxy, file = watched
    revoked = tokens.token(jti="a")
    write(file, {"jti": ["a"]})
    wait_status(proxy, revoked, 401)
    write(file, text)
    proxy.wait_said("revocations not changed")
    assert proxy.get("/api/x", tokens.bearer(revoked)).status == 401
    file.unlink()
    time.sleep(0.4)
    assert proxy.get("/api/x", tokens.bearer(revoked)).status == 401


def test_a_list_that_has_become_a_pipe_stops_nothing(watched):
    """Nobody writes to it: whoever waited for that would wait for ever, and with it the admin pages, checks and signals."""
    proxy, file = watched
    bad, later = (tokens.token(jti=jti) for jti in ["bad", "later"])
    write(file, {"jti": ["bad"]})
    wait_status(proxy, bad, 401)
    os.mkfifo(file.with_suffix(".pipe"))
    os.replace(file.with_suffix(".pipe"), file)
    proxy.wait_said("the list cannot be read")
    assert proxy.ready() and proxy.get("/api/x", tokens.bearer(bad)).status == 401
    write(file, {"jti": ["bad", "later"]})
    wait_status(proxy, later, 401)


def test_a_list_that_no_descriptor_was_left_for_is_read_later(watched):
    """It has not changed again, and counts all the same."""
    proxy, file = watched
    revoked = tokens.token(jti="a")
    assert proxy.get("/api/x", tokens.bearer(revoked)).status == 200
    limits = resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    write(file, {"jti": ["a"]})
    proxy.wait_said("revocations not changed")
    time.sleep(0.6)
    assert bytes(proxy.errors).count(b"revocations not changed") == 1
    resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, limits)
    wait_status(proxy, revoked, 401)


def test_a_post_counts_for_the_next_request(start, own_backend):
    proxy = start(own_backend, REVOCATION, file="")
    revoked, other = tokens.token(jti="a"), tokens.token(subject="bob")
    assert proxy.get("/api/x", tokens.bearer(revoked)).status == 200
    assert post(proxy, {"jti": ["a"]}).status == 200
    wait_status(proxy, revoked, 401)
    assert proxy.get("/api/x", tokens.bearer(other)).status == 200
    assert post(proxy, {"sub": {"bob": int(time.time()) + 1}}).status == 200
    wait_status(proxy, other, 401)
    assert proxy.get("/api/x", tokens.bearer(revoked)).status == 401, "what was posted before stays"
    assert b"usher_revocations 2\n" in proxy.admin_request("/metrics").body


def test_a_post_survives_a_reload_and_joins_the_file(watched):
    proxy, file = watched
    posted, written = tokens.token(jti="a"), tokens.token(jti="b")
    assert post(proxy, {"jti": ["a"]}).status == 200
    write(file, {"jti": ["b"]})
    wait_status(proxy, written, 401)
    proxy.signal(1)
    proxy.wait_said("configuration reloaded")
    for _ in range(10):
        assert {proxy.get("/api/x", tokens.bearer(t)).status for t in (posted, written)} == {401}


def test_a_large_post(start, own_backend):
    proxy = start(own_backend, REVOCATION, file="")
    assert post(proxy, {"jti": [f"token-number-{n}" for n in range(9000)]}).status == 200
    wait_status(proxy, tokens.token(jti="token-number-8999"), 401)
    assert post(proxy, b"[" * 300_000).status == 413


def test_f9_a_browser_cannot_revoke(start, own_backend):
    proxy = start(own_backend, REVOCATION, file="")
    for name, value in [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")]:
        assert post(proxy, {"jti": ["a"]}, {name: value}).status == 403
    assert proxy.get("/api/x", tokens.bearer(tokens.token(jti="a"))).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"jti":["a"]}x', b'{"other":1}', b"jti=a"])
def test_a_post_that_is_not_understood(start, own_backend, body):
    proxy = start(own_backend, REVOCATION, file="")
    assert post(proxy, body).status == 400
    assert proxy.get("/api/x", tokens.bearer(tokens.token(jti="a"))).status == 200


def test_without_the_table_nothing_can_be_revoked(start, own_backend):
    proxy = start(own_backend)
    assert post(proxy, {"jti": ["a"]}).status == 404
    assert post(proxy, {}, path="/metrics").status == 405


# ---- open streams

STREAMS = REVOCATION + """
[upstream.sockets]
servers = ["127.0.0.1:{sockets}"]

[[route]]
path = "/ws/**"
auth = "main"
upstream = "sockets"
"""


@pytest.fixture
def streaming(start, own_backend):
    def echo(socket):
        for message in socket:
            socket.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield start(own_backend, STREAMS, file="", sockets=server.socket.getsockname()[1])
        server.shutdown()


def test_an_open_event_stream_ends_when_its_token_is_revoked(start, own_backend):
    """Server-sent events: the answer is cut at once, not at the next event."""
    def events(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                      b"9\r\ndata: 1\n\n\r\n")
        exchange.gone(30)

    own_backend.script = events
    proxy = start(own_backend, REVOCATION, file="")
    with proxy.client() as client:
        client.send(f"GET /api/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {tokens.token(jti='sse')}\r\n\r\n".encode())
        received = b""
        while b"data: 1" not in received:
            received += client.sock.recv(4096)
        # A short answer that is under way is let finish; this one lasts.
        time.sleep(1.2)
        asked = time.monotonic()
        assert post(proxy, {"jti": ["sse"]}).status == 200
        client.sock.settimeout(20)
        try:
            rest = b"".join(iter(lambda: client.sock.recv(4096), b""))
        except ConnectionResetError:
            rest = b""
        assert time.monotonic() - asked < 15, "the backend would go on for thirty seconds"
        assert not rest.endswith(b"0\r\n\r\n"), "cut, so that nobody takes it for whole"
    assert proxy.wait_log(path="/api/x", detail="token_revoked")["reason"] == "token_invalid"


def test_an_open_websocket_ends_when_its_token_is_revoked(streaming):
    url = f"ws://127.0.0.1:{streaming.port}/ws/x"
    revoked, other = tokens.token(jti="a"), tokens.token(jti="b")
    with connect(url, additional_headers=tokens.bearer(revoked)) as ending, \
            connect(url, additional_headers=tokens.bearer(other)) as staying:
        for socket in (ending, staying):
            socket.send("hello")
            assert socket.recv(timeout=20) == "hello"
        assert post(streaming, {"jti": ["a"]}).status == 200
        with pytest.raises(ConnectionClosed) as closed:
            ending.recv(timeout=20)
        assert closed.value.rcvd.code == 1008 and closed.value.rcvd.reason == "the token was revoked"
        assert streaming.wait_log(path="/ws/x", detail="token_revoked")["reason"] == "token_invalid"
        staying.send("again")
        assert staying.recv(timeout=20) == "again"


@pytest.mark.parametrize("was_there", [True, False])
def test_an_open_websocket_ends_when_a_reload_revokes_its_token(streaming, tmp_path, was_there):
    """The list that comes with the new settings is no news to whoever polls the file, and news to the stream."""
    file = tmp_path / "revoked.json"
    file.write_text("{}")
    text = streaming.file.read_text().replace("[revocation]", f'[revocation]\nfile = "{file}"')
    if was_there:
        streaming.file.write_text(text)
        reload(streaming)
    url = f"ws://127.0.0.1:{streaming.port}/ws/x"
    with connect(url, additional_headers=tokens.bearer(tokens.token(jti="a"))) as ending, \
            connect(url, additional_headers=tokens.bearer(tokens.token(jti="b"))) as staying:
        for socket in (ending, staying):
            socket.send("hello")
            assert socket.recv(timeout=20) == "hello"
        write(file, {"jti": ["a"]})
        streaming.file.write_text(text)
        reload(streaming)
        with pytest.raises(ConnectionClosed) as closed:
            ending.recv(timeout=20)
        assert closed.value.rcvd.code == 1008 and closed.value.rcvd.reason == "the token was revoked"
        staying.send("again")
        assert staying.recv(timeout=20) == "again"


def test_a_list_that_changes_is_no_reload(start, own_backend, tmp_path):
    """With `watch` neither: two reloads would end the streams of those who are not in it."""
    file = tmp_path / "revoked.json"
    file.write_text("{}")

    def echo(socket):
        for message in socket:
            socket.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = start(own_backend, STREAMS, preamble="watch = true\n", file=f'file = "{file}"', sockets=server.socket.getsockname()[1])
        with connect(f"ws://127.0.0.1:{proxy.port}/ws/x", additional_headers=tokens.bearer(tokens.token(jti="mine"))) as staying:
            revoked: list[str] = []
            for name in ("a", "b", "c"):
                revoked.append(name)
                write(file, {"jti": revoked})
                wait_until(lambda: proxy.errors.count(b"revocations loaded") == len(revoked))
                # Longer than it takes to see that a file stays as it is.
                time.sleep(1)
                staying.send(name)
                assert staying.recv(timeout=20) == name
            assert b"configuration reloaded" not in proxy.errors
            # What else the file says is watched as before.
            write(proxy.file, proxy.file.read_text() + "\n")
            proxy.wait_said(b"configuration reloaded")
        server.shutdown()


def reload(proxy) -> None:
    before = bytes(proxy.errors).count(b"configuration reloaded")
    proxy.signal(1)
    end = time.monotonic() + 20
    while bytes(proxy.errors).count(b"configuration reloaded") == before:
        assert time.monotonic() < end
        time.sleep(0.02)
