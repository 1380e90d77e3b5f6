"""Routes: templates, captures, methods, hosts, the most specific wins; require, scopes, denied; optional auth."""

import pytest

from harness import configuration, http2
from harness.ports import free_port
from harness.tokens import bearer, keys_token, token


def authorised(proxy, target, **claims):
    return proxy.get(target, bearer(token(**claims)))


# Templates

@pytest.mark.parametrize("target", [
    "/public/x", "/public/x/y/z", "/public/", "/public", "/api/alice/tasks/1", "/api/alice/tasks", "/api/alice/tasks/1/complete",
    "/api/alice/tasks/"])
def test_rest_matches(proxy, target):
    """`**` is the rest, and the rest may be empty."""
    assert authorised(proxy, target).status == 200
    assert proxy.backend.last.target == target


@pytest.mark.parametrize("target", ["/api//tasks", "/api/tasks", "/api/alice", "/api/alice/x/tasks", "/specific", "/hidden", "/hidden/a/b"])
def test_a_capture_is_exactly_one_segment(proxy, target):
    answer = authorised(proxy, target)
    assert (answer.status in (400, 404)) or (target == "/specific" and answer.status == 200)


@pytest.mark.parametrize("target, status, authorization", [
    ("/specific/exact", 401, None),                                       # literal before capture
    ("/specific/other", 200, f"Bearer {configuration.SERVICE_TOKEN}"),    # capture before rest
    ("/specific/a/b", 200, None),                                         # the rest
    ("/specific/exact/deep", 401, None),                                  # longer before rest, whatever stands in between
    ("/specific/other/deep", 401, None),
    ("/specific/other/deep/er", 200, None),
])
def test_most_specific_wins(proxy, target, status, authorization):
    answer = proxy.get(target)
    assert answer.status == status
    if status == 200:
        assert proxy.backend.last.headers.get("authorization") == authorization


@pytest.mark.parametrize("method, status", [("GET", 200), ("POST", 200), ("DELETE", 401), ("PUT", 404), ("PATCH", 404), ("OPTIONS", 404),
                                            ("get", 400), ("Get", 400)])
def test_methods(proxy, method, status):
    """A route that is not written for the method is not served: 404. Methods are case-sensitive (RFC 9110 §9.1), and written in
    upper case: some backends take others for the same."""
    answer = proxy.request(method, "/methods")
    assert answer.status == status
    if status != 200:
        proxy.assert_refused(answer, status)


BY_METHOD = configuration.SMALL + """
[listen.h2]
address = "127.0.0.1:{h2}"
protocols = ["h2"]

[[route]]
path = "/public/mine"
methods = ["GET", "POST"]
auth = "main"
upstream = "backend"
"""


@pytest.mark.parametrize("method", ["get", "Get", "pOST", "trace", "connect", "patch"])
def test_a_wider_route_does_not_serve_another_spelling_of_a_method(start, own_backend, method):
    """Django, Werkzeug and Hypercorn write a method in upper case before they look at it."""
    port = free_port()
    proxy = start(own_backend, BY_METHOD, h2=port)
    assert proxy.request("GET", "/public/mine").status == 401 and proxy.request("PURGE", "/public/mine").status == 200
    own_backend.clear()
    assert proxy.request(method, "/public/mine").status == 400
    with http2.Connection(port) as connection:
        assert connection.request(http2.get("/public/mine", method)).status == 400
    assert not own_backend.requests


def test_head_where_get_is_allowed(proxy):
    """HEAD is GET without a body; a list of methods either names it or it goes with GET. Never anything else."""
    assert proxy.request("HEAD", "/methods").status in (200, 404)


@pytest.mark.parametrize("host, status", [("api.example.com", 401), ("www.example.com", 200), ("other.test", 404)])
def test_hosts(proxy, host, status):
    assert proxy.get("/hosted", host=host).status == status


# require

@pytest.mark.parametrize("subject, owner, status", [
    ("alice", "alice", 200), ("alice", "bob", 403), ("alice", "ALICE", 403), ("alice", "alic", 403), ("alice", "alicee", 403),
    ("a%20b", "a%20b", None), ("a b", "a%20b", None)])
def test_require_subject_is_capture(proxy, subject, owner, status):
    answer = authorised(proxy, f"/api/{owner}/tasks/1", subject=subject)
    if status == 403:
        proxy.assert_refused(answer, 403, "not_yours")
    elif status == 200:
        proxy.assert_arrived(answer, subject)
    else:
        assert answer.status in (200, 401, 403)


def test_not_both_spellings(proxy):
    """The capture `a%20b` names one user: 'a b' or 'a%20b', not whoever fits."""
    statuses = [authorised(proxy, "/api/a%20b/tasks/1", subject=s).status for s in ("a b", "a%20b")]
    assert statuses.count(200) <= 1, statuses


def test_require_holds_for_every_issuer(proxy):
    target = "/api/alice/tasks/1"
    proxy.assert_arrived(proxy.get(target, bearer(keys_token("EdDSA"))), "alice")
    proxy.backend.clear()
    proxy.assert_refused(proxy.get(target, bearer(keys_token("EdDSA", subject="bob"))), 403, "not_yours")


def test_require_after_authentication(proxy):
    proxy.assert_refused(proxy.get("/api/alice/tasks/1"), 401, "token_missing")


def test_denied_404_does_not_tell_that_it_exists(proxy):
    proxy.assert_arrived(authorised(proxy, "/hidden/alice"), "alice")
    proxy.backend.clear()
    denied, missing = authorised(proxy, "/hidden/bob"), authorised(proxy, "/no/such/route")
    assert denied.status == missing.status == 404
    left, right = denied.json(), missing.json()
    for body in (left, right):
        body.pop("instance", None), body.pop("request_id", None)
    assert left == right
    proxy.assert_nothing_arrived()


@pytest.mark.parametrize("path, claims, allowed", [
    ("any-of", {"role": "admin"}, True), ("any-of", {"role": "editor"}, True), ("any-of", {"role": "viewer"}, False),
    ("any-of", {}, False), ("any-of", {"role": ["viewer", "editor"]}, True), ("any-of", {"role": ["viewer"]}, False),
    ("any-of", {"role": []}, False), ("any-of", {"role": "admin,editor"}, False), ("any-of", {"role": "Admin"}, False),
    ("any-of", {"role": {"admin": True}}, False), ("any-of", {"role": None}, False), ("any-of", {"role": True}, False),
    ("all-of", {"role": "admin", "tenant": "acme"}, True), ("all-of", {"role": "admin"}, False), ("all-of", {"tenant": "acme"}, False),
    ("all-of", {"role": "editor", "tenant": "acme"}, False), ("all-of", {"role": "admin", "tenant": "other"}, False),
    ("tables", {"role": "admin"}, True), ("tables", {"tenant": "acme"}, True), ("tables", {"role": "x", "tenant": "y"}, False),
    ("tables", {}, False),
    ("nested/acme", {"org": {"id": "acme"}}, True), ("nested/acme", {"org": {"id": "other"}}, False), ("nested/acme", {"org": "acme"}, False),
    ("nested/acme", {"org.id": "acme"}, True), ("nested/acme", {"org.id": "other", "org": {"id": "acme"}}, False), ("nested/acme", {}, False),
], ids=str)
def test_require_claims(proxy, path, claims, allowed):
    answer = authorised(proxy, f"/rules/{path}", **claims)
    if allowed:
        proxy.assert_arrived(answer, "alice")
    else:
        assert answer.status == 403
        proxy.assert_refused(answer, 403)


# scopes

@pytest.mark.parametrize("claims, allowed", [
    ({"scope": "tasks:read tasks:write"}, True), ({"scope": "tasks:write other tasks:read"}, True),
    ({"scope": ["tasks:read", "tasks:write"]}, True), ({"scp": "tasks:read tasks:write"}, True),
    ({"scp": ["tasks:read", "tasks:write"]}, True), ({"scopes": ["tasks:write", "tasks:read", "x"]}, True),
    ({"scope": "tasks:read"}, False), ({"scope": "tasks:write"}, False), ({"scope": ""}, False), ({}, False),
    ({"scope": "tasks:read,tasks:write"}, False), ({"scope": "tasks:read tasks:writer"}, False), ({"scope": "TASKS:READ TASKS:WRITE"}, False),
    ({"scope": []}, False), ({"scope": None}, False), ({"scope": {"tasks:read": 1, "tasks:write": 1}}, False),
    ({"scope": 5}, False), ({"scope": ["tasks:read tasks:write"]}, False), ({"scope": True}, False)], ids=str)
def test_scopes(proxy, claims, allowed):
    answer = authorised(proxy, "/scoped/x", **claims)
    if allowed:
        proxy.assert_arrived(answer, "alice")
    else:
        challenge = answer.headers.get("www-authenticate", "")
        assert 'error="insufficient_scope"' in challenge and "tasks:read" in challenge and "tasks:write" in challenge
        proxy.assert_refused(answer, 403, "insufficient_scope")


# auth

def test_none_ignores_tokens(proxy):
    """`auth = "none"`: no token is looked at, and no identity goes on."""
    for value in ("Bearer " + token(), "Bearer garbage", "Basic eDp5", ""):
        proxy.assert_arrived(proxy.get("/public/x", {"Authorization": value}), None)
        proxy.backend.clear()


@pytest.mark.parametrize("value, user", [(None, None), ("good", "alice"), ("bad", 401), ("Basic eDp5", None)])
def test_optional(proxy, value, user):
    """Another scheme is not a token of ours: the request is anonymous, or refused; never somebody."""
    headers = {} if value is None else {"Authorization": f"Bearer {token()}" if value == "good" else value if " " in value else "Bearer bad"}
    answer = proxy.get("/optional/x", headers)
    if user == 401 or (value == "Basic eDp5" and answer.status == 401):
        proxy.assert_refused(answer, 401)
    else:
        proxy.assert_arrived(answer, user)


def test_only_the_issuers_of_the_route(proxy):
    proxy.assert_refused(proxy.get("/only-main/x", bearer(keys_token())), 401, "token_invalid")
    proxy.assert_refused(proxy.get("/only-other/x", bearer(token())), 401, "token_invalid")


SHARED = """
[upstream.backend]
servers = ["127.0.0.1:{backend}"]

[issuer.old]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}

[issuer.new]
issuer = "https://main.test"
audience = ["https://api.test"]
jwks = {{ file = "keys.json" }}

[[route]]
path = "/both"
auth = ["old", "new"]
upstream = "backend"

[[route]]
path = "/old"
auth = "old"
upstream = "backend"

[[route]]
path = "/new"
auth = "new"
upstream = "backend"
"""


def test_two_issuers_of_one_name_are_told_apart_by_algorithm(start, own_backend, tmp_path):
    configuration.write_keys(tmp_path)
    proxy = start(own_backend, SHARED, folder=tmp_path)
    old, new = token(), keys_token("ES256", issuer="https://main.test")
    statuses = {(path, name): proxy.get(path, bearer(text)).status
                for path in ("/both", "/old", "/new") for name, text in (("old", old), ("new", new))}
    assert statuses == {("/both", "old"): 200, ("/both", "new"): 200, ("/old", "old"): 200, ("/old", "new"): 401,
                        ("/new", "old"): 401, ("/new", "new"): 200}


WILD = """
[upstream.backend]
servers = ["127.0.0.1:{backend}"]

[issuer.any]
issuer = "*"
audience = "*"
secret = {{ env = "USHER_TEST_SECRET" }}

[[route]]
path = "/**"
auth = "any"
upstream = "backend"
"""


@pytest.mark.parametrize("claims", [{}, {"issuer": "https://whoever.test"}, {"issuer": ...}, {"audience": ...}, {"audience": "x"}], ids=str)
def test_unchecked_issuer_and_audience(start, own_backend, claims):
    proxy = start(own_backend, WILD)
    proxy.assert_arrived(proxy.get("/x", bearer(token(**claims))), "alice")
    assert proxy.get("/x", bearer(token(secret_or_key=b"w" * 40, **claims))).status == 401


# the whole table

def test_root_and_catch_all(start, own_backend):
    text = configuration.SMALL + """
[[route]]
path = "/"
auth = "none"
upstream = "backend"
"""
    proxy = start(own_backend, text)
    assert [proxy.get(t).status for t in ("/", "/x", "/public/y", "/?q", "/api/z")] == [200, 404, 200, 200, 401]
