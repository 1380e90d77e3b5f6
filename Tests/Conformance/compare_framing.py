#!/usr/bin/env python3
"""The framing matrix of test_framing.py, put to usher, nginx and HAProxy side by side: `make compare-framing`.

Each proxy stands in front of the same recording backend with the least configuration that forwards. For every case
the status of the first answer is noted, and how many requests arrived at the backend. Prints docs/framing-table.md.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import configuration
from harness.backend import Backend
from harness.ports import free_port
from harness.process import BINARY, environment
from harness.wire import Client, Closed, WireError
from test_framing import ACCEPTED, BROKEN_BODIES, REFUSED, SMUGGLED, chunked

NGINX = """daemon off; pid {folder}/nginx.pid; error_log /dev/null crit; worker_processes 1;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; server_name usher.test;
    location / {{ proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_request_buffering off; proxy_pass http://127.0.0.1:{backend}; }} }} }}
"""
HAPROXY = """defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{backend}
"""


def run(name: str, folder: Path, port: int, backend: int) -> subprocess.Popen:
    file = folder / f"{name}.conf"
    if name == "usher":
        file.write_text(configuration.PREAMBLE.format(workers=1, port=port, admin=free_port(), listen="")
                        + configuration.SMALL.format(backend=backend, upstream="")
                        + '\n[[route]]\npath = "/**"\nauth = "none"\nupstream = "backend"\n')
        command = [str(BINARY), "run", "--config", str(file)]
    elif name == "nginx":
        file.write_text(NGINX.format(folder=folder, port=port, backend=backend))
        command = [shutil.which("nginx"), "-c", str(file)]
    else:
        file.write_text(HAPROXY.format(port=port, backend=backend))
        command = [shutil.which("haproxy"), "-db", "-f", str(file)]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            Client(port).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on {port}")


def ask(port: int, backend: Backend, data: bytes) -> tuple[str, int]:
    """The status of the first answer, or why there is none, and the requests that arrived."""
    backend.clear()
    with Client(port, timeout=3) as client:
        client.try_send(data)
        try:
            status = str(client.response().status)
        except (Closed, WireError, OSError):
            status = "closed"
        time.sleep(0.03)
    time.sleep(0.02)
    return status, len(backend.requests)


def cases():
    for name, (data, _) in REFUSED.items():
        yield "must be refused", name, data + SMUGGLED
    for name, body in BROKEN_BODIES.items():
        yield "broken body", name, chunked(body) + SMUGGLED
    for name, (data, _) in ACCEPTED.items():
        yield "must be accepted", name, data


def verdict(kind: str, status: str, arrived: int) -> str:
    if kind == "must be accepted":
        return status if arrived == 1 and status == "200" else f"**{status}**"
    shown = {0: status, 1: f"{status}, 1 arrived"}.get(arrived, f"{status}, {arrived} arrived")
    return shown if status[0] in "45c" and arrived == 0 else f"**{shown}**"


def main() -> None:
    names = [n for n in ("usher", "nginx", "haproxy") if n == "usher" or shutil.which(n)]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    versions = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            flag = {"usher": "version", "nginx": "-v", "haproxy": "-v"}[name]
            binary = str(BINARY) if name == "usher" else shutil.which(name)
            done = subprocess.run([binary, flag], capture_output=True, text=True)
            versions.append((done.stdout or done.stderr).splitlines()[0])
            with Backend() as backend:
                port = free_port()
                process = run(name, Path(folder), port, backend.port)
                try:
                    wait_for(port)
                    for kind, case, data in cases():
                        rows.setdefault((kind, case), {})[name] = verdict(kind, *ask(port, backend, data))
                finally:
                    process.terminate()
                    process.wait(10)
                backend.errors.clear()
    print("# Three proxies and the framing matrix\n")
    print("Made by `make compare-framing` with " + "; ".join(versions) + ".\n")
    print("The status of the first answer, and how many requests arrived at the backend where any did. Every case that must be\n"
          "refused is followed by a second request: that it arrives too says only that the first one was taken for a whole one.\n"
          "**Bold**: not what the heading asks for. That is stricter than RFC 9112 where it lets a recipient be lenient (a bare LF,\n"
          "say), and it is no fault of who takes that leave; nor are these proxies' defaults all that they can be told to refuse.")
    kind_before = ""
    for (kind, case), answers in rows.items():
        if kind != kind_before:
            print(f"\n## {kind[0].upper() + kind[1:]}\n\n| case | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
            kind_before = kind
        print(f"| {case} | {' | '.join(answers.get(name, '') for name in names)} |")
    for name in names:
        odd = sum(a.get(name, "").startswith("**") for a in rows.values())
        print(f"\n{name}: {len(rows) - odd} of {len(rows)} as asked." if name != names[0]
              else f"\n## In all\n\n{name}: {len(rows) - odd} of {len(rows)} as asked.")


if __name__ == "__main__":
    main()
