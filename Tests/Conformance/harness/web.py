"""The tasks page in a whole: sample backend, stand-in of the auth server, and usher in front of both."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from .ports import free_port
from .process import REPOSITORY, Usher, environment

EXAMPLES = REPOSITORY / "config" / "examples"
PASSWORD = "correct horse"


class Server:
    """An ASGI application under uvicorn; `with Server(folder, …) as server`."""

    def __init__(self, folder: Path, application: str = "main:app", ready: str = "/", port: int | None = None, **env: str):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", application, "--host", "127.0.0.1", "--port", str(self.port), "--log-level", "warning"],
            cwd=folder, env=os.environ | env | {"PYTHONDONTWRITEBYTECODE": "1"}, stdin=subprocess.DEVNULL)
        self.ready = ready

    def wait_ready(self, timeout: float = 60) -> "Server":
        end = time.monotonic() + timeout
        while True:
            try:
                urllib.request.urlopen(self.url + self.ready, timeout=5)
                return self
            except urllib.error.HTTPError:
                return self
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, f"{self.ready} is not served"
                time.sleep(0.05)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(30)


SECRET = "web-secret-web-secret-web-secret-0123456789"


def auth_server(origin: str, **env: str) -> Server:
    """The stand-in of an app with Better Auth whose base URL has this origin."""
    return Server(EXAMPLES / "auth-stand-in", ready="/api/auth/jwks", BETTER_AUTH_SECRET=SECRET, AUTH_ORIGIN=origin, **env)


class Site:
    """config/examples/tasks-web.toml with everything that it needs, on free ports."""

    def __init__(self, folder: Path, session_cache: str = "1s"):
        web, api, admin = free_port(), free_port(), free_port()
        self.page, self.api = f"http://localhost:{web}", f"http://localhost:{api}"
        self.tasks = Server(
            EXAMPLES / "tasks-api", ready="/health", TASKS_DATABASE=str(folder / "tasks.db"), TASKS_PUBLIC_API=self.api)
        self.auth = auth_server(self.page)
        self.tasks.wait_ready(), self.auth.wait_ready()
        self.usher = Usher(folder, (EXAMPLES / "tasks-web.toml").read_text(), web, admin, environment(
            USHER_WEB_ADDRESS=f"127.0.0.1:{web}", USHER_API_ADDRESS=f"127.0.0.1:{api}", USHER_ADMIN_ADDRESS=f"127.0.0.1:{admin}",
            TASKS_ADDRESS=f"127.0.0.1:{self.tasks.port}", AUTH_ADDRESS=f"127.0.0.1:{self.auth.port}", WEB_ORIGIN=self.page,
            SESSION_CACHE=session_cache, BETTER_AUTH_SECRET=SECRET))

    def __enter__(self) -> "Site":
        self.usher.wait_ready()
        return self

    def __exit__(self, *_) -> None:
        try:
            assert self.usher.stop() == 0
        finally:
            for server in (self.tasks, self.auth):
                server.__exit__()
