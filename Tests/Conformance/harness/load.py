"""Requests without a pause, while something is done to the proxy; every failure is kept."""

from __future__ import annotations

import threading
import time

from .tokens import bearer, token
from .wire import Client


class Load:
    """Some clients keep their connection as long as they may, the others open one for each request."""

    def __init__(self, port: int, keeping: int = 2, fresh: int = 2, user: str = "alice", pause: float = 0.001):
        self.port, self.user, self.pause = port, user, pause
        self.failures: list[object] = []
        self.served = 0
        self.connections = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._headers = bearer(token(subject=user))
        self._threads = [threading.Thread(target=self._run, args=(n < keeping,)) for n in range(keeping + fresh)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def wait(self, count: int, timeout: float = 60) -> None:
        """Until so many more requests have been answered."""
        goal, end = self.served + count, time.monotonic() + timeout
        while self.served < goal and not self.failures:
            assert time.monotonic() < end, f"only {self.served} of {goal}"
            time.sleep(0.01)

    def check(self) -> None:
        assert not self.failures, (len(self.failures), self.failures[:3])

    def _run(self, keeps: bool) -> None:
        client = None
        while not self._stop.is_set():
            try:
                if client is None:
                    client = Client(self.port, timeout=20)
                    with self._lock:
                        self.connections += 1
                answer = client.request("GET", "/api/load", self._headers)
                if answer.status != 200 or answer.json()["user"] != [self.user]:
                    self.failures.append((answer.status, answer.body[:200]))
                with self._lock:
                    self.served += 1
                if answer.closes or not keeps:
                    client.close()
                    client = None
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                self.failures.append(repr(error))
                client = None
            time.sleep(self.pause)
        if client is not None:
            client.close()
