"""Fixtures: one default proxy with its recording backend for each pytest worker, others where the file differs."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from httpx import _config as httpx_defaults

from harness import configuration
from harness.backend import Backend
from harness.ports import refusing_port
from harness.process import BINARY, Usher, allocate, environment


# Five seconds, which httpx gives each step by itself, are too few on a machine that others want.
for step in ("connect", "read", "write", "pool"):
    setattr(httpx_defaults.DEFAULT_TIMEOUT_CONFIG, step, 20)


def pytest_sessionstart(session):
    if not BINARY.exists() and not session.config.option.collectonly:
        pytest.exit(f"no binary at {BINARY}: run `make build`, or set USHER_BINARY", returncode=3)


def pytest_collection_modifyitems(items):
    for item in items:
        if "USHER_SANITIZED" in os.environ and item.get_closest_marker("memory"):
            item.add_marker(pytest.mark.skip(reason="a sanitizer keeps memory that was freed, and some beside"))


class Proxy(Usher):
    """The proxy with the backend behind it, and the assertions that need both."""

    backend: Backend
    _sentinels = itertools.count()

    def assert_nothing_arrived(self) -> None:
        """Not one byte reached the backend since it was cleared.

        A good request follows the refused one: whatever the proxy would still send has come before it, and the
        bytes recorded must be this request's alone.
        """
        mark = f"/public/sentinel-{next(self._sentinels)}"
        answer = self.get(mark)
        assert answer.status == 200, f"the proxy stopped serving: {answer}"
        assert [r.target for r in self.backend.requests] == [mark]
        assert bytes(self.backend.received) == self.backend.requests[0].head, "bytes before or after the sentinel"
        self.backend.clear()

    def assert_refused(self, answer, status: int, code: str | None = None) -> dict:
        """A problem document with this status, and nothing at the backend."""
        assert answer.status == status, (answer.status, answer.body[:500])
        problem = answer.problem
        assert problem["status"] == status
        if code is not None:
            assert problem["code"] == code, problem
        self.assert_nothing_arrived()
        return problem

    def assert_arrived(self, answer, user: str | None):
        """200, and the backend saw one request with exactly this user (None: with no identity at all)."""
        assert answer.status == 200, (answer.status, answer.body[:500])
        assert len(self.backend.requests) == 1, [r.target for r in self.backend.requests]
        request = self.backend.last
        assert request.user == ([] if user is None else [user])
        return request


def _finish(proxy: Usher) -> None:
    # Killed on purpose by a test that says so, otherwise a drain that ends well.
    expected = getattr(proxy, "expected_status", 0)
    status = proxy.stop()
    assert status == expected, f"usher ended with {status}:\n{bytes(proxy.errors)[-4000:].decode('utf-8', 'replace')}"


@pytest.fixture(scope="session")
def session_backend():
    with Backend() as backend:
        yield backend


@pytest.fixture(scope="session")
def session_proxy(tmp_path_factory, session_backend):
    """A function that gives the running default proxy, started anew where a test has killed it."""
    running: list[Proxy] = []

    def current() -> Proxy:
        if running and running[-1].process.poll() is None:
            return running[-1]
        folder = tmp_path_factory.mktemp("default")
        configuration.write_keys(folder)
        port, admin = allocate()
        text = (configuration.PREAMBLE + configuration.DEFAULT).format(
            workers=1, port=port, admin=admin, listen="", backend=session_backend.port, nobody=refusing_port())
        proxy = Proxy(folder, text, port, admin, environment(USHER_TEST_SERVICE_TOKEN=configuration.SERVICE_TOKEN))
        proxy.backend = session_backend
        running.append(proxy)
        return proxy.wait_ready()

    yield current
    if running:
        _finish(running[-1])


@pytest.fixture
def backend(session_backend):
    """The recording backend behind `proxy`, empty, answering with an echo."""
    session_backend.clear()
    yield session_backend
    errors = list(session_backend.errors)
    session_backend.clear()
    assert not errors, f"the proxy sent what is not HTTP: {errors}"


@pytest.fixture
def proxy(session_proxy, backend):
    """The default proxy (harness/configuration.py, DEFAULT), shared by all tests of a pytest worker."""
    running = session_proxy()
    yield running
    assert running.process.poll() is None, (
        f"the proxy died of this test, status {running.process.poll()}:\n"
        f"{bytes(running.errors)[-3000:].decode('utf-8', 'replace')}")


@pytest.fixture
def own_backend():
    """A recording backend for this test alone."""
    with Backend() as backend:
        yield backend
        assert not backend.errors, f"the proxy sent what is not HTTP: {backend.errors}"


@pytest.fixture
def start(tmp_path_factory):
    """`start(backend, text=SMALL, workers=1, …)` runs another proxy; placeholders are filled in."""
    running: list[Proxy] = []

    def run(backend, text=configuration.SMALL, workers=1, env=None, folder=None, preamble="", wait=True, collect=True, arguments=(), prefix=(),
            pass_fds=(), ports=None, **fill):
        folder = folder or tmp_path_factory.mktemp("usher")
        port, admin = ports or allocate()
        fill = {"upstream": "", "listen": ""} | fill
        whole = preamble + (configuration.PREAMBLE + text).format(
            workers=workers, port=port, admin=admin, backend=backend.port if backend else 0, **fill)
        proxy = Proxy(Path(folder), whole, port, admin, environment(**(env or {})), collect, arguments, prefix, pass_fds)
        proxy.backend = backend
        running.append(proxy)
        return proxy.wait_ready() if wait else proxy

    yield run
    for proxy in running:
        _finish(proxy)

