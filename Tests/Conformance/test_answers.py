"""Answers that the proxy makes itself: RFC 9457, RFC 6750, and what config.md says at its end."""

import re

import pytest

from harness.tokens import bearer, token
from harness.wire import render

CODES = {
    "token_missing", "token_invalid", "token_expired", "insufficient_scope", "not_yours", "no_route", "bad_request", "too_large",
    "rate_limited", "upstream_unavailable", "upstream_timeout", "upstream_invalid_response", "keys_unavailable", "authentication_unavailable", "shared_unavailable", "method_not_allowed",
    "uri_too_long", "headers_too_large", "not_implemented", "version_not_supported", "overloaded"}

CASES = {
    "missing": (lambda: render("GET", "/tasks"), 401, "token_missing"),
    "invalid": (lambda: render("GET", "/tasks", bearer("x")), 401, "token_invalid"),
    "expired": (lambda: render("GET", "/tasks", bearer(token(exp=1))), 401, "token_expired"),
    "scope": (lambda: render("GET", "/scoped/x", bearer(token())), 403, "insufficient_scope"),
    "not-yours": (lambda: render("GET", "/api/bob/tasks/1", bearer(token())), 403, "not_yours"),
    "no-route": (lambda: render("GET", "/nothing"), 404, "no_route"),
    "bad-path": (lambda: render("GET", "/public/../x"), 400, "bad_request"),
    "bad-framing": (lambda: render("GET", "/public/x", {"Content-Length": "x"}), 400, "bad_request"),
    "unavailable": (lambda: render("GET", "/nobody"), (502, 503), "upstream_unavailable"),
}


def ask(proxy, name):
    make, status, code = CASES[name]
    with proxy.client() as client:
        client.send(make())
        answer = client.response()
    assert answer.status in (status if isinstance(status, tuple) else (status,))
    return answer, code


@pytest.mark.parametrize("name", CASES)
def test_problem_document(proxy, name):
    answer, code = ask(proxy, name)
    problem = answer.problem
    assert {"type", "title", "status", "detail", "code"} <= set(problem)
    assert problem["code"] == code and problem["status"] == answer.status
    for member in ("type", "title", "detail"):
        assert isinstance(problem[member], str) and problem[member]
    assert answer.headers.all("content-length") == [str(len(answer.body))]


@pytest.mark.parametrize("name", CASES)
def test_never_stored(proxy, name):
    answer, _ = ask(proxy, name)
    assert "no-store" in (answer.headers.get("cache-control") or "")


@pytest.mark.parametrize("name", CASES)
def test_challenge(proxy, name):
    answer, code = ask(proxy, name)
    challenges = answer.headers.all("www-authenticate")
    if answer.status != 401 and code != "insufficient_scope":
        assert not challenges
        return
    assert len(challenges) == 1 and re.match(r"Bearer( |$)", challenges[0])
    error = re.search(r'error="([a-z_]+)"', challenges[0])
    if code == "token_missing":
        assert error is None, "RFC 6750 §3.1: no error code where no token came"
    elif code == "insufficient_scope":
        assert error[1] == "insufficient_scope"
    else:
        assert error[1] == "invalid_token"


@pytest.mark.parametrize("name", CASES)
def test_says_nothing_about_the_inside(proxy, name):
    answer, _ = ask(proxy, name)
    text = (answer.body.decode() + repr(answer.headers.lines)).replace(answer.headers.get("x-request-id"), "")
    for secret in ("127.0.0.1", str(proxy.backend.port), "Swift", "OpenSSL", "usher.toml", "/tmp"):
        assert secret not in text, secret


@pytest.mark.parametrize("target, headers", [("/tasks", {}), ("/nothing", {}), ("/tasks", bearer("x")), ("/nobody", {})], ids=str)
def test_head_has_no_body(proxy, target, headers):
    with proxy.client() as client:
        answer = client.request("HEAD", target, headers)
        assert answer.status >= 400 and answer.headers.get("content-type") == "application/problem+json"
        if not answer.closes:
            assert client.request("GET", "/public/x").status == 200, "a body followed after all"


@pytest.mark.parametrize("rest", [
    b"/x HTTP/1.1\r\n\r\n", b"/x HTTP/1.1\r\nHost: a\r\nbad field: x\r\n\r\n", b"/" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"/x HTTP/7.1\r\n\r\n", b"/%00 HTTP/1.1\r\nHost: a\r\n\r\n",
], ids=["no-host", "bad-field", "long-target", "version", "path"])
def test_malformed_head_has_no_body(proxy, rest):
    """RFC 9110 §9.3.2, of requests that are no requests otherwise."""
    with proxy.client() as client:
        client.send(b"HEAD " + rest)
        answer = b""
        while piece := client.sock.recv(65536):
            answer += piece
            if b"\r\n\r\n" in answer and not re.search(rb"(?i)connection: close", answer):
                break
        head, _, body = answer.partition(b"\r\n\r\n")
        assert re.match(rb"HTTP/1.1 (400|414|431|505) ", head) and body == b""


@pytest.mark.parametrize("name", ["missing", "invalid", "no-route", "not-yours"])
def test_keep_alive_after_a_refusal(proxy, name):
    make, _, _ = CASES[name]
    with proxy.client() as client:
        for _ in range(3):
            client.send(make())
            assert client.response().status in (401, 403, 404)
        assert client.request("GET", "/public/x").status == 200


def test_request_id(proxy):
    assert ask(proxy, "missing")[0].headers.get("x-request-id")


def test_http_1_0_gets_an_answer(proxy):
    with proxy.client() as client:
        client.send(b"GET /tasks HTTP/1.0\r\nHost: usher.test\r\n\r\n")
        assert client.response().status == 401
        assert client.ended()


def test_codes_are_of_the_closed_list(proxy):
    for name in CASES:
        assert ask(proxy, name)[0].problem["code"] in CODES


@pytest.mark.parametrize("limit, body, status", [('max_body = "1KiB"', b"x" * 1025, 413), ('max_body = "1KiB"', b"x" * 1024, 200)],
                         ids=["above", "exactly"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_max_body(start, own_backend, limit, body, status, framing):
    from harness import configuration
    from harness.wire import chunk
    text = configuration.SMALL + f"""
[[route]]
path = "/small"
auth = "none"
upstream = "backend"
{limit}
"""
    proxy = start(own_backend, text)
    with proxy.client() as client:
        if framing == "length":
            client.try_send(render("POST", "/small", {}, body))
        else:
            client.try_send(render("POST", "/small", {"Transfer-Encoding": "chunked"}) + chunk(body))
        answer = client.response("POST")
    assert answer.status == status
    if status == 413:
        assert answer.problem["code"] == "too_large"
        assert not [r for r in own_backend.requests if r.complete and r.target == "/small"]


@pytest.mark.parametrize("target, status", [("/public/x", 413), ("/only-main/x", 401)])
def test_who_writes_a_whole_body_before_reading_finds_the_answer(proxy, target, status):
    """Many HTTP libraries do. Cut off while they still write, they report a broken pipe and never look for an answer."""
    body = b"x" * (24 << 20)
    with proxy.client() as client:
        client.send(render("POST", target, {"Content-Length": len(body)}) + body)
        assert client.response("POST").status == status


def test_nobody_is_read_to_for_ever(proxy):
    """F3: what is read away of an unwanted body has an end."""
    block = b"x" * (1 << 20)
    with proxy.client() as client:
        client.send(render("POST", "/only-main/x", {"Content-Length": 1 << 40}))
        with pytest.raises(OSError):
            for _ in range(256):
                client.sock.sendall(block)
