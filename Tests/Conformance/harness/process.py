"""The real binary: started on free loopback ports, read while it runs, ended with SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from . import tokens
from .ports import free_port
from .waiting import PATIENCE_SECONDS, wait_until
from .wire import Client, Response, WireError

REPOSITORY = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("USHER_BINARY", REPOSITORY / ".build" / "release" / "usher")).resolve()
SECRET_VARIABLE = "USHER_TEST_SECRET"


def environment(**more: str) -> dict[str, str]:
    """What the binary sees: the secret of the tests, and no USHER_… variable of the developer's shell."""
    base = {k: v for k, v in os.environ.items() if not k.startswith("USHER_")}
    return base | {SECRET_VARIABLE: tokens.SECRET.decode()} | more


def command(*arguments: str, env: dict[str, str] | None = None, cwd=None, stdin: bytes | None = None, timeout=60):
    """Runs one subcommand to its end; stdout and stderr come back as text."""
    done = subprocess.run(
        [str(BINARY), *map(str, arguments)], env=env or environment(), cwd=cwd, input=stdin or b"",
        capture_output=True, timeout=timeout)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


class Usher:
    """One running proxy. `port` is its public listener, `admin` its admin listener."""

    def __init__(self, folder: Path, text: str, port: int, admin: int, env: dict[str, str] | None = None,
                 collect: bool = True, arguments: tuple[str, ...] = (), prefix: tuple[str, ...] = (), pass_fds: tuple[int, ...] = ()):
        self.folder, self.port, self.admin = folder, port, admin
        self.file = folder / "usher.toml"
        self.file.write_text(text)
        self.log = bytearray()
        self.errors = bytearray()
        self.process = subprocess.Popen(
            [*prefix, str(BINARY), "run", "--config", str(self.file), *arguments], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env or environment(), cwd=folder, pass_fds=pass_fds)
        self._readers: list[threading.Thread] = []
        self._read(self.process.stderr, self.errors)
        if collect:
            self.collect()

    def collect(self) -> None:
        """Reads stdout, the access log, from now on."""
        self._read(self.process.stdout, self.log)

    def _read(self, pipe, into: bytearray) -> None:
        self._readers.append(threading.Thread(target=self._collect, args=(pipe, into), daemon=True))
        self._readers[-1].start()

    @staticmethod
    def _collect(pipe, into: bytearray) -> None:
        while data := os.read(pipe.fileno(), 65536):
            into += data

    def wait_ready(self, timeout: float = PATIENCE_SECONDS) -> "Usher":
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                for reader in self._readers:
                    reader.join(2)
                raise RuntimeError(f"usher exited {self.process.returncode} at start:\n{self.errors.decode()}")
            if self.ready():
                return self
            time.sleep(0.02)
        raise RuntimeError(f"usher is not ready after {timeout} s:\n{self.errors.decode()}")

    def ready(self) -> bool:
        try:
            return self.admin_request("/readyz").status == 200
        except (OSError, WireError):
            return False

    def admin_request(self, path: str, headers=()) -> Response:
        # On CPUs that others want, a page may take some seconds.
        with Client(self.admin, timeout=20) as client:
            return client.request("GET", path, headers, host=f"127.0.0.1:{self.admin}")

    def client(self, timeout: float = 20) -> Client:
        return Client(self.port, timeout=timeout)

    def request(self, method: str, target: str, headers=(), body: bytes | None = None, host="usher.test") -> Response:
        """One request on a connection of its own."""
        with self.client() as client:
            return client.request(method, target, headers, body, host)

    def get(self, target: str, headers=(), host="usher.test") -> Response:
        return self.request("GET", target, headers, None, host)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stand_still(self) -> None:
        """Stops all of its threads; a signal alone takes a moment until it does."""
        self.signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        wait_until(lambda: all(" T " in (task / "stat").read_text() for task in tasks.iterdir()))

    def wait(self, timeout: float = 40) -> int:
        status = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(5)
        return status

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
            return -signal.SIGKILL

    def memory(self, kind: str = "VmRSS") -> int:
        """In bytes, by its name in /proc: VmRSS is resident now, VmHWM the most that ever was."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError(f"no {kind}")

    @property
    def descriptors(self) -> list[int]:
        """Those that are open."""
        return [int(name) for name in os.listdir(f"/proc/{self.process.pid}/fd")]

    def wait_said(self, words: bytes | str, timeout: float = PATIENCE_SECONDS) -> None:
        """Waits until the standard error, which is read as it comes, has these words."""
        wanted = words.encode() if isinstance(words, str) else words
        end = time.monotonic() + timeout
        while wanted not in bytes(self.errors):
            assert time.monotonic() < end, (wanted, bytes(self.errors)[-2000:])
            time.sleep(0.02)

    # The access log is written off the request path, so a line may come a moment after its answer.

    def log_lines(self) -> list[dict]:
        text = bytes(self.log)
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].split(b"\n") if line]

    def wait_log(self, timeout: float = PATIENCE_SECONDS, **wanted) -> dict:
        """The last access-log line whose fields equal `wanted`."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for line in reversed(self.log_lines()):
                if all(line.get(key) == value for key, value in wanted.items()):
                    return line
            time.sleep(0.02)
        tail = bytes(self.log)[-2000:].decode("utf-8", "replace")
        raise AssertionError(f"no access-log line with {wanted}; the last ones:\n{tail}")


def allocate() -> tuple[int, int]:
    return free_port(), free_port()


def unused_port() -> int:
    """A port where nobody listens."""
    port = free_port()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    return port
