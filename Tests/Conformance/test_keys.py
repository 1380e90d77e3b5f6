"""Keys from the network: fetching, refreshing, rotating, and everything that can go wrong on the way."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import threading
import time

import pytest

from harness import tokens
from harness.configuration import SMALL
from harness.keyserver import Authority, KeyServer, key_set, response, signed
from harness.ports import free_port
from harness.process import command
from harness.servers import with_hosts
from harness.waiting import wait_until
from harness.wire import Client

ISSUER = """
[issuer.{name}]
issuer = "{issuer}"
audience = ["https://api.test"]
jwks = {{ url = "{url}", refresh = "{refresh}", cooldown = "{cooldown}", stale_for = "{stale_for}"{ca} }}
algorithms = ["ES256"]
"""

ROUTES = SMALL.replace('auth = "main"', "auth = [{names}]")


def issuer(url, name="keys", issuer="https://keys.test", refresh="10m", cooldown="1s", stale_for="1h", ca="") -> str:
    return ISSUER.format(
        name=name, issuer=issuer, url=url, refresh=refresh, cooldown=cooldown, stale_for=stale_for,
        ca=f', ca = "{ca}"' if ca else "")


def configuration(*issuers: str) -> str:
    names = ["main"] + [re.search(r"\[issuer\.(\w+)\]", text)[1] for text in issuers]
    text = "".join(text.replace("{", "{{").replace("}", "}}") for text in issuers)
    return text + ROUTES.replace("{names}", ", ".join(f'"{name}"' for name in names))


@pytest.fixture
def server():
    with KeyServer() as running:
        running.publish("one")
        yield running


def get(proxy, token: str, path="/api/x"):
    return proxy.get(path, tokens.bearer(token))


def wait_for(condition, what="it"):
    wait_until(condition, what=f"{what} did not come in time")


def log_of(proxy) -> str:
    return bytes(proxy.errors).decode()


# ---- fetching


def test_keys_are_fetched_and_used(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url)))
    proxy.assert_arrived(get(proxy, signed("one")), "alice")
    assert server.requests == ["/jwks"]
    head = server.heads[0].decode().lower()
    assert f"host: 127.0.0.1:{server.port}\r\n" in head and "authorization" not in head
    assert get(proxy, signed("one", owner="evil")).status == 401
    wait_for(lambda: '"keys loaded"' in log_of(proxy))


NUMBERS = ["9223372036854775807", "-9223372036854775808", "99999999999999999999", "-1", "1e3", ""]


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_J17_no_number_in_a_key_servers_head_does_harm(start, own_backend, server, number):
    """Whatever it says of times: the answer counts, and the proxy lives (what overflows would end the process)."""
    server.publish(
        "one", Date=f"Sun, 06 Nov 1994 {number}:{number}:{number} GMT", Age=number, Retry_After=number,
        Cache_Control=f"max-age={number}, s-maxage={number}", Expires=f"Sun, {number} Nov {number} 08:49:37 GMT")
    proxy = start(own_backend, configuration(issuer(server.url)))
    proxy.assert_arrived(get(proxy, signed("one")), "alice")
    assert proxy.process.poll() is None


def test_a_name_is_looked_up(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(f"http://localhost:{server.port}/jwks")))
    assert get(proxy, signed("one")).status == 200


def test_ipv6(start, own_backend):
    try:
        running = KeyServer(host="[::1]")
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    with running:
        running.publish("one")
        proxy = start(own_backend, configuration(issuer(running.url)))
        assert get(proxy, signed("one")).status == 200


def test_start_does_not_wait_for_keys_but_readiness_does(start, own_backend, server):
    gate = threading.Event()

    def slow(connection, _):
        gate.wait(60)
        connection.sendall(response(key_set("one")))

    server.answer = slow
    proxy = start(own_backend, configuration(issuer(server.url)), wait=False)
    server.wait_requests(1)
    # The key server is asked while workers start.
    wait_for(lambda: proxy.admin_request("/readyz").body != b"starting\n", what="a start")
    answer = proxy.admin_request("/readyz")
    assert answer.status == 503 and b"keys of keys" in answer.body
    asked = command("healthcheck", "--url", f"http://127.0.0.1:{proxy.admin}")
    assert asked.returncode == 1 and asked.stdout.endswith("answered 503: waiting for the keys of keys\n"), asked
    assert proxy.get("/public/x").status == 200
    assert get(proxy, tokens.token()).status == 200, "another issuer is not touched"
    gate.set()
    wait_for(proxy.ready, what="readiness")
    assert get(proxy, signed("one")).status == 200


def test_nobody_waits_for_the_keys_of_an_issuer_that_no_route_names(start, own_backend, server):
    server.answer = lambda connection, _: connection.close()
    proxy = start(own_backend, configuration(issuer(server.url)).replace('["main", "keys"]', '"main"'))
    assert proxy.admin_request("/readyz").status == 200
    wait_for(lambda: "keys could not be fetched" in log_of(proxy), what="an attempt")
    assert b"usher_keys{" not in proxy.admin_request("/metrics").body, "nothing to be alarmed at"


def test_requests_wait_for_the_first_keys(start, own_backend, server):
    gate = threading.Event()

    def slow(connection, _):
        gate.wait(60)
        connection.sendall(response(key_set("one")))

    server.answer = slow
    proxy = start(own_backend, configuration(issuer(server.url)), wait=False)
    server.wait_requests(1)
    wait_for(lambda: proxy.admin_request("/livez").status == 200)
    answers: list[int] = []
    askers = [threading.Thread(target=lambda: answers.append(get(proxy, signed("one")).status)) for _ in range(8)]
    for asker in askers:
        asker.start()
    time.sleep(0.3)
    assert answers == []
    gate.set()
    for asker in askers:
        asker.join()
    assert answers == [200] * 8 and len(server.requests) == 1


def test_without_keys_503_with_retry_after(start, own_backend, server):
    server.down()
    proxy = start(own_backend, configuration(issuer(server.url)), wait=False)
    wait_for(lambda: "keys could not be fetched" in log_of(proxy))
    answer = get(proxy, signed("one"))
    assert answer.status == 503 and answer.problem["code"] == "keys_unavailable"
    assert int(answer.headers.get("Retry-After")) >= 1
    assert get(proxy, tokens.token()).status == 200
    server.up()
    wait_for(lambda: get(proxy, signed("one")).status == 200, what="the recovery")


BAD_ANSWERS = {
    "html": response(b"<!doctype html><title>Sign in</title>"),
    "no keys": response(b'{"keys":[]}'),
    "not an object": response(b"[]"),
    "duplicate member": response(b'{"keys":[],"keys":[]}'),
    "cut": response(key_set("one"))[:-40],
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "404": response(b"{}", "404 Not Found"),
    "500 with keys": response(key_set("one"), "500 Internal Server Error"),
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "closed at once": b"",
    "announced too large": b"HTTP/1.1 200 OK\r\nContent-Length: 262145\r\n\r\n",
    "too large": b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 262_145 + key_set("one"),
    "101 keys": response(json.dumps({"keys": [
        tokens.jwk(tokens.key("ES256", "keys/one"), kid=str(n), alg="ES256") for n in range(101)]}).encode()),
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_j17_a_bad_answer_is_no_key_set(start, own_backend, server, name):
    server.answer = BAD_ANSWERS[name]
    proxy = start(own_backend, configuration(issuer(server.url, cooldown="300ms")), wait=False)
    wait_for(lambda: "keys could not be fetched" in log_of(proxy))
    assert get(proxy, signed("one")).status == 503
    server.publish("one")
    wait_for(lambda: get(proxy, signed("one")).status == 200, what="the recovery")


@pytest.mark.parametrize("name", ["html", "no keys", "cut", "204", "too large", "closed at once"])
def test_j7_a_bad_answer_keeps_the_old_keys(start, own_backend, server, name):
    proxy = start(own_backend, configuration(issuer(server.url, refresh="1s")))
    server.answer = BAD_ANSWERS[name]
    server.wait_requests(2)
    wait_for(lambda: "the old ones are used on" in log_of(proxy))
    assert get(proxy, signed("one")).status == 200


@pytest.mark.parametrize("body", ["chunked", "until close"])
def test_every_framing_of_the_answer(start, own_backend, server, body):
    keys = key_set("one")
    server.answer = {
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(
            b"1\r\n%c\r\n" % byte for byte in keys) + b"0\r\nX-Trailer: y\r\n\r\n",
        "until close": b"HTTP/1.0 200 OK\r\n\r\n" + keys,
    }[body]
    proxy = start(own_backend, configuration(issuer(server.url)))
    assert get(proxy, signed("one")).status == 200


def test_a_slow_drip_ends_at_the_deadline(start, own_backend, server):
    def drip(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n")
        for _ in range(600):
            connection.sendall(b" ")
            time.sleep(0.1)

    server.answer = drip
    proxy = start(own_backend, configuration(issuer(server.url)), wait=False)
    wait_for(lambda: "no answer in time" in log_of(proxy))
    assert proxy.get("/public/x").status == 200


def test_a_request_waits_at_most_two_seconds(start, own_backend, server):
    server.answer = lambda connection, _: time.sleep(25)
    proxy = start(own_backend, configuration(issuer(server.url)), wait=False)

    def seconds(fetch) -> float:
        server.wait_requests(fetch)
        began = time.monotonic()
        assert get(proxy, signed("one")).status == 503
        return time.monotonic() - began
    # After five seconds the fetch is given up, which would end the wait as well; a machine may stand still in one of them.
    assert any(1 < seconds(fetch) < 4.5 for fetch in (1, 2, 3))


# ---- redirects (J10)


def test_a_redirect_of_the_same_origin_is_followed(start, own_backend, server):
    server.pages["/jwks"] = response(b"", "302 Found", Location="/elsewhere")
    server.pages["/elsewhere"] = response(b"", "307 Temporary Redirect", Location=server.origin + "/keys")
    proxy = start(own_backend, configuration(issuer(server.url)))
    assert get(proxy, signed("one")).status == 200
    assert server.requests == ["/jwks", "/elsewhere", "/keys"]


@pytest.mark.parametrize("kind", ["other port", "network path", "other scheme", "loop", "nowhere"])
def test_j10_other_redirects_are_not(start, own_backend, server, kind):
    with KeyServer() as other:
        other.publish("one")
        location = {
            "other port": other.url, "network path": f"//127.0.0.1:{other.port}/jwks",
            "other scheme": server.url.replace("http:", "https:"), "loop": "/jwks", "nowhere": "jwks"}[kind]
        server.answer, began = response(b"", "302 Found", Location=location), time.monotonic()
        proxy = start(own_backend, configuration(issuer(server.url)), wait=False)
        wait_for(lambda: "redirect" in log_of(proxy))
        assert get(proxy, signed("one")).status == 503 and other.requests == []
        assert len(server.requests) <= 12 + 6 * (time.monotonic() - began)


def test_j10_what_a_token_names_is_never_fetched(start, own_backend, server):
    with KeyServer() as other:
        other.publish("evil", owner="evil")
        proxy = start(own_backend, configuration(issuer(server.url)))
        evil = tokens.key("ES256", "evil/evil")
        for header in [{"jku": other.url}, {"x5u": other.url}, {"jwk": tokens.jwk(evil)}, {"jku": other.url, "kid": "evil"}]:
            token = tokens.token("ES256", evil, header={"kid": "one"} | header, issuer="https://keys.test")
            assert get(proxy, token).status == 401
        assert other.requests == []


# ---- TLS


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_https_with_an_authority_of_its_own(start, own_backend, authority, version):
    with KeyServer(tls=authority.context(["127.0.0.1"], version=version)) as server:
        server.publish("one")
        proxy = start(own_backend, configuration(issuer(server.url, ca=authority.file)))
        assert get(proxy, signed("one")).status == 200


def test_https_with_the_authorities_of_the_system(start, own_backend, authority):
    with KeyServer(tls=authority.context(["localhost"])) as server:
        server.publish("one")
        url = f"https://localhost:{server.port}/jwks"
        proxy = start(own_backend, configuration(issuer(url)), env={"SSL_CERT_FILE": str(authority.file)})
        assert get(proxy, signed("one")).status == 200


def test_https_large_key_set(start, own_backend, authority):
    with KeyServer(tls=authority.context(["127.0.0.1"])) as server:
        padding = [{"kty": "RSA", "use": "enc", "x5c": ["A" * 2400]} for _ in range(99)]
        keys = padding + json.loads(key_set("one"))["keys"]
        server.answer = response(json.dumps({"keys": keys}).encode())
        proxy = start(own_backend, configuration(issuer(server.url, ca=authority.file)))
        assert get(proxy, signed("one")).status == 200


@pytest.mark.parametrize("kind", ["unknown authority", "other name", "subject", "expired", "no TLS", "TLS 1.1"])
def test_https_that_does_not_hold(start, own_backend, authority, tmp_path, kind):
    names, days = ["127.0.0.1"], (-1, 30)
    context, ca = authority.context(names), authority.file
    if kind == "unknown authority":
        (tmp_path / "other").mkdir()
        ca = Authority(tmp_path / "other").file
    elif kind == "other name":
        context = authority.context(["127.0.0.2", "localhost"])
    elif kind == "subject":
        context = authority.context([], subject="localhost")
    elif kind == "expired":
        context = authority.context(names, (-30, -1))
    elif kind == "no TLS":
        context = None
    elif kind == "TLS 1.1":
        context = authority.context(names)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    with KeyServer(tls=context) as server:
        server.publish("one")
        url = f"https://{'localhost' if kind == 'subject' else '127.0.0.1'}:{server.port}/jwks"
        proxy = start(own_backend, configuration(issuer(url, ca=ca)), wait=False)
        wait_for(lambda: "keys could not be fetched" in log_of(proxy))
        reason = log_of(proxy)
        expected = {"unknown authority": "certificate is refused", "other name": "IP address mismatch",
                    "subject": "hostname mismatch", "expired": "certificate has expired"}.get(kind, "TLS failed")
        assert expected in reason, reason
        assert get(proxy, signed("one")).status == 503
        assert server.requests == [] or kind == "no TLS"


def test_https_cut_without_close_notify_is_no_answer(start, own_backend, authority):
    with KeyServer(tls=authority.context(["127.0.0.1"])) as server:
        def cut(connection, _):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + key_set("one"))
            connection.shutdown(socket.SHUT_RDWR)

        server.answer = cut
        proxy = start(own_backend, configuration(issuer(server.url, ca=authority.file)), wait=False)
        wait_for(lambda: "ended before the answer did" in log_of(proxy))
        assert get(proxy, signed("one")).status == 503


# ---- rotation


def test_a_new_key_is_fetched_when_its_first_token_comes(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url)))
    assert get(proxy, signed("one")).status == 200
    server.publish("one", "two")
    proxy.backend.clear()
    proxy.assert_arrived(get(proxy, signed("two")), "alice")
    assert len(server.requests) == 2
    assert get(proxy, signed("one")).status == 200 and len(server.requests) == 2


@pytest.mark.parametrize("workers", [1, 3])
def test_single_flight_for_all_who_wait(start, own_backend, server, workers):
    proxy = start(own_backend, configuration(issuer(server.url)), workers=workers)

    def slow(connection, _):
        time.sleep(0.4)
        connection.sendall(response(key_set("one", "two")))

    server.answer = slow
    statuses: list[int] = []
    askers = [
        threading.Thread(target=lambda: statuses.append(get(proxy, signed("two")).status)) for _ in range(20)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert statuses == [200] * 20 and len(server.requests) == 2


def test_a_body_waits_with_its_head(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url)))

    def slow(connection, _):
        time.sleep(0.3)
        connection.sendall(response(key_set("two")))

    server.answer = slow
    body = b"x" * 200_000
    answer = proxy.request("POST", "/api/x", tokens.bearer(signed("two")), body)
    assert answer.status == 200 and proxy.backend.last.body == body


def test_pipelined_requests_behind_one_that_waits(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url)))

    def slow(connection, _):
        time.sleep(0.3)
        connection.sendall(response(key_set("one", "two")))

    server.answer = slow
    with proxy.client() as client:
        for kid, path in [("two", "/api/1"), ("one", "/api/2"), ("two", "/api/3")]:
            client.send(f"GET {path} HTTP/1.1\r\nHost: usher.test\r\nAuthorization: Bearer {signed(kid)}\r\n\r\n".encode())
        assert [client.response().status for _ in range(3)] == [200, 200, 200]
    assert [r.target for r in proxy.backend.requests] == ["/api/1", "/api/2", "/api/3"]


def test_j17_clients_that_leave_while_keys_are_fetched(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url)))

    def slow(connection, _):
        time.sleep(0.6)
        connection.sendall(response(key_set("one", "two")))

    server.answer = slow
    head = f"GET /api/x HTTP/1.1\r\nHost: usher.test\r\nAuthorization: Bearer {signed('two')}\r\n\r\n".encode()
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1", proxy.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.sendall(head)
        client.close()
    assert get(proxy, signed("two")).status == 200
    assert get(proxy, signed("one")).status == 200


def test_j7_j22_a_removed_key_is_refused_after_one_refresh_cached_verdicts_too(start, own_backend, server):
    server.publish("one", "two")
    proxy = start(own_backend, configuration(issuer(server.url, refresh="1s")))
    token = signed("one")
    assert get(proxy, token).status == 200 and get(proxy, token).status == 200
    server.publish("two")
    wait_for(lambda: get(proxy, token).status == 401, what="the removal")
    assert get(proxy, signed("two")).status == 200


def test_j7_a_key_with_another_value_under_the_same_kid(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url, refresh="1s")))
    token = signed("one")
    assert get(proxy, token).status == 200
    server.publish("one", owner="new")
    wait_for(lambda: get(proxy, token).status == 401, what="the removal")
    assert get(proxy, signed("one", owner="new")).status == 200


def test_j7_keys_that_cannot_be_refreshed_end_at_stale_for(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url, refresh="1s", stale_for="1s")))
    wait_for(lambda: get(proxy, signed("one")).status == 200, what="a key")
    server.down()
    wait_for(lambda: get(proxy, signed("one")).status == 503, what="the end")
    proxy.wait_said("keys dropped")
    assert proxy.ready()
    server.up()
    wait_for(lambda: get(proxy, signed("one")).status == 200, what="the recovery")


@pytest.mark.parametrize("how", ["replaced", "dropped", "forgotten", "reloaded"])
def test_j22_with_a_key_go_the_streams_that_it_permitted(start, own_backend, server, how):
    """Whoever has a stolen key writes any exp that they like: taking the key away has to end what it opened, also where
    other tokens have driven that one out of the cache, or new settings have emptied it."""
    def events(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                      b"9\r\ndata: 1\n\n\r\n")
        exchange.gone(60)

    own_backend.script = events
    server.publish("one", "two")
    text = configuration(issuer(server.url, refresh="1s", stale_for="4s"))
    proxy = start(own_backend, text + ("[limits]\ntokens_cached = 1\n" if how == "forgotten" else ""))
    with proxy.client() as ending, proxy.client() as staying:
        for client, kid in [(ending, "one"), (staying, "two")]:
            client.send(f"GET /api/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {signed(kid)}\r\n\r\n".encode())
            received = b""
            while b"data: 1\n\n\r\n" not in received:
                received += client.sock.recv(4096)
        if how == "reloaded":
            proxy.file.write_text(proxy.file.read_text() + '\n[[route]]\npath = "/new"\nauth = "keys"\nupstream = "backend"\n')
            proxy.signal(1)
            wait_for(lambda: proxy.get("/new").status == 401, what="the reload")
        time.sleep(1.2)
        if how == "dropped":
            server.down()
        else:
            server.publish("two")
        assert ending.ended(18), "the stream goes on"
        assert proxy.wait_log(detail="token_forgotten")["reason"] == "token_invalid"
        assert how == "dropped" or staying.quiet(1.5), "the other key is still there"


def test_cache_control_shortens_the_refresh(start, own_backend, server):
    server.publish("one", Cache_Control="public, max-age=1")
    proxy = start(own_backend, configuration(issuer(server.url, refresh="1h")))
    server.wait_requests(3)
    assert get(proxy, signed("one")).status == 200


def test_cache_control_never_below_the_cooldown(start, own_backend, server):
    server.publish("one", Cache_Control="max-age=0")
    began = time.monotonic()
    start(own_backend, configuration(issuer(server.url, refresh="1h", cooldown="2s")))
    time.sleep(1.5)
    fetched = len(server.requests)
    assert 1 <= fetched <= 1 + (time.monotonic() - began) / 2


def test_j9_random_kids_cause_one_fetch_per_cooldown(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url, cooldown="3s")), workers=2)
    good = signed("one")
    assert get(proxy, good).status == 200
    evil = tokens.key("ES256", "evil")
    batch = [tokens.token("ES256", evil, header={"kid": f"random-{n}"}, issuer="https://keys.test") for n in range(500)]
    statuses, slow = set(), []
    # With a sanitizer a signature takes many times as long.
    is_slow = "USHER_SANITIZED" in os.environ

    def flood():
        with proxy.client() as client:
            for _ in range(1 if is_slow else 5):
                for start_ in range(0, 500, 50):
                    part = batch[start_:start_ + 50]
                    client.send(b"".join(
                        f"GET /api/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {t}\r\n\r\n".encode() for t in part))
                    for _ in part:
                        statuses.add(client.response().status)

    began = time.monotonic()
    floods = [threading.Thread(target=flood) for _ in range(4)]
    for thread in floods:
        thread.start()
    with proxy.client() as client:
        while any(thread.is_alive() for thread in floods):
            asked = time.monotonic()
            assert client.request("GET", "/api/x", tokens.bearer(good)).status == 200
            slow.append(time.monotonic() - asked)
    elapsed = time.monotonic() - began
    assert statuses == {401}
    assert len(server.requests) - 1 <= 1 + elapsed / 3
    assert is_slow or sorted(slow)[len(slow) // 2] < 1
    assert is_slow or sorted(slow)[len(slow) * 99 // 100] < 6, "p99 of good tokens, with 200 bad ones in each turn before them"


def test_keys_without_names_may_be_rotated(start, own_backend, server):
    """No `kid` tells that a key is new: where none of the issuer's fits, it is asked, once in a cooldown (J9)."""
    def nameless(name):
        return json.dumps({"keys": [tokens.jwk(tokens.key("ES256", f"keys/{name}"), alg="ES256")]}).encode()

    def token(name):
        return tokens.token("ES256", tokens.key("ES256", f"keys/{name}"), issuer="https://keys.test")

    server.answer = response(nameless("one"))
    proxy = start(own_backend, configuration(issuer(server.url, cooldown="1s")))
    assert get(proxy, token("one")).status == 200
    server.answer = response(nameless("two"))
    assert get(proxy, token("two")).status == 200
    assert get(proxy, token("one")).status == 401, "replaced, not merged"
    fetches, began = len(server.requests), time.monotonic()
    for _ in range(20):
        assert get(proxy, token("evil")).status == 401
    assert len(server.requests) <= fetches + 1 + (time.monotonic() - began)
    named = tokens.token("ES256", tokens.key("ES256", "keys/evil"), header={"kid": "x"}, issuer="https://keys.test")
    assert get(proxy, named).status == 401


def test_an_unknown_kid_while_the_server_is_down_is_401_and_good_tokens_go_on(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url)))
    server.down()
    began = time.monotonic()
    assert get(proxy, signed("two")).status == 401
    assert time.monotonic() - began < 10
    assert get(proxy, signed("one")).status == 200


def test_j21_the_answer_to_an_unknown_key_is_that_to_a_bad_signature(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url)))
    unknown, bad = get(proxy, signed("two")), get(proxy, signed("one", owner="evil"))
    assert unknown.status == bad.status == 401 and unknown.body == bad.body
    assert unknown.headers.get("WWW-Authenticate") == bad.headers.get("WWW-Authenticate")
    proxy.wait_log(detail="token_unknown_key")
    proxy.wait_log(detail="token_bad_signature")


# ---- issuers side by side


def test_j4_keys_belong_to_one_issuer(start, own_backend, server):
    with KeyServer() as other:
        other.publish("one", owner="other")
        proxy = start(own_backend, configuration(
            issuer(server.url), issuer(other.url, "other", "https://other.test")))
        good = [signed("one"), signed("one", owner="other", issuer="https://other.test")]
        bad = [signed("one", issuer="https://other.test"), signed("one", owner="other")]
        for _ in range(2):
            assert [get(proxy, token).status for token in good + bad] == [200, 200, 401, 401]


def test_one_issuers_trouble_touches_no_other(start, own_backend, server):
    with KeyServer() as other:
        other.answer = lambda connection, _: time.sleep(30)
        proxy = start(own_backend, configuration(
            issuer(server.url), issuer(other.url, "other", "https://other.test")), wait=False)
        server.wait_requests(1)
        wait_for(lambda: get(proxy, signed("one")).status == 200)
        began = time.monotonic()
        assert get(proxy, signed("one")).status == 200 and time.monotonic() - began < 10


def test_odd_keys_are_skipped_with_a_log_line(start, own_backend, server):
    odd = [{"kty": "odd"}, tokens.jwk(tokens.key("rsa1024", "odd"), kid="short"), {"kty": "EC", "use": "enc"}]
    server.answer = response(json.dumps({"keys": odd + json.loads(key_set("one"))["keys"]}).encode())
    proxy = start(own_backend, configuration(issuer(server.url)))
    assert get(proxy, signed("one")).status == 200
    wait_for(lambda: log_of(proxy).count("key left out") == 3)


def test_a_token_without_kid(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url)))
    key = tokens.key("ES256", "keys/one")
    assert get(proxy, tokens.token("ES256", key, issuer="https://keys.test")).status == 200


# ---- reload


def test_a_reload_keeps_the_keys_of_an_issuer_that_stays(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url)))
    assert get(proxy, signed("one")).status == 200
    server.down()
    # Other times, too, are nothing that a key server which is away has to answer for.
    proxy.file.write_text(proxy.file.read_text().replace('refresh = "10m"', 'refresh = "20m"')
                          + '\n[[route]]\npath = "/new"\nauth = "keys"\nupstream = "backend"\n')
    proxy.signal(1)
    wait_for(lambda: proxy.get("/new", tokens.bearer(signed("one"))).status == 200, what="the reload")
    assert get(proxy, signed("one")).status == 200 and proxy.ready()


def test_a_worker_that_a_reload_adds_asks_for_unknown_keys_too(start, own_backend, server):
    """It has seen none of the notices that its elders have, and was taken for one that is about to."""
    proxy = start(own_backend, configuration(issuer(server.url, cooldown="100ms")))
    for names in (["one"], ["one", "two"]):
        server.publish(*names)
        assert get(proxy, signed(names[-1])).status == 200
    proxy.file.write_text(proxy.file.read_text().replace("workers = 1", "workers = 8"))
    proxy.signal(1)
    wait_for(lambda: "number of workers changed" in log_of(proxy), what="the reload")
    # Each connection meets one of the eight: the one that was there before is hardly met by all of them.
    names = ["one", "two"]
    for name in ("three", "four", "five", "six", "seven", "eight"):
        time.sleep(0.3)  # the cooldown, and more
        names.append(name)
        server.publish(*names)
        assert get(proxy, signed(name)).status == 200, name


def test_a_reload_with_another_url_fetches_from_there(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url)))
    with KeyServer() as other:
        other.publish("two")
        proxy.file.write_text(proxy.file.read_text().replace(server.url, other.url))
        proxy.signal(1)
        wait_for(lambda: get(proxy, signed("two")).status == 200, what="the new keys")
        assert get(proxy, signed("one")).status == 401


# ---- discovery and presets


def discovering(issuer_url: str) -> str:
    return f'\n[issuer.keys]\nissuer = "{issuer_url}"\naudience = ["https://api.test"]\njwks = "discover"\nalgorithms = ["ES256"]\n'


def metadata(issuer_url: str, jwks: str) -> bytes:
    return response(json.dumps({"issuer": issuer_url, "jwks_uri": jwks}).encode())


@pytest.mark.parametrize("path", ["", "/", "/tenant/1"])
def test_discovery_by_openid_configuration(start, own_backend, server, path):
    url = server.origin + path
    server.answer = response(b"", "404 Not Found")
    server.pages[path.rstrip("/") + "/.well-known/openid-configuration"] = metadata(url, server.origin + "/k")
    server.pages["/k"] = response(key_set("one"))
    proxy = start(own_backend, configuration(discovering(url)))
    assert get(proxy, signed("one", issuer=url)).status == 200


@pytest.mark.parametrize("path", ["", "/tenant/1"])
def test_discovery_by_rfc_8414(start, own_backend, server, path):
    url = server.origin + path
    server.answer = response(b"", "404 Not Found")
    server.pages["/.well-known/oauth-authorization-server" + path] = metadata(url, server.origin + "/k")
    server.pages["/k"] = response(key_set("one"))
    proxy = start(own_backend, configuration(discovering(url)))
    assert get(proxy, signed("one", issuer=url)).status == 200
    assert server.requests[0] == path + "/.well-known/openid-configuration"


def test_discovery_by_rfc_8414_of_a_server_below_a_path(start, own_backend, server):
    """What is mounted below a path cannot answer above it."""
    url = server.origin + "/api/auth"
    server.answer = response(b"", "404 Not Found")
    server.pages["/api/auth/.well-known/oauth-authorization-server"] = metadata(url, server.origin + "/k")
    server.pages["/k"] = response(key_set("one"))
    proxy = start(own_backend, configuration(discovering(url)))
    assert get(proxy, signed("one", issuer=url)).status == 200
    assert server.requests[:2] == ["/api/auth/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/api/auth"]


def test_discovery_the_document_must_be_of_the_issuer(start, own_backend, server):
    url = server.origin
    server.answer = metadata(url + "/other", server.origin + "/k")
    server.pages["/k"] = response(key_set("one"))
    proxy = start(own_backend, configuration(discovering(url)), wait=False)
    wait_for(lambda: "of another issuer" in log_of(proxy))
    assert get(proxy, signed("one", issuer=url)).status == 503 and "/k" not in server.requests


def test_discovery_again_where_the_keys_have_moved(start, own_backend, server):
    url = server.origin
    server.answer = response(b"", "404 Not Found")
    page = "/.well-known/openid-configuration"
    server.pages[page] = metadata(url, server.origin + "/old")
    server.pages["/old"] = response(key_set("one"))
    proxy = start(own_backend, configuration(discovering(url)))
    server.pages[page] = metadata(url, server.origin + "/new")
    server.pages["/new"] = response(key_set("two"))
    del server.pages["/old"]
    wait_for(lambda: get(proxy, signed("two", issuer=url)).status == 200, what="the new place")


def test_discovery_again_for_a_key_that_is_not_where_the_keys_were(start, own_backend, server):
    """The old place goes on to answer, with the old keys: an unknown key is a reason to ask again where the keys are."""
    url = server.origin
    server.answer = response(b"", "404 Not Found")
    page = "/.well-known/openid-configuration"
    server.pages[page] = metadata(url, server.origin + "/old")
    server.pages["/old"] = response(key_set("one"))
    proxy = start(own_backend, configuration(discovering(url)))
    assert get(proxy, signed("one", issuer=url)).status == 200
    server.pages[page] = metadata(url, server.origin + "/new")
    server.pages["/new"] = response(key_set("two"))
    wait_for(lambda: get(proxy, signed("two", issuer=url)).status == 200, what="the new place")
    wait_for(lambda: get(proxy, signed("one", issuer=url)).status == 401, what="the old key has gone")


def test_better_auth_in_three_lines(start, own_backend, server):
    algorithms = {"EdDSA": "ed", "ES256": "p256", "ES512": "p521", "RS256": "rs", "PS256": "ps"}
    server.answer = response(b"", "404 Not Found")
    server.pages["/api/auth/jwks"] = response(json.dumps({"keys": [
        tokens.jwk(tokens.key_for(alg, "ba"), kid=kid, alg=alg) for alg, kid in algorithms.items()]}).encode())
    text = f'\n[issuer.app]\nprovider = "better-auth"\nurl = "{server.origin}/api/auth"\n'
    proxy = start(own_backend, configuration(text))
    for alg, kid in algorithms.items():
        good = {"issuer": server.origin, "audience": server.origin, "header": {"kid": kid, "typ": ...}}
        key = tokens.key_for(alg, "ba")
        assert get(proxy, tokens.token(alg, key, **good)).status == 200, alg
        assert get(proxy, tokens.token(alg, key, **(good | {"audience": "https://api.test"}))).status == 401
        assert get(proxy, tokens.token(alg, key, **good, scope="openid")).status == 401
        assert get(proxy, tokens.token(alg, key, **good, azp="client")).status == 401
        assert get(proxy, tokens.token(alg, key, **(good | {"header": {"kid": kid, "typ": "at+jwt"}}))).status == 401


# ---- what there is to see


def test_metrics(start, own_backend, server):
    proxy = start(own_backend, configuration(issuer(server.url, refresh="1s")))
    server.wait_requests(2)
    server.down()
    wait_for(lambda: re.search(rb'usher_key_fetch_failures_total\{issuer="keys"\} [1-9]', proxy.admin_request("/metrics").body))
    text = proxy.admin_request("/metrics").body.decode()
    assert 'usher_keys{issuer="keys"} 1\n' in text
    assert re.search(r'usher_key_fetches_total\{issuer="keys"\} [2-9]', text)
    assert re.search(r'usher_key_age_seconds\{issuer="keys"\} \d+\n', text)


def test_an_address_that_swallows_everything_does_not_use_up_all_the_time(start, own_backend, tmp_path, server):
    """A listener whose queue is full answers no connect: the name's other address is tried in time."""
    full = socket.socket(socket.AF_INET6) if socket.has_ipv6 else None
    try:
        full.bind(("::1", server.port))
    except (OSError, AttributeError) as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
    addresses = [info[4][0] for info in socket.getaddrinfo("localhost", server.port, type=socket.SOCK_STREAM)]
    if addresses[:1] != ["::1"]:
        pytest.skip(f"localhost is {addresses} here")
    full.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket(socket.AF_INET6)
        filler.setblocking(False)
        filler.connect_ex(("::1", server.port))
        fillers.append(filler)
    proxy = start(own_backend, configuration(issuer(f"http://localhost:{server.port}/jwks")))
    assert get(proxy, signed("one")).status == 200
    for each in [full, *fillers]:
        each.close()


def test_an_address_that_says_nothing_is_not_where_the_next_fetch_begins(start, own_backend, tmp_path):
    with KeyServer(host="127.0.0.3") as server, socket.create_server(("127.0.0.2", server.port)):
        server.publish("one")
        prefix = with_hosts(tmp_path, "127.0.0.1 localhost\n127.0.0.2 keys.test\n127.0.0.3 keys.test\n")
        proxy = start(own_backend, configuration(issuer(f"http://keys.test:{server.port}/jwks")), prefix=prefix, wait=False)
        wait_for(lambda: "keys loaded" in log_of(proxy), "a fetch from the other address")
        proxy.wait_ready()
        assert get(proxy, signed("one")).status == 200


def test_https_that_proves_nothing_at_one_address_is_followed_by_the_next(start, own_backend, authority, tmp_path):
    with KeyServer(tls=authority.context(["keys.test"]), host="127.0.0.3") as server, \
            KeyServer(tls=authority.context(["other.test"]), port=server.port, host="127.0.0.2") as other:
        server.publish("one")
        prefix = with_hosts(tmp_path, "127.0.0.1 localhost\n127.0.0.2 keys.test\n127.0.0.3 keys.test\n")
        url = f"https://keys.test:{server.port}/jwks"
        proxy = start(own_backend, configuration(issuer(url, ca=authority.file, cooldown="10m")), prefix=prefix)
        assert get(proxy, signed("one")).status == 200
        assert "could not be fetched" not in log_of(proxy), "the first fetch went on to it"
        assert other.requests == []


def test_a_question_of_another_proxy_waits_for_keys_too(start, own_backend, server):
    verify = free_port()
    listener = f'\n[listen.verify]\naddress = "127.0.0.1:{verify}"\nmode = "forward-auth"\ntrusted_proxies = ["127.0.0.1/32"]\n'
    proxy = start(own_backend, configuration(issuer(server.url)) + listener)

    def slow(connection, _):
        time.sleep(0.3)
        connection.sendall(response(key_set("one", "two")))

    server.answer = slow
    asked = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/x", "X-Forwarded-Host": "app.test"}
    with Client(verify) as client:
        answer = client.request("GET", "/verify", asked | tokens.bearer(signed("two")))
        assert answer.status == 200 and answer.headers.get("X-User-Id") == "alice"
        assert client.request("GET", "/verify", asked | tokens.bearer(signed("three"))).status == 401
    assert proxy.backend.requests == [] and len(server.requests) == 2


@pytest.mark.parametrize("limited", [False, True])
def test_unknown_keys_count_as_failed_authentications(start, own_backend, server, limited):
    text = configuration(issuer(server.url))
    if limited:
        text += '\n[limits]\nfailed_authentications = {{ requests = 3, per = "60s", burst = 3 }}\n'
    proxy = start(own_backend, text)
    statuses = [get(proxy, signed(f"random-{n}")).status for n in range(8)]
    assert statuses == ([401] * 3 + [429] * 5 if limited else [401] * 8)
