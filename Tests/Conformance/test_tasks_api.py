"""The sample backend under uvicorn: A never sees a task of B, whatever headers, paths or bodies are sent."""

import os
import subprocess
import sys
import time
import urllib.request
import uuid

import httpx
import pytest

from harness import configuration
from harness.ports import free_port
from harness.process import REPOSITORY, Usher, allocate
from harness.tokens import bearer, keys_token, token
from harness.wire import render

SAMPLE = REPOSITORY / "config" / "examples" / "tasks-api"
ROUTES = """
[upstream.tasks]
servers = ["127.0.0.1:{backend}"]

[issuer.main]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}

[[route]]
path = "/health"
auth = "none"
upstream = "tasks"

[[route]]
path = "/tasks/**"
auth = "main"
upstream = "tasks"

[[route]]
path = "/api/{{user_id}}/tasks/**"
auth = "main"
require = {{ sub = "{{user_id}}" }}
upstream = "tasks"
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    backend = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "main:app", "--host", "127.0.0.1", "--port", str(backend), "--log-level", "warning"],
        cwd=SAMPLE, env=os.environ | {"TASKS_DATABASE": str(folder / "tasks.db"), "PYTHONDONTWRITEBYTECODE": "1"}, stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{backend}/health", timeout=5)
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < end, "the sample backend did not start"
                time.sleep(0.05)
        port, admin = allocate()
        text = (configuration.PREAMBLE + ROUTES).format(workers=2, port=port, admin=admin, backend=backend, listen="")
        proxy = Usher(folder, text, port, admin)
        proxy.wait_ready()
        yield proxy
        assert proxy.stop() == 0
    finally:
        server.terminate()
        server.wait(10)


class User:
    def __init__(self, api, name: str):
        self.name, self.token = name, token(subject=name)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{api.port}", headers=bearer(self.token), timeout=30)

    def make(self, title: str) -> int:
        answer = self.http.post("/tasks", json={"title": title})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]


@pytest.fixture
def people(api):
    """Two users nobody has met before, each with two tasks."""
    alice, bob = User(api, f"alice-{uuid.uuid4().hex[:8]}"), User(api, f"bob-{uuid.uuid4().hex[:8]}")
    for user in (alice, bob):
        user.tasks = [user.make(f"secret of {user.name} {n}") for n in range(2)]
    yield alice, bob
    for user in (alice, bob):
        user.http.close()


def test_crud(people):
    alice, _ = people
    for base in ("/tasks", f"/api/{alice.name}/tasks"):
        made = alice.http.post(base, json={"title": "t", "description": "d"}).json()
        assert made["owner"] == alice.name
        one = f"{base}/{made['id']}"
        assert alice.http.get(one).json() == made | {"created_at": alice.http.get(one).json()["created_at"]}
        assert alice.http.put(one, json={"title": "u"}).json()["title"] == "u"
        assert alice.http.patch(one, json={"description": "e"}).json()["description"] == "e"
        assert alice.http.patch(f"{one}/complete").json()["completed"] is True
        assert made["id"] in [t["id"] for t in alice.http.get(base, params={"completed": "true"}).json()]
        assert alice.http.delete(one).status_code == 204
        assert alice.http.get(one).status_code == 404


def test_health_needs_no_token(api):
    assert httpx.get(f"http://127.0.0.1:{api.port}/health").json() == {"status": "ok"}


def test_nobody_without_a_token(api, people):
    alice, _ = people
    for path in ("/tasks", f"/tasks/{alice.tasks[0]}", f"/api/{alice.name}/tasks"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
            answer = httpx.request(method, f"http://127.0.0.1:{api.port}{path}", headers={"X-User-Id": alice.name})
            assert answer.status_code == 401, (method, path)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("suffix", ["", "/complete"])
@pytest.mark.parametrize("base", ["/tasks", "own", "other"])
def test_the_other_one_s_task_by_number(people, method, suffix, base):
    alice, bob = people
    path = {"/tasks": "/tasks", "own": f"/api/{bob.name}/tasks", "other": f"/api/{alice.name}/tasks"}[base]
    answer = bob.http.request(method, f"{path}/{alice.tasks[0]}{suffix}", json={"title": "taken", "completed": True} if method != "GET" else None)
    assert answer.status_code in (403, 404, 405), answer.text
    assert alice.name not in answer.text.replace(path, "")
    kept = alice.http.get(f"/tasks/{alice.tasks[0]}").json()
    assert kept["title"] == f"secret of {alice.name} 0" and kept["completed"] is False


SPOOFS = {
    "plain": lambda v: [("X-User-Id", v)],
    "lower": lambda v: [("x-user-id", v)],
    "underscore": lambda v: [("X_User_Id", v)],
    "mixed": lambda v: [("X-User_Id", v)],
    "dots": lambda v: [("X.User.Id", v)],
    "twice": lambda v: [("X-User-Id", v), ("X-User-Id", v)],
    "list": lambda v: [("X-User-Id", f"x, {v}")],
    "all": lambda v: [("X-User-Id", v), ("x_user_id", v), ("X.User.Id", v), ("X-USER-ID", v)],
    "connection": lambda v: [("Connection", "X-User-Id"), ("X-User-Id", v)],
    "connection close": lambda v: [("Connection", "close, X-User-Id, Authorization"), ("X-User-Id", v)],
    "remote user": lambda v: [("Remote-User", v), ("X-Remote-User", v), ("X-Forwarded-User", v), ("X-Auth-Request-User", v)],
    "original url": lambda v: [("X-Original-URL", f"/api/{v}/tasks"), ("X-Rewrite-URL", f"/api/{v}/tasks")],
    "forwarded": lambda v: [("X-Forwarded-Uri", f"/api/{v}/tasks"), ("X-Forwarded-Prefix", f"/api/{v}"), ("Forwarded", f"for={v}")],
    "override": lambda v: [("X-HTTP-Method-Override", "DELETE"), ("X-User-Id", v)],
    "cookie": lambda v: [("Cookie", f"user={v}; X-User-Id={v}; sub={v}")],
    "trailer": lambda v: [("Trailer", "X-User-Id"), ("X-User-Id", v)],
    "te": lambda v: [("TE", "trailers"), ("X-User-Id", v)],
    "space value": lambda v: [("X-User-Id", f" {v} ")],
    "empty then set": lambda v: [("X-User-Id", ""), ("X-User-Id", v)],
}
PATHS = {
    "/tasks": lambda a, b: "/tasks",
    "own": lambda a, b: f"/api/{b}/tasks",
    "other": lambda a, b: f"/api/{a}/tasks",
    "query": lambda a, b: f"/tasks?user_id={a}&x_user_id={a}&X-User-Id={a}&owner={a}",
    "own query": lambda a, b: f"/api/{b}/tasks?user_id={a}",
    "dots": lambda a, b: f"/api/{b}/../{a}/tasks",
    "encoded dots": lambda a, b: f"/api/{b}/%2e%2e/{a}/tasks",
    "encoded slash": lambda a, b: f"/api/{b}%2f..%2f{a}/tasks",
    "dots after": lambda a, b: f"/api/{b}/tasks/../../{a}/tasks",
    "semicolon": lambda a, b: f"/api/{b}/..;/{a}/tasks",
    "double slash": lambda a, b: f"//api/{a}/tasks",
    "backslash": lambda a, b: f"/api/{b}\\..\\{a}/tasks",
    "capitals": lambda a, b: f"/API/{a}/tasks",
    "encoded letters": lambda a, b: f"/api/%{ord(a[0]):02x}{a[1:]}/tasks",
    "absolute": lambda a, b: f"http://usher.test/api/{a}/tasks",
    "absolute other": lambda a, b: f"http://other.test/tasks?{a}",
    "trailing slash": lambda a, b: f"/api/{a}/tasks/",
    "fragment": lambda a, b: f"/api/{b}/tasks#/api/{a}/tasks",
    "nul": lambda a, b: f"/api/{b}%00{a}/tasks",
    "plus": lambda a, b: f"/api/{b}/tasks/?/../../{a}/tasks",
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("spoof", SPOOFS)
def test_spoof_matrix(api, people, spoof, path):
    """Bob tries everything: what he gets is his own or a refusal, and never a word of Alice's tasks."""
    alice, bob = people
    target = PATHS[path](alice.name, bob.name)
    with api.client() as client:
        client.send(render("GET", target, list(bearer(bob.token).items()) + SPOOFS[spoof](alice.name)))
        answer = client.response()
    assert f"secret of {alice.name}".encode() not in answer.body
    assert answer.status in (200, 307, 400, 403, 404), answer.status
    if answer.status == 200:
        assert {task["owner"] for task in answer.json()} == {bob.name}


BODIES = [
    {"title": "x", "owner": "ALICE"}, {"title": "x", "user_id": "ALICE"}, {"title": "x", "x_user_id": "ALICE", "X-User-Id": "ALICE"},
    {"title": "x", "id": 1, "owner": "ALICE"}, {"title": "ALICE' OR owner='ALICE"}]


@pytest.mark.parametrize("number", range(len(BODIES)))
@pytest.mark.parametrize("framing", ["length", "chunked", "trailer"])
def test_spoof_in_bodies(api, people, number, framing):
    import json
    alice, bob = people
    body = json.dumps(BODIES[number]).replace("ALICE", alice.name).encode()
    headers = bearer(bob.token) | {"Content-Type": "application/json", "X-User-Id": alice.name}
    with api.client() as client:
        if framing == "length":
            client.send(render("POST", "/tasks", headers, body))
        else:
            trailer = f"X-User-Id: {alice.name}\r\n".encode() if framing == "trailer" else b""
            client.send(render("POST", "/tasks", headers | {"Transfer-Encoding": "chunked"})
                        + b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailer))
        answer = client.response("POST")
    if answer.status == 201:
        assert answer.json()["owner"] == bob.name
    else:
        assert answer.status in (400, 422)
    assert sorted(t["id"] for t in alice.http.get("/tasks").json()) == alice.tasks, "nothing was put into Alice's list"


def test_smuggled_request_is_nobody_s(api, people):
    """A request hidden in a body stays a body; behind a refusal it gets its own refusal."""
    alice, bob = people
    hidden = f"GET /tasks HTTP/1.1\r\nHost: usher.test\r\nX-User-Id: {alice.name}\r\n\r\n".encode()
    with api.client() as client:
        client.try_send(render("POST", "/tasks", bearer(bob.token) | {"Content-Length": 5, "Transfer-Encoding": "chunked"}) + b"0\r\n\r\n" + hidden)
        answer = client.response("POST")
        assert answer.status == 400 and client.ended()
    with api.client() as client:
        client.send(render("POST", "/tasks", bearer(bob.token), hidden) + hidden)
        assert client.response("POST").status == 422  # not JSON: the body was only a body
        assert client.response().status == 401


@pytest.mark.parametrize("text", [
    lambda a: token(subject=a, secret_or_key=b"w" * 48), lambda a: token(subject=a, header={"alg": "none"}), lambda a: token(subject=a, exp=1),
    lambda a: token(subject=a, audience="x"), lambda a: token(subject=a, issuer="x"), lambda a: keys_token("ES256", subject=a),
    lambda a: token(subject=a).rsplit(".", 1)[0] + "."], ids=["secret", "none", "expired", "audience", "issuer", "key", "unsigned"])
def test_forged_tokens(api, people, text):
    alice, _ = people
    for path in ("/tasks", f"/api/{alice.name}/tasks"):
        assert httpx.get(f"http://127.0.0.1:{api.port}{path}", headers=bearer(text(alice.name))).status_code == 401


def test_many_requests_of_both_on_one_connection(api, people):
    alice, bob = people
    with api.client() as client:
        for n in range(40):
            user = (alice, bob)[n % 2]
            answer = client.request("GET", "/tasks", bearer(user.token) | {"X-User-Id": (bob, alice)[n % 2].name})
            assert {t["owner"] for t in answer.json()} == {user.name}
