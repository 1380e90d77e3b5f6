"""usher.toml as the tests write it: one broad default, and pieces for instances of their own."""

from __future__ import annotations

import json
from pathlib import Path

from . import tokens

PREAMBLE = """
workers = {workers}

[listen.public]
address = "127.0.0.1:{port}"
{listen}

[admin]
address = "127.0.0.1:{admin}"

[log]
format = "json"
access = "stdout"
"""

# What most configurations begin with.
BACKEND = """
[upstream.backend]
servers = ["127.0.0.1:{backend}"]
"""
MAIN_ISSUER = """
[issuer.main]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}
"""
# What it signs with follows.
KEYS_ISSUER = """
[issuer.keys]
issuer = "https://keys.test"
audience = ["https://api.test"]
"""
OPEN_ROUTE = """
[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"
"""
API_ROUTE = """
[[route]]
path = "/api/**"
auth = "main"
upstream = "backend"
"""

# One upstream, one issuer with a secret, an open route and one with it: enough for most tests.
SMALL = BACKEND + "{upstream}\n" + MAIN_ISSUER + OPEN_ROUTE + API_ROUTE

DEFAULT = BACKEND + """
[upstream.nobody]
servers = ["127.0.0.1:{nobody}"]
connect_timeout = "1s"

[upstream.quick]
servers = ["127.0.0.1:{backend}"]
response_timeout = "500ms"

[upstream.forward]
servers = ["127.0.0.1:{backend}"]
authorization = "forward"

[upstream.service]
servers = ["127.0.0.1:{backend}"]
authorization = {{ bearer = {{ env = "USHER_TEST_SERVICE_TOKEN" }} }}

[upstream.mint]
servers = ["127.0.0.1:{backend}"]
authorization = {{ mint = {{ algorithm = "HS256", secret = {{ env = "USHER_TEST_SECRET" }}, lifetime = "60s", claims = {{ type = "access" }} }} }}

# HMAC
[issuer.main]
issuer = "https://main.test"
audience = ["https://api.test", "https://second.test"]
secret = {{ env = "USHER_TEST_SECRET" }}
algorithms = ["HS256", "HS384", "HS512"]

# every public-key algorithm, from a JWKS file
[issuer.keys]
issuer = "https://keys.test"
audience = ["https://api.test"]
jwks = {{ file = "keys.json" }}
algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]

# the same kids, other keys
[issuer.other]
issuer = "https://other.test"
audience = ["https://api.test"]
jwks = {{ file = "other.json" }}
algorithms = ["RS256", "ES256", "EdDSA"]

# PEM keys, default algorithms
[issuer.pem-rsa]
issuer = "https://pem-rsa.test"
audience = ["https://api.test"]
public_key = {{ file = "rsa.pem" }}

[issuer.pem-ec]
issuer = "https://pem-ec.test"
audience = ["https://api.test"]
public_key = {{ file = "ec.pem" }}

[issuer.pem-ed]
issuer = "https://pem-ed.test"
audience = ["https://api.test"]
public_key = {{ file = "ed.pem" }}

# odd keys among good ones
[issuer.odd]
issuer = "https://odd.test"
audience = ["https://api.test"]
jwks = {{ file = "odd.json" }}
algorithms = ["RS256", "ES256"]

# everything that can be made stricter
[issuer.strict]
issuer = "https://strict.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}
subject = ["user_id", "sub"]
types = ["at+jwt"]
required_type = true
leeway = "2s"
maximum_lifetime = "1h"
refuse_claims = ["azp", "client_id"]

[identity]
headers = {{ "X-User-Id" = "sub", "X-User-Email" = "email", "X-User-Roles" = "realm.roles", "X-User-Team" = "https://example.com/team", "X-User-Verified" = "email_verified", "X-User-Level" = "level" }}

[[route]]
path = "/health"
auth = "none"
upstream = "backend"

[[route]]
path = "/public/**"
auth = "none"
upstream = "backend"

[[route]]
path = "/optional/**"
auth = "optional:main"
upstream = "backend"

[[route]]
path = "/api/{{user_id}}/tasks/**"
auth = ["main", "keys", "other"]
require = {{ sub = "{{user_id}}" }}
upstream = "backend"

[[route]]
path = "/tasks/**"
auth = ["main", "keys", "other", "pem-rsa", "pem-ec", "pem-ed", "odd", "strict"]
upstream = "backend"

[[route]]
path = "/only-main/**"
auth = "main"
upstream = "backend"

[[route]]
path = "/only-other/**"
auth = "other"
upstream = "backend"

[[route]]
path = "/hidden/{{user_id}}"
auth = "main"
require = {{ sub = "{{user_id}}" }}
denied = 404
upstream = "backend"

[[route]]
path = "/scoped/**"
auth = "main"
scopes = ["tasks:read", "tasks:write"]
upstream = "backend"

[[route]]
path = "/rules/any-of"
auth = "main"
require = {{ role = ["admin", "editor"] }}
upstream = "backend"

[[route]]
path = "/rules/all-of"
auth = "main"
require = {{ role = "admin", tenant = "acme" }}
upstream = "backend"

[[route]]
path = "/rules/tables"
auth = "main"
require = [{{ role = "admin" }}, {{ tenant = "acme" }}]
upstream = "backend"

[[route]]
path = "/rules/nested/{{tenant}}"
auth = "main"
require = {{ "org.id" = "{{tenant}}" }}
upstream = "backend"

# which of these is taken shows in the Authorization that arrives
[[route]]
path = "/specific/**"
auth = "none"
upstream = "backend"

[[route]]
path = "/specific/{{name}}"
auth = "none"
upstream = "service"

[[route]]
path = "/specific/exact"
auth = "main"
upstream = "backend"

[[route]]
path = "/specific/{{name}}/deep"
auth = "main"
upstream = "forward"

[[route]]
path = "/methods"
methods = ["GET", "POST"]
auth = "none"
upstream = "backend"

[[route]]
path = "/methods"
methods = ["DELETE"]
auth = "main"
upstream = "backend"

[[route]]
host = ["api.example.com"]
path = "/hosted"
auth = "main"
upstream = "backend"

[[route]]
host = ["www.example.com"]
path = "/hosted"
auth = "none"
upstream = "backend"

[[route]]
path = "/forward"
auth = "optional:main"
upstream = "forward"

[[route]]
path = "/service"
auth = "main"
upstream = "service"

[[route]]
path = "/service-public"
auth = "none"
upstream = "service"

[[route]]
path = "/mint"
auth = "main"
upstream = "mint"

[[route]]
path = "/mint-optional"
auth = "optional:main"
upstream = "mint"

[[route]]
path = "/nobody"
auth = "none"
upstream = "nobody"

[[route]]
path = "/quick"
auth = "none"
upstream = "quick"
"""

SERVICE_TOKEN = "service-token-of-the-proxy"


def write_keys(folder: Path) -> None:
    """The key files that DEFAULT names."""
    keys = []
    for algorithm in ["ES256", "ES384", "ES512", "EdDSA"]:
        keys.append(tokens.jwk(tokens.key(algorithm, "keys"), kid=algorithm.lower(), alg=algorithm, use="sig"))
    rsa = tokens.key("rsa", "keys")
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]:
        keys.append(tokens.jwk(rsa, kid=algorithm.lower(), alg=algorithm, use="sig"))
    (folder / "keys.json").write_text(json.dumps({"keys": keys}))

    other = [
        tokens.jwk(tokens.key_for(a, "other"), kid=a.lower(), alg=a, use="sig") for a in ["RS256", "ES256", "EdDSA"]
    ]
    (folder / "other.json").write_text(json.dumps({"keys": other}))

    (folder / "rsa.pem").write_bytes(tokens.public_pem(tokens.key("rsa", "pem")))
    (folder / "ec.pem").write_bytes(tokens.public_pem(tokens.key("ES256", "pem")))
    (folder / "ed.pem").write_bytes(tokens.public_pem(tokens.key("EdDSA", "pem")))

    def odd(name, key="ES256", **members):
        return tokens.jwk(tokens.key(key, f"odd-{name}"), kid=name, **members)

    keys = [
        {"kty": "unknown", "kid": "unknown-kty", "use": "sig"},
        odd("unknown-crv") | {"crv": "P-999"},
        odd("off-curve") | {"x": tokens.b64int(1, 32)},
        odd("rsa1024", "rsa1024", alg="RS256"),
        odd("use-enc", use="enc"),
        odd("ops-sign", key_ops=["sign"]),
        odd("ops-encrypt", key_ops=["encrypt", "wrapKey"]),
        odd("other-alg", "rsa", alg="RS512"),
        odd("ops-verify", key_ops=["verify"]),
        odd("bare"),
        odd("bare-rsa", "rsa"),
    ]
    (folder / "odd.json").write_text(json.dumps({"keys": keys}))
