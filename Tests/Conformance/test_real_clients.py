"""Real clients through the proxy: each signs in with a good token, is refused without, and sends and gets bodies."""

import asyncio
import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import urllib.request

import aiohttp
import httpx
import pytest
import requests

from harness import configuration
from harness.tokens import bearer, token
from harness.waiting import wait_until

BODY = b"x" * 300_000


def with_curl(url, headers, body):
    command = ["curl", "-sS", "-o", "-", "-w", "\n%{http_code}", url]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    if body is not None:
        command += ["--data-binary", "@-"]
    done = subprocess.run(command, input=body or b"", capture_output=True, timeout=20, check=True)
    answer, _, status = done.stdout.rpartition(b"\n")
    return int(status), answer


def with_httpx(url, headers, body):
    with httpx.Client() as client:
        for _ in range(2):  # the second on the same connection
            answer = client.request("POST" if body is not None else "GET", url, headers=headers, content=body)
        return answer.status_code, answer.content


def with_httpx_in_chunks(url, headers, body):
    pieces = None if body is None else (body[at:at + 7000] for at in range(0, len(body), 7000))
    answer = httpx.request("POST" if body is not None else "GET", url, headers=headers, content=pieces)
    return answer.status_code, answer.content


def with_requests(url, headers, body):
    with requests.Session() as session:
        for _ in range(2):
            answer = session.request("POST" if body is not None else "GET", url, headers=headers, data=body)
        return answer.status_code, answer.content


def with_aiohttp(url, headers, body):
    async def run():
        async with aiohttp.ClientSession() as session:
            async with session.request("POST" if body is not None else "GET", url, headers=headers, data=body) as answer:
                return answer.status, await answer.read()

    return asyncio.run(run())


def with_urllib(url, headers, body):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def with_http_client(url, headers, body):
    parts = httpx.URL(url)
    connection = http.client.HTTPConnection(parts.host, parts.port, timeout=20)
    connection.request("POST" if body is not None else "GET", parts.raw_path.decode(), body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


CLIENTS = [with_curl, with_httpx, with_httpx_in_chunks, with_requests, with_aiohttp, with_urllib, with_http_client]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda c: c.__name__[5:])
@pytest.mark.parametrize("body", [None, b"", BODY], ids=["get", "empty", "large"])
def test_client(proxy, client, body):
    if client is with_curl and shutil.which("curl") is None:
        pytest.skip("no curl")
    url = f"http://127.0.0.1:{proxy.port}/tasks?a=b"
    status, answer = client(url, bearer(token()), body)
    assert status == 200 and json.loads(answer)["user"] == ["alice"]
    assert proxy.backend.last.body == (body or b"")
    status, answer = client(url, {}, body)
    assert status == 401 and json.loads(answer)["code"] == "token_missing"


def test_connections_per_address(start, own_backend):
    """The limit is per address, gives way when a connection ends, and counts over all workers."""
    proxy = start(own_backend, configuration.SMALL + "\n[limits]\nconnections_per_address = 3\n", workers=2)
    clients = [proxy.client() for _ in range(3)]
    assert all(client.request("GET", "/public/x").status == 200 for client in clients)
    with socket.create_connection(("127.0.0.1", proxy.port)) as extra:
        extra.settimeout(20)
        assert extra.recv(1) == b"", "one connection too many was served"
    with socket.create_connection(("127.0.0.1", proxy.port), source_address=("127.0.0.9", 0)) as other:
        other.sendall(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert other.recv(12) == b"HTTP/1.1 200"
    clients.pop().close()

    def is_served() -> bool:
        with socket.create_connection(("127.0.0.1", proxy.port)) as again, contextlib.suppress(ConnectionError):
            again.sendall(b"GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n")
            return again.recv(12) == b"HTTP/1.1 200"
        return False
    wait_until(is_served, what="the place of a connection that ended was not given back")
