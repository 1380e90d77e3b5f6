"""Behind nginx, Caddy and Traefik: the commands of their pages, with the real programs and a backend that tells what it got."""

from __future__ import annotations

import http.server
import json
import re
import socket
import threading
import time

import pytest

import documents
from machine import run, tool

PROXY = ("127.0.0.1", 8088)


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers with the fields of the request, as they came."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802 - the name that http.server wants
        body = json.dumps({"path": self.path, "fields": self.headers.items()}).encode() + b"\n"
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def recorder(network):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    server.paths = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def program(bases, request):
    """Where the proxy's program is; skips where there is none."""
    return bases("caddy") if request.param == "caddy" else tool(request.param)


def ask(target: str, *fields: str, method: str = "GET") -> tuple[int, bytes]:
    """One request whose fields are sent as they stand."""
    with socket.create_connection(PROXY, timeout=30) as client:
        lines = [f"{method} {target} HTTP/1.1", "Host: app.test", "Connection: close", *fields]
        client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        answer = b""
        while data := client.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def users(body: bytes) -> list[tuple[str, str]]:
    """Every field that a backend could read as X-User-Id."""
    text = re.search(rb"\{.*\}", body)[0]
    return [(name, value) for name, value in json.loads(text)["fields"] if name.lower().replace("_", "-") == "x-user-id"]


FORGED = ["X-User-Id: bob", "x-user-id: bob", "X_User_Id: bob", "X-User_Id: bob", "X_User-Id: bob"]


@pytest.mark.parametrize("program", ["nginx", "caddy", "traefik"], indirect=True)
def test_page(program, podman, image, recorder, tmp_path, request):
    name = request.node.callspec.params["program"]
    page = documents.sections(f"{name}.md")
    folder = documents.clone(tmp_path / "usher")
    for path in (folder / "deploy" / "forward-auth").iterdir():
        path.write_text(path.read_text().replace("127.0.0.1:8000", f"127.0.0.1:{recorder.server_port}"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).symlink_to(program)
    environment = podman.environment | {
        "USHER_TEST_IMAGE": image, "PATH": f"{tmp_path}/bin:{podman.environment['PATH']}", "HOME": str(tmp_path)}
    stop = page["Stop"].splitlines()[0]
    try:
        documents.execute(page["Start"], folder, environment)
        podman.wait_log("usher", "listening on")
        said = documents.execute(page["Try"], folder, environment).stdout
        answers = [line for line in said.splitlines() if line.startswith('{"path"')]
        assert [users(line.encode()) for line in answers[1:3]] == [[("X-User-Id", "alice")]] * 2, said
        assert re.findall(r"^HTTP/1.1 (\d+)", said, re.M) == ["401", "403"], said
        token = documents.execute(re.search(r"token=(?:.|\\\n)*?\)\n", page["Try"])[0] + "echo $token", folder, environment).stdout.split()[-1]
        check(recorder, f"Authorization: Bearer {token}", passes_refusals=name != "nginx")
        documents.execute(page["Stop"], folder, environment)
        wait_until_closed()
    finally:
        run("bash", "-c", stop, cwd=folder, env=environment, check=False)
        podman.remove("usher")


def check(recorder, token: str, passes_refusals: bool) -> None:
    """What a client can say of itself, and which paths are served: the same behind each proxy."""
    for forged in FORGED:
        status, body = ask("/tasks", token, forged)
        assert status == 200 and [value for _, value in users(body)] == ["alice"], (forged, body)
        status, body = ask("/health", forged)
        assert status == 200 and [value for _, value in users(body) if value] == [], (forged, body)
    status, body = ask("/tasks", token, *FORGED)
    assert status in (200, 400) and (status == 400 or [value for _, value in users(body)] == ["alice"])
    assert b"authorization" not in ask("/tasks", token)[1].lower()
    assert ask("/tasks", "Authorization: Bearer x.y.z")[0] == 401
    recorder.paths.clear()
    for target in ("/api/alice/../bob/tasks", "/api/bob%2ftasks", "/api//bob/tasks", "/api/alice/%2e%2e/bob", "/nothing"):
        status, body = ask(target, token)
        assert 400 <= status <= 500 and (passes_refusals or status in (400, 500)), (target, status, body)
    # Whoever claims to be a proxy decides nothing.
    assert ask("/api/bob/tasks", token, "X-Forwarded-Uri: /api/alice/tasks", "X-Original-URI: /api/alice/tasks")[0] >= 400
    assert ask("/tasks", "X-Forwarded-Uri: /health", "X-Original-URI: /health", "X-Original-Method: GET", "X-Forwarded-Method: GET")[0] >= 400
    assert recorder.paths == []
    status, body = ask("/api/alice/tasks?done=1", token, method="POST")
    assert status == 200 and recorder.paths == ["/api/alice/tasks?done=1"]
    if passes_refusals:
        assert json.loads(re.search(rb"\{.*\}", ask("/tasks")[1])[0])["code"] == "token_missing"


def wait_until_closed(timeout: float = 60) -> None:
    end = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(PROXY, timeout=1).close()
        except OSError:
            return
        assert time.monotonic() < end, "the proxy still listens"
        time.sleep(0.05)
