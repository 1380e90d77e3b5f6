"""The rules about identities and paths over HTTP/2: the very tests that run over HTTP/1, with other requests.

A test that writes bytes of HTTP/1 itself is left out. Where the protocol itself refuses a request, the stream is reset,
which stands for 400.
"""

from __future__ import annotations

import json

import pytest

import test_identity_headers
import test_paths
from harness import configuration
from harness.http2 import PROTOCOL_ERROR, Connection
from harness.ports import refusing_port
from harness.process import allocate, environment
from harness.wire import Client, Headers, Response
from conftest import Proxy, _finish

RESET = json.dumps({"status": 400, "code": "bad_request"}).encode()


class Over2(Proxy):
    """The default proxy; what its tests ask for goes over HTTP/2."""

    def request(self, method, target, headers=(), body=None, host="usher.test") -> Response:
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
        fields = [(":method", method), (":scheme", "http"), (":path", target)]
        if host is not None:
            fields.append((":authority", host))
        fields += [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in pairs]
        with Connection(self.port) as connection:
            answer = connection.request([(n, v.encode("latin-1") if isinstance(v, str) else v) for n, v in fields], body)
        if answer.reset is not None and not answer.ended:
            assert answer.reset == PROTOCOL_ERROR, answer
            return Response(400, "", "HTTP/2", Headers([("content-type", "application/problem+json")]), RESET)
        return Response(answer.status, "", "HTTP/2", answer.headers, bytes(answer.body), answer.trailers or Headers())

    def client(self, timeout: float = 10) -> Client:
        pytest.skip("writes HTTP/1 itself")


@pytest.fixture(scope="module")
def running(tmp_path_factory, session_backend):
    folder = tmp_path_factory.mktemp("over2")
    configuration.write_keys(folder)
    port, admin = allocate()
    text = (configuration.PREAMBLE + configuration.DEFAULT).format(
        workers=1, port=port, admin=admin, listen='protocols = ["h2"]', backend=session_backend.port, nobody=refusing_port())
    proxy = Over2(folder, text, port, admin, environment(USHER_TEST_SERVICE_TOKEN=configuration.SERVICE_TOKEN))
    proxy.backend = session_backend
    yield proxy.wait_ready()
    _finish(proxy)


@pytest.fixture
def proxy(running, backend):
    yield running
    assert running.process.poll() is None, bytes(running.errors)[-3000:]


# Fields that HTTP/2 refuses (H5 is about Connection), and what is about HTTP/1: its bytes, its version in Via.
LEFT_OUT = ("H5", "absolute", "connection", "http10", "hop_by_hop", "via_is_added")


def _take(module) -> None:
    for name, test in vars(module).items():
        if name.startswith("test_") and not any(word in name.lower() for word in map(str.lower, LEFT_OUT)):
            globals()[name] = test
        elif hasattr(test, "_pytestfixturefunction") or type(test).__name__ == "FixtureFunctionDefinition":
            globals().setdefault(name, test)


for _module in (test_identity_headers, test_paths):
    _take(_module)
