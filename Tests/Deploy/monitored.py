"""An usher with everything configured that has metrics of its own, and a real Prometheus that scrapes it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

from machine import ROOT, free_ports, run

CONFIGURATION = """
workers = 2

[listen.public]
address = "127.0.0.1:{public}"

[listen.secure]
address = "127.0.0.1:{secure}"
protocols = ["h2", "http/1.1"]
tls.certificates = [{{ certificate = "cert.pem", key = "key.pem" }}]

[upstream.app]
servers = ["127.0.0.1:{peer}"]

[upstream.gone]
servers = ["127.0.0.1:9"]

[upstream.encrypted]
servers = ["127.0.0.1:{peer}"]
tls = true

[issuer.main]
issuer = "https://app.example.com"
audience = ["https://app.example.com"]
secret = {{ file = "{secret}" }}

[issuer.remote]
issuer = "https://remote.test"
audience = ["https://remote.test"]
jwks = {{ url = "http://127.0.0.1:{peer}/jwks.json" }}

[issuer.opaque]
issuer = "https://opaque.test"
audience = "*"
introspection = {{ url = "http://127.0.0.1:{peer}/introspect", client_id = "usher", client_secret = {{ file = "{secret}" }} }}

[shared]
redis = "redis://127.0.0.1:{redis}"

[revocation]

[rate_limit.few]
key = "user"
requests = 3
per = "3600s"

[[route]]
path = "/tasks/**"
auth = ["main", "remote"]
upstream = "app"

[[route]]
path = "/few"
auth = "main"
upstream = "app"
rate_limit = "few"

[[route]]
path = "/opaque"
auth = "opaque"
upstream = "app"

[[route]]
path = "/gone"
auth = "none"
upstream = "gone"

[[route]]
path = "/encrypted"
auth = "none"
upstream = "encrypted"

[tracing]
url = "http://127.0.0.1:{peer}/v1/traces"
interval = "200ms"

[limits]
buffer_bytes = "64MiB"

[log]
access = "off"

[admin]
address = "127.0.0.1:{admin}"
"""


class Peer(http.server.BaseHTTPRequestHandler):
    """Backend, key server, issuer that is asked about tokens, and collector of spans in one."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802 - the name that http.server wants
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        key = {"kty": "OKP", "crv": "Ed25519", "kid": "a", "alg": "EdDSA", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
        body = json.dumps({
            "/jwks.json": {"keys": [key]}, "/introspect": {"active": False}}.get(self.path, {})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Monitored:
    """Usher under test with everything, and its peers; `ask` sends it requests of every kind."""

    def __init__(self, binary: Path, folder: Path, secret: Path):
        self.binary, self.folder, self.secret = binary, folder, secret
        self.public, self.secure, self.admin, self.redis, self.prometheus = free_ports(5)
        self.running: list[subprocess.Popen] = []

    def __enter__(self) -> "Monitored":
        self.peer = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Peer)
        threading.Thread(target=self.peer.serve_forever, daemon=True).start()
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", self.folder / "key.pem",
            "-out", self.folder / "cert.pem")
        (self.folder / "usher.toml").write_text(CONFIGURATION.format(
            public=self.public, secure=self.secure, admin=self.admin, redis=self.redis, peer=self.peer.server_port,
            secret=self.secret))
        self.start("redis-server", "--port", self.redis, "--bind", "127.0.0.1", "--save", "", "--dir", self.folder)
        self.start(self.binary, "run", "--config", self.folder / "usher.toml")
        self.wait(lambda: "usher_shared_up 1\n" in self.metrics() and self.get(self.admin, "/readyz")[0] == 200, "usher is not ready")
        return self

    def __exit__(self, *_) -> None:
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        statuses = [process.wait(60) for process in self.running]
        self.peer.shutdown()
        self.peer.server_close()
        assert statuses[1] == 0, "usher"

    def start(self, *command) -> None:
        with (self.folder / "output.log").open("ab") as log:
            self.running.append(subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env={"PATH": os.environ["PATH"]}))

    def wait(self, condition, what: str, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if condition():
                    return
            assert time.monotonic() < end and all(one.poll() is None for one in self.running), \
                f"{what}\n{(self.folder / 'output.log').read_text()[-3000:]}"
            time.sleep(0.1)

    @staticmethod
    def get(port: int, path: str, token: str | None = None) -> tuple[int, str]:
        fields = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=fields), timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metrics(self) -> str:
        return self.get(self.admin, "/metrics")[1]

    def ask(self, token: str) -> None:
        """What comes in a day, in a second: answers, refusals, limits, failures, and handshakes, good and bad."""
        assert [self.get(self.public, "/tasks", token)[0] for _ in range(5)] == [200] * 5
        assert self.get(self.public, "/tasks")[0] == self.get(self.public, "/tasks", token[:-3] + "AAA")[0] == 401
        assert self.get(self.public, "/opaque", "something")[0] == 401
        assert {self.get(self.public, "/few", token)[0] for _ in range(5)} <= {200, 429}
        assert {self.get(self.public, "/gone")[0], self.get(self.public, "/encrypted")[0]} <= {502, 503}
        for options in ((), ("--http1.1",), ("--tls-max", "1.1")):
            run("curl", "--silent", "--insecure", *options, f"https://127.0.0.1:{self.secure}/tasks", check=False)

    def start_prometheus(self, program: str, rules: Path, example: Path) -> None:
        """Prometheus with its example's configuration, but for the port and a scrape every second."""
        shutil.copy(rules, self.folder)
        settings = yaml.safe_load(example.read_text())
        settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        settings["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{self.admin}"]
        (self.folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        self.start(
            program, f"--config.file={self.folder}/prometheus.yaml", f"--storage.tsdb.path={self.folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{self.prometheus}", "--log.level=warn")
        self.wait(lambda: self.get(self.prometheus, "/-/ready")[0] == 200, "Prometheus is not ready")

    def query(self, expression: str) -> list[dict]:
        """What Prometheus finds now."""
        status, text = self.get(self.prometheus, "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        assert status == 200, f"{expression}: {text}"
        return json.loads(text)["data"]["result"]

    def rules(self) -> list[dict]:
        groups = json.loads(self.get(self.prometheus, "/api/v1/rules")[1])["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]
