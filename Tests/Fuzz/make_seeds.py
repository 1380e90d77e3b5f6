"""Writes the inputs that fuzzing starts from: seeds/TARGET/NAME. Run it after a change, and commit what it writes.

Signed texts use the secret and the clock of Targets/TokenTargets.swift.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import struct
from pathlib import Path

ROOT = Path(__file__).resolve().parent
REPOSITORY = ROOT.parents[1]
SECRET = b"a-fuzz-secret-of-more-than-32-bytes!"
NOW = 1_769_299_200
SESSION_TOKEN = "hV3nB8xQ1rT6yU2iO9pA5sD7fG4jK0lZ"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mac(text: bytes) -> bytes:
    return hmac.new(SECRET, text, hashlib.sha256).digest()


def token(header: dict, payload: dict) -> str:
    text = ".".join(base64url(json.dumps(part).encode()) for part in (header, payload))
    return f"{text}.{base64url(mac(text.encode()))}"


HEADER = {"alg": "HS256", "typ": "JWT"}
CLAIMS = {"iss": "https://i.example", "aud": ["tasks", "x"], "sub": "ada", "iat": NOW - 10, "exp": NOW + 900}

HEADS = [
    "GET /a?b HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\nX: 1\r\n\r\n",
    "POST http://h/ HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\nhello world!",
    "\r\nPUT / HTTP/1.0\r\nUser-Agent: a b c d e f g h\r\nHost: [::1]:80\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.b:8080\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\nOrigin: https://a\r\nAccess-Control-Request-Method: PUT\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n X: folded\r\nA : b\r\n\r\n",
]
ANSWERS = [
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok",
    "HTTP/1.1 204\r\nDate: now\r\n\r\n",
    "HTTP/1.0 301 Moved Permanently\r\nLocation: /x\r\nConnection: close\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b; Path=/\r\nTrailer: X\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
]
CHUNKS = [
    "5\r\nhello\r\n1;a=b\r\n,\r\n0\r\n\r\nGET", "A \t;x=\"y\"\r\n0123456789\r\n0\r\nX: 1\r\nY: 2\r\n\r\nrest",
    "0\r\n\r\n0\r\n\r\n", "ffffffffffffffff\r\n", "00000000000000001\r\na\r\n0\r\n\r\n", "5\nhello\r\n",
]
TARGETS = [
    "/", "*", "/api/bob/tasks?x=y", "http://h/a/b/", "http://h?q", "/a%20b/%C3%A9", "/a/../b", "/a/%2e%2e/b", "//a",
    "/a/..;x/b", "/a%2fb", "/a%252fb", "/a%5Cb", "/.;/a", "/...", "/a;b=c/d,e", "/[a]", "/a?%2e%2e/#",
]
JSONS = [
    "{}", '{"a":1,"b":[true,false,null],"c":{"d":"e"}}', r'{"\u0061":"\ud83d\ude00\n","b":"é"}',
    '{"a":-0.5e+10,"b":[[[[[]]]]]}', '{"a":1,"a":2}', r'{"a":"\ud800"}',
]
POLICY = [
    "GET /api/alice/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer @A\r\n\r\n",
    "GET /any/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer @B\r\nX-User-Id: alice\r\nX_User.Id: alice\r\n\r\n",
    "GET /maybe/x HTTP/1.1\r\nHost: h\r\nX-User-Email: a@b.c\r\nCookie: a=@A; b=c\r\n\r\n",
    "POST /public/x HTTP/1.1\r\nHost: h\r\nConnection: close, X-User-Id, Authorization\r\nX-User-Id: a\r\n"
    "Content-Length: 3\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\nProxy: x\r\n\r\n",
    "GET /api/alice/../bob/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer @A\r\nAuthorization: Bearer @B\r\n\r\n",
    "GET http://h/any/a HTTP/1.0\r\nAuthorization: bearer @A\r\nTE: trailers\r\nVia: 1.1 a\r\nX-Request-Id: 1\r\n\r\n",
    "OPTIONS /any/a HTTP/1.1\r\nHost: h\r\nOrigin: https://a\r\nAccess-Control-Request-Method: PUT\r\n\r\n",
]
ADDRESSES = [
    "192.0.2.7", "192.0.2.7:80", "[2001:db8::1]:443", "::1", "::ffff:192.0.2.7", "1.2.3.4/8", "2001:db8::/32", "unknown",
    " 10.0.0.1\t", "1:2:3:4:5:6:7:8", "fe80::1%eth0", "192.0.2.9, 1.2.3.4", "for=1.2.3.4;proto=https;host=a",
    'For="[2001:db8::1]:443", for=192.0.2.9', 'for="a', "for=unknown;;by=_x, ,", "for=1;for=2",
]
PEM = [
    b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAUI2cY+uUdCLl+p/btcYWHZctd6ObRrpuPxnHbQ6VYgE=\n-----END PUBLIC KEY-----\n",
    b"-----BEGIN PUBLIC KEY-----\n"
    b"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\n"
    b"q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n-----END PUBLIC KEY-----\n",
    b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", b"-----BEGIN RSA PUBLIC KEY-----\nMA==\n",
]
KEYS = [
    '{"keys":[{"kty":"EC","crv":"P-256","kid":"k1","alg":"ES256","use":"sig",'
    '"x":"EVs_o5-uQbTjL3chynL4wXgUg2R9q9UU8I5mEovUf84","y":"kGe5DgSIycKp8w9aJmoHhB1sB3QTugfnRWm5nU_TzsY"}]}',
    '{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"UI2cY-uUdCLl-p_btcYWHZctd6ObRrpuPxnHbQ6VYgE"}]}',
    '{"keys":[{"kty":"RSA","kid":"r","e":"AQAB","n":"' + base64url(b"\xc1" + bytes(range(255)) + b"\x01") + '"}]}',
    '{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"EC","crv":"secp256k1"},{"use":"enc"},{"key_ops":["verify"]}]}',
    '{"keys":[]}', "[]", "<html>",
]


def session_data(payload: dict) -> tuple[str, str]:
    text = json.dumps(payload, separators=(",", ":"))
    expires = (NOW + 600) * 1000
    signature = base64url(mac((text[:-1] + f',"expiresAt":{expires}}}').encode()))
    outer = f'{{"session":{text},"expiresAt":{expires},"signature":"{signature}"}}'
    return text, base64url(outer.encode())


def sessions() -> tuple[list[str], list[str]]:
    ends = "2099-01-01T00:00:00.000Z"
    signature = base64.b64encode(mac(SESSION_TOKEN.encode())).decode().replace("+", "%2B").replace("/", "%2F")
    cookie = SESSION_TOKEN + "." + signature.replace("=", "%3D")
    payload = {
        "session": {"id": "S", "token": SESSION_TOKEN, "userId": "alice", "expiresAt": ends, "createdAt": ends},
        "user": {"id": "alice", "email": "a@b.c"}, "updatedAt": 1, "version": "1",
    }
    text, cache = session_data(payload)
    other = session_data({**payload, "version": "2"})
    raw = [f"{cookie}\n{cache}", f"{cookie}\n{other[1]}", f"{cookie}\n{token(HEADER, payload)}",
           f"{SESSION_TOKEN}\n{cache}", f"{cookie}\na.b.c.d.e"]
    data = [text, other[0], '{"session":{},"user":{}}', json.dumps({**payload, "exp": NOW + 60}),
            text.replace("alice", "al\\u0069ce"), text.replace(ends, "2099-13-01T25:61:00Z")]
    return raw, data


def proxy_headers() -> list[bytes]:
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    v4 = struct.pack("!4s4sHH", b"\xc0\0\2\7", b"\xc0\0\2\1", 1000, 80)
    v6 = struct.pack("!16s16sHH", bytes(range(16)), bytes(16), 1000, 443)
    return [
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 80\r\nGET", b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", b"PROXY UNKNOWN\r\n",
        signature + b"\x21\x11" + struct.pack("!H", len(v4)) + v4,
        signature + b"\x21\x21" + struct.pack("!H", len(v6) + 7) + v6 + b"\x04\0\4abcd",
        signature + b"\x20\0\0\0", signature + b"\x21\x31\xff\xff",
    ]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def http2() -> list[bytes]:
    def block(*fields: tuple[str, str]) -> bytes:
        return b"".join(b"\0" + bytes([len(n)]) + n.encode() + bytes([len(v)]) + v.encode() for n, v in fields)
    get = [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/a?b")]
    post = [(":method", "POST"), *get[1:], ("content-length", "5"), ("cookie", "a=b"), ("cookie", "c=d")]
    websocket = [(":method", "CONNECT"), (":protocol", "websocket"), *get[1:]]
    table = b"\x82\x86\x84\x41\x06a.test"  # indexed fields of HPACK
    return [b"\x09" + each for each in (
        frame(1, 5, 1, block(*get)) + frame(6, 0, 0, bytes(8)),
        frame(1, 4, 1, block(*post)) + frame(0, 1, 1, b"hello"),
        frame(1, 4, 1, block(*post)) + frame(0, 0, 1, b"he") + frame(1, 5, 1, block(("x-t", "1"))),
        frame(1, 1, 1, table[:3]) + frame(9, 4, 1, table[3:]) + frame(8, 0, 0, b"\0\0\xff\xff"),
        frame(1, 4, 1, block(*websocket)) + frame(0, 0, 1, b"\x81\x02hi") + frame(3, 0, 1, b"\0\0\0\x08"),
        frame(4, 0, 0, b"\0\x04\0\0\0\0") + frame(1, 5, 3, block(*get, ("x", "a\rb"))) + frame(7, 0, 0, bytes(8)),
        frame(2, 0, 1, bytes(5)) + frame(1, 0x2D, 5, b"\x01\0\0\0\0\x10" + table + b"\0") + frame(3, 0, 5, bytes(4)),
    )]


def http2_backend() -> list[bytes]:
    def literal(name: bytes, value: bytes) -> bytes:
        return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    ok, early, trailers = b"\x88", b"\x08\x03103" + literal(b"link", b"a"), literal(b"grpc-status", b"0")
    return [b"\x09" + each for each in (
        frame(1, 4, 1, ok + literal(b"content-length", b"2")) + frame(0, 1, 1, b"ok") + frame(6, 0, 0, bytes(8)),
        frame(1, 4, 1, early) + frame(1, 4, 1, ok) + frame(0, 8, 1, b"\2hello\0\0") + frame(1, 5, 1, trailers),
        frame(1, 5, 3, ok + literal(b"content-length", b"9")) + frame(3, 0, 5, b"\0\0\0\7") + frame(7, 0, 0, bytes(8)),
        frame(1, 4, 7, ok) + frame(0, 0, 7, b"\x81\x02hi") + frame(0, 1, 7, b""),
        frame(4, 0, 0, b"\0\3\0\0\0\1\0\4\0\0\0\0") + frame(8, 0, 0, b"\0\0\xff\xff") + frame(1, 1, 5, ok) + frame(9, 4, 5),
        frame(1, 5, 5, b"\x8d" + literal(b"x", b"a\rb")) + frame(5, 4, 1, b"\0\0\0\2" + ok) + frame(0, 1, 3, b"x"),
    )]


def proofs() -> list[str]:
    claims = json.dumps({"jti": "-BwC3ESc6acc2lTc", "htm": "POST", "htu": "https://a.test/t", "iat": NOW, "ath": "fUHy", "nonce": "n"})
    keys = [json.loads(each)["keys"][0] for each in KEYS[:3]]
    return [json.dumps({"typ": "dpop+jwt", "alg": name, "jwk": {**key, "alg": name}}) + "\n" + claims
            for name, key in zip(("ES256", "EdDSA", "RS256"), keys, strict=True)]


def issuer_answers() -> list[str]:
    active = {"active": True, **CLAIMS, "scope": "read write", "client_id": "c", "username": "ada"}
    return [json.dumps(each) for each in (
        active, {"active": False}, {key: value for key, value in active.items() if key != "exp"},
        {**active, "aud": "tasks", "cnf": {"jkt": "a"}}, {**active, "active": "true"},
        {"issuer": "https://i.example", "jwks_uri": "https://i.example/keys"})]


REDIS = [
    "+OK\r\n+OK\r\n$40\r\n" + "a" * 40 + "\r\n:1\r\n$-1\r\n", "+OK\r\n+OK\r\n$40\r\n" + "b" * 40
    + "\r\n-NOSCRIPT x\r\n*2\r\n:-5\r\n$3\r\nabc\r\n", "-WRONGPASS no\r\n", "*2\r\n*1\r\n$0\r\n\r\n*-1\r\n:9223372036854775807\r\n",
]


def seeds() -> dict[str, list]:
    raw, data = sessions()
    header, line = json.dumps(HEADER), "\n"
    configurations = [path.read_bytes() for path in sorted((REPOSITORY / "config").rglob("*.toml"))]
    return {
        "request-head": [b"\x09" + head.encode() for head in HEADS],
        "response-head": [bytes([9 + 128 * (index % 2)]) + text.encode() for index, text in enumerate(ANSWERS)],
        "body": [b"\x09\x07" + text.encode() for text in CHUNKS] + [b"\0\x29hello world", b"\x05\x02abc"],
        "target": TARGETS,
        "http2": http2(),
        "http2-backend": http2_backend(),
        "websocket": [b"\x00\x81\x05hello", b"\x09\x82\xfe\0\x08\1\2\3\4" + bytes(8) + b"\x88\x00",
                      b"\x05\x82\xff\0\0\0\0\0\0\0\x02\1\2\3\4ab"],
        "base64url": ["", "AA", "aGVsbG8", "-_-_", "A", "AB==", "a+/b"],
        "json": JSONS,
        "token": [token(HEADER, CLAIMS), token({"alg": "none"}, CLAIMS)[:-43], token({**HEADER, "crit": []}, CLAIMS),
                  token(HEADER, {**CLAIMS, "exp": 1e99})],
        "claims": [header + line + json.dumps(claims) for claims in (
            CLAIMS, {**CLAIMS, "nbf": NOW, "jti": "1"}, {**CLAIMS, "cnf": {"jkt": "a"}}, {**CLAIMS, "sub": 5},
            {**CLAIMS, "aud": "tasks", "exp": NOW + 0.5}, {**CLAIMS, "act": 1})]
        + ['{"alg":"HS256","typ":"application/at+jwt","kid":"a"}\n' + json.dumps(CLAIMS),
           '{"alg":"none"}\n{}', '{"alg":"HS256","b64":false,"crit":["b64"]}\n' + json.dumps(CLAIMS)],
        "proof": proofs(),
        "jwks": KEYS,
        "issuer-answer": issuer_answers(),
        "pem": PEM,
        "session": raw,
        "session-data": data,
        "revocation": ['{"jti":["a",{"iss":"i","jti":"b"}],"sub":{"u":1769299200}}', "{}", '{"sub":{"u":-1}}', "[]"],
        "proxy-header": proxy_headers(),
        "forwarded": ADDRESSES,
        "redis": [b"\x09" + text.encode() for text in REDIS],
        "toml": configurations,
        "policy": POLICY,
        "canary": ["U", "Usb", "xyz"],
    }


def main() -> None:
    shutil.rmtree(ROOT / "seeds", ignore_errors=True)
    for target, inputs in seeds().items():
        folder = ROOT / "seeds" / target
        folder.mkdir(parents=True)
        for index, data in enumerate(inputs):
            (folder / f"{index:02}").write_bytes(data.encode() if isinstance(data, str) else data)


if __name__ == "__main__":
    main()
