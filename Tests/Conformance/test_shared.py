"""`[shared]`: one budget and one list of revoked tokens for several proxies, through a real redis-server; and what they do
when it is away, slow, full of other things, or somebody else."""

from __future__ import annotations

import json
import re
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import dpop, http2
from harness.authority import Authority
from harness.configuration import SMALL
from harness.ports import free_port
from harness.standin import Endless
from harness.store import SERVER, Store
from harness.tokens import bearer, token
from harness.waiting import wait_until
from harness.wire import Client, render

pytestmark = pytest.mark.skipif(SERVER is None, reason="no redis-server: scripts/install-packages installs it")

SHARED = SMALL + """
[revocation]

[shared]
redis = "{redis}"
{shared}

[rate_limit.per-user]
key = "user"
requests = {requests}
per = "{per}"
burst = {burst}

[rate_limit.per-address]
key = "address"
requests = 60
per = "600s"
burst = 5

[rate_limit.own]
key = "user"
requests = 10
per = "100s"
shared = false

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
path = "/own/**"
auth = "main"
upstream = "backend"
rate_limit = "own"
"""


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path) as running:
        yield running


@pytest.fixture
def share(start, own_backend):
    """`share(store)` runs one more proxy on that store, and waits until it talks to it."""
    def run(store, count=1, wait=True, **fill):
        # What comes back with time, and how long an answer may take, is beyond what a busy machine does to a test.
        fill = {"redis": f"redis://127.0.0.1:{store.port}" if store else "", "shared": "", "requests": 60,
                "per": "600s", "burst": 10, "workers": 1} | fill
        if "timeout =" not in fill["shared"]:
            fill["shared"] += '\ntimeout = "5s"'
        proxies = [start(own_backend, SHARED, **fill) for _ in range(count)]
        if wait:
            for proxy in proxies:
                wait_up(proxy)
        return proxies if count > 1 else proxies[0]
    return run


def metric(proxy, name) -> float:
    text = proxy.admin_request("/metrics").body.decode()
    found = re.search(rf"^{re.escape(name)} ([0-9.e+-]+)$", text, re.M)
    assert found, (name, text)
    return float(found[1])


def wait_up(proxy, up=1):
    wait_until(lambda: metric(proxy, "usher_shared_up") == up)


def polls_since(started: float) -> float:
    """How many calls were made for the list of revoked tokens at most."""
    return (time.monotonic() - started) * 8 + 4


def seconds_left(started: float, answer) -> bool:
    """True where Retry-After is what is left of the ten seconds since the bucket was full, then or now."""
    return 9 - (time.monotonic() - started) <= int(answer.headers.get("retry-after")) <= 10


def user(name="alice", **claims):
    return bearer(token("HS256", subject=name, **claims))


def ask(proxy, count, headers=None, target="/users/x"):
    with proxy.client() as client:
        return [client.request("GET", target, user() if headers is None else headers).status for _ in range(count)]


def post(proxy, value):
    with Client(proxy.admin) as client:
        return client.request("POST", "/revocations", {}, json.dumps(value).encode(), host="127.0.0.1").status


def wait_status(proxy, token, status, path="/api/x"):
    """Each proxy looks eight times a second what was revoked; where others want the CPUs, it may be some seconds."""
    timeout, end = 20, time.monotonic() + 20
    while (answer := proxy.get(path, bearer(token))).status != status:
        assert time.monotonic() < end, f"still {answer.status} after {timeout} s"
        time.sleep(0.02)
    return answer


# ---- one budget

def test_two_proxies_have_one_budget(share, store):
    one, two = share(store, 2)
    started = time.monotonic()
    got = [ask(proxy, 1)[0] for _ in range(8) for proxy in (one, two)]
    assert got == [200] * 10 + [429] * 6
    answer = two.get("/users/x", user())
    assert seconds_left(started, answer) and answer.problem["code"] == "rate_limited"
    # others have their own, and a limit that is not shared is each proxy's own
    assert ask(one, 3, user("bob")) == [200] * 3
    assert ask(one, 11, target="/own/x") == ask(two, 11, target="/own/x") == [200] * 10 + [429]
    names = {key.decode().rsplit(":", 1)[0] for key in store.call("KEYS", "usher:rate:*")}
    assert names == {"usher:rate:per-user"}
    assert all(0 < store.call("PTTL", key) <= 100_000 for key in store.call("KEYS", "usher:rate:*")), "and are gone when full"
    assert not any(b"alice" in key for key in store.call("KEYS", "*")), "nobody reads who asks"


def test_addresses_share_a_budget_too(share, store):
    one, two = share(store, 2)
    assert [ask(p, 1, {}, "/addresses/x")[0] for p in (one, two, one, two, one, two)] == [401] * 5 + [429]


def test_many_at_once_get_no_more_than_the_budget(share, store):
    """Several workers of two proxies, all at once: not one more passes, and not one less."""
    # as long as it takes: a request that the store does not answer in time is counted by its proxy alone
    proxies = share(store, 2, workers=2, requests=60, per="3600s", burst=200, shared='timeout = "5s"')
    started = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        got = sum(pool.map(lambda n: ask(proxies[n % 2], 20), range(16)), [])
    rest = ask(proxies[0], 10) + ask(proxies[1], 10)
    assert set(got + rest) == {200, 429}
    # What a worker has taken ahead is lost after a second, which a busy machine may take.
    least = 200 if time.monotonic() - started < 1 else 100
    assert least <= (got + rest).count(200) <= 200
    assert metric(proxies[0], 'usher_shared_limit_decisions_total{by="process"}') == 0


def test_a_busy_client_takes_some_ahead(share, store):
    """Of a large budget a busy worker takes several at once: far fewer calls than requests."""
    proxy = share(store, requests=1_000_000, per="1s", burst=1_000_000)
    before, started = metric(proxy, "usher_shared_calls_total"), time.monotonic()
    assert ask(proxy, 400) == [200] * 400
    assert metric(proxy, "usher_shared_calls_total") - before < 100 + polls_since(started)


def test_whoever_asks_far_too_often_costs_the_store_nothing(share, store):
    proxy = share(store)
    assert ask(proxy, 12) == [200] * 10 + [429] * 2
    before = metric(proxy, "usher_shared_calls_total")
    started = time.monotonic()
    ask(proxy, 200)
    assert metric(proxy, "usher_shared_calls_total") - before <= polls_since(started) + 2


def test_routes_without_shared_limits_ask_nobody(share, store):
    proxy = share(store)
    store.freeze()
    started = time.monotonic()
    assert ask(proxy, 20, target="/api/x") == [200] * 20 and ask(proxy, 5, target="/own/x") == [200] * 5
    assert time.monotonic() - started < 4, "one that waited would wait for five seconds"
    store.thaw()


def test_the_budget_comes_back_with_time(share, store):
    one, two = share(store, 2, requests=1, per="3s", burst=2)
    assert ask(one, 2) == [200, 200]
    assert ask(two, 1) == [429]
    wait_until(lambda: ask(two, 1) == [200])


def test_pipelined_requests_keep_their_order(share, store):
    proxy = share(store)
    with proxy.client() as client:
        client.send(b"".join(b"GET /users/%d HTTP/1.1\r\nHost: usher.test\r\n\r\n" % n for n in range(14)))
        assert [client.response().status for _ in range(14)] == [200] * 10 + [429] * 4
    assert [r.target for r in proxy.backend.requests] == [f"/users/{n}" for n in range(10)]


def test_a_client_that_leaves_while_it_waits(share, store):
    proxy = share(store, shared='timeout = "300ms"')
    store.freeze()
    for _ in range(20):
        with proxy.client() as client:
            client.send(b"GET /users/x HTTP/1.1\r\nHost: usher.test\r\n\r\n")
    store.thaw()
    wait_up(proxy)
    assert ask(proxy, 1, user("bob")) == [200]


def test_questions_of_a_proxy_in_front_wait_too(start, store, own_backend):
    """Forward-auth: the request in question is counted, and the answer to the question says so."""
    proxy = start(own_backend, SHARED.replace("[revocation]", """[revocation]

[listen.questions]
address = "127.0.0.1:{questions}"
mode = "forward-auth"
trusted_proxies = ["127.0.0.1"]
"""), redis=f"redis://127.0.0.1:{store.port}", shared='timeout = "5s"', requests=60, per="600s", burst=3, questions=(port := free_port()))
    wait_up(proxy)
    asked = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/users/x", "X-Forwarded-Host": "usher.test", "X-Forwarded-For": "192.0.2.1"}
    started = time.monotonic()
    with Client(port) as client:
        got = [client.request("GET", "/", asked | user()) for _ in range(4)]
    assert [a.status for a in got] == [200] * 3 + [429]
    assert got[0].headers.get("x-user-id") == "alice" and seconds_left(started, got[3])
    assert len(store.call("KEYS", "usher:rate:*")) == 1


@pytest.fixture
def proving(start, store, own_backend):
    """A proxy with DPoP, whose users' requests wait for the store, for five seconds at most."""
    text = SHARED.replace("[issuer.main]\n", '[issuer.main]\ndpop = "optional"\n')
    proxy = start(own_backend, text, redis=f"redis://127.0.0.1:{store.port}", shared='timeout = "5s"', requests=60, per="600s",
                  burst=50, workers=2)
    wait_up(proxy)
    return proxy


def test_j20_a_proof_is_not_used_up_by_waiting(proving):
    client = dpop.Client()
    token = client.token()
    for _ in range(3):
        fields = client.fields(token, url="http://usher.test/users/x")
        assert ask(proving, 2, fields) == [200, 401]
    proving.wait_log(detail="proof_replayed")


def test_j20_of_many_that_wait_with_one_proof_one_passes(proving, store):
    client = dpop.Client()
    token = client.token()
    fields = client.fields(token, url="http://usher.test/users/x")
    store.freeze()
    try:
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(ask, proving, 1, fields) for _ in range(8)]
            time.sleep(0.3)
            assert not any(one.done() for one in waiting), "they wait"
            store.thaw()
            got = sorted(one.result()[0] for one in waiting)
    finally:
        store.thaw()
    assert got == [200] + [401] * 7
    assert len(proving.backend.requests) == 1


def test_streams_of_http2_wait_together(share, store):
    """Twenty streams of one connection: ten pass, whoever leaves meanwhile harms nobody, and one call asks for many."""
    proxy = share(store, listen='protocols = ["h2", "http/1.1"]', shared='timeout = "5s"')
    before, started = metric(proxy, "usher_shared_calls_total"), time.monotonic()
    with http2.Connection(proxy.port) as client:
        fields = http2.get("/users/x") + [(name.lower(), value) for name, value in user().items()]
        streams = [client.start(fields) for _ in range(20)]
        got = [client.answer(stream) for stream in streams]
        assert sorted(a.status for a in got) == [200] * 10 + [429] * 10
        assert all(seconds_left(started, a) for a in got if a.status == 429)
        store.freeze()
        streams = [client.start(http2.get("/users/y")) for _ in range(4)]
        for stream in streams[:2]:
            client.reset(stream)
        store.thaw()
        assert [client.answer(stream).status for stream in streams[2:]] == [200, 200]
    assert metric(proxy, "usher_shared_calls_total") - before < 16 + polls_since(started)


def test_a_stream_that_is_reset_while_it_waits_takes_nothing_of_the_budget(share, store):
    proxy = share(store, listen='protocols = ["h2"]', shared='timeout = "5s"', requests=1, burst=1)
    with http2.Connection(proxy.port) as client:
        fields = http2.get("/users/x") + [(name.lower(), value) for name, value in user().items()]
        store.freeze()
        gone, stays = client.start(fields), client.start(fields)
        client.reset(gone)
        time.sleep(0.2)
        store.thaw()
        assert client.answer(stays).status == 200


def test_a_body_waits_with_its_head(share, store):
    proxy = share(store)
    body = b"x" * 300_000
    answer = proxy.request("POST", "/users/x", user(), body)
    assert answer.status == 200 and proxy.backend.last.body == body


# ---- the store is away

def test_while_it_is_frozen_each_proxy_counts_for_itself(share, store):
    """A frozen store costs the first request the timeout, and those behind it nothing."""
    one, two = share(store, 2, shared='timeout = "1s"', requests=60, per="3600s", burst=6)
    assert ask(one, 2) == [200] * 2 and ask(two, 1) == [200]
    store.freeze()
    started = time.monotonic()
    assert ask(one, 1, user("bob")) == [200]
    assert time.monotonic() - started < 4
    started = time.monotonic()
    # what was known of the bucket counts: proxy one knows of 2 taken, proxy two of 3
    assert ask(one, 6) == [200] * 4 + [429] * 2
    assert ask(two, 6) == [200] * 3 + [429] * 3
    assert time.monotonic() - started < 4, "twelve that waited would wait for twelve seconds"
    wait_up(one, 0)
    assert metric(one, 'usher_shared_limit_decisions_total{by="process"}') >= 5
    store.thaw()
    wait_up(one), wait_up(two)
    assert ask(one, 4, user("carol")) + ask(two, 4, user("carol")) == [200] * 6 + [429] * 2


def test_killed_and_started_again(share, store):
    one, two = share(store, 2)
    store.kill()
    wait_up(one, 0), wait_up(two, 0)
    started = time.monotonic()
    assert ask(one, 5) == [200] * 5
    assert time.monotonic() - started < 4, "one that waited would wait for five seconds"
    store.start()
    wait_up(one), wait_up(two)
    # it comes back empty: what this process knows still counts here
    assert ask(two, 10, user("bob")) == [200] * 10
    assert ask(one, 1, user("bob")) == [429]


def test_no_store_at_the_start(share, store):
    store.kill()
    proxy = share(store, wait=False)
    assert ask(proxy, 11) == [200] * 10 + [429]
    store.start()
    wait_up(proxy)
    proxy.wait_said(b"the shared store cannot be used")


def test_refuse_means_503_for_what_it_would_count(share, store):
    proxy = share(store, shared='when_unavailable = "refuse"')
    assert ask(proxy, 1) == [200]
    store.kill()
    wait_up(proxy, 0)
    answer = proxy.get("/users/x", {})
    assert answer.status == 503 and answer.problem["code"] == "shared_unavailable" and answer.headers.get("retry-after") == "1"
    assert proxy.get("/public/x").status == 200
    # a list of revoked tokens that is older than a second is none
    wait_until(lambda: proxy.get("/api/x", user()).status == 503)
    assert proxy.get("/api/x", user()).problem["code"] == "shared_unavailable"
    assert proxy.get("/api/x").status == 401
    store.start()
    wait_up(proxy)
    wait_until(lambda: ask(proxy, 1) == [200])
    # the list was read again, and may be a second old once more where others want the CPUs
    wait_until(lambda: proxy.get("/api/x", user()).status == 200)


def test_refuse_while_frozen_answers_within_the_timeout(share, store):
    proxy = share(store, shared='when_unavailable = "refuse"\ntimeout = "1s"')
    store.freeze()
    started = time.monotonic()
    assert proxy.get("/users/x").status == 503
    assert time.monotonic() - started < 4
    store.thaw()


def test_slow_answers_are_not_waited_for(share, store):
    """Each answer takes longer than the timeout: the first request waits for it, the others do not."""
    with Relay(store.port) as relay:
        proxy = share(relay, shared='timeout = "200ms"', burst=1000)
        relay.delay = 0.5
        ask(proxy, 1)
        wait_until(lambda: metric(proxy, "usher_shared_up") == 0)
        started = time.monotonic()
        assert ask(proxy, 50) == [200] * 50
        assert time.monotonic() - started < 5, "fifty that waited would wait for ten seconds"
        relay.delay = 0
        wait_up(proxy)


def test_a_connection_that_is_cut_in_the_middle(share, store):
    with Relay(store.port) as relay:
        proxy = share(relay, burst=1_000_000, requests=1_000_000, per="1s")
        stop = threading.Event()
        def cut():
            while not stop.wait(0.05):
                relay.cut()
        thread = threading.Thread(target=cut)
        thread.start()
        got = ask(proxy, 300)
        stop.set()
        thread.join()
        assert set(got) == {200}
        wait_up(proxy)


def test_a_script_flush_and_a_flushed_store(share, store):
    one, two = share(store, 2)
    assert ask(one, 2) == [200] * 2
    store.call("SCRIPT", "FLUSH")
    assert ask(two, 2) == [200] * 2
    assert ask(one, 7) == [200] * 6 + [429]
    store.call("FLUSHALL")
    store.call("SCRIPT", "FLUSH")
    assert ask(two, 10, user("bob")) == [200] * 10 and ask(one, 1, user("bob")) == [429]
    assert metric(one, "usher_shared_up") == 1


@pytest.mark.parametrize("value", [b"nonsense", b"", b"-1", b"1e400", b"99999999999999999999999", b"nan"])
def test_a_bucket_with_other_contents_is_a_new_one(share, store, value):
    proxy = share(store)
    ask(proxy, 1)
    (key,) = store.call("KEYS", "usher:rate:*")
    store.call("SET", key, value)
    other = share(store)
    assert ask(other, 12).count(200) in (0, 10)
    for one in (proxy, other):
        wait_up(one)
        assert b"not the Redis protocol" not in bytes(one.errors)


def test_a_bucket_of_another_type_counts_here(share, store):
    proxy = share(store)
    ask(proxy, 1)
    (key,) = store.call("KEYS", "usher:rate:*")
    store.call("DEL", key)
    store.call("SADD", key, "x")
    assert ask(proxy, 12) == [200] * 9 + [429] * 3
    wait_until(lambda: metric(proxy, "usher_shared_call_errors_total") > 0)
    assert metric(proxy, "usher_shared_up") == 1
    assert ask(proxy, 1, user("bob")) == [200]
    proxy.wait_said(b"WRONGTYPE")


# ---- logging in

def test_a_user_of_the_access_list(share, tmp_path):
    rules = ("user default off", "user usher on >p@ss:w/ord ~usher:* resetchannels -@all +evalsha +eval +script|load "
             "+select +get +set +time +zadd +zscore +zrange +zrangebyscore +zremrangebyscore")
    with Store(tmp_path, *rules) as store:
        one, two = share(store, redis=f"redis://usher:p%40ss%3Aw%2Ford@127.0.0.1:{store.port}/0"), share(
            store, redis=f"redis://usher@127.0.0.1:{store.port}", shared="password = { env = \"STORE_PASSWORD\" }",
            env={"STORE_PASSWORD": "p@ss:w/ord"})
        assert ask(one, 5) + ask(two, 6) == [200] * 10 + [429]
        assert post(one, {"jti": ["a"]}) == 200
        wait_status(two, token(jti="a"), 401)
        for proxy in (one, two):
            assert b"p@ss" not in bytes(proxy.errors) and b"p%40ss" not in bytes(proxy.errors)
            assert b"p@ss" not in proxy.admin_request("/config").body


def test_a_wrong_password(share, tmp_path):
    with Store(tmp_path, "requirepass right") as store:
        proxy = share(store, wait=False, redis=f"redis://:wrong@127.0.0.1:{store.port}")
        assert ask(proxy, 11) == [200] * 10 + [429]
        wait_until(lambda: b"WRONGPASS" in bytes(proxy.errors))
        assert b"wrong@" not in bytes(proxy.errors)
        assert share(store, redis=f"redis://:right@127.0.0.1:{store.port}/3").get("/users/x").status == 200
        assert store.call("INFO", "keyspace", auth=("right",)).count(b"db3") == 1


def test_a_user_who_may_not(share, tmp_path):
    """No scripts for this user: each proxy counts for itself, and says why."""
    with Store(tmp_path, "user usher on nopass ~* +@all -@scripting") as store:
        proxy = share(store, wait=False, redis=f"redis://usher:x@127.0.0.1:{store.port}")
        assert ask(proxy, 11) == [200] * 10 + [429]
        wait_until(lambda: b"NOPERM" in bytes(proxy.errors))


def test_tls(share, tmp_path):
    authority = Authority(tmp_path)
    pair = authority.sign("redis", ["localhost", "127.0.0.1"])
    with Store(tmp_path, tls=pair, authority=authority) as store:
        trust = f'ca = "{authority.file}"'
        one = share(store, redis=f"rediss://localhost:{store.port}", shared=trust)
        two = share(store, redis=f"rediss://127.0.0.1:{store.port}", shared=trust)
        assert ask(one, 5) + ask(two, 6) == [200] * 10 + [429]
        entries = [f"token-{n}" for n in range(3000)]
        assert post(one, {"jti": entries}) == 200
        wait_status(two, token(jti="token-2999"), 401)
        # not trusted, and not its name
        stranger = share(store, wait=False, redis=f"rediss://127.0.0.1:{store.port}")
        wait_until(lambda: b"certificate is refused" in bytes(stranger.errors))
        assert ask(stranger, 1, user("bob")) == [200]
    with Store(tmp_path, tls=authority.sign("other", ["redis.test"]), authority=authority) as store:
        proxy = share(store, wait=False, redis=f"rediss://127.0.0.1:{store.port}", shared=trust)
        wait_until(lambda: b"certificate is refused" in bytes(proxy.errors))


def test_a_unix_socket_and_names(share, tmp_path):
    with Store(tmp_path, f"unixsocket {tmp_path}/r.sock") as store:
        one = share(store, redis=f"unix:{tmp_path}/r.sock")
        two = share(store, redis=f"redis://localhost:{store.port}")
        assert ask(one, 5) + ask(two, 6) == [200] * 10 + [429]


# ---- revocations

def test_a_revocation_counts_everywhere_within_a_second(share, store):
    one, two = share(store, 2, workers=2)
    tokens_ = [token(jti=f"t{n}") for n in range(3)]
    for t in tokens_:
        assert two.get("/api/x", bearer(t)).status == 200
    for t, value in zip(tokens_, [{"jti": ["t0"]}, {"jti": [{"iss": "https://main.test", "jti": "t1"}]},
                                  {"sub": {"alice": int(time.time()) + 1}}]):
        assert post(one, value) == 200
        wait_status(two, t, 401)
        wait_status(one, t, 401)
    assert two.get("/api/x", user("bob")).status == 200
    # made before a proxy started: its first request knows of them
    three = share(store, wait=False)
    assert three.get("/api/x", bearer(token(jti="t0", subject="bob"))).status == 401
    assert three.get("/api/x", user("bob")).status == 200


def test_the_list_needs_no_table_of_its_own(start, own_backend, store):
    """[shared] alone is enough; and then "refuse" is about limits alone."""
    fill = {"redis": f"redis://127.0.0.1:{store.port}", "shared": 'when_unavailable = "refuse"', "requests": 60, "per": "600s", "burst": 10}
    one, two = (start(own_backend, SHARED.replace("[revocation]\n", ""), **fill) for _ in range(2))
    wait_up(one), wait_up(two)
    assert post(one, {"jti": ["a"]}) == 200
    wait_status(two, token(jti="a"), 401)
    store.kill()
    wait_up(two, 0)
    time.sleep(1.2)
    assert two.get("/api/x", user()).status == 200 and two.get("/api/x", bearer(token(jti="a"))).status == 401
    assert two.get("/users/x", user()).status == 503


def test_revoked_by_an_operator_in_the_store(share, store):
    """An entry is what the file and the admin listener take, and its score the time in microseconds."""
    proxy = share(store)
    store.call("ZADD", "usher:revocations", int(time.time() * 1e6), '{"jti": ["by-hand"]}')
    wait_status(proxy, token(jti="by-hand"), 401)
    for junk in [b"junk", b"{}x", b"\xff\x00", b"x" * 70_000]:
        store.call("ZADD", "usher:revocations", int(time.time() * 1e6), junk)
    time.sleep(0.3)
    store.call("ZADD", "usher:revocations", int(time.time() * 1e6) + 1, '{"jti": ["behind-junk"]}')
    wait_status(proxy, token(jti="behind-junk"), 401)


def test_revoked_while_the_store_is_away(share, store):
    one, two = share(store, 2)
    revoked, earlier = token(jti="a"), token(jti="b")
    assert post(one, {"jti": ["b"]}) == 200
    wait_status(two, earlier, 401)
    store.kill()
    wait_up(one, 0)
    assert post(one, {"jti": ["a"]}) == 200
    wait_status(one, revoked, 401)
    wait_until(lambda: metric(one, "usher_shared_revocations_pending") == 1)
    for proxy in (one, two):
        assert proxy.get("/api/x", bearer(earlier)).status == 401, "the last known list applies"
    assert two.get("/api/x", bearer(revoked)).status == 200
    store.start()
    wait_status(two, revoked, 401)
    # it came back without its data: what the proxies know is there again, for one that starts now
    wait_until(lambda: metric(one, "usher_shared_revocations_pending") == 0)
    wait_until(lambda: store.call("ZCARD", "usher:revocations") == 2)
    assert share(store).get("/api/x", bearer(earlier)).status == 401


def test_a_store_that_forgets_a_part(share, store):
    """As after a failover to a replica that lagged behind."""
    one, two = share(store, 2)
    for name in "abc":
        assert post(one, {"jti": [name]}) == 200
        wait_status(two, token(jti=name), 401)
    store.call("ZREMRANGEBYRANK", "usher:revocations", -1, -1)
    wait_until(lambda: store.call("ZCARD", "usher:revocations") == 3)
    assert two.get("/api/x", bearer(token(jti="c"))).status == 401


def test_a_list_that_is_lost_and_begun_anew_has_not_aged(share, store):
    """Somebody else was faster than the next look: what is older than all of the new list was not dropped by its age."""
    one, two = share(store, 2)
    assert post(one, {"jti": ["a"]}) == 200
    wait_status(two, token(jti="a"), 401)
    begin = "redis.call('DEL', KEYS[1]) redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])"
    store.call("EVAL", begin, 1, "usher:revocations", int(time.time() * 1e6), '{"jti": ["b"]}')
    wait_status(two, token(jti="b"), 401)
    wait_until(lambda: store.call("ZCARD", "usher:revocations") == 2)
    for proxy in (one, two):
        wait_until(lambda: metric(proxy, "usher_shared_revocations_pending") == 0)
        assert proxy.get("/api/x", bearer(token(jti="a"))).status == 401
    assert share(store).get("/api/x", bearer(token(jti="a"))).status == 401


def test_what_waits_for_the_store_is_there_once(share, store):
    proxy = share(store)
    store.kill()
    wait_up(proxy, 0)
    for _ in range(3):
        assert post(proxy, {"jti": ["a", "b"]}) == 200
        reload(proxy, proxy.file.read_text() + "\n")
    assert post(proxy, {"jti": ["c"]}) == 200
    wait_until(lambda: metric(proxy, "usher_shared_revocations_pending") >= 3)
    assert metric(proxy, "usher_shared_revocations_pending") == 3
    store.start()
    wait_until(lambda: store.call("ZCARD", "usher:revocations") == 3)


def test_old_revocations_go(share, store):
    one, two = share(store, 2, shared='revocations_kept = "1h"')
    store.call("ZADD", "usher:revocations", int((time.time() - 3700) * 1e6), '{"jti": ["old"]}')
    store.call("ZADD", "usher:revocations", int((time.time() - 3500) * 1e6), '{"jti": ["young"]}')
    assert post(one, {"jti": ["new"]}) == 200
    wait_status(two, token(jti="new"), 401)
    wait_status(two, token(jti="old"), 200)
    assert two.get("/api/x", bearer(token(jti="young"))).status == 401


def test_the_list_of_another_type(share, store):
    proxy = share(store)
    assert post(proxy, {"jti": ["a"]}) == 200
    wait_until(lambda: store.call("ZCARD", "usher:revocations") == 1)
    store.call("DEL", "usher:revocations")
    store.call("SET", "usher:revocations", "x")
    wait_until(lambda: b"WRONGTYPE" in bytes(proxy.errors))
    assert proxy.get("/api/x", bearer(token(jti="a"))).status == 401
    assert ask(proxy, 11) == [200] * 10 + [429]
    store.call("DEL", "usher:revocations")
    wait_until(lambda: store.call("TYPE", "usher:revocations") == "zset")


# ---- reload

def reload(proxy, text):
    done = 'usher_config_reloads_total{result="success"}'
    before = metric(proxy, done)
    proxy.file.write_text(text)
    proxy.signal(1)
    wait_until(lambda: metric(proxy, done) > before)


def test_a_store_that_a_reload_takes_away_and_another_brings_back(start, own_backend, store):
    """What it has said it does not say again: it must not be forgotten meanwhile."""
    fill = {"redis": f"redis://127.0.0.1:{store.port}", "shared": 'timeout = "5s"', "requests": 60, "per": "600s", "burst": 10}
    proxy = start(own_backend, SHARED.replace("[revocation]\n", ""), **fill)
    wait_up(proxy)
    store.call("ZADD", "usher:revocations", int(time.time() * 1e6), '{"jti": ["a"]}')
    wait_status(proxy, token(jti="a"), 401)
    assert post(proxy, {"jti": ["b"]}) == 200
    text = proxy.file.read_text()
    reload(proxy, text[:text.index("[shared]")] + text[text.index("[rate_limit.per-user]"):])
    assert post(proxy, {"jti": ["c"]}) == 404
    wait_status(proxy, token(jti="a"), 200)
    reload(proxy, text)
    for name in "ab":
        wait_status(proxy, token(jti=name), 401)
    store.call("ZADD", "usher:revocations", int(time.time() * 1e6), '{"jti": ["d"]}')
    wait_status(proxy, token(jti="d"), 401)
    assert [proxy.get("/api/x", bearer(token(jti=name))).status for name in "ab"] == [401, 401]


def test_a_reload_changes_the_store(share, store, tmp_path):
    (tmp_path / "second").mkdir()
    with Store(tmp_path / "second") as other:
        proxy = share(store)
        revoked = token(jti="a")
        assert post(proxy, {"jti": ["a"]}) == 200 and ask(proxy, 3) == [200] * 3
        text = proxy.file.read_text()
        proxy.file.write_text(text.replace(f":{store.port}", f":{other.port}"))
        proxy.signal(1)
        wait_until(lambda: other.call("ZCARD", "usher:revocations") == 1)
        store.kill()
        wait_up(proxy)
        wait_status(share(other), revoked, 401)
        # without the table nothing is shared any more, and nothing is forgotten
        proxy.file.write_text(text[:text.index("[shared]")] + text[text.index("[rate_limit.per-user]"):])
        proxy.signal(1)
        wait_until(lambda: b"usher_shared_up" not in proxy.admin_request("/metrics").body)
        assert proxy.get("/api/x", bearer(revoked)).status == 401
        assert ask(proxy, 11, user("bob")) == [200] * 10 + [429]


# ---- somebody else at the store's address

class Relay:
    """Between a proxy and a store: delays what the store says, or cuts."""

    def __init__(self, target: int):
        self.target, self.port, self.delay = target, free_port(), 0.0
        self.pairs: list[socket.socket] = []

    def __enter__(self):
        relay = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    with socket.create_connection(("127.0.0.1", relay.target)) as server:
                        relay.pairs += [self.request, server]
                        threading.Thread(target=relay.copy, args=(self.request, server, False), daemon=True).start()
                        relay.copy(server, self.request, True)
                except OSError:
                    pass

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def copy(self, source, sink, slow):
        try:
            while data := source.recv(65536):
                if slow and self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for end in pairs:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __exit__(self, *_):
        self.cut()
        self.server.shutdown()
        self.server.server_close()


LOADED = b"$40\r\n" + b"a" * 40 + b"\r\n"
READ = b"*5\r\n$1\r\nn\r\n$1\r\n0\r\n$1\r\n0\r\n$1\r\n0\r\n*0\r\n"

HOSTILE = {
    "http": (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""),
    "nothing": (b"", b""),
    "endless line": (b"+" + b"x" * 100_000, b""),
    "endless text": (b"$2147483647\r\n" + b"x" * 1_000_000, b""),
    "negative text": (b"$-2\r\n", b""),
    "huge list": (b"*2147483647\r\n", b""),
    "deep list": (b"*1\r\n" * 100, b""),
    "wrong digest": (b"$3\r\nabc\r\n" * 3, b""),
    "number for a digest": (b":1\r\n" * 3, b""),
    "unasked": (LOADED * 3 + READ * 50, b""),
    "more than was asked": (LOADED * 3, b"*2\r\n:1000000\r\n:0\r\n"),
    "negative": (LOADED * 3, b"*2\r\n:-5\r\n:0\r\n"),
    "for ever": (LOADED * 3, b"*2\r\n:0\r\n:9223372036854775807\r\n"),
    "text for a verdict": (LOADED * 3, b"$2\r\nok\r\n"),
    "nil for a verdict": (LOADED * 3, b"*-1\r\n"),
    "error for a verdict": (LOADED * 3, b"-ERR \x1b[31m\x00no\r\n"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers(share, name):
    first, later = HOSTILE[name]

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            try:
                self.request.recv(65536)
                self.request.sendall(first)
                while data := self.request.recv(65536):
                    self.request.sendall(READ if b"revocations" in data else later)
            except OSError:
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = share(None, wait=False, redis=f"redis://127.0.0.1:{server.server_address[1]}", shared='timeout = "100ms"')
        started = time.monotonic()
        got = ask(proxy, 12)
        assert got == [200] * 10 + [429] * 2
        assert time.monotonic() - started < 10
        time.sleep(0.3)
        assert proxy.get("/api/x", user()).status == 200
        assert proxy.memory("VmHWM") < 200 << 20
        assert b"\x1b" not in bytes(proxy.errors)
        server.shutdown()


def test_who_got_nonsense_for_an_answer_is_told_and_asks_again(share):
    """One bad reply must not leave a bucket waiting for it for ever."""
    asked = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            try:
                self.request.recv(65536)
                self.request.sendall(LOADED * 3)
                while data := self.request.recv(65536):
                    if b"revocations" in data:
                        self.request.sendall(READ)
                    else:
                        asked.append(data)
                        self.request.sendall(b"*2\r\n:-5\r\n:0\r\n" if len(asked) == 1 else b"*2\r\n:1\r\n:0\r\n")
            except OSError:
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = share(None, wait=False, redis=f"redis://127.0.0.1:{server.server_address[1]}", shared='timeout = "5s"')
        wait_up(proxy)
        for _ in range(4):
            started = time.monotonic()
            assert ask(proxy, 1) == [200]
            assert time.monotonic() - started < 4, "the reply that it waits for has come"
            time.sleep(0.4)
        assert len(asked) >= 2
        server.shutdown()


def test_what_was_read_counts_though_the_rest_could_not_be(share):
    """A long list comes in pages, and the store goes behind the first."""
    entry, score = b'{"jti": ["a"]}', b"1769299200000000"
    page = b"*5\r\n$1\r\nn\r\n" + b"$16\r\n%s\r\n" % score + b"$16\r\n1769299200000009\r\n" + b"$16\r\n%s\r\n" % score
    page += b"*2\r\n$%d\r\n%s\r\n$16\r\n%s\r\n" % (len(entry), entry, score)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            try:
                self.request.recv(65536)
                self.request.sendall(LOADED * 3)
                self.request.recv(65536)
                self.request.sendall(page)
                self.request.recv(65536)
            except OSError:
                pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = share(None, wait=False, redis=f"redis://127.0.0.1:{server.server_address[1]}")
        wait_status(proxy, token(jti="a"), 401)
        server.shutdown()


def test_who_greets_without_end_does_not_keep_the_thread(share, tmp_path):
    """HelloRequest, which a client of TLS passes over in the middle of a handshake: whoever is there need not have proven anything."""
    with Endless(tmp_path, b"\x16\x03\x03\x40\x00" + bytes(16384)) as server:
        proxy = share(None, wait=False, redis=f"rediss://127.0.0.1:{server.port}")
        proxy.wait_said(b"sends without end")
        assert proxy.stop() == 0


class Forgetful(socketserver.BaseRequestHandler):
    """A store that forgets the script of one call and knows it again when the next one comes, as another proxy has sent
    it meanwhile: the second call is answered before the first, which goes once more."""

    ONE, NONE = b"*2\r\n:1\r\n:10000000\r\n", b"*2\r\n:0\r\n:100000000\r\n"

    def handle(self):
        stream, replies, first = self.request.makefile("rb"), [], None
        try:
            while line := stream.readline():
                words = [stream.read(int(stream.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]
                if words[0] == b"SCRIPT":
                    replies.append(LOADED)
                elif any(b"revocations" in word for word in words):
                    replies.append(READ)
                elif words[0] == b"EVALSHA" and self.server.forgets and first is None:
                    first = (words[3], len(replies))
                elif first:
                    replies.insert(first[1], b"-NOSCRIPT No matching script.\r\n")
                    replies.append(self.NONE)
                    self.server.answered = (first[0], words[3])
                    self.server.forgets, first = False, None
                else:
                    self.server.keys.append(words[3])
                    replies.append(self.ONE)
                if first is None:
                    self.request.sendall(b"".join(replies))
                    replies = []
        except (OSError, ValueError):
            pass


def test_a_forgotten_script_gives_nobody_anothers_answer(share):
    """What comes back in another order is still the answer to its own question."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forgetful) as server:
        server.daemon_threads = True
        server.keys, server.forgets, server.answered = [], False, None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = share(None, wait=False, redis=f"redis://127.0.0.1:{server.server_address[1]}")
        wait_up(proxy)
        # A call that waits for a second is given up, and the connection with it: on a busy machine more than one try.
        for number in range(50):
            names = [f"one-{number}", f"two-{number}"]
            before = len(server.keys)
            if [ask(proxy, 1, user(name)) for name in names] != [[200], [200]] or len(server.keys) != before + 2:
                continue
            keys, failures = server.keys[-2:], metric(proxy, "usher_shared_failures_total")
            server.answered, server.forgets = None, True
            with proxy.client() as one, proxy.client() as two:
                for client, name in zip((one, two), names):
                    client.send(render("GET", "/users/x", user(name)))
                statuses = [client.response().status for client in (one, two)]
            server.forgets = False
            is_whole = metric(proxy, "usher_shared_failures_total") == failures
            if is_whole and server.answered and sorted(server.answered) == sorted(keys):
                break
            wait_up(proxy)
        else:
            pytest.fail("never two calls at once")
        assert dict(zip(keys, statuses)) == {server.answered[0]: 200, server.answered[1]: 429}
        server.shutdown()


# ---- the file

@pytest.mark.parametrize("line, message", [
    ('redis = "http://127.0.0.1:6379"', '"redis" must be an address such as "redis://127.0.0.1:6379"'),
    ('redis = "redis://127.0.0.1:6379/x"', "the number of a database"),
    ('redis = "redis://a%zz@127.0.0.1"', "percent-encoding"),
    ('redis = "redis://"', "error"),
    ('redis = 5', '"redis" must be a string'),
    ('redis = "redis://127.0.0.1"\nwhen_unavailable = "locel"', "did you mean \"local\""),
    ('redis = "redis://127.0.0.1"\ntimeout = 50', "bare number"),
    ('redis = "redis://127.0.0.1"\ntimeout = "1h"', "between 1ms and 5s"),
    ('redis = "redis://127.0.0.1"\nprefix = ""', "visible ASCII"),
    ('redis = "redis://127.0.0.1"\nca = "x.pem"', "rediss://"),
    ('redis = "redis://:p@127.0.0.1"\npassword = { env = "USHER_TEST_SECRET" }', "one of them is enough"),
    ('rediss = "redis://127.0.0.1"', 'unknown key "rediss"'),
    ('when_unavailable = "local"', 'needs "redis"'),
])
def test_mistakes_in_the_table(tmp_path, line, message):
    from harness.configuration import PREAMBLE
    from harness.process import command
    file = tmp_path / "usher.toml"
    file.write_text((PREAMBLE + SMALL).format(workers=1, port=1, admin=2, listen="", upstream="", backend=3) + f"\n[shared]\n{line}\n")
    done = command("check", "--config", file)
    assert done.returncode == 1 and message in done.stderr + done.stdout, done.stderr + done.stdout


def test_a_password_in_the_file_is_warned_of_and_not_shown(tmp_path):
    from harness.configuration import PREAMBLE
    from harness.process import command
    file = tmp_path / "usher.toml"
    file.write_text((PREAMBLE + SMALL).format(workers=1, port=1, admin=2, listen="", upstream="", backend=3)
                    + '\n[shared]\nredis = "redis://u:hunter2@192.0.2.1"\n')
    done = command("check", "--config", file)
    text = done.stderr + done.stdout
    assert done.returncode == 0 and "hunter2" not in text, text
    assert "a password is written into the file" in text and "not encrypted" in text


# ---- what an operator sees

def test_a_store_that_takes_no_writes_is_not_asked_without_end(share, store):
    """As a replica: limits are counted here, what is to be revoked waits, and calls stay a few a second."""
    proxy = share(store)
    ask(proxy, 1)
    store.call("REPLICAOF", "127.0.0.1", "1")
    assert post(proxy, {"jti": ["a"]}) == 200
    wait_until(lambda: b"READONLY" in bytes(proxy.errors))
    before, started = metric(proxy, "usher_shared_calls_total"), time.monotonic()
    time.sleep(1)
    assert metric(proxy, "usher_shared_calls_total") - before < 20 * (time.monotonic() - started)
    assert metric(proxy, "usher_shared_revocations_pending") == 1
    statuses = ask(proxy, 15)
    assert 9 <= statuses.count(200) <= 10 and statuses[-1] == 429, "one was taken, and one comes back each ten seconds"
    store.call("REPLICAOF", "NO", "ONE")
    wait_until(lambda: metric(proxy, "usher_shared_revocations_pending") == 0)


def test_a_store_that_was_demoted_is_left_for_whoever_has_its_place(share, store, tmp_path):
    """A failover: the old store lives on as a replica, and what led to it leads to the new one."""
    with Store(tmp_path) as other, Relay(store.port) as relay:
        proxy = share(relay)
        assert ask(proxy, 1) == [200]
        relay.target = other.port
        store.call("REPLICAOF", "127.0.0.1", other.port)
        assert post(proxy, {"jti": ["a"]}) == 200
        wait_until(lambda: metric(proxy, "usher_shared_revocations_pending") == 0)
        wait_until(lambda: ask(proxy, 1, user("bob")) == [200] and other.call("KEYS", "usher:rate:*"))
        wait_until(lambda: other.call("ZCARD", "usher:revocations") == 1)


def test_promtool_has_nothing_to_say_about_the_metrics(share, store):
    promtool = shutil.which("promtool")
    assert promtool, "promtool is in Debian's package prometheus: scripts/install-packages"
    proxy = share(store)
    ask(proxy, 3)
    done = subprocess.run([promtool, "check", "metrics"], input=proxy.admin_request("/metrics").body, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
