"""security.md, section H: no identity header of a client survives, under any name, on any route.

The recording backend is the witness: what it received is compared, not what the proxy says.
"""

import re

import pytest

from harness import configuration, http2, tokens
from harness.http2backend import HTTP2Backend
from harness.ports import free_port
from harness.tokens import bearer, token

# H1 and H2: every spelling that some backend folds to X-User-Id.
ALIASES = [
    "X-User-Id", "x-user-id", "X-USER-ID",
    "X_User_Id", "x-user_id", "X_USER-ID", "x_user_id", "X-User_Id",
    "X.User.Id", "X-User.Id", "x.user_id", "X!User!Id", "X#User#Id", "X$User$Id", "X%User%Id", "X&User&Id",
    "X'User'Id", "X*User*Id", "X+User+Id", "X^User^Id", "X`User`Id", "X|User|Id", "X~User~Id", "X~User-Id",
]
# The other headers of `identity.headers` and the patterns of `identity.strip`, with an alias of each.
OTHERS = [
    "X-User-Email", "X_User_Email", "X.User.Email", "X-User-Roles", "X-User-Anything", "X_User_Anything", "x-user-",
    "X-Forwarded-User", "X_Forwarded_User", "X.Forwarded.User", "X-Remote-User", "X_Remote_User",
    "Remote-User", "Remote_User", "REMOTE_USER", "X-Auth-Request-User", "X-Auth-Request-Email", "X_Auth_Request_User",
]
# H6: what a TLS-terminating neighbour would say about a client certificate.
CERTIFICATES = [
    "X-SSL-Client-Cert", "X-SSL-Client-Verify", "X-SSL-Client-S-DN", "X_SSL_Client_Cert", "X-Client-Cert", "X-SSL-Cert", "X_SSL_Client",
    "X-Client-Cert-Chain", "X_Client_Cert", "X-Forwarded-Client-Cert", "X_Forwarded_Client_Cert",
    "X-TLS-Client-Cert", "X_Tls.Client_Verify", "X-Forwarded-Tls-Client-Cert", "XFCC", "xfcc",
]
ROUTES = {
    "none": ("/public/x", {}, None),
    "health": ("/health", {}, None),
    "optional-anonymous": ("/optional/x", {}, None),
    "optional-token": ("/optional/x", "alice", "alice"),
    "required": ("/tasks/1", "alice", "alice"),
    "captured": ("/api/alice/tasks/1", "alice", "alice"),
    "forward": ("/forward", "alice", "alice"),
}


def fold(name: str) -> str:
    """Names as the most forgiving backend compares them."""
    return re.sub(r"[^0-9a-z]", "-", name.lower())


def identity_of(request) -> list[str]:
    """Every field line whose name folds to something of an identity."""
    return [
        name for name in request.headers.names()
        if re.match(r"(x-user-|x-forwarded-user$|x-remote-user|remote-user|x-auth-request-|x-ssl-c|x-client-cert"
                    r"|x-tls-client|xfcc$|x-forwarded-.*client-cert)", fold(name))
    ]


def credentials(user):
    return bearer(token(subject=user)) if user else {}


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("route", ROUTES)
def test_H1_H2_H4_alias_of_user_header_never_arrives(proxy, route, alias):
    target, user, expected = ROUTES[route]
    answer = proxy.get(target, list(credentials(user).items()) + [(alias, "evil")])
    request = proxy.assert_arrived(answer, expected)
    assert identity_of(request) == (["x-user-id"] if expected else [])
    assert b"evil" not in request.head


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("route", ["none", "optional-anonymous", "required"])
def test_H3_H4_other_identity_headers_never_arrive(proxy, route, name):
    """H3: the token has no `email`, so there is none; it does not fall back to the client's."""
    target, user, expected = ROUTES[route]
    answer = proxy.get(target, list(credentials(user).items()) + [(name, "evil@example.com")])
    request = proxy.assert_arrived(answer, expected)
    assert identity_of(request) == (["x-user-id"] if expected else [])
    assert b"evil" not in request.head


@pytest.mark.parametrize("name", CERTIFICATES)
@pytest.mark.parametrize("route", ["none", "required"])
def test_H6_client_certificate_headers_never_arrive(proxy, route, name):
    target, user, expected = ROUTES[route]
    answer = proxy.get(target, list(credentials(user).items()) + [(name, "evil")])
    assert b"evil" not in proxy.assert_arrived(answer, expected).head


@pytest.mark.parametrize("route", ["none", "required"])
def test_H1_many_aliases_at_once(proxy, route):
    target, user, expected = ROUTES[route]
    forged = [(alias, f"evil-{n}") for n, alias in enumerate(ALIASES + OTHERS)]
    request = proxy.assert_arrived(proxy.get(target, list(credentials(user).items()) + forged), expected)
    assert b"evil" not in request.head


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_H1_for_every_method(proxy, method):
    headers = bearer(token()) | {"X_User_Id": "evil"}
    answer = proxy.request(method, "/tasks/1", headers, b"{}" if method in ("POST", "PUT", "PATCH") else None)
    assert b"evil" not in proxy.assert_arrived(answer, "alice").head


def test_H1_in_a_trailer(proxy):
    """A trailer is merged into the headers by some backends: an identity name has no place there either."""
    with proxy.client() as client:
        client.send(f"POST /tasks HTTP/1.1\r\nHost: usher.test\r\nAuthorization: Bearer {token()}\r\n"
                    "Transfer-Encoding: chunked\r\nTrailer: X-User-Id\r\n\r\n"
                    "2\r\nhi\r\n0\r\nX-User-Id: evil\r\nX_User_Id: evil\r\nX-User-Email: evil\r\n\r\n".encode())
        answer = client.response("POST")
    if answer.status == 400:  # to refuse them is as good
        return
    request = proxy.assert_arrived(answer, "alice")
    assert not [name for name in request.trailers.names() if fold(name).startswith("x-user-")]
    assert b"evil" not in bytes(proxy.backend.received)


def test_H3_mapped_claim_replaces_the_header(proxy):
    answer = proxy.get("/tasks", bearer(token(email="alice@example.com")) | {"X-User-Email": "evil@example.com"})
    assert proxy.assert_arrived(answer, "alice").headers.all("x-user-email") == ["alice@example.com"]


@pytest.mark.parametrize("nominated", [
    "X-User-Id", "x-user-id", "close, X-User-Id, Authorization", "X-User-Id, keep-alive", "x-user-id,X-User-Email"])
@pytest.mark.parametrize("sent", [True, False], ids=["with-header", "nominated-only"])
def test_H5_connection_nominations_take_nothing_of_ours(proxy, nominated, sent):
    headers = list(bearer(token(email="a@example.com")).items()) + [("Connection", nominated)]
    if sent:
        headers.append(("X-User-Id", "evil"))
    request = proxy.assert_arrived(proxy.get("/tasks", headers), "alice")
    assert request.headers.all("x-user-email") == ["a@example.com"]
    assert b"evil" not in request.head


def test_H5_nominated_authorization_is_still_verified(proxy):
    """The nomination is about the next hop; this hop reads its own Authorization first."""
    headers = [("Connection", "Authorization"), ("Authorization", "Bearer nonsense")]
    proxy.assert_refused(proxy.get("/tasks", headers), 401, "token_invalid")


@pytest.mark.parametrize("nominated", ["Host", "Content-Length, Transfer-Encoding", "X-Forwarded-For", "X-Request-Id"])
def test_H5_nominations_do_not_break_the_message(proxy, nominated):
    answer = proxy.request("POST", "/tasks", bearer(token()) | {"Connection": nominated}, b"body")
    if answer.status == 400:
        return
    request = proxy.assert_arrived(answer, "alice")
    assert request.headers.all("host") == ["usher.test"] and request.body == b"body"


def test_H5_nominated_client_header_goes(proxy):
    request = proxy.assert_arrived(
        proxy.get("/tasks", bearer(token()) | {"Connection": "X-Hop", "X-Hop": "1", "X-Stays": "2"}), "alice")
    assert "x-hop" not in request.headers and request.headers.get("x-stays") == "2"


GOOD = "Bearer " + token(subject="alice")
OTHER = "Bearer " + token(subject="mallory")


@pytest.mark.parametrize("pair", [
    (GOOD, GOOD), (GOOD, OTHER), (OTHER, GOOD), (GOOD, "Bearer x"), ("Bearer x", GOOD), (GOOD, "Basic eDp5"),
    ("Basic eDp5", GOOD), (GOOD, ""), ("", GOOD)],
    ids=["same", "other", "other-first", "bad", "bad-first", "basic", "basic-first", "empty", "empty-first"])
@pytest.mark.parametrize("target", ["/tasks", "/optional/x"])
def test_H7_two_authorization_lines(proxy, target, pair):
    answer = proxy.get(target, [("Authorization", value) for value in pair])
    assert answer.status in (400, 401)
    proxy.assert_refused(answer, answer.status)


def test_H7_two_tokens_in_one_line(proxy):
    answer = proxy.get("/tasks", {"Authorization": f"{GOOD}, {OTHER}"})
    assert answer.status in (400, 401)
    proxy.assert_refused(answer, answer.status)


@pytest.mark.parametrize("headers", [
    {"X-Forwarded-Uri": "/public/x"}, {"X-Original-URL": "/public/x"}, {"X-Rewrite-URL": "/public/x"},
    {"X-Forwarded-Prefix": "/public"}, {"X-Forwarded-Path": "/public"}, {"X-Original-URI": "/public/x"},
    {"X-HTTP-Method-Override": "OPTIONS"}, {"X-HTTP-Method": "OPTIONS"}, {"X-Method-Override": "OPTIONS"},
    {"X-Forwarded-Host": "www.example.com"}, {"X-Forwarded-Proto": "https"}, {"X-Forwarded-Method": "OPTIONS"},
    {"Forwarded": "for=127.0.0.1;host=www.example.com;proto=https"}, {"X-Forwarded-For": "127.0.0.1"},
    {"X-Real-IP": "127.0.0.1"},
], ids=lambda h: next(iter(h)))
def test_H8_forwarded_headers_decide_nothing(proxy, headers):
    proxy.assert_refused(proxy.get("/tasks", headers), 401, "token_missing")


def test_H8_forwarded_host_does_not_choose_the_route(proxy):
    """/hosted is open on www.example.com and needs a token on api.example.com."""
    answer = proxy.get("/hosted", {"X-Forwarded-Host": "www.example.com", "X-Host": "www.example.com"},
                       host="api.example.com")
    proxy.assert_refused(answer, 401, "token_missing")


def test_H8_forwarded_headers_are_replaced(proxy):
    headers = list(bearer(token()).items()) + [
        ("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "7.7.7.7"), ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.test"), ("X_Forwarded_For", "8.8.8.8"), ("Forwarded", "for=6.6.6.6;host=evil.test"),
        ("X-Forwarded-Port", "666"), ("X-Forwarded-Prefix", "/evil"), ("X-Real-IP", "6.6.6.6"),
        ("X-Original-URL", "/evil"), ("X-Rewrite-URL", "/evil"), ("X-Forwarded-Uri", "/evil")]
    request = proxy.assert_arrived(proxy.get("/tasks", headers), "alice")
    assert request.headers.all("x-forwarded-for") == ["127.0.0.1"]
    assert request.headers.all("x-forwarded-proto") == ["http"]
    assert request.headers.all("x-forwarded-host") == ["usher.test"]
    for forged in (b"evil", b"6.6.6.6", b"7.7.7.7", b"8.8.8.8", b"666"):
        assert forged not in request.head_without_id, forged
    assert all("6.6.6.6" not in value for value in request.headers.all("forwarded"))


def test_H8_method_override_does_not_arrive(proxy):
    headers = bearer(token()) | {"X-HTTP-Method-Override": "DELETE", "X-HTTP-Method": "DELETE"}
    request = proxy.assert_arrived(proxy.get("/tasks", headers), "alice")
    assert request.method == "GET" and b"DELETE" not in request.head


# What makes a backend take the path, the host or the scheme for another one, and what it believes of itself.
REROUTING = [
    "SCRIPT_NAME", "Script-Name", "script.name", "PATH_INFO", "X-Script-Name", "X_SCRIPT_NAME", "X-Scheme", "X-Middleware-Subrequest",
    "x_middleware_subrequest", "X-Middleware-Rewrite", "X-Invoke-Path", "X-Matched-Path", "X-Now-Route-Matches", "X-Sendfile-Type",
    "X-Accel-Mapping", "X-HTTP-Host-Override", "X-URL-Scheme", "Front-End-Https", "Client-IP", "CLIENT_IP", "WL-Proxy-Client-IP",
    "WL-Proxy-Client-Cert", "X-Amzn-Mtls-Clientcert-Subject"]


@pytest.mark.parametrize("trusted", ["[]", '["127.0.0.1"]'])
def test_H8_no_header_tells_the_backend_of_another_path(start, own_backend, trusted):
    """gunicorn, as it comes, takes SCRIPT_NAME off the path: `/public/admin` with `SCRIPT_NAME: /public` is `/admin` to the
    application behind it, though the route was that of `/public`."""
    port = free_port()
    proxy = start(own_backend, configuration.SMALL + '[listen.h2]\naddress = "127.0.0.1:{h2}"\nprotocols = ["h2"]\n', h2=port,
                  listen=f"trusted_proxies = {trusted}")
    for target, headers in [("/public/admin", []), ("/api/admin", list(bearer(token()).items()))]:
        own_backend.clear()
        assert proxy.get(target, headers + [(name, "/public") for name in REROUTING]).status == 200
        with http2.Connection(port) as connection:
            fields = [(name.lower(), value) for name, value in headers + [(name, "/public") for name in REROUTING]]
            assert connection.request(http2.get(target) + fields).status == 200
        for request in own_backend.requests:
            assert {fold(name) for name in request.headers.names()}.isdisjoint(map(fold, REROUTING))


TRUSTING = """
[upstream.backend]
servers = ["127.0.0.1:{backend}"]

[[route]]
path = "/**"
auth = "none"
upstream = "backend"
"""


def test_H9_forwarded_headers_of_a_trusted_proxy_are_kept(start, own_backend):
    proxy = start(own_backend, TRUSTING, listen='trusted_proxies = ["127.0.0.0/8"]')
    answer = proxy.get("/x", {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https",
                              "X-Forwarded-Host": "app.example.com"})
    assert answer.status == 200
    request = own_backend.last
    assert request.headers.get("x-forwarded-for", "").split(",")[0].strip() == "203.0.113.9"
    assert request.headers.get("x-forwarded-proto") == "https"
    assert request.headers.get("x-forwarded-host") == "app.example.com"


def test_H8_forwarded_of_a_trusted_proxy_reaches_the_backend_in_the_older_fields(start, own_backend):
    """RFC 7239's field says who the client is, its scheme and its host: whoever reads the older ones is told the same."""
    proxy = start(own_backend, TRUSTING, listen='trusted_proxies = ["127.0.0.0/8"]')
    assert proxy.get("/x", {"Forwarded": 'for=203.0.113.9;proto=https;host="shop.example.com:8443"'}).status == 200
    headers = own_backend.last.headers
    assert headers.get("x-forwarded-for", "").split(",")[0].strip() == "203.0.113.9"
    assert headers.get("x-forwarded-proto") == "https"
    assert headers.get("x-forwarded-host") == "shop.example.com:8443"
    # What is no host is not told as one.
    assert proxy.get("/x", {"Forwarded": 'for=203.0.113.9;host="a b"'}).status == 200
    assert own_backend.last.headers.get("x-forwarded-host") == "usher.test"


@pytest.mark.parametrize("name, value", [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "app.example.com")])
def test_H8_nothing_contradicts_what_a_trusted_proxy_said(start, own_backend, name, value):
    """A Forwarded of this hop alone would say http, and another host, where the older field says what the client saw."""
    proxy = start(own_backend, TRUSTING, listen='trusted_proxies = ["127.0.0.0/8"]')
    assert proxy.get("/x", {name: value}).status == 200
    assert own_backend.last.headers.all(name) == [value]
    assert own_backend.last.headers.all("forwarded") == []


@pytest.mark.parametrize("headers, client", [
    ({"X-Forwarded-For": "203.0.113.9"}, "203.0.113.9"),
    ({"X-Forwarded-For": "6.6.6.6, 2001:DB8::5, 127.0.0.3"}, "2001:db8::5"),
    ({"Forwarded": "for=203.0.113.10:4711"}, "203.0.113.10"),
    ({"X-Forwarded-For": "unknown"}, "127.0.0.1"), ({}, "127.0.0.1")],
    ids=["one", "behind two", "Forwarded", "no address", "none"])
def test_H8_the_access_log_names_the_client_of_a_trusted_proxy(start, own_backend, headers, client):
    proxy = start(own_backend, TRUSTING, listen='trusted_proxies = ["127.0.0.0/8"]')
    assert proxy.get("/x", headers).status == 200
    assert proxy.wait_log(path="/x")["client"] == client


def test_H8_the_access_log_names_an_untrusted_peer_itself(start, own_backend):
    proxy = start(own_backend, TRUSTING)
    assert proxy.get("/x", {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}).status == 200
    assert proxy.wait_log(path="/x")["client"] == "127.0.0.1"


def test_H8_the_forwarded_of_a_trusted_proxy_s_client_does_not_arrive(start, own_backend):
    """A proxy that sets X-Forwarded-For may let its client's own Forwarded through: it decides nothing here, nor behind."""
    proxy = start(own_backend, TRUSTING, listen='trusted_proxies = ["127.0.0.0/8"]')
    for value in ("for=6.6.6.6;proto=https;host=evil.test", 'for="6.6.6.6'):
        assert proxy.get("/x", {"X-Forwarded-For": "203.0.113.9", "Forwarded": value}).status == 200
        assert own_backend.last.headers.all("x-forwarded-for") == ["203.0.113.9, 127.0.0.1"]
        assert own_backend.last.headers.all("forwarded") == []
    assert proxy.get("/x", {"Forwarded": 'for="6.6.6.6'}).status == 200
    assert own_backend.last.headers.get("forwarded", "").startswith("for=127.0.0.1;")
    assert proxy.get("/x", {"Forwarded": "for=203.0.113.9"}).status == 200
    assert own_backend.last.headers.get("forwarded", "").startswith("for=203.0.113.9, for=127.0.0.1;")


@pytest.mark.parametrize("headers", [
    {"User-Agent": "kube-probe/1.30"}, {"User-Agent": "GoogleHC/1.0"}, {"User-Agent": "ELB-HealthChecker/2.0"},
    {"X-Health-Check": "1"}, {"X-Internal": "1"}, {"X-Skip-Auth": "true"}, {"Upgrade-Insecure-Requests": "1"},
    {"Sec-Fetch-Mode": "cors"}, {"X-Requested-With": "XMLHttpRequest"}, {"Purpose": "prefetch"}],
    ids=lambda h: "=".join(next(iter(h.items()))))
def test_H10_no_header_exempts_from_authentication(proxy, headers):
    proxy.assert_refused(proxy.get("/tasks", headers), 401, "token_missing")


UNFIT = {
    "CR": "a\rX-Admin: 1", "LF": "a\nX-Admin: 1", "CRLF": "a\r\nX-User-Id: root", "NUL": "a\0b", "DEL": "a\x7fb",
    "ESC": "a\x1b[31mb", "TAB-inside": "a\tb", "257-bytes": "a" * 257,
    "leading-space": " alice", "trailing-space": "alice ", "only-space": " ", "space-inside": "alice bob",
    # Servers join lines of one name by these, and take what is joined apart.
    "comma": "alice,root", "semicolon": "alice;root",
}


@pytest.mark.parametrize("subject", list(UNFIT.values()), ids=list(UNFIT))
def test_H11_subject_that_is_no_header_value(proxy, subject):
    proxy.assert_refused(proxy.get("/tasks", bearer(token(subject=subject))), 401, "token_invalid")


@pytest.mark.parametrize("escape", [r'"\ud800"', r'"\udc00x"', r'"a\ud800\u0041"', r'"\u0000"', r'"a\u000d\u000ab"'])
def test_H11_subject_escapes(proxy, escape):
    import json
    payload = json.dumps(tokens.claims(subject="@")).replace('"@"', escape).encode()
    text = tokens.raw_token(b'{"alg":"HS256"}', payload, "HS256", tokens.SECRET)
    proxy.assert_refused(proxy.get("/tasks", bearer(text)), 401, "token_invalid")


def test_H11_subject_of_256_bytes_is_fine(proxy):
    proxy.assert_arrived(proxy.get("/tasks", bearer(token(subject="u" * 256))), "u" * 256)


@pytest.mark.parametrize("subject", ["j\xfcrgen", "\u5f20\u4f1f", "\U0001f600"])
def test_H11_subject_beyond_ascii_arrives_as_utf8_or_not_at_all(proxy, subject):
    answer = proxy.get("/tasks", bearer(token(subject=subject)))
    if answer.status == 200:
        proxy.assert_arrived(answer, subject.encode().decode("latin-1"))
    else:
        proxy.assert_refused(answer, 401, "token_invalid")


def test_H11_other_claim_that_is_no_header_value(proxy):
    """A mapped claim besides the subject: the header is not injected and nothing is split."""
    answer = proxy.get("/tasks", bearer(token(email="a\r\nX-Admin: 1")))
    if answer.status == 200:
        request = proxy.assert_arrived(answer, "alice")
        assert "x-admin" not in request.headers and "x-user-email" not in request.headers
    else:
        proxy.assert_refused(answer, 401, "token_invalid")


@pytest.fixture
def named(start, own_backend):
    return start(own_backend, configuration.SMALL + '\n[identity]\nheaders = {{ "X-User-Id" = "sub", "X-Name" = "name" }}\n')


TEXTS = ["Zo\xeb", "\u5f20\u4f1f <a@b>", "\U0001f600 \u2028 \u202ex", "\xe9\xa0\xe9", "\xe9" * 128]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_H11_other_claims_may_be_any_text(named, text):
    """obs-text of RFC 9110, 5.5: the bytes of UTF-8 as they are, and the user as ever. The log stays one valid line."""
    proxy = named
    answer = proxy.get("/api/x", bearer(token(name=text)) | {"X-Name": "evil"})
    request = proxy.assert_arrived(answer, "alice")
    assert request.headers.all("x-name") == [text.encode().decode("latin-1")]
    assert b"\r\nX-Name: " + text.encode() + b"\r\n" in request.head
    line = proxy.wait_log(request_id=answer.headers.get("x-request-id"))
    assert line["user"] == "alice" and line["status"] == 200


@pytest.mark.parametrize("text", [
    "a\x85b", "\x80", "a\x9f", "\x7f", "a\nb", "Zo\xeb\r\nX-Admin: 1", "\xe9" * 129, " Zo\xeb", "Zo\xeb ", "\ud800", "\xeb\udfff",
    "Zoe\xa0", "\u3000Zoe", "Zoe\u2028", "\ufeffZoe", "Zoe\u200b", "Zoe\u202e"],
    ids=range(17))
def test_H11_other_claims_that_are_refused(named, text):
    """Control characters (C0, DEL and C1), lone surrogates, more than 256 bytes, and what a backend would cut off."""
    proxy = named
    import json
    payload = json.dumps(tokens.claims(name=text)).encode()
    refused = tokens.raw_token(b'{"alg":"HS256"}', payload, "HS256", tokens.SECRET)
    proxy.assert_refused(proxy.get("/api/x", bearer(refused)), 401, "token_invalid")


def test_H11_bytes_that_are_no_utf8_are_no_claim(proxy):
    import json
    for spoilt in [b"Zo\xeb", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"]:
        payload = json.dumps(tokens.claims(email="@")).encode().replace(b'"@"', b'"' + spoilt + b'"')
        refused = tokens.raw_token(b'{"alg":"HS256"}', payload, "HS256", tokens.SECRET)
        proxy.assert_refused(proxy.get("/tasks", bearer(refused)), 401, "token_invalid")


NAMED = configuration.SMALL + """
[identity]
headers = {{ "{header}" = "username", "X-Name" = "name" }}
"""


@pytest.mark.parametrize("header", ["X-User-Id", "X-Forwarded-User", "remote_user", "X-User-Email", "X-Preferred-Username", "Remote_Preferred_Username"])
def test_H11_a_header_that_names_the_user_is_ascii(start, own_backend, header):
    """Whichever claim it is of: backends that drop or fold what they cannot read must not take one user for another."""
    proxy = start(own_backend, NAMED, header=header)
    good = proxy.get("/api/x", bearer(token(username="zoe", name="Zo\xeb")))
    assert good.status == 200 and own_backend.last.headers.all(header.lower()) == ["zoe"]
    assert own_backend.last.headers.all("x-name") == ["Zo\xeb".encode().decode("latin-1")]
    own_backend.clear()
    for name in ["Zo\xeb", "zoe\u200b"]:
        proxy.assert_refused(proxy.get("/api/x", bearer(token(username=name))), 401, "token_invalid")


def test_H11_text_towards_http2(start):
    with HTTP2Backend() as backend:
        proxy = start(backend, NAMED, header="X-User-Id", upstream='protocol = "h2"')
        for text in TEXTS:
            assert proxy.get("/api/x", bearer(token(username="zoe", name=text))).status == 200
            assert (backend.last.all("x-user-id"), backend.last.all("x-name")) == (["zoe"], [text])


@pytest.mark.parametrize("target", ["/public/x", "/tasks"])
@pytest.mark.parametrize("name", ["Proxy", "proxy", "PROXY"])
def test_H12_httpoxy(proxy, target, name):
    headers = (bearer(token()) if target == "/tasks" else {}) | {name: "http://evil.test/"}
    assert "proxy" not in proxy.assert_arrived(proxy.get(target, headers), "alice" if target == "/tasks" else None).headers


# The mapping itself (configuration: identity.headers).

@pytest.mark.parametrize("claims, header, values", [
    ({"realm": {"roles": ["admin", "editor"]}}, "x-user-roles", ["admin,editor"]),
    ({"realm": {"roles": "admin"}}, "x-user-roles", ["admin"]),
    ({"realm": {"roles": []}}, "x-user-roles", [[], [""]]),
    ({"realm.roles": "literal", "realm": {"roles": "nested"}}, "x-user-roles", ["literal"]),
    ({"https://example.com/team": "blue"}, "x-user-team", ["blue"]),
    ({"email_verified": True}, "x-user-verified", ["true"]),
    ({"email_verified": False}, "x-user-verified", ["false"]),
    ({"level": 7}, "x-user-level", ["7"]),
    ({"level": None}, "x-user-level", []),
    ({"realm": "not-an-object"}, "x-user-roles", []),
    ({"realm": {}}, "x-user-roles", []),
], ids=["array", "string", "empty-array", "literal-dot-wins", "claim-with-dots", "true", "false", "number", "null",
        "not-an-object", "absent"])
def test_mapping(proxy, claims, header, values):
    request = proxy.assert_arrived(proxy.get("/tasks", bearer(token(**claims))), "alice")
    arrived = request.headers.all(header)
    assert arrived == values or arrived in [v for v in values if isinstance(v, list)]


def test_mapping_array_joined_by_commas_cannot_be_forged(proxy):
    """An element that contains the separator would add a role; such a value is refused or left out."""
    answer = proxy.get("/tasks", bearer(token(realm={"roles": ["user,admin"]})))
    if answer.status == 200:
        assert proxy.assert_arrived(answer, "alice").headers.all("x-user-roles") == []
    else:
        proxy.assert_refused(answer, 401, "token_invalid")


def test_mapping_of_two_subject_claims(proxy):
    text = token(issuer="https://strict.test", subject="second", user_id="first", header={"typ": "at+jwt"})
    answer = proxy.get("/tasks", bearer(text))
    assert answer.status == 200
    # `subject` of the issuer says who the user is; the header mapping "sub" is the verified user.
    assert proxy.backend.last.user == ["first"]


def test_hop_by_hop_headers_do_not_arrive(proxy):
    headers = bearer(token()) | {
        "Connection": "keep-alive", "Keep-Alive": "timeout=5", "Proxy-Connection": "keep-alive", "TE": "trailers",
        "Proxy-Authorization": "Basic eDp5", "Proxy-Authenticate": "x"}
    request = proxy.assert_arrived(proxy.get("/tasks", headers), "alice")
    for name in ("keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate"):
        assert name not in request.headers, name


def test_via_is_added_and_kept(proxy):
    request = proxy.assert_arrived(proxy.get("/tasks", bearer(token()) | {"Via": "1.0 fred"}), "alice")
    via = ", ".join(request.headers.all("via"))
    assert via.startswith("1.0 fred, 1.1 "), via


def test_other_headers_arrive_unchanged(proxy):
    sent = [("Accept", "a/b"), ("X-Twice", "1"), ("X-Twice", "2"), ("Cookie", "a=b; c=d"), ("X-Latin", "caf\xe9"),
            ("X-Empty", ""), ("User-Agent", "conformance"), ("X-User", "not an identity header"), ("Xuserid", "1")]
    request = proxy.assert_arrived(proxy.get("/tasks", list(bearer(token()).items()) + sent), "alice")
    for name in {n for n, _ in sent}:
        assert request.headers.all(name) == [v for n, v in sent if n == name], name
