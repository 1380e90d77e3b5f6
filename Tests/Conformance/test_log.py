"""The access log: one line a request, always valid JSON, never a secret."""

import json
import time
import uuid

import pytest

from harness.tokens import bearer, token
from harness.wire import render

# The names of the fields, in one place.
FIELDS = {"time", "method", "path", "status", "bytes", "duration_ms", "upstream_ms", "user", "route", "reason", "request_id"}


def unique(prefix="/public/") -> str:
    return f"{prefix}{uuid.uuid4().hex}"


def test_fields(proxy):
    path = unique("/tasks/")
    answer = proxy.get(path + "?secret=1", bearer(token()))
    line = proxy.wait_log(path=path)
    assert FIELDS <= set(line), FIELDS - set(line)
    assert line["method"] == "GET" and line["status"] == 200 and line["user"] == "alice"
    assert line["route"] == "/tasks/**"
    assert line["request_id"] == answer.headers.get("x-request-id") == proxy.backend.requests[0].headers.get("x-request-id")
    assert line["bytes"] >= len(answer.body)
    assert 0 <= line["upstream_ms"] <= line["duration_ms"] < 60_000


@pytest.mark.parametrize("target, headers, status, reason", [
    ("/tasks", {}, 401, "token_missing"), ("/tasks", {"Authorization": "Bearer x"}, 401, None), ("/nothing", {}, 404, "no_route"),
    ("/api/bob/tasks/1", bearer(token()), 403, "not_yours"), ("/scoped/x", bearer(token()), 403, "insufficient_scope"),
    ("/nobody", {}, None, "upstream_unavailable")], ids=lambda v: v if isinstance(v, str) else "")
def test_refused(proxy, target, headers, status, reason):
    mark = uuid.uuid4().hex
    answer = proxy.get(target, dict(headers) | {"X-Request-Id": mark})
    line = proxy.wait_log(request_id=answer.headers.get("x-request-id"))
    assert line["status"] == answer.status and (status is None or line["status"] == status)
    assert reason is None or line["reason"] == reason
    assert line["reason"]


def test_reason_is_detailed_where_the_answer_is_not(proxy):
    """J21: the client is told the same for all; the log tells them apart."""
    reasons = set()
    for text in (token(secret_or_key=b"w" * 40), token(audience="x"), token(issuer="https://nobody.test")):
        answer = proxy.get("/tasks", bearer(text))
        reasons.add(proxy.wait_log(request_id=answer.headers.get("x-request-id"))["detail"])
    assert len(reasons) == 3, reasons


def test_no_user_where_none_was_proven(proxy):
    answer = proxy.get("/tasks", bearer(token(secret_or_key=b"w" * 40, subject="mallory")) | {"X-User-Id": "mallory"})
    line = proxy.wait_log(request_id=answer.headers.get("x-request-id"))
    assert not line.get("user") and "mallory" not in json.dumps(line)


HOSTILE = [
    '/public/%22%7D%0A%7B%22user%22:%22root', "/public/\"}", "/public/\\", "/public/\x01", "/public/caf\xe9", "/public/\xff\xfe",
    "/public/'", "/public/<script>", "/public/\x7f", "/public/%", "/public/\xed\xa0\x80", "/public/\xc3", "/public/\x1b[31m"]


@pytest.mark.parametrize("target", HOSTILE, ids=range(len(HOSTILE)))
def test_valid_json_whatever_the_path(proxy, target):
    first, last = unique(), unique()
    # Behind this one no line of an earlier test is still to come.
    proxy.get(first)
    proxy.wait_log(path=first)
    proxy.get(target)
    proxy.get(last)
    proxy.wait_log(path=last)
    paths = [line.get("path") for line in proxy.log_lines()]  # raises where one line is not JSON
    assert paths.index(last) - paths.index(first) == 2, "one line a request"
    bytes(proxy.log).decode("utf-8")


@pytest.mark.parametrize("value", ['"}\t{"', "\\", "\x80\xff", "a" * 4000, "", "{}", "x\x7fy", "\xc3\xa9"], ids=range(8))
def test_valid_json_whatever_the_request_id(proxy, value):
    proxy.get("/public/x", {"X-Request-Id": value, "User-Agent": value, "Referer": value})
    path = unique()
    proxy.get(path)
    proxy.wait_log(path=path)
    proxy.log_lines()


def test_valid_json_whatever_the_user(proxy):
    user = 'a"b\\c</x>'
    answer = proxy.get("/tasks", bearer(token(subject=user)))
    line = proxy.wait_log(request_id=answer.headers.get("x-request-id"))
    assert line["user"] == user


@pytest.mark.parametrize("data", [
    b"garbage\r\n\r\n", b"GET /x HTTP/9.9\r\n\r\n", b"\"}{\" / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"G\0T / HTTP/1.1\r\n\r\n",
    b"GET /" + b"y" * 9000 + b" HTTP/1.1\r\n\r\n"], ids=range(6))
def test_valid_json_whatever_the_bytes(proxy, data):
    with proxy.client() as client:
        client.try_send(data)
        assert client.response().status >= 400
    path = unique()
    proxy.get(path)
    proxy.wait_log(path=path)
    for line in proxy.log_lines():
        assert isinstance(line, dict)


def test_no_token_no_cookie_no_query(proxy):
    text = token(email="hidden@example.com")
    path = unique("/tasks/")
    proxy.get(path + "?api_key=query-secret&access_token=" + text,
              bearer(text) | {"Cookie": "session=cookie-secret", "Proxy-Authorization": "Basic proxy-secret", "X-Api-Key": "key-secret",
                              "Referer": "https://app.test/?token=referer-secret"})
    proxy.wait_log(path=path)
    proxy.get("/tasks", bearer(text + "x"))
    last = unique()
    proxy.get(last)
    proxy.wait_log(path=last)
    whole = bytes(proxy.log) + bytes(proxy.errors)
    for secret in (b"query-secret", b"cookie-secret", b"proxy-secret", b"key-secret", b"referer-secret", text.encode(),
                   text.split(".")[2].encode(), b"?api_key"):
        assert secret not in whole, secret


def test_secrets_of_the_configuration_are_not_logged(proxy):
    from harness.configuration import SERVICE_TOKEN
    from harness.tokens import SECRET
    proxy.get("/service", bearer(token()))
    last = unique()
    proxy.get(last)
    proxy.wait_log(path=last)
    whole = bytes(proxy.log) + bytes(proxy.errors)
    assert SECRET not in whole and SERVICE_TOKEN.encode() not in whole


# X-Request-Id

def test_request_id_is_made(proxy):
    seen = set()
    for _ in range(20):
        answer = proxy.get("/public/x")
        seen.add(answer.headers.get("x-request-id"))
        assert proxy.backend.last.headers.all("x-request-id") == [answer.headers.get("x-request-id")]
    assert len(seen) == 20 and all(seen)


@pytest.mark.parametrize("value", ["abc-123", "9f3c2f5e-7c1b-4a51-b7b4-1d7c0c8f6a10", "x" * 64])
def test_request_id_is_passed_on(proxy, value):
    answer = proxy.get("/public/x", {"X-Request-Id": value})
    assert proxy.backend.last.headers.all("x-request-id") == [value]
    assert answer.headers.all("x-request-id") == [value]
    proxy.wait_log(request_id=value)


@pytest.mark.parametrize("values", [["a b"], ["a\"b"], ["x" * 4000], [""], ["one", "two"], ["\xe9"]], ids=repr)
def test_request_id_that_is_no_id_is_replaced(proxy, values):
    answer = proxy.get("/public/x", [("X-Request-Id", v) for v in values])
    assert answer.status in (200, 400)
    if answer.status == 200:
        arrived = proxy.backend.last.headers.all("x-request-id")
        assert len(arrived) == 1 and len(arrived[0]) <= 256
        assert answer.headers.all("x-request-id") == arrived


def test_a_client_that_goes_away_is_logged(proxy, backend):
    path = unique()
    backend.script = lambda exchange: exchange.gone(20) if exchange.request.target == path else exchange.echo()
    client = proxy.client()
    client.send(render("GET", path))
    backend.wait_requests(1)
    client.close()
    line = proxy.wait_log(path=path)
    assert line["status"] in (0, 499, None)


def test_log_that_nobody_reads_blocks_nothing(start, own_backend):
    """stdout is a pipe that is full: requests go on, lines are dropped."""
    proxy = start(own_backend, collect=False)
    with proxy.client() as client:
        for n in range(2000):  # some 500 KB of log, where a pipe holds 64 KB
            assert client.request("GET", f"/public/{n}").status == 200
    proxy.collect()
