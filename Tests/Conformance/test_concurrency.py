"""Many users at once: each answer names the user of its own token, whatever else goes on."""

import random
import threading

import pytest

from harness import configuration
from harness.tokens import bearer, keys_token, token
from harness.wire import chunk, render

THREADS = 32
REQUESTS = 40


def run(work) -> None:
    failures: list = []

    def guarded(n):
        try:
            work(n)
        except Exception as error:  # noqa: BLE001 - handed to the test below
            failures.append((n, repr(error)))
    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(80)
    assert not failures, failures[:5]


@pytest.fixture(scope="module")
def parallel(tmp_path_factory):
    """Two workers, so that each user's requests come to either."""
    from conftest import Proxy
    from harness.backend import Backend
    from harness.ports import refusing_port
    from harness.process import allocate, environment
    folder = tmp_path_factory.mktemp("parallel")
    configuration.write_keys(folder)
    port, admin = allocate()
    with Backend() as backend:
        text = (configuration.PREAMBLE + configuration.DEFAULT).format(
            workers=2, port=port, admin=admin, listen="", backend=backend.port, nobody=refusing_port())
        proxy = Proxy(folder, text, port, admin, environment(USHER_TEST_SERVICE_TOKEN="x"))
        proxy.backend = backend
        proxy.wait_ready()
        yield proxy
        assert proxy.stop() == 0
        assert not backend.errors


def mine(answer, user):
    assert answer.status == 200, (answer.status, answer.body[:200])
    assert answer.json()["user"] == [user], (user, answer.json()["user"])


def test_each_user_on_a_connection_of_their_own(parallel):
    def work(n):
        text = token(subject=f"user-{n}")
        with parallel.client() as client:
            for _ in range(REQUESTS):
                mine(client.request("GET", "/tasks", bearer(text)), f"user-{n}")
    run(work)


def test_users_mixed_on_each_connection(parallel):
    """One connection, many users, good and bad tokens, bodies, refusals: nothing sticks to a connection."""
    texts = [token(subject=f"user-{n}") if n % 2 else keys_token("ES256", subject=f"user-{n}") for n in range(THREADS)]

    def work(n):
        dice = random.Random(n)
        with parallel.client() as client:
            for _ in range(REQUESTS):
                which = dice.randrange(THREADS)
                user, kind = f"user-{which}", dice.randrange(6)
                headers = bearer(texts[which]) | {"X-User-Id": f"user-{dice.randrange(THREADS)}"}
                if kind == 0:
                    assert client.request("GET", "/tasks", {"X-User-Id": user}).status == 401
                elif kind == 1:
                    answer = client.request("GET", "/public/x", headers)
                    assert answer.status == 200 and answer.json()["user"] == []
                elif kind == 2:
                    client.send(render("POST", "/tasks", headers | {"Transfer-Encoding": "chunked"}) + chunk(user.encode()))
                    answer = client.response()
                    mine(answer, user)
                    assert answer.json()["body"] == user
                elif kind == 3:
                    assert client.request("GET", f"/api/nobody/tasks/{which}", headers).status == 403
                elif kind == 4:
                    assert client.request("GET", "/optional/x", {"X-User-Id": user}).json()["user"] == []
                else:
                    mine(client.request("GET", f"/api/{user}/tasks/1", headers), user)
    run(work)


def test_pipelined_users(parallel):
    texts = [token(subject=f"user-{n}") for n in range(THREADS)]

    def work(n):
        order = [random.Random(n * 100 + k).randrange(THREADS) for k in range(REQUESTS)]
        with parallel.client() as client:
            client.send(b"".join(render("GET", "/tasks", bearer(texts[which])) for which in order))
            for which in order:
                mine(client.response(), f"user-{which}")
    run(work)


def test_clients_that_go_away_at_any_time(parallel):
    """Resets in the middle of everything; those that stay are served rightly."""
    def work(n):
        dice, text = random.Random(n), token(subject=f"user-{n}")
        whole = render("POST", "/tasks", bearer(text), b"x" * 2000)
        for _ in range(REQUESTS // 2):
            client = parallel.client()
            if dice.random() < 0.5:
                client.try_send(whole[: dice.randrange(len(whole))])
                client.reset() if dice.random() < 0.5 else client.close()
            else:
                client.send(whole)
                mine(client.response("POST"), f"user-{n}")
                client.close()
    run(work)
