"""Better Auth's cookies, made with hmac and jwcrypto alone, and a stand-in of its server that does what a test says."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import socket
import threading
import time
import urllib.parse

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jwcrypto import jwe, jwk

from . import tokens
from .standin import StandIn

SECRET = "conformance-secret-of-better-auth-0123456789"
OLD_SECRET = "conformance-secret-of-better-auth-before-that"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def mac(text: str, secret: str = SECRET) -> bytes:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()


def signed(value: str, secret: str = SECRET) -> str:
    """A signed value as it stands in `set-auth-token`."""
    return f"{value}.{base64.b64encode(mac(value, secret)).decode()}"


def iso(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def payload(token: str, user: str = "alice", /, ends: float = 86400, version: str | None = "1", **changes) -> dict:
    """What the cache holds, and what get-session answers."""
    now = time.time()
    session = {
        "expiresAt": iso(now + ends), "token": token, "createdAt": iso(now - 60), "updatedAt": iso(now - 60),
        "ipAddress": "203.0.113.9", "userAgent": "curl", "userId": user, "id": f"id-of-{token}"}
    person = {
        "name": "Zoë / \u2028 O'Neil \"Q\" 😀", "email": f"{user}@example.com", "emailVerified": False, "image": None,
        "createdAt": iso(now - 9999), "updatedAt": iso(now - 9999), "id": user}
    session |= changes.pop("session", {})
    person |= changes.pop("user", {})
    whole = {"session": session, "user": person}
    if version is not None:
        whole |= {"updatedAt": int(now * 1000), "version": version}
    return whole | changes


def dump(value: dict) -> str:
    """As JSON.stringify does."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def compact(value: dict, age: float = 300, secret: str = SECRET) -> str:
    expires = int((time.time() + age) * 1000)
    inner = dump(value)
    code = b64(mac(inner[:-1] + f',"expiresAt":{expires}}}', secret))
    return b64(f'{{"session":{inner},"expiresAt":{expires},"signature":"{code}"}}'.encode())


def jwt(value: dict, age: float = 300, secret: str = SECRET, header: dict | None = None) -> str:
    now = int(time.time())
    parts = b64(dump(header or {"alg": "HS256"}).encode()) + "." + b64(
        dump(value | {"iat": now, "exp": now + int(age)}).encode())
    return parts + "." + b64(mac(parts, secret))


def derived(secret: str = SECRET, salt: str = "better-auth-session") -> jwk.JWK:
    key = HKDF(hashes.SHA256(), 64, salt.encode(), b"BetterAuth.js Generated Encryption Key").derive(secret.encode())
    return jwk.JWK(kty="oct", k=b64(key))


def sealed(value: dict, age: float = 300, secret: str = SECRET, salt="better-auth-session", enc="A256CBC-HS512",
           kid: str | None = "") -> str:
    now = int(time.time())
    key = derived(secret, salt)
    header = {"alg": "dir", "enc": enc}
    if kid is not None:
        header["kid"] = kid or key.thumbprint()
    if enc == "A256GCM":
        key = jwk.JWK(kty="oct", k=b64(base64.urlsafe_b64decode(key["k"] + "==")[:32]))
    token = jwe.JWE(dump(value | {"iat": now, "exp": now + int(age), "jti": "j-1"}).encode(), dump(header))
    token.add_recipient(key)
    return token.serialize(compact=True)


def published(value: dict, origin: str, algorithm="EdDSA", kid="cache", age: float = 300, **changes) -> str:
    now = int(time.time())
    claims = value | {
        "sid": value["session"]["token"], "iat": now, "exp": now + int(age), "iss": origin,
        "aud": "better-auth:session-cache", "sub": value["user"]["id"]} | changes.pop("claims", {})
    header = {"alg": algorithm, "kid": kid, "typ": "better-auth.session-cache+jwt"} | changes
    return tokens.raw_token(
        dump(header).encode(), dump(claims).encode(), algorithm, tokens.key_for(algorithm, "better-auth"))


def cookies(token: str | None = "T", cache: str | None = None, prefix="better-auth", secret: str = SECRET, chunk=0,
            encode=True) -> str:
    """The value of a Cookie field."""
    found = []
    if token is not None:
        value = signed(token, secret)
        found.append(f"{prefix}.session_token={urllib.parse.quote(value, safe='') if encode else value}")
    if cache is not None and not chunk:
        found.append(f"{prefix}.session_data={cache}")
    elif cache is not None:
        pieces = [cache[start:start + chunk] for start in range(0, len(cache), chunk)]
        found += [f"{prefix}.session_data.{number}={piece}" for number, piece in enumerate(pieces)]
    return "; ".join(found)


class AuthServer(StandIn):
    """`GET …/get-session` with connections that stay open. `sessions` maps tokens to answers; `before` is called with
    the server, the connection and the head before each answer, and says True where it has answered itself."""

    def __init__(self):
        self.sessions: dict[str, dict] = {}
        self.cookies: list[str] = []
        self.heads: list[str] = []
        self.before = None
        self.under_way = self.most_under_way = 0
        self.keys: dict | None = None
        self._lock = threading.Lock()
        super().__init__()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/auth"

    @property
    def asked(self) -> int:
        return len(self.questions)

    @property
    def questions(self) -> list[str]:
        """The heads that ask about sessions: keys are fetched whenever the proxy likes to."""
        return [head for head in self.heads if "/get-session" in head]

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                while True:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        data = connection.recv(65536)
                        if not data:
                            return
                        head += data
                    self._answer(connection, head.decode())
        except OSError:
            pass

    def _answer(self, connection: socket.socket, head: str) -> None:
        with self._lock:
            self.heads.append(head)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.before and self.before(self, connection, head):
                return
            connection.sendall(self.response(head))
        finally:
            with self._lock:
                self.under_way -= 1

    def response(self, head: str) -> bytes:
        path = head.split(" ")[1]
        if path == "/api/auth/jwks" and self.keys is not None:
            return self.http(json.dumps(self.keys).encode())
        if path != "/api/auth/get-session":
            return self.http(b"{}", "404 Not Found")
        session = self.sessions.get(self.token(head) or "")
        return self.http(dump(session).encode() if session else b"null")

    def http(self, body: bytes, status: str = "200 OK", *more: str) -> bytes:
        lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", "Cache-Control: no-store"]
        lines += [f"Content-Length: {len(body)}", *(f"Set-Cookie: {cookie}" for cookie in self.cookies), *more]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    @staticmethod
    def field(head: str, name: str) -> list[str]:
        return [line.partition(":")[2].strip() for line in head.split("\r\n")[1:] if line.lower().startswith(name + ":")]

    def token(self, head: str) -> str | None:
        """The session token of a request, where it is signed or a bearer."""
        for bearer in self.field(head, "authorization"):
            return urllib.parse.unquote(bearer.split(" ", 1)[1]).split(".")[0]
        for field in self.field(head, "cookie"):
            for pair in field.split("; "):
                name, _, value = pair.partition("=")
                value = urllib.parse.unquote(value)
                if name.endswith(".session_token") and signed(value.rpartition(".")[0]) == value:
                    return value.rpartition(".")[0]
        return None
