"""A small stand-in for an app with Better Auth: it signs three people in, with cookies and tokens of Better Auth's own form.

For demonstrations and tests. Sessions are kept in memory, passwords stand below: put it in front of nothing real.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from datetime import datetime, timezone
from urllib.parse import quote, unquote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

# What `baseURL`, `BETTER_AUTH_SECRET`, `session.expiresIn`, `session.cookieCache` and `trustedOrigins` are to Better Auth.
ORIGIN = os.environ.get("AUTH_ORIGIN", "http://localhost:8080")
SECRET = os.environ["BETTER_AUTH_SECRET"].encode()
SESSION_SECONDS = int(os.environ.get("AUTH_SESSION_SECONDS", "604800"))
CACHE_SECONDS = int(os.environ.get("AUTH_CACHE_SECONDS", "0"))
TOKEN_SECONDS = int(os.environ.get("AUTH_TOKEN_SECONDS", "900"))
TRUSTED = {ORIGIN, *os.environ.get("AUTH_TRUSTED_ORIGINS", "").split()}
PREFIX = ("__Secure-" if ORIGIN.startswith("https://") else "") + "better-auth."
PASSWORD = "correct horse"
PEOPLE = {
    f"{name}@example.com": {"id": f"user-{name}", "name": full, "email": f"{name}@example.com", "emailVerified": True, "image": None}
    for name, full in [("ada", "Ada Lovelace"), ("grace", "Grace Hopper"), ("alan", "Alan Turing")]}

key, key_id = Ed25519PrivateKey.generate(), secrets.token_urlsafe(24)
sessions: dict[str, dict] = {}
app = FastAPI(title="Auth stand-in", docs_url=None, redoc_url=None, openapi_url=None)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def text(value) -> bytes:
    """JSON as JavaScript writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def mac(data: bytes) -> bytes:
    return hmac.new(SECRET, data, hashlib.sha256).digest()


def signed(value: str) -> str:
    """A signed cookie's value: `value.signature`, percent-encoded whole."""
    return quote(f"{value}.{base64.b64encode(mac(value.encode())).decode()}", safe="-_.!~*'()")


def cached(session: dict, user: dict) -> str:
    """The `session_data` cookie, strategy "compact"."""
    data = {"session": session, "user": user, "updatedAt": int(time.time() * 1000), "version": "1"}
    expires = int((time.time() + CACHE_SECONDS) * 1000)
    return b64(text({"session": data, "expiresAt": expires, "signature": b64(mac(text(data | {"expiresAt": expires})))}))


def token_of(request: Request) -> str | None:
    """The session token of the signed cookie, or of `Authorization: Bearer`, as the bearer plugin takes it."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    value = credentials if scheme.lower() == "bearer" else request.cookies.get(f"{PREFIX}session_token", "")
    plain, dot, signature = unquote(value).rpartition(".")
    if not dot:
        return value or None if scheme else None
    return plain if hmac.compare_digest(base64.b64encode(mac(plain.encode())).decode(), signature) else None


def current(request: Request) -> dict | None:
    session = sessions.get(token_of(request) or "")
    return session if session and session["ends"] > time.time() else None


def shown(session: dict) -> tuple[dict, dict]:
    """Session and user as `/get-session` shows them."""
    made, ends = iso(session["made"]), iso(session["ends"])
    user = PEOPLE[session["email"]] | {"createdAt": made, "updatedAt": made}
    return {
        "expiresAt": ends, "token": session["token"], "createdAt": made, "updatedAt": made, "ipAddress": session["address"],
        "userAgent": session["agent"], "userId": user["id"], "id": session["id"]}, user


def user_token(session: dict) -> str:
    """What the jwt plugin's `/token` gives."""
    now, (_, user) = int(time.time()), shown(session)
    claims = user | {"iat": now, "exp": now + TOKEN_SECONDS, "iss": ORIGIN, "aud": ORIGIN, "sub": user["id"]}
    content = f"{b64(text({'alg': 'EdDSA', 'kid': key_id}))}.{b64(text(claims))}"
    return f"{content}.{b64(key.sign(content.encode()))}"


def set_cookie(response: JSONResponse, name: str, value: str, seconds: int) -> None:
    secure = "; Secure" if ORIGIN.startswith("https://") else ""
    response.raw_headers.append((
        b"set-cookie", f"{PREFIX}{name}={value}; Max-Age={seconds}; Path=/; HttpOnly{secure}; SameSite=Lax".encode()))


def with_cookies(response: JSONResponse, session: dict) -> JSONResponse:
    set_cookie(response, "session_token", signed(session["token"]), SESSION_SECONDS)
    if CACHE_SECONDS:
        set_cookie(response, "session_data", cached(*shown(session)), CACHE_SECONDS)
    return response


def problem(status: int, code: str) -> JSONResponse:
    return JSONResponse({"code": code, "message": code.replace("_", " ").capitalize()}, status)


@app.middleware("http")
async def origins(request: Request, proceed):
    """Better Auth's own check: it needs Origin as the browser sent it."""
    if request.method == "POST":
        origin = request.headers.get("origin")
        if "cookie" in request.headers and origin in (None, "null"):
            return problem(403, "MISSING_OR_NULL_ORIGIN")
        if origin is not None and origin not in TRUSTED:
            return problem(403, "INVALID_ORIGIN")
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            return problem(415, "UNSUPPORTED_MEDIA_TYPE")
    return await proceed(request)


@app.post("/api/auth/sign-in/email")
async def sign_in(request: Request):
    body = await request.json()
    if body.get("email") not in PEOPLE or body.get("password") != PASSWORD:
        return problem(401, "INVALID_EMAIL_OR_PASSWORD")
    now = time.time()
    session = {
        "id": secrets.token_hex(16), "token": secrets.token_hex(16), "email": body["email"], "made": now, "ends": now + SESSION_SECONDS,
        "address": request.headers.get("x-forwarded-for", ""), "agent": request.headers.get("user-agent", "")}
    sessions[session["token"]] = session
    return with_cookies(JSONResponse({"redirect": False, "token": session["token"], "user": shown(session)[1]}), session)


@app.get("/api/auth/get-session")
def get_session(request: Request):
    session = current(request)
    fields = {"cache-control": "no-store", "pragma": "no-cache"}
    if session is None:
        return JSONResponse(None, headers=fields)
    session_shown, user = shown(session)
    response = JSONResponse({"session": session_shown, "user": user}, headers=fields | {"set-auth-jwt": user_token(session)})
    return with_cookies(response, session)


@app.get("/api/auth/token")
def get_token(request: Request):
    session = current(request)
    return {"token": user_token(session)} if session else problem(401, "UNAUTHORIZED")


@app.get("/api/auth/jwks")
def key_set():
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {"keys": [{"alg": "EdDSA", "crv": "Ed25519", "kty": "OKP", "kid": key_id, "x": b64(raw)}]}


@app.post("/api/auth/sign-out")
def sign_out(request: Request):
    sessions.pop(token_of(request) or "", None)
    response = JSONResponse({"success": True})
    for name in ("session_token", "session_data", "dont_remember"):
        set_cookie(response, name, "", 0)
    return response
