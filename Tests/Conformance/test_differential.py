"""What the proxy forwards is one request and the same one to every parser: h11, llhttp, Python's own and nginx.

Odd requests that the proxy lets through are sent by the hundred. Each must be seen exactly once, with the method,
the target, the fields and the body that the client meant; what is refused must not be seen at all.
"""

from __future__ import annotations

import random
import shutil

import pytest

from harness import parsers
from harness.tokens import token

PARSERS = ["h11", "httptools", "http.server", "nginx"]
COUNT = 150
ALICE = token(subject="alice")

METHODS = ["GET", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "M-SEARCH"]
SEGMENTS = [
    "a", "A-_.~", "a;v=1", "a,b", "a=b&c", "!$'()*+", "a:b@c", "%20", "%C3%A9", "%3F%23", "%25", "[x]", "...", "a%3Bb",
    "x" * 500]
QUERIES = [
    None, "", "a=b", "a=b&a=c", "?", "/../x", "%2e%2e%2f", "a=%00", "a=%0d%0aX:y", "a\"b", "<x>", "a\\b", "{x}", "a|b",
    "^`", "%zz", "%", "q=" + "y" * 2000]
NAMES = ["X-A", "x-b", "X_c", "X.d", "X-1!#$%&'*+-.^`|~", "Accept", "If-None-Match", "Range", "Cookie", "X-Long-Name-" + "n" * 100]
VALUES = [
    "", "v", "a b", "a\tb", "a,b", "\"q\\\"q\"", "\xe9\xff", "a: b", ";", "v" * 3000, "=?utf-8?q?x?=", "%0d%0a", "\x80",
    "chunked", "Host: evil", "x\"y'z"]


@pytest.fixture(params=PARSERS)
def parser(request, tmp_path):
    match request.param:
        case "h11":
            backend = parsers.H11Backend()
        case "httptools":
            backend = parsers.UvicornBackend()
        case "http.server":
            backend = parsers.StandardLibraryBackend()
        case _:
            if not shutil.which("nginx"):
                pytest.skip("nginx is not installed")
            backend = parsers.NginxBackend(tmp_path)
    backend.name = request.param
    yield backend
    backend.stop()


class Odd:
    """A request that is strange and right: its bytes, and what it means."""

    def __init__(self, rng: random.Random, number: int):
        self.method = rng.choice(METHODS)
        query = rng.choice(QUERIES)
        segments = [rng.choice(SEGMENTS) for _ in range(rng.randrange(4))]
        self.target = "/api/" + "/".join([str(number), *segments]) + rng.choice(["", "/"]) + ("" if query is None else "?" + query)
        self.fields = [(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(rng.choice([0, 1, 4, 12]))]
        self.body = rng.choice([b"", b"\r\n", b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n", b"0\r\n\r\n", rng.randbytes(3000), b"z" * 70_000])
        self.version = rng.choice(["1.1"] * 5 + ["1.0"])
        self.bytes = self.render(rng)

    def render(self, rng: random.Random) -> bytes:
        form = self.target if rng.random() < 0.8 else "http://usher.test" + self.target
        lines = [f"{self.method} {form} HTTP/{self.version}", rng.choice(["Host: usher.test", "host:usher.test:80", "HOST: \t usher.test  "])]
        lines.append(rng.choice(["Authorization: Bearer ", "authorization:bearer   ", "AUTHORIZATION:\tBEARER "]) + ALICE)
        for name, value in self.fields:
            lines.append(name + rng.choice([": ", ":", ":\t ", ":   "]) + value + rng.choice(["", "", " ", "\t "]))
        lines += rng.choice([[], [], ["Connection: keep-alive"], ["Connection: x-hop, ,keep-alive", "X-Hop: 1"], ["TE: trailers", "Connection: TE"]])
        body = self.body
        if self.version == "1.1" and rng.random() < 0.5:
            lines.append(rng.choice(["Transfer-Encoding: chunked", "transfer-encoding:CHUNKED ", "Transfer-Encoding: , chunked"]))
            body = self.chunks(rng)
        elif body or rng.random() < 0.5:
            lines.append(rng.choice([f"Content-Length: {len(body)}", f"content-length:{len(body):08}"]))
        order = lines[:1] + rng.sample(lines[1:], len(lines) - 1)
        # what comes twice keeps its order
        names = iter([line for line in lines if line.split(":")[0] in NAMES])
        order = [next(names) if line.split(":")[0] in NAMES else line for line in order]
        return rng.choice([b"", b"\r\n"]) + "\r\n".join(order).encode("latin-1") + b"\r\n\r\n" + body

    def chunks(self, rng: random.Random) -> bytes:
        text, left = b"", self.body
        while left:
            size = min(len(left), rng.choice([1, 15, 16, 4096, 65_536]))
            digits = rng.choice(["{:x}", "{:X}", "{:06x}"]).format(size)
            text += digits.encode() + rng.choice([b"", b"", b";a", b" ;a=\"b;c\"", b";a=b;c=d"]) + b"\r\n" + left[:size] + b"\r\n"
            left = left[size:]
        trailers = rng.choice([b"", b"", b"X-T: 1\r\n", b"X-User-Id: mallory\r\nX-T:2\r\nContent-Length: 5\r\n"])
        return text + rng.choice([b"0", b"000", b"0;x"]) + b"\r\n" + trailers + b"\r\n"

    def check(self, seen: parsers.Seen, name: str) -> None:
        assert (seen.method, seen.target.removesuffix("?")) == (self.method, self.target.removesuffix("?"))
        assert seen.body == self.body
        own = {n.lower() for n in NAMES}
        got = [(n, v.strip(" \t")) for n, v in seen.headers if n in own]
        expected = [(n.lower(), v) for n, v in self.fields]
        if name == "http.server":  # it decodes obs-text for mail, and folds nothing else
            got, expected = [n for n, _ in got], [n for n, _ in expected]
        assert sorted(got) == sorted(expected)
        names = [n for n, _ in seen.headers]
        assert [v for n, v in seen.headers if n == "x-user-id"] == ["alice"]
        assert names.count("host") == 1 and "x-hop" not in names and "authorization" not in names
        assert names.count("content-length") + names.count("transfer-encoding") <= 1


def test_odd_requests_are_what_they_were(parser, start):
    rng = random.Random(f"differential/{parser.name}")
    proxy = start(parser, workers=1)
    refused = unread = 0
    for number in range(COUNT):
        odd = Odd(rng, number)
        with proxy.client() as client:
            client.send(odd.bytes)
            answer = client.response(odd.method)
        seen = [each for each in parser.seen if each.target.startswith(f"/api/{number}") and each.target[len(f"/api/{number}"):][:1] in ("", "/", "?")]
        assert len(parser.seen) <= number + 1 and len(seen) <= 1, (odd.bytes[:2000], parser.seen[-3:])
        if answer.headers.get("content-type") == "application/problem+json":
            refused += 1
            assert answer.status in (400, 502), (answer.status, odd.bytes[:2000])
            assert not seen
        elif not seen:  # the parser would not have it: nothing was misunderstood
            assert answer.status in (400, 405, 501), (answer.status, odd.bytes[:2000])
            unread += 1
        else:
            assert answer.status == 200
            odd.check(seen[0], parser.name)
    assert refused + unread < COUNT / 3, (refused, unread)


def test_two_at_once_stay_two(parser, start):
    """Pipelined: each is seen once, in order, whatever the first one's body looks like."""
    rng = random.Random(f"pipelined/{parser.name}")
    proxy = start(parser, workers=1)
    for number in range(0, 60, 2):
        first, second = Odd(rng, number), Odd(rng, number + 1)
        before = len(parser.seen)
        with proxy.client() as client:
            client.send(first.bytes + second.bytes)
            one = client.response(first.method)
            if one.closes:
                continue
            two = client.response(second.method)
        if one.status != 200:
            continue
        seen = parser.seen[before:]
        assert one.status == 200 and len(seen) == 1 + (two.status == 200), (
            [(each.method, each.target) for each in seen], one, two, first.bytes[:3000], second.bytes[:3000])
        first.check(seen[0], parser.name)
        if two.status == 200:
            second.check(seen[1], parser.name)
