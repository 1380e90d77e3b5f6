"""The image, built around the binary under test and run hardened in front of the sample backend."""

from __future__ import annotations

import http.client
import json
import math
import os
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

from machine import ROOT, STATIC_BINARY, image_binary, need_containers, run
from podman import IMAGE, build_prebuilt, layer_files

CONTAINER = ROOT / "deploy" / "container"
HARDENED = [
    "--network", "host", "--no-healthcheck", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all",
    "--security-opt", "no-new-privileges", "--memory", "128m", "--pids-limit", "64"]


def ask(path, token=None, headers=(), method="GET", body=None, port=8080, timeout=30, host="127.0.0.1"):
    """One request; status, headers and body."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        fields = dict(headers)
        if token:
            fields["Authorization"] = f"Bearer {token}"
        if body is not None:
            fields["Content-Type"] = "application/json"
            body = json.dumps(body)
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def smoke(podman, image: str, secret: Path, backend: str, sign) -> None:
    """An image, hardened, in front of the sample backend: it proves who asks, is healthy, and ends as it should."""
    podman(
        "run", "--detach", "--name", "smoke", *HARDENED, "--env", f"BACKEND={backend}", "--volume",
        f"{CONTAINER}/usher.toml:/etc/usher/usher.toml:ro", "--volume", f"{secret}:/run/secrets/token_secret:ro", image)
    try:
        podman.wait_log("smoke", "listening on")
        assert ask("/tasks", sign("alice"))[0] == 200 and ask("/tasks")[0] == 401
        assert json.loads(ask("/tasks", sign("smoke"), {"X-User-Id": "alice"})[2]) == []
        assert podman("exec", "smoke", "/usr/local/bin/usher", "healthcheck").stdout.startswith("healthy")
        podman("stop", "--time", "20", "smoke")
        assert podman.inspect("smoke")["State"]["ExitCode"] == 0
    finally:
        podman.remove("smoke")


def metric(name: str, port: int = 9901, host: str = "127.0.0.1") -> float:
    text = ask("/metrics", port=port, host=host)[2].decode()
    return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])


def wait_under_way() -> None:
    """Until a request has come to the proxy."""
    end = time.monotonic() + 30
    while not metric("usher_requests_in_flight"):
        assert time.monotonic() < end, "no request has come"
        time.sleep(0.05)


@pytest.fixture
def start(podman, image, secret, sample_backend, tmp_path):
    """`start("--cpus", "1")` runs the image with these options besides the hardened ones."""
    running = []

    def run_it(*options, configuration=CONTAINER / "usher.toml", user="65532:65532"):
        tmp_path.chmod(0o755)
        copy = tmp_path / "usher.toml"
        copy.write_text(Path(configuration).read_text())
        copy.chmod(0o644)
        name = f"usher-{len(running)}"
        running.append(name)
        podman(
            "run", "--detach", "--name", name, *HARDENED, "--user", user, "--env", f"BACKEND={sample_backend}",
            "--volume", f"{tmp_path}:/etc/usher:ro", "--volume", f"{secret}:/run/secrets/token_secret:ro", *options, image)
        podman.wait_log(name, "listening on")
        return name

    yield run_it
    podman.remove(*running)


def test_what_the_image_says(podman, image):
    """Exec form, a numeric user, the signal and the health check; OCI labels."""
    config = podman.inspect(image)["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/local/bin/usher"] and config["Cmd"] == ["run"]
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert podman.inspect(image)["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/usher", "healthcheck"]
    for label in ("title", "description", "version", "revision", "licenses", "source", "documentation"):
        assert config["Labels"][f"org.opencontainers.image.{label}"]


def test_the_two_containerfiles_end_alike():
    """What follows the root's files is the same for an image from source and one around a binary."""

    def tail(text: str) -> str:
        return text[text.index("USER 65532"):]

    full = (CONTAINER / "Containerfile").read_text()
    stages = re.split(r"^FROM ", full, flags=re.M)
    expected = tail((CONTAINER / "Containerfile.prebuilt").read_text()).strip()
    assert tail(stages[-1]).strip() == expected
    assert tail(next(s for s in stages if " AS debian\n" in s)).strip() == expected


def test_what_is_in_the_image(podman, image, tmp_path):
    """The program, what it needs, its bill of materials; no shell, no passwd, and small where it is static."""
    podman("save", "--quiet", "--format", "docker-archive", "--output", tmp_path / "image.tar", image)
    files = layer_files(tmp_path / "image.tar")
    for needed in ("usr/local/bin/usher", "etc/ssl/certs/ca-certificates.crt", "usr/share/sbom/usher.cdx.json"):
        assert files[needed].isfile(), needed
    names = {Path(name).name for name in files}
    assert not names & {"sh", "bash", "busybox", "dash", "passwd", "apt", "dpkg"}
    assert not [name for name, entry in files.items() if entry.isfile() and entry.mode & 0o6022], "setuid or writable"
    if image_binary() == STATIC_BINARY:
        assert sum(entry.size for entry in files.values()) <= 24_000_000


def test_two_builds_give_one_digest(podman, tmp_path):
    """In OCI's format, which has no health check; docker's has the builder's host name in it (see test_dist.py)."""
    digests = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        tag = build_prebuilt(podman, tmp_path / str(number), f"localhost/usher:{number}", "--no-cache", "--format", "oci")
        digests.append(podman.inspect(tag)["Digest"])
    assert digests[0] == digests[1]


def test_version_in_a_root_without_anything(podman, image):
    """The command line works without network, environment and configuration."""
    said = podman("run", "--rm", "--network", "none", "--read-only", "--cap-drop", "all", image, "version").stdout
    assert re.match(r"usher \d+\.\d+\.\d+\nSwift .*\nOpenSSL 3", said)
    done = podman("run", "--rm", "--network", "none", image, check=False)
    assert done.returncode == 1 and "/etc/usher/usher.toml" in done.stderr


def test_good_bad_and_spoofed_requests(podman, start, sign):
    name = start("--cpus", "1")
    alice, bob = sign("alice"), sign("bob")
    made = ask("/tasks", alice, method="POST", body={"title": "Alice's own"})
    assert made[0] == 201 and json.loads(made[2])["owner"] == "alice"
    assert ask("/health")[0] == 200
    assert ask("/tasks")[0] == 401
    assert ask("/tasks", alice[:-3] + "AAA")[0] == 401
    assert ask("/tasks", sign("alice", "--lifetime=-1h"))[0] == 401
    assert ask("/api/alice/tasks", bob)[0] == 403
    assert ask("/nowhere", alice)[0] == 404
    for alias in ("X-User-Id", "x_user_id", "X.User.Id"):
        status, _, body = ask("/tasks", bob, {alias: "alice"})
        assert status == 200 and json.loads(body) == [], alias
    said = podman.wait_log(name, '"reason":"not_yours"')
    lines = [line.split(" ", 3)[3] for line in said.splitlines() if line.startswith("20")] or said.splitlines()
    assert all(json.loads(line) for line in lines if line), "every line of the log is JSON"


def test_it_runs_as_nobody_with_nothing(podman, start):
    """What the kernel says of the process: user, capabilities, no new privileges, seccomp, PID 1."""
    name = start()
    number = podman.inspect(name)["State"]["Pid"]
    status = dict(re.findall(r"^(\w+):\s+(.*)$", Path(f"/proc/{number}/status").read_text(), re.M))
    assert status["Uid"].split() == ["65532"] * 4 and status["Gid"].split() == ["65532"] * 4
    assert int(status["CapEff"], 16) == 0 and int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert status["NSpid"].split()[-1] == "1"
    done = podman("exec", name, "/usr/local/bin/usher", "healthcheck")
    assert done.stdout.startswith("healthy")


def test_any_user_will_do(podman, start, sign):
    """OpenShift and its like choose a user id that nobody knows."""
    start(user="1000730000:0")
    assert ask("/tasks", sign("alice"))[0] == 200


@pytest.mark.parametrize("cpus", ["0.5", "1", "2"])
def test_workers_follow_the_cpu_quota(start, cpus):
    start("--cpus", cpus)
    assert metric("usher_workers") == min(math.ceil(float(cpus)), len(os.sched_getaffinity(0)))


def test_buffers_follow_the_memory_limit(start):
    """Half of the control group's limit: beyond it new requests are refused, before the kernel ends the process."""
    start()
    assert metric("usher_buffer_limit_bytes") == 64 * 1024 * 1024


@pytest.mark.parametrize(("signals", "status"), [(["INT"], 0), (["TERM", "TERM"], 1)])
def test_signals_as_the_first_process(podman, start, sign, signals, status):
    """The kernel gives PID 1 only signals that it handles: one ends it when nothing is in flight, two in any case."""
    name = start()
    token = sign("alice")
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)
    if len(signals) > 1:
        connection.putrequest("POST", "/tasks")
        connection.putheader("Authorization", f"Bearer {token}")
        connection.putheader("Content-Length", "100")
        connection.endheaders(b"{")
        wait_under_way()
    began = time.monotonic()
    for signal in signals:
        podman("kill", "--signal", signal, name)
        podman.wait_log(name, "draining")
    podman("wait", name, timeout=60)
    assert time.monotonic() - began < 25, "a drain may take thirty seconds"
    assert podman.inspect(name)["State"]["ExitCode"] == status
    connection.close()


def test_reload_by_hangup(podman, start, sign, tmp_path):
    name = start()
    alice = sign("alice")
    assert ask("/new/tasks", alice)[0] == 404
    file = tmp_path / "usher.toml"
    text = file.read_text()
    file.write_text("not = a configuration\n")
    podman("kill", "--signal", "HUP", name)
    podman.wait_log(name, "configuration not changed")
    assert ask("/tasks", alice)[0] == 200
    file.write_text(text + '\n[[route]]\npath = "/new/**"\nauth = "main"\nupstream = "app"\nrewrite = { strip_prefix = "/new" }\n')
    podman("kill", "--signal", "HUP", name)
    podman.wait_log(name, "configuration reloaded")
    end = time.monotonic() + 30
    while ask("/new/tasks", alice)[0] != 200:  # a worker may hear of it a moment later
        assert time.monotonic() < end
        time.sleep(0.05)


def test_drain_by_stop(podman, start, sign):
    """A request whose body is still on its way when the container is stopped is answered; the exit status is 0."""
    name = start()
    token = sign("drainer")
    body = json.dumps({"title": "late"}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)
    connection.putrequest("POST", "/tasks")
    for field, value in (
            ("Authorization", f"Bearer {token}"), ("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
        connection.putheader(field, value)
    connection.endheaders(body[:5])
    wait_under_way()
    stopping = threading.Thread(target=podman, args=("stop", "--time", "20", name))
    stopping.start()
    podman.wait_log(name, "draining")
    with pytest.raises(OSError):
        ask("/health", timeout=5)
    connection.send(body[5:])
    answer = connection.getresponse()
    assert answer.status == 201 and json.loads(answer.read())["owner"] == "drainer"
    stopping.join()
    state = podman.inspect(name)["State"]
    assert state["ExitCode"] == 0 and not state["OOMKilled"]
    podman.wait_log(name, '"exit_status":0')


@pytest.mark.skipif("DEPLOY_FULL" not in os.environ, reason="DEPLOY_FULL is not set: compiles usher anew, for minutes")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("target", ["static", "debian"])
def test_the_image_from_source(podman, bases, target, secret, sample_backend, sign):
    """The multi-stage Containerfile, offline, from a local builder base with the toolchain mounted into it."""
    need_containers()
    swift = Path(shutil.which("swift")).resolve().parents[2]
    mounts = [f"{swift}:{swift}:ro"]
    for line in run("git", "config", "--get-regexp", r"^url\..*\.insteadof", check=False).stdout.splitlines():
        folder = line.split()[0].removeprefix("url.").removesuffix(".insteadof").rstrip("/")
        if folder.startswith("/"):
            mounts += [f"{folder}:{folder}:ro", "/etc/gitconfig:/etc/gitconfig:ro"]
    for base in ("builder", "runtime"):
        podman("import", "--quiet", bases(f"{base}.tar"), f"localhost/{base}:test")
    podman(
        "build", "--isolation", "chroot", "--network", "host", "--timestamp", "0", "--target", target,
        *[part for mount in sorted(set(mounts)) for part in ("--volume", mount)],
        "--build-arg", "BUILDER_IMAGE=localhost/builder:test", "--build-arg", "RUNTIME_IMAGE=localhost/runtime:test",
        "--build-arg", f"SWIFT_BIN={swift}/usr/bin", "--file", CONTAINER / "Containerfile",
        "--tag", f"localhost/usher:{target}", ROOT, timeout=2900)
    said = podman("run", "--rm", "--network", "none", "--read-only", "--cap-drop", "all", f"localhost/usher:{target}", "version").stdout
    assert said.startswith("usher ")
    smoke(podman, f"localhost/usher:{target}", secret, sample_backend, sign)
    if target == "static":
        assert podman.inspect(f"localhost/usher:{target}")["Size"] <= 24_000_000
