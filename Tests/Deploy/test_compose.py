"""The compose file, run by podman-compose with images made here.

The sample backend's image is built from its own Containerfile. PostgreSQL is Debian's, with a start script that
knows the three variables of the official image that the compose file uses: a stand-in for docker.io/library/postgres,
which cannot be fetched here. So are Python's base image and its packages, which come from a folder.
"""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

import documents
from machine import ROOT, run, tool
from test_image import ask

COMPOSE = ROOT / "deploy" / "compose"
FILE = COMPOSE / "compose.yaml"


def test_the_file_is_a_compose_file(tmp_path):
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", FILE)
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(FILE.read_text().replace("read_only:", "readonly:"))
    done = run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", wrong, check=False)
    assert done.returncode != 0


def test_every_service_is_hardened():
    services = yaml.safe_load(FILE.read_text())["services"]
    for name, service in services.items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"] and service["mem_limit"], name
        assert ("ports" in service) == (name == "usher"), "only usher is reached from outside"
    assert not set(services["usher"]["networks"]) & set(services["db"]["networks"])
    assert services["redis"]["networks"] == ["store"] and [n for n in services if "store" in services[n]["networks"]] == ["usher", "redis"]


def test_secrets_are_made_once(tmp_path):
    run(COMPOSE / "make-secrets", tmp_path / "s")
    first = {path.name: path.read_text() for path in (tmp_path / "s").iterdir()}
    assert set(first) == {"token_secret", "database_password", "redis_password", "redis_users"}
    assert all(len(text) >= 48 for text in first.values()) and first["redis_password"] in first["redis_users"]
    run(COMPOSE / "make-secrets", tmp_path / "s")
    assert first == {path.name: path.read_text() for path in (tmp_path / "s").iterdir()}


@pytest.fixture(scope="module")
def postgres_image(podman, debian_image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("postgres")
    (folder / "start").write_text("""#!/bin/sh
# What the official image's entry point does with POSTGRES_USER, POSTGRES_DB and POSTGRES_PASSWORD_FILE.
set -eu
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    initdb --username "$POSTGRES_USER" --pwfile "$POSTGRES_PASSWORD_FILE" --auth-host scram-sha-256 --auth-local trust --encoding UTF8 --locale C.UTF-8
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE \\"$POSTGRES_DB\\"" | postgres --single -j postgres -c jit=off || true
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
""")
    (folder / "Containerfile").write_text(f"""FROM {debian_image}
ENV PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data
RUN mkdir -p "$PGDATA" && chown postgres:postgres "$PGDATA" && chmod 0700 "$PGDATA"
COPY --chmod=0755 start /start
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["/start"]
""")
    podman("build", "--isolation", "chroot", "--network", "host", "--tag", "localhost/postgres:test", folder)
    return "localhost/postgres:test"


@pytest.fixture(scope="module")
def redis_image(podman, debian_image, tmp_path_factory):
    """Debian's Redis, as far as the compose file uses the official image."""
    folder = tmp_path_factory.mktemp("redis")
    (folder / "Containerfile").write_text(f"""FROM {debian_image}
RUN mkdir /data && chown redis:redis /data
VOLUME /data
WORKDIR /data
""")
    podman("build", "--isolation", "chroot", "--network", "host", "--tag", "localhost/redis:test", folder)
    return "localhost/redis:test"


class Stack:
    """The compose file, brought up and taken down by the commands of docs/deploy/compose.md in a clone."""

    def __init__(self, podman, folder, **images):
        self.podman, self.folder = podman, documents.clone(folder / "usher")
        self.page = documents.sections("compose.md")
        self.environment = podman.environment | images | {"USHER_TEST_IMAGE": images["USHER_IMAGE"]}

    def execute(self, section: str) -> str:
        try:
            return documents.execute(self.page[section], self.folder, self.environment).stdout
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.say()}") from None

    def say(self) -> str:
        text = self.podman("ps", "--all", check=False).stdout
        for name in ("db", "redis", "tasks", "usher"):
            done = self.podman("logs", "--tail", "30", f"usher_{name}_1", check=False)
            text += f"\n== {name}\n{done.stdout}{done.stderr}"
        return text

    def sign(self, user: str) -> str:
        return self.podman(
            "exec", "usher_usher_1", "/usr/local/bin/usher", "token", "sign", "--algorithm", "HS256", "--secret-file",
            "/run/secrets/token_secret", "--subject", user, "--issuer", "https://app.example.com", "--audience",
            "https://app.example.com").stdout.strip()


@pytest.fixture(scope="module")
def stack(podman, image, tasks_image, postgres_image, redis_image, tmp_path_factory):
    tool("iptables")
    tool("podman-compose")
    running = Stack(
        podman, tmp_path_factory.mktemp("compose"), USHER_IMAGE=image, TASKS_IMAGE=tasks_image, POSTGRES_IMAGE=postgres_image,
        REDIS_IMAGE=redis_image)
    try:
        running.execute("Start")
        yield running
    finally:
        podman.remove("usher_usher_1", "usher_tasks_1", "usher_db_1", "usher_redis_1")


def test_the_commands_of_the_page(stack):
    said = stack.execute("Try")
    assert said.count('"title":"Water the plants"') == 2 and '"reason":"ok"' in said


def test_the_stack(stack, podman):
    """Requests through usher reach PostgreSQL; each user has their own."""
    bob, carol = stack.sign("bob"), stack.sign("carol")
    made = ask("/tasks", carol, method="POST", body={"title": "In PostgreSQL"})
    assert made[0] == 201 and json.loads(made[2])["owner"] == "carol", stack.say()
    assert json.loads(ask("/tasks", bob, {"X-User-Id": "carol"})[2]) == []
    assert ask("/tasks")[0] == 401 and ask("/api/carol/tasks", bob)[0] == 403
    row = podman("exec", "usher_db_1", "psql", "--host", "/var/run/postgresql", "--username", "tasks", "--tuples-only",
                 "--no-align", "--command", "select owner, title from tasks where owner = 'carol'", "tasks")
    assert row.stdout.strip() == "carol|In PostgreSQL"


def test_the_limits_lie_in_redis(stack, podman):
    """Fifty at once, in Redis's count; and its user may do nothing but what usher does."""
    try:
        podman.wait_log("usher_usher_1", "the shared store answers")
    except AssertionError:
        raise AssertionError(stack.say()) from None
    dora = stack.sign("dora")
    # Eight at a time: on a busy machine one after the other are not more than the limit gives back meanwhile.
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: ask("/tasks", dora, timeout=30)[0], range(200)))
    answered = statuses.count(200)
    assert set(statuses) == {200, 429} and 50 <= answered <= 51 + 10 * (time.monotonic() - began), stack.say()
    password = (stack.folder / "deploy" / "compose" / "secrets" / "redis_password").read_text()

    def redis(*words):
        return podman("exec", "usher_redis_1", "redis-cli", "--no-auth-warning", "--user", "usher", "--pass", password, *words).stdout

    assert len(redis("EVAL", "return redis.call('get', KEYS[1])", "1", "usher:revocations:name").strip()) > 8, "usher has read the list"
    for words in (("KEYS", "*"), ("CONFIG", "GET", "*"), ("GET", "other"), ("FLUSHALL",), ("ACL", "LIST")):
        assert "NOPERM" in redis(*words), words
    assert "NOAUTH" in podman("exec", "usher_redis_1", "redis-cli", "PING").stdout


def test_what_the_containers_may_do(stack, podman):
    for name in ("usher", "tasks", "db", "redis"):
        found = podman.inspect(f"usher_{name}_1")
        assert found["HostConfig"]["ReadonlyRootfs"] is True and not found["EffectiveCaps"], name
        assert found["HostConfig"]["Memory"] > 0 and found["HostConfig"]["PidsLimit"] > 0, name
        number = found["State"]["Pid"]
        status = dict(re.findall(r"^(\w+):\s+(.*)$", open(f"/proc/{number}/status").read(), re.M))
        assert status["Uid"].split()[0] != "0" and status["NoNewPrivs"] == "1" and int(status["CapBnd"], 16) == 0, name


def test_nothing_but_usher_is_reached(stack, podman):
    """Neither the database nor the backend has a port, and usher's network does not lead to the database."""
    for name in ("tasks", "db", "redis"):
        assert not any(podman.inspect(f"usher_{name}_1")["HostConfig"]["PortBindings"].values()), name
    networks = {name: set(podman.inspect(f"usher_{name}_1")["NetworkSettings"]["Networks"]) for name in ("usher", "tasks", "db", "redis")}
    assert networks["usher"] & networks["tasks"] and networks["tasks"] & networks["db"]
    assert not networks["usher"] & networks["db"]
    assert networks["redis"] & networks["usher"] and not networks["redis"] & (networks["tasks"] | networks["db"])


def test_stop(stack, podman):
    podman("stop", "--time", "20", "usher_usher_1")
    assert podman.inspect("usher_usher_1")["State"]["ExitCode"] == 0
    stack.execute("Stop")
    assert "usher_" not in podman("ps", "--all", "--format", "{{.Names}}").stdout
