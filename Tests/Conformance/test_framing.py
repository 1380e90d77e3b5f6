"""RFC 9112 and 9110, and security.md F1 to F3: where a request ends is never a matter of opinion.

Each case is one stream of bytes, named by its section. What is refused gets its status, the connection closes, and
not one byte arrives at the backend; a smuggled second request would show there at once.
"""

import pytest

from harness.tokens import bearer, token
from harness.wire import Closed, chunk, render

SMUGGLED = b"GET /public/smuggled HTTP/1.1\r\nHost: usher.test\r\n\r\n"
HOST = b"Host: usher.test\r\n"


def post(*fields: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1", line: bytes | None = None, host: bytes = HOST):
    line = line or b"POST /public/x " + version
    return line + b"\r\n" + host + b"".join(f + b"\r\n" for f in fields) + b"\r\n" + body


def get(*fields: bytes, line: bytes = b"GET /public/x HTTP/1.1", host: bytes = HOST, body: bytes = b""):
    return post(*fields, body=body, line=line, host=host)


def chunked(body: bytes, *fields: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", *fields, body=body)


END = b"0\r\n\r\n"
BAD = {400}
# Every row: section and idea, bytes, the statuses that are right.
REFUSED = {
    # RFC 9112 §6.1, §6.3: both framings, and what looks like chunked
    "6.3-3 CL and TE": (post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=END), BAD),
    "6.3-3 TE and CL": (post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=END), BAD),
    "6.3-3 TE and CL 0": (post(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=END), BAD),
    "6.3-3 CL and TE identity": (post(b"Content-Length: 5", b"Transfer-Encoding: identity", body=b"hello"), BAD | {501}),
    "6.1 F2 TE on HTTP/1.0": (post(b"Transfer-Encoding: chunked", body=END, version=b"HTTP/1.0"), BAD),
    "6.1 F2 TE and CL on HTTP/1.0": (
        post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=END, version=b"HTTP/1.0"), BAD),
    "6.1 F2 xchunked": (post(b"Transfer-Encoding: xchunked", body=END), BAD | {501}),
    "6.1 F2 chunked twice in a list": (post(b"Transfer-Encoding: chunked, chunked", body=END), BAD),
    "6.1 F2 chunked twice in two lines": (
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=END), BAD),
    "6.1 chunked not last": (post(b"Transfer-Encoding: chunked, gzip", body=END), BAD | {501}),
    "6.1 chunked not last in two lines": (
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=END), BAD | {501}),
    "6.1 identity last": (post(b"Transfer-Encoding: chunked, identity", body=END), BAD | {501}),
    "6.1 gzip alone": (post(b"Transfer-Encoding: gzip", body=END), BAD | {501}),
    "6.1 gzip then chunked": (post(b"Transfer-Encoding: gzip, chunked", body=END), BAD | {501}),
    "6.1 identity": (post(b"Transfer-Encoding: identity", body=b""), BAD | {501}),
    "6.1 empty TE": (post(b"Transfer-Encoding:", body=END), BAD | {501}),
    "6.1 TE comma": (post(b"Transfer-Encoding: ,", body=END), BAD | {501}),
    "6.1 TE quoted": (post(b'Transfer-Encoding: "chunked"', body=END), BAD | {501}),
    "6.1 TE with parameter": (post(b"Transfer-Encoding: chunked;q=1", body=END), BAD | {501}),
    "6.1 TE with vertical tab": (post(b"Transfer-Encoding: \x0bchunked", body=END), BAD | {501}),
    "6.1 TE with NUL": (post(b"Transfer-Encoding: chunked\0", body=END), BAD),
    "6.1 TE with latin letter": (post(b"Transfer-Encoding: chun\xebked", body=END), BAD | {501}),
    "6.1 TE chunked space": (post(b"Transfer-Encoding: chunk ed", body=END), BAD | {501}),
    "5.1 space before colon of TE": (post(b"Transfer-Encoding : chunked", body=END), BAD),
    "5.1 space before colon of CL": (post(b"Content-Length : 5", body=b"hello"), BAD),
    "5.1 tab before colon": (post(b"Transfer-Encoding\t: chunked", body=END), BAD),
    "5.2 TE folded": (post(b"Transfer-Encoding:\r\n chunked", body=END), BAD),
    # §6.2, RFC 9110 §8.6: Content-Length
    "6.2 F2 CL list, same": (post(b"Content-Length: 5, 5", body=b"hello"), BAD),
    "6.2 F2 CL list, different": (post(b"Content-Length: 5, 6", body=b"hello"), BAD),
    "6.2 CL twice, different": (post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"), BAD),
    "6.2 CL twice, zero": (post(b"Content-Length: 0", b"Content-Length: 47", body=SMUGGLED), BAD),
    "6.2 CL plus": (post(b"Content-Length: +5", body=b"hello"), BAD),
    "6.2 CL minus": (post(b"Content-Length: -5", body=b"hello"), BAD),
    "6.2 CL minus zero": (post(b"Content-Length: -0"), BAD),
    "6.2 CL empty": (post(b"Content-Length:", body=b"hello"), BAD),
    "6.2 CL spaces inside": (post(b"Content-Length: 1 0", body=b"hello"), BAD),
    "6.2 CL hexadecimal": (post(b"Content-Length: 0x5", body=b"hello"), BAD),
    "6.2 CL exponent": (post(b"Content-Length: 5e0", body=b"hello"), BAD),
    "6.2 CL fraction": (post(b"Content-Length: 5.0", body=b"hello"), BAD),
    "6.2 CL underscore": (post(b"Content-Length: 1_0", body=b"hello"), BAD),
    "6.2 CL comma": (post(b"Content-Length: 5,", body=b"hello"), BAD),
    "6.2 CL quoted": (post(b'Content-Length: "5"', body=b"hello"), BAD),
    "6.2 CL letters": (post(b"Content-Length: five", body=b"hello"), BAD),
    "6.2 CL unicode digits": (post("Content-Length: ٥".encode(), body=b"hello"), BAD),
    "6.2 CL 2^63": (post(b"Content-Length: 9223372036854775808"), BAD | {413}),
    "6.2 CL 2^64": (post(b"Content-Length: 18446744073709551616"), BAD | {413}),
    "6.2 CL 2^64+5": (post(b"Content-Length: 18446744073709551621", body=b"hello"), BAD | {413}),
    "6.2 CL 40 digits": (post(b"Content-Length: " + b"9" * 40), BAD | {413}),
    "6.2 CL semicolon": (post(b"Content-Length: 5;x", body=b"hello"), BAD),
    "6.2 CL NUL": (post(b"Content-Length: 5\0", body=b"hello"), BAD),
    # §2.2, §5: lines
    "2.2 bare LF after request line": (b"GET /public/x HTTP/1.1\nHost: usher.test\r\n\r\n", BAD),
    "2.2 bare LF after a field": (b"GET /public/x HTTP/1.1\r\nHost: usher.test\nX: y\r\n\r\n", BAD),
    "2.2 bare LF at the end": (b"GET /public/x HTTP/1.1\r\nHost: usher.test\r\n\n", BAD),
    "2.2 only LF": (b"GET /public/x HTTP/1.1\nHost: usher.test\n\n", BAD),
    "2.2 bare CR in a value": (get(b"X: a\rb"), BAD),
    "2.2 bare CR that hides a field": (get(b"X: a\rTransfer-Encoding: chunked"), BAD),
    "2.2 bare CR in a name": (get(b"X\rY: a"), BAD),
    "2.2 bare CR in the target": (get(line=b"GET /public/\rx HTTP/1.1"), BAD),
    "2.2 CR CR LF": (b"GET /public/x HTTP/1.1\r\nHost: usher.test\r\r\n\r\n", BAD),
    "2.2 whitespace before the first field": (b"GET /public/x HTTP/1.1\r\n Host: usher.test\r\n\r\n", BAD),
    "2.2 tab before the first field": (b"GET /public/x HTTP/1.1\r\n\tX: y\r\nHost: usher.test\r\n\r\n", BAD),
    "2.2 space line before the first field": (b"GET /public/x HTTP/1.1\r\n \r\nHost: usher.test\r\n\r\n", BAD),
    "5.2 obs-fold": (get(b"X: a\r\n b"), BAD),
    "5.2 obs-fold with tab": (get(b"X: a\r\n\tb"), BAD),
    "5.2 obs-fold of whitespace only": (get(b"X: a\r\n "), BAD),
    "5.2 obs-fold of CL": (post(b"Content-Length: 1\r\n 0", body=b"0123456789"), BAD),
    "5 NUL in a value": (get(b"X: a\0b"), BAD),
    "5 NUL in a name": (get(b"X\0: b"), BAD),
    "5 control character in a value": (get(b"X: a\x01b"), BAD),
    "5 DEL in a value": (get(b"X: a\x7fb"), BAD),
    "5 vertical tab in a value": (get(b"X: a\x0bb"), BAD),
    "5 empty name": (get(b": x"), BAD),
    "5 no colon": (get(b"NoColon"), BAD),
    "5.1 space in a name": (get(b"X Y: z"), BAD),
    "5.1 quote in a name": (get(b'X"Y: z'), BAD),
    "5.1 parenthesis in a name": (get(b"X(Y): z"), BAD),
    "5.1 slash in a name": (get(b"X/Y: z"), BAD),
    "5.1 at in a name": (get(b"X@Y: z"), BAD),
    "5.1 braces in a name": (get(b"{X}: z"), BAD),
    "5.1 latin letter in a name": (get(b"X\xe9: z"), BAD),
    "5.1 space after the name": (get(b"X : z"), BAD),
    "5.1 Content-Length with odd byte in its name": (post(b"Content-Length\x00: 5", body=b"hello"), BAD),
    # §3: request line
    "3 no version (HTTP/0.9)": (b"GET /public/x\r\n\r\n", BAD | {505}),
    "3 no target": (get(line=b"GET HTTP/1.1"), BAD),
    "3 two spaces before target": (get(line=b"GET  /public/x HTTP/1.1"), BAD),
    "3 two spaces before version": (get(line=b"GET /public/x  HTTP/1.1"), BAD),
    "3 tab for a space": (get(line=b"GET\t/public/x HTTP/1.1"), BAD),
    "3 tab before version": (get(line=b"GET /public/x\tHTTP/1.1"), BAD),
    "3 space at the end": (get(line=b"GET /public/x HTTP/1.1 "), BAD | {505}),
    "3 space at the beginning": (get(line=b" GET /public/x HTTP/1.1"), BAD),
    "3 four words": (get(line=b"GET /public/x y HTTP/1.1"), BAD),
    "3 vertical tab for a space": (get(line=b"GET\x0b/public/x HTTP/1.1"), BAD),
    "3.1 method with a colon": (get(line=b"GE:T /public/x HTTP/1.1"), BAD | {501}),
    "3.1 method with a parenthesis": (get(line=b"GET() /public/x HTTP/1.1"), BAD | {501}),
    "3.1 method with NUL": (get(line=b"GE\0T /public/x HTTP/1.1"), BAD),
    "3.1 method of 5000 bytes": (get(line=b"G" * 5000 + b" /public/x HTTP/1.1"), BAD | {414, 431, 501}),
    "3.1 empty method": (get(line=b" /public/x HTTP/1.1"), BAD),
    "3.2 target of 9000 bytes": (get(line=b"GET /public/" + b"x" * 9000 + b" HTTP/1.1"), {414}),
    "2.3 HTTP/2.0": (get(line=b"GET /public/x HTTP/2.0"), {400, 505}),
    "2.3 HTTP/0.9": (get(line=b"GET /public/x HTTP/0.9"), {400, 505}),
    "2.3 HTTP/3": (get(line=b"GET /public/x HTTP/3"), {400, 505}),
    "2.3 HTTP/1.10": (get(line=b"GET /public/x HTTP/1.10"), {400, 505}),
    "2.3 HTTP/01.1": (get(line=b"GET /public/x HTTP/01.1"), {400, 505}),
    "2.3 HTTP/1,1": (get(line=b"GET /public/x HTTP/1,1"), {400, 505}),
    "2.3 HTTP/1.": (get(line=b"GET /public/x HTTP/1."), {400, 505}),
    "2.3 http/1.1": (get(line=b"GET /public/x http/1.1"), {400, 505}),
    "2.3 HTTPS/1.1": (get(line=b"GET /public/x HTTPS/1.1"), {400, 505}),
    "2.3 preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 404, 505}),
    # §3.2, RFC 9110 §7.2: Host
    "3.2 no Host": (get(host=b""), BAD),
    "3.2 two Hosts, different": (get(host=HOST + b"Host: other.test\r\n"), BAD),
    "3.2 two Hosts, same": (get(host=HOST + HOST), BAD),
    "3.2 empty Host": (get(host=b"Host:\r\n"), BAD),
    "3.2 Host with a space": (get(host=b"Host: a b\r\n"), BAD),
    "3.2 Host with a path": (get(host=b"Host: usher.test/x\r\n"), BAD),
    "3.2 Host with userinfo": (get(host=b"Host: a@usher.test\r\n"), BAD),
    "3.2 Host list": (get(host=b"Host: a, b\r\n"), BAD),
    "3.2 Host with bad port": (get(host=b"Host: usher.test:80x\r\n"), BAD),
    "3.2 space before colon of Host": (get(host=b"Host : usher.test\r\n"), BAD),
    "3.2 Host folded": (get(host=b"Host:\r\n usher.test\r\n"), BAD),
    # garbage
    "2.1 TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), BAD),
    "2.1 zeros": (bytes(64) + b"\r\n\r\n", BAD),
    "2.1 an SSH client": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", BAD | {505}),
    "5 101 fields": (get(*[b"X-%d: y" % n for n in range(101)]), {431}),
    "5 one field of 33 KiB": (get(b"X: " + b"y" * 33 * 1024), {431}),
    "5 33 KiB of fields": (get(*[b"X-%d: " % n + b"y" * 1000 for n in range(34)]), {431}),
    "5 a field without end": (b"GET /public/x HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 70000, {431}),
    "5 a name without end": (b"GET /public/x HTTP/1.1\r\n" + HOST + b"y" * 70000, {400, 431}),
    "3.2 a target without end": (b"GET /" + b"y" * 70000, {414, 431}),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("more", [b"", SMUGGLED], ids=["alone", "smuggling"])
def test_refused(proxy, name, more):
    """Refused by its head alone: nothing of the request, and nothing of what follows, arrives."""
    data, statuses = REFUSED[name]
    with proxy.client() as client:
        client.try_send(data + more)
        answer = client.response()
        assert answer.status in statuses, (answer.status, answer.body[:300])
        assert answer.closes, "says that it closes"
        assert client.ended(), "a second answer, or the connection stays open"
    assert answer.problem["status"] == answer.status
    proxy.assert_nothing_arrived()


@pytest.mark.parametrize("name", ["6.3-3 CL and TE", "6.2 CL list, same".replace("6.2 ", "6.2 F2 "), "5.2 obs-fold", "3.2 no Host"])
def test_refused_with_a_good_token_too(proxy, name):
    data, statuses = REFUSED[name]
    data = data.replace(b"\r\n", f"\r\nAuthorization: Bearer {token()}\r\n".encode(), 1).replace(b"/public/x", b"/tasks")
    with proxy.client() as client:
        client.try_send(data + SMUGGLED)
        assert client.response().status in statuses
        assert client.ended()
    proxy.assert_nothing_arrived()


@pytest.mark.parametrize("name", list(REFUSED)[::4])
def test_refused_byte_by_byte(proxy, name):
    """The same where each read gives one byte; long ones in pieces."""
    data, statuses = REFUSED[name]
    step = max(1, len(data) // 150)
    with proxy.client() as client:
        for at in range(0, len(data), step):
            client.try_send(data[at:at + step])
        answer = client.response()
        assert answer.status in statuses
        assert client.ended()
    proxy.assert_nothing_arrived()


# A body that turns out to be malformed after its head was good. The proxy may have begun to forward: then it must cut
# the backend connection, so that the backend never holds a complete request, and no second request may appear.
BROKEN_BODIES = {
    "7.1 chunk size with sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "7.1 chunk size negative": b"-1\r\nhello\r\n0\r\n\r\n",
    "7.1 chunk size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "7.1 chunk size with space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "7.1 chunk size empty": b"\r\nhello\r\n0\r\n\r\n",
    "7.1 chunk size not hexadecimal": b"g\r\nhello\r\n0\r\n\r\n",
    "7.1 chunk size with underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "7.1 chunk size overflows 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "7.1 chunk size 2^64-1": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "7.1 chunk size 2^63": b"8000000000000000\r\nhello\r\n0\r\n\r\n",
    "7.1 chunk size of 40 digits": b"0" * 40 + b"5\r\nhello\r\n0\r\n\r\n",
    "7.1 chunk size ends with bare LF": b"5\nhello\r\n0\r\n\r\n",
    "7.1 chunk size ends with bare CR": b"5\rhello\r\n0\r\n\r\n",
    "7.1 chunk size with NUL": b"5\0\r\nhello\r\n0\r\n\r\n",
    "7.1 chunk data longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "7.1 chunk data ends with bare LF": b"5\r\nhello\n0\r\n\r\n",
    "7.1 chunk data without end": b"5\r\nhello0\r\n\r\n",
    "7.1 two characters where CR LF should be": b"5\r\nhelloXX0\r\n\r\n",
    "7.1 last chunk ends with bare LF": b"5\r\nhello\r\n0\n\r\n",
    "7.1 body ends with bare LF": b"5\r\nhello\r\n0\r\n\n",
    "7.1.1 bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "7.1.1 bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "7.1.1 extension of 20 KB": b"5;" + b"x" * 20000 + b"\r\nhello\r\n0\r\n\r\n",
    "7.1.1 no semicolon": b"5 x\r\nhello\r\n0\r\n\r\n",
    "7.1.2 trailer without colon": b"5\r\nhello\r\n0\r\nNoColon\r\n\r\n",
    "7.1.2 trailer with space before colon": b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
    "7.1.2 trailer folded": b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
    "7.1.2 trailer with bare LF": b"5\r\nhello\r\n0\r\nX: y\n\r\n",
    "7.1.2 trailer with NUL": b"5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
    "7.1.2 trailers of 40 KB": b"5\r\nhello\r\n0\r\n" + b"X: " + b"y" * 40000 + b"\r\n\r\n",
    "7.1.2 300 trailers": b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 300 + b"\r\n",
}


@pytest.mark.parametrize("name", BROKEN_BODIES)
@pytest.mark.parametrize("late", [False, True], ids=["at-once", "after-the-head"])
def test_broken_chunked_body(proxy, backend, name, late):
    head, body = chunked(b""), BROKEN_BODIES[name]
    with proxy.client() as client:
        client.try_send(head)
        if late:
            client.quiet(0.1)
        client.try_send(body + SMUGGLED)
        answer = client.response()
        assert answer.status in (400, 413, 431), (answer.status, answer.body[:200])
        assert client.ended()
    proxy.get("/public/after")
    assert all(r.target in ("/public/x", "/public/after") for r in backend.requests), "a second request was made of the body"
    assert not [r for r in backend.requests if r.target == "/public/x" and r.complete], "the backend got a whole request"


def test_6_truncated_body_with_length(proxy, backend):
    """§8: the client closes early: the backend must not take the rest of the connection for the body."""
    with proxy.client() as client:
        client.send(post(b"Content-Length: 10", body=b"12345"))
        backend.wait_requests(1)
    answer = proxy.get("/public/after")
    assert answer.status == 200
    assert not [r for r in backend.requests if r.target == "/public/x" and r.complete]


def test_6_truncated_chunked_body(proxy, backend):
    with proxy.client() as client:
        client.send(chunked(b"5\r\nhello\r\n3\r\nab"))
        backend.wait_requests(1)
    assert proxy.get("/public/after").status == 200
    assert not [r for r in backend.requests if r.target == "/public/x" and r.complete]


# What is accepted, and in which form it goes on.

ACCEPTED = {
    "2.2 empty lines before the request": (b"\r\n\r\n" + get(), b""),
    "5 no space after the colon": (get(b"X-A:b"), b""),
    "5 spaces around a value": (get(b"X-A: \t b \t "), b""),
    "5 empty value": (get(b"X-A:"), b""),
    "6.2 CL 0": (post(b"Content-Length: 0"), b""),
    "6.2 leading zeros": (post(b"Content-Length: 0005", body=b"hello"), b"hello"),
    "6.2 spaces around CL": (post(b"Content-Length:   5  ", body=b"hello"), b"hello"),
    "6.3 no body": (post(), b""),
    "6.1 chunked": (chunked(chunk(b"hello")), b"hello"),
    "6.1 chunked in capitals": (post(b"Transfer-Encoding: CHUNKED", body=chunk(b"hello")), b"hello"),
    "6.1 empty chunked": (chunked(END), b""),
    "7.1 chunk sizes in any case": (chunked(b"0A\r\n0123456789\r\n0a\r\n0123456789\r\n0\r\n\r\n"), b"01234567890123456789"),
    "7.1 leading zeros": (chunked(b"005\r\nhello\r\n000\r\n\r\n"), b"hello"),
    "7.1.1 extensions are dropped": (chunked(b'5;a=b;c="d"\r\nhello\r\n0;x\r\n\r\n'), b"hello"),
    "7.1 CR LF in chunk data": (chunked(b"9\r\nab\r\n0\r\n\r\n\r\n0\r\n\r\n"), b"ab\r\n0\r\n\r\n"),
    "3.1 unknown method": (get(line=b"BREW /public/x HTTP/1.1"), b""),
    "5 100 fields": (get(*[b"X-%d: y" % n for n in range(90)]), b""),
    "GET with a body": (get(b"Content-Length: 5", body=b"hello"), b"hello"),
    "DELETE with a chunked body": (post(b"Transfer-Encoding: chunked", body=chunk(b"hello"),
                                        line=b"DELETE /public/x HTTP/1.1"), b"hello"),
}


@pytest.mark.parametrize("name", ACCEPTED)
@pytest.mark.parametrize("split", [False, True], ids=["whole", "byte-by-byte"])
def test_accepted(proxy, backend, name, split):
    """The backend's reader is strict: it would note anything but one canonical framing (teardown of `backend`)."""
    data, body = ACCEPTED[name]
    with proxy.client() as client:
        for piece in ([data[i:i + 1] for i in range(len(data))] if split else [data]):
            client.send(piece)
        answer = client.response()
        assert answer.status == 200, answer.body[:300]
        # the connection is still in step
        assert client.request("GET", "/public/next").json()["target"] == "/public/next"
    assert [r.target for r in backend.requests] == ["/public/x", "/public/next"]
    request = backend.requests[0]
    assert request.body == body
    head = request.head
    assert not any(line != line.strip() and not line.endswith(b": ") for line in head.split(b"\r\n")), "canonical field lines"
    assert request.headers.all("transfer-encoding") in ([], ["chunked"])


def test_6_2_same_length_twice(proxy, backend):
    """RFC 9110 §8.6 allows to merge or to refuse; merged means one line upstream."""
    with proxy.client() as client:
        client.send(post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"))
        answer = client.response()
    if answer.status == 200:
        assert backend.last.headers.all("content-length") == ["5"] and backend.last.body == b"hello"
    else:
        assert answer.status == 400
        proxy.assert_nothing_arrived()


# F1: Upgrade

@pytest.mark.parametrize("upgrade", [b"Upgrade: websocket", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA", b"Upgrade: x"])
def test_F1_bytes_after_upgrade_are_a_request(proxy, backend, upgrade):
    """The backend does not answer 101, so what follows is the next request, with its own authentication."""
    with proxy.client() as client:
        client.send(get(b"Connection: Upgrade", upgrade) + b"GET /tasks HTTP/1.1\r\nHost: usher.test\r\nX-User-Id: evil\r\n\r\n")
        first = client.response()
        assert first.status in (200, 400, 501)
        if first.status == 200 and not first.closes:
            assert client.response().status == 401
    assert "/tasks" not in [r.target for r in backend.requests]
    assert b"evil" not in bytes(backend.received)


def test_F1_refused_upgrade(proxy):
    with proxy.client() as client:
        client.send(b"GET /tasks HTTP/1.1\r\nHost: usher.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + SMUGGLED)
        assert client.response().status == 401
        try:
            assert client.response().status == 200
        except Closed:
            pass  # closed after the refusal: as good


# F3: bodies on refused requests

@pytest.mark.parametrize("target, status", [("/tasks", 401), ("/nothing", 404), ("/api/bob/tasks", 403)])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_F3_body_of_a_refused_request_is_not_the_next_request(proxy, backend, target, status, framing):
    headers = bearer(token()) if status == 403 else {}
    inner = SMUGGLED * 3
    with proxy.client() as client:
        if framing == "length":
            client.try_send(render("POST", target, headers, inner))
        else:
            client.try_send(render("POST", target, headers | {"Transfer-Encoding": "chunked"}) + chunk(inner))
        answer = client.response("POST")
        assert answer.status == status
        if answer.closes:
            assert client.ended()
        else:
            assert client.request("GET", "/tasks").status == 401, "drained: the next request gets its own answer"
    proxy.assert_nothing_arrived()


def test_F3_large_body_of_a_refused_request(proxy):
    """Drained within a bound or closed: never stored, never waited for without end."""
    with proxy.client() as client:
        client.try_send(b"POST /tasks HTTP/1.1\r\nHost: usher.test\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(20):
            client.try_send(b"x" * 65536)
        assert client.response("POST").status == 401
        client.try_send(b"x" * 65536)
        assert client.ended(15)
    proxy.assert_nothing_arrived()


def test_F3_expect_continue_is_refused_before_the_body(proxy):
    with proxy.client() as client:
        client.send(b"POST /tasks HTTP/1.1\r\nHost: usher.test\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n")
        answer = client.head()
        assert answer.status == 401, "not 100"
        client.body(answer)
    proxy.assert_nothing_arrived()


def test_F3_pipelined_after_a_refusal(proxy, backend):
    """Two requests without a token and one with: each its own answer, in order."""
    with proxy.client() as client:
        client.send(render("GET", "/tasks") + render("GET", "/nothing") + render("GET", "/tasks", bearer(token())))
        statuses = [client.response().status for _ in range(3)]
    assert statuses == [401, 404, 200]
    assert [r.target for r in backend.requests] == ["/tasks"]


def test_nothing_of_a_head_that_never_ends(proxy):
    with proxy.client() as client:
        client.send(b"GET /public/x HTTP/1.1\r\nHost: usher.test\r\nX: ")
        assert client.quiet(0.2)
    proxy.assert_nothing_arrived()
