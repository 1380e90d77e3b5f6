"""Requests and answers that are nearly right: seeds, and ways to spoil them. All randomness comes from a seed."""

from __future__ import annotations

import random

CLIENT_WORDS = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"GET ",
    b"Host: usher.test\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 99999999999999999\r\n",
    b"Content-Length: 18446744073709551616\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive, X-User-Id\r\n", b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n", b"X-User-Id: forged\r\n", b"X_User_Id: forged\r\n", b"x.user-id: forged\r\n",
    b"Authorization: Bearer x.y.z\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"7fffffffffffffff\r\n", b"5;a=b\r\nhello\r\n",
    b"%2e%2e/", b"%2f", b"..;/", b";x=1", b"//", b"?", b"#", b"%", b"%00", b"http://usher.test/", b"*", b"\xff\xfe",
    b"X-Forwarded-For: 1.2.3.4\r\n", b"Forwarded: for=1\r\n", b"TE: trailers\r\n", b"Trailer: X-User-Id\r\n",
]
SERVER_WORDS = [
    b"\r\n", b"\n", b"\0", b" ", b":", b"\r\n\r\n", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 \r\n\r\n",
    b"HTTP/1.1 101 Up\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b"HTTP/1.1 103 \r\nLink: a\r\n\r\n", b"999", b"000", b"204", b"304",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 99999999999999999\r\n", b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Connection: close\r\n", b"0\r\n\r\n",
    b"ffffffffffffffff\r\n", b"5\r\nhello\r\n", b"X-Trailer: y\r\n", b"\xff", b"Upgrade: h2c\r\n",
]


def spoil(rng: random.Random, data: bytes, words: list[bytes]) -> bytes:
    """A few changes at random places: bits, bytes, words, repeated and missing stretches."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2)) if data else (0, 0)
        match rng.randrange(7):
            case 0 if data:
                at = rng.randrange(len(data))
                data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]
            case 1:
                data = data[:at] + bytes([rng.randrange(256)]) + data[at:]
            case 2:
                data = data[:at] + rng.choice(words) + data[at:]
            case 3:
                data = data[:at] + data[min(end, at + 40):]
            case 4:
                data = data[:at] + data[at:end][:2000] * rng.choice([2, 2, 3, 20]) + data[end:]
            case 5:
                data = data[:at] + rng.choice(words) + data[min(len(data), at + rng.randrange(8)):]
            case 6:
                lines = data.split(b"\r\n")
                rng.shuffle(lines)
                data = b"\r\n".join(lines)
    return data[:400_000]


def pieces(rng: random.Random, data: bytes):
    """The data in one piece, in two, or in many."""
    cuts = {0: 0, 1: 1, 2: 6, 3: 40}[rng.randrange(4)]
    places = sorted({rng.randrange(len(data) + 1) for _ in range(cuts)}) if data else []
    start = 0
    for place in [*places, len(data)]:
        if place > start:
            yield data[start:place]
        start = place


def request(rng: random.Random, target: bytes, token: bytes | None) -> bytes:
    """A request that is right."""
    lines = [rng.choice([b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"BREW"]) + b" " + target + b" HTTP/1."
             + rng.choice([b"1"] * 9 + [b"0"]), b"Host: usher.test"]
    if token is not None:
        lines.append(b"Authorization: Bearer " + token)
    for _ in range(rng.choice([0, 0, 1, 3, 30])):
        lines.append(b"X-%d: " % rng.randrange(99) + b"v" * rng.choice([0, 1, 10, 500]))
    if rng.random() < 0.1:
        lines += [b"X-Long: " + b"l" * rng.choice([3500, 15_000, 16_000, 31_000])]
    body = b""
    match rng.randrange(6):
        case 5:
            lines += [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13",
                      b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        case 0 | 1:
            body = b"b" * rng.choice([0, 1, 5, 4096, 16_384, 70_000])
            lines.append(b"Content-Length: %d" % len(body))
        case 2:
            lines.append(b"Transfer-Encoding: chunked")
            body = chunked(rng)
    if body and rng.random() < 0.2:
        lines.append(b"Expect: 100-continue")
    if rng.random() < 0.1:
        lines.append(b"Connection: " + rng.choice([b"close", b"keep-alive", b"X-User-Id", b"close, X-1"]))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(rng: random.Random) -> bytes:
    """A chunked body, with extensions and trailers now and then."""
    body = b""
    for _ in range(rng.choice([0, 1, 2, 20])):
        data = b"c" * rng.choice([1, 2, 255, 4096, 16_384, 20_000])
        body += b"%x%s\r\n%s\r\n" % (len(data), rng.choice([b"", b"", b";e=1"]), data)
    trailers = b"".join(
        rng.choice([b"X-T: 1\r\n", b"X-User-Id: forged\r\n", b"X-Big: " + b"t" * 4000 + b"\r\n"])
        for _ in range(rng.choice([0, 0, 1, 2])))
    return body + b"0\r\n" + trailers + b"\r\n"


def answer(rng: random.Random, body: bytes) -> tuple[bytes, bool]:
    """An answer that is right, and whether the connection may live on behind it."""
    head = b"HTTP/1.1 %d %s\r\n" % (rng.choice([200, 200, 201, 404, 500]), rng.choice([b"OK", b"", b"Some words"]))
    for _ in range(rng.choice([0, 1, 40, 200])):
        head += b"X-%d:%s%s\r\n" % (rng.randrange(99), rng.choice([b"", b" ", b"\t"]), b"w" * rng.choice([0, 1, 60]))
    if rng.random() < 0.1:
        head += b"X-Long: " + b"l" * rng.choice([4000, 16_000, 30_000, 60_000]) + b"\r\n"
    match rng.randrange(4):
        case 0 | 1:
            return head + b"Content-Length: %d\r\n\r\n" % len(body) + body, True
        case 2:
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n" % (len(body), body) * (len(body) > 0) + (
                b"0\r\n" + rng.choice([b"", b"X-T: 1\r\n"]) + b"\r\n"), True
        case _:
            return head + b"Connection: close\r\n\r\n" + body, False
