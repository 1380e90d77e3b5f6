"""`[rate_limit.*]` by user and by address, and `failed_authentications`: 429, for as long as Retry-After says."""

import socket
import threading
import time

import pytest

from harness import configuration
from harness.tokens import bearer, token
from harness.waiting import wait_until
from harness.wire import Client

LIMITS = configuration.SMALL + """
[limits]
{limits}

[rate_limit.per-user]
key = "user"
requests = 10
per = "50s"
burst = 4

[rate_limit.per-address]
key = "address"
requests = 1
per = "5s"
burst = 5

# So slow that no machine is busy enough to be given more in a test.
[rate_limit.per-visitor]
key = "address"
requests = 5
per = "1h"
burst = 5

[[route]]
path = "/users/**"
auth = "optional:main"
upstream = "backend"
rate_limit = "per-user"

[[route]]
path = "/addresses/**"
auth = "main"
upstream = "backend"
rate_limit = "per-address"

[[route]]
path = "/more-addresses/**"
auth = "none"
upstream = "backend"
rate_limit = "per-address"

[[route]]
path = "/visitors/**"
auth = "none"
upstream = "backend"
rate_limit = "per-visitor"
"""


@pytest.fixture
def limited(start, own_backend):
    return start(own_backend, LIMITS, limits="", listen='trusted_proxies = ["127.0.0.1"]')


def statuses(proxy, target, headers, count):
    with proxy.client() as client:
        return [client.request("GET", target, headers).status for _ in range(count)]


def test_a_user_who_asks_too_often(limited):
    alice = bearer(token())
    assert statuses(limited, "/users/x", alice, 6) == [200] * 4 + [429] * 2
    with limited.client() as client:
        answer = client.request("GET", "/users/x", alice)
        assert answer.status == 429 and answer.problem["code"] == "rate_limited" and not answer.closes
        [seconds] = answer.headers.all("retry-after")
        assert 1 <= int(seconds) <= 5
        assert answer.headers.all("ratelimit-policy") == ['"per-user";q=10;w=50']
        assert answer.headers.all("ratelimit") == [f'"per-user";r=0;t={seconds}']
        # others are not his keepers, nor is another route
        assert client.request("GET", "/users/x", bearer(token("HS256", sub="bob", subject="bob"))).status == 200
        assert client.request("GET", "/api/x", alice).status == 200
        # one comes back each five seconds
        time.sleep(int(seconds) + 0.1)
        assert [client.request("GET", "/users/x", alice).status for _ in range(2)] == [200, 429]
    assert limited.wait_log(path="/users/x", status=429)["reason"] == "rate_limited"


def test_the_user_counts_and_not_the_token(limited):
    headers = [bearer(token(jti=str(n))) for n in range(6)]
    assert [limited.get("/users/x", h).status for h in headers] == [200] * 4 + [429] * 2


def test_nobody_is_counted_by_address(limited):
    assert statuses(limited, "/users/x", {}, 5) == [200] * 4 + [429]
    assert limited.get("/users/x", bearer(token())).status == 200


def test_an_address_that_asks_too_often(limited):
    """Before authentication: tokens do not matter. One bucket for all routes of the limit."""
    with limited.client() as client:
        got = [client.request("GET", "/addresses/x", bearer(token()) if n % 2 else bearer("bad")).status for n in range(5)]
        assert got == [401, 200, 401, 200, 401]
        assert client.request("GET", "/addresses/x", bearer(token())).status == 429
        assert client.request("GET", "/more-addresses/x").status == 429
        wait_until(lambda: client.request("GET", "/more-addresses/x").status == 200)


def test_nothing_of_a_limited_request_goes_upstream(limited):
    statuses(limited, "/visitors/x", {}, 5)
    before = len(limited.backend.requests)
    assert limited.request("POST", "/visitors/x", {}, b"body").status == 429
    assert len(limited.backend.requests) == before


def test_addresses_are_told_apart(limited):
    """Behind a trusted proxy the client's own address counts, and what it invents before that does not."""
    def ask(forwarded):
        return limited.get("/visitors/x", {"X-Forwarded-For": forwarded}).status
    assert [ask("192.0.2.1") for _ in range(6)] == [200] * 5 + [429]
    assert ask("192.0.2.2") == 200
    assert ask("203.0.113.77, 192.0.2.1") == 429
    assert ask("192.0.2.77, 192.0.2.1, 127.0.0.1") == 429
    # an IPv6 network of 64 bits is one customer
    assert [ask(f"2001:db8:0:1::{n}") for n in range(1, 7)] == [200] * 5 + [429]
    assert ask("[2001:db8:0:1::99]:1234") == 429
    assert ask("2001:db8:0:2::1") == 200


def test_addresses_are_told_apart_by_forwarded(limited):
    """A trusted proxy that speaks RFC 7239 alone is believed as well."""
    def ask(forwarded, **fields):
        return limited.get("/visitors/x", {"Forwarded": forwarded} | fields).status
    assert [ask("for=192.0.2.1;proto=https") for _ in range(6)] == [200] * 5 + [429]
    assert ask('For="192.0.2.2:4711"') == 200
    assert ask("for=203.0.113.77, for=192.0.2.1") == 429
    assert ask('for=192.0.2.77,for="192.0.2.1" , for=127.0.0.1;host="a,b"') == 429
    assert [ask(f'for="[2001:db8:0:1::{n}]"') for n in range(1, 7)] == [200] * 5 + [429]
    # Whoever says both kinds is believed in the older one: it may have let its client's own Forwarded through.
    for invented in ("for=203.0.113.78", "x", 'for="'):
        assert ask(invented, **{"X-Forwarded-For": "192.0.2.1"}) == 429


def test_a_forwarded_that_cannot_be_read_names_nobody(limited):
    got = [limited.get("/visitors/x", {"Forwarded": value}).status for value in
           ('for="192.0.2.1', "for=192.0.2.2, =", "for=192.0.2.3;for=192.0.2.4", "for=unknown", "for=_hidden", 'for="192.0.\\2.5"')]
    assert got == [200] * 5 + [429], "all are the proxy in front"


@pytest.mark.parametrize("field, value", [("X-Forwarded-For", "::"), ("X-Forwarded-For", "0::0"), ("Forwarded", 'for="[::]"')])
def test_nobody_has_the_unspecified_address(limited, field, value):
    """It stands for peers without an address, whom nobody counts."""
    assert [limited.get("/visitors/x", {field: value}).status for _ in range(6)] == [200] * 5 + [429]


@pytest.mark.parametrize("fields", [{"X-Forwarded-For": "192.0.2.{}"}, {"Forwarded": "for=192.0.2.{}"}], ids=["old", "new"])
def test_an_untrusted_client_cannot_choose_its_address(start, own_backend, fields):
    proxy = start(own_backend, LIMITS, limits="")
    got = [proxy.get("/visitors/x", {name: value.format(n) for name, value in fields.items()}).status for n in range(6)]
    assert got == [200] * 5 + [429]


def test_one_limit_for_all_workers(start, own_backend):
    proxy = start(own_backend, LIMITS.replace('per = "50s"', 'per = "1h"'), limits="", workers=2)
    got = [proxy.get("/users/x", bearer(token())).status for _ in range(20)]
    assert got.count(200) == 4


def test_a_reload_keeps_what_is_counted(start, own_backend):
    import signal
    proxy = start(own_backend, LIMITS.replace('per = "50s"', 'per = "1h"'), limits="")
    assert statuses(proxy, "/users/x", bearer(token()), 5) == [200] * 4 + [429]
    proxy.signal(signal.SIGHUP)
    proxy.wait_said("configuration reloaded")
    assert proxy.get("/users/x", bearer(token())).status == 429


def test_a_reload_keeps_buckets_with_their_issuer(start, own_backend):
    """An issuer that is written in front of another does not inherit what the users of that one have used up."""
    import signal
    proxy = start(own_backend, LIMITS.replace('per = "50s"', 'per = "1h"'), limits="")
    assert statuses(proxy, "/users/x", bearer(token()), 5) == [200] * 4 + [429]
    text = proxy.file.read_text()
    proxy.file.write_text(text.replace("[issuer.main]", """[issuer.first]
issuer = "https://first.test"
audience = ["https://api.test"]
secret = { env = "USHER_TEST_SECRET" }

[issuer.main]""").replace('auth = "optional:main"', 'auth = ["first", "main"]'))
    proxy.signal(signal.SIGHUP)
    first = bearer(token(issuer="https://first.test"))
    wait_until(lambda: proxy.get("/users/x", first).status != 401)
    assert statuses(proxy, "/users/x", first, 3) == [200] * 3
    assert statuses(proxy, "/users/x", bearer(token()), 1) == [429]


@pytest.mark.memory
def test_many_addresses_take_no_more_memory(limited):
    before = limited.memory("VmHWM")
    with limited.client(timeout=60) as client:
        for base in range(20):
            batch = b"".join(
                b"GET /more-addresses/x HTTP/1.1\r\nHost: usher.test\r\nX-Forwarded-For: 10.%d.%d.%d\r\n\r\n" % (base, n // 250, n % 250)
                for n in range(500))
            thread = threading.Thread(target=client.send, args=(batch,))
            thread.start()
            assert all(client.response().status == 200 for _ in range(500))
            thread.join()
    assert limited.memory("VmHWM") - before < 4 << 20


# failed_authentications

@pytest.fixture
def guarded(start, own_backend):
    return start(own_backend, LIMITS, limits='failed_authentications = {{ requests = 5, per = "25s" }}'.replace("{{", "{").replace("}}", "}"))


def bad(n):
    return bearer(token(secret_or_key=b"another secret of thirty-two bytes %d" % n))


def test_guessing_tokens(guarded):
    known = bearer(token())
    assert guarded.get("/api/x", known).status == 200
    assert [guarded.get("/api/x", bad(n)).status for n in range(7)] == [401] * 5 + [429] * 2
    answer = guarded.get("/api/x", bad(8))
    assert answer.problem["code"] == "rate_limited" and 1 <= int(answer.headers.get("retry-after")) <= 5
    assert answer.headers.all("ratelimit-policy") == ['"failed-authentications";q=5;w=25']
    # a token that is known to be good goes on; what needs no token, too
    assert guarded.get("/api/x", known).status == 200
    assert guarded.get("/public/x").status == 200
    assert guarded.get("/api/x").status == 401
    # even a good one must wait, if it was not seen before
    assert guarded.get("/api/x", bearer(token(jti="new"))).status == 429
    wait_until(lambda: guarded.get("/api/x", bearer(token(jti="new"))).status == 200)


def test_what_is_no_failure(guarded):
    """No token, an expired one and a good one for somebody else's path are not guesses."""
    for _ in range(10):
        assert guarded.get("/api/x").status == 401
    for n in range(10):
        assert guarded.get("/api/x", bearer(token(exp=int(time.time()) - 3600 - n))).problem["code"] == "token_expired"
    assert guarded.get("/api/x", bearer(token())).status == 200


def test_off_is_the_default(limited):
    assert {limited.get("/api/x", bad(n)).status for n in range(50)} == {401}
