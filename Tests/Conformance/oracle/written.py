"""A configuration as usher.toml, with the key files beside it and the secrets in the environment."""

from __future__ import annotations

import json
from pathlib import Path

from harness import betterauth
from harness import tokens as keys

from .proof import secret
from .revoked import Revoked
from .settings import CORS, Configuration, Issuer, Listener, Route, Session, Upstream

SERVICE_TOKEN = "service-token-of-the-model"
MINT_SECRET = "secret-with-which-tokens-for-a-backend-are-minted"


def strings(values: list[str]) -> str:
    return json.dumps(values)


def environment(configuration: Configuration) -> dict[str, str]:
    secrets = {f"SECRET_{issuer.owner.upper()}": secret(issuer.owner).decode() for issuer in configuration.issuers.values()}
    return secrets | {"SERVICE_TOKEN": SERVICE_TOKEN, "MINT_SECRET": MINT_SECRET, "AUTH_SECRET": betterauth.SECRET}


def write_keys(configuration: Configuration, folder: Path) -> None:
    for issuer in configuration.issuers.values():
        if issuer.source == "public_key":
            (folder / f"{issuer.name}.pem").write_bytes(keys.public_pem(keys.key_for(issuer.algorithms[0], issuer.owner)))
        elif issuer.source == "jwks":
            known = [keys.jwk(keys.key_for(name, issuer.owner), kid=name.lower(), alg=name) for name in issuer.algorithms]
            (folder / f"{issuer.name}.json").write_text(json.dumps({"keys": known}))


def write_revoked(configuration: Configuration, folder: Path) -> None:
    (folder / "revoked.json").write_text(json.dumps(configuration.revoked.document()))


def document(configuration: Configuration, backends: list[int], admin: int) -> str:
    parts = ["workers = 1", f'[admin]\naddress = "127.0.0.1:{admin}"', f'[log]\naccess = "{configuration.access}"']
    parts += [listener(one) for one in configuration.listeners]
    parts += [upstream(one, backends[one.backend]) for one in configuration.upstreams.values()]
    parts += [issuer(one, configuration.server) for one in configuration.issuers.values()]
    parts += [session(one) for one in configuration.sessions.values()]
    parts += [cors(one) for one in configuration.cors.values()]
    parts.append('[rate_limit.generous]\nkey = "user"\nrequests = 1000000\nper = "1s"')
    for limit in configuration.limits.values():
        parts.append(f'[rate_limit.{limit.name}]\nkey = "{limit.key}"\nrequests = 1\nper = "1d"\nburst = {limit.burst}')
    named = ", ".join(f'"{name}" = "{claim}"' for name, claim in configuration.identity.items())
    parts.append(f"[identity]\nheaders = {{ {named} }}\nstrip = {strings(configuration.strip)}")
    if configuration.revoked != Revoked():
        parts.append('[revocation]\nfile = "revoked.json"')
    return "\n\n".join(parts + [route(one) for one in configuration.routes]) + "\n"


def listener(one: Listener) -> str:
    lines = [f"[listen.{one.name}]", f'address = "{f"unix:{one.socket}" if one.socket else f"127.0.0.1:{one.port}"}"',
             f'protocols = ["{one.protocol}"]', f"trusted_proxies = {strings(one.trusted)}"]
    if one.mode != "proxy":
        lines.append(f'mode = "{one.mode}"')
    if one.redirect:
        lines.append(f'redirect = "{one.redirect}"')
    if one.proxy_protocol:
        lines.append("proxy_protocol = true")
    if one.client_auth:
        lines += ['tls.certificates = [{ certificate = "server.pem", key = "server.key" }]', 'tls.client_ca = "clients.pem"',
                  f'tls.client_auth = "{one.client_auth}"']
    return "\n".join(lines)


def cors(one: CORS) -> str:
    lines = [f"[cors.{one.name}]", f"origins = {strings(one.origins)}", f"credentials = {str(one.credentials).lower()}",
             f"methods = {strings(one.methods)}", f"headers = {strings(one.headers)}", f"expose_headers = {strings(one.expose_headers)}"]
    if one.max_age is not None:
        lines.append(f'max_age = "{one.max_age}s"')
    return "\n".join(lines)


def upstream(one: Upstream, port: int) -> str:
    what = {"remove": '"remove"', "forward": '"forward"', "bearer": '{ bearer = { env = "SERVICE_TOKEN" } }',
            "mint": '{ mint = { secret = { env = "MINT_SECRET" }, claims = { type = "access" } } }'}[one.authorization]
    return "\n".join([
        f"[upstream.{one.name}]", f'servers = ["127.0.0.1:{port}"]', f"authorization = {what}",
        f"preserve_host = {str(one.preserve_host).lower()}", 'connect_timeout = "30s"', f'protocol = "{one.protocol}"'])


def issuer(one: Issuer, server: int) -> str:
    key = {"secret": f'secret = {{ env = "SECRET_{one.owner.upper()}" }}', "public_key": f'public_key = {{ file = "{one.name}.pem" }}',
           "jwks": f'jwks = {{ file = "{one.name}.json" }}',
           "introspection": f'introspection = {{ url = "http://127.0.0.1:{server}/", client_id = "usher", client_secret = {{ env = "MINT_SECRET" }} }}',
           "network": one.network and network(one, server)}[one.source]
    lines = [f'[issuer.{one.name}]', f'issuer = "{one.iss}"', f"audience = {strings(one.audience)}", key,
             f"subject = {strings(one.subject)}", f"token_from = {strings(one.token_from)}"]
    if one.source != "introspection":
        lines += [f"algorithms = {strings(one.algorithms)}", f"types = {strings(one.types)}", f"required_type = {str(one.required_type).lower()}"]
    if one.dpop:
        lines += [f'dpop = "{one.dpop}"', f'dpop_lifetime = "{one.dpop_lifetime}s"', f"dpop_nonce = {str(one.dpop_nonce).lower()}"]
    if one.refuse_claims:
        lines.append(f"refuse_claims = {strings(one.refuse_claims)}")
    if one.trusted_origins:
        lines.append(f"trusted_origins = {strings(one.trusted_origins)}")
    if one.maximum_lifetime is not None:
        lines.append(f'maximum_lifetime = "{one.maximum_lifetime}s"')
    return "\n".join(lines)


def network(one: Issuer, server: int) -> str:
    """Refreshed because a token asks for it, and not by the clock."""
    if one.network.discovers:
        return 'jwks = "discover"'
    return f'jwks = {{ url = "http://127.0.0.1:{server}{one.network.path}", refresh = "7d", cooldown = "{one.network.cooldown}" }}'


def session(one: Session) -> str:
    lines = [
        f"[session.{one.name}]", 'provider = "better-auth"', 'secret = { env = "AUTH_SECRET" }', f'cookie_prefix = "{one.prefix}"',
        f"secure_cookies = {str(one.secure_cookies).lower()}", f"trusted_origins = {strings(one.trusted_origins)}",
        f'cookie_cache = "{one.cache}"', f'cookie_cache_version = "{one.version}"']
    if one.server:
        lines += [f'url = "{one.server}{one.place}"', 'cache_for = "1h"']
    if one.issuer:
        lines.append(f'issuer = "{one.issuer}"')
    return "\n".join(lines)


def route(one: Route) -> str:
    names = [f"optional:{name}" if one.optional else name for name in one.names] or "none"
    where = f'redirect = "{one.redirect}"' if one.redirect else f'upstream = "{one.upstream}"'
    lines = ["[[route]]", f'path = "{one.path}"', f"auth = {json.dumps(names)}", where]
    if one.hosts:
        lines.append(f"host = {strings(one.hosts)}")
    if one.methods:
        lines.append(f"methods = {strings(one.methods)}")
    if one.require:
        lines.append("require = [" + ", ".join(table(entries) for entries in one.require) + "]")
    if one.scopes:
        lines.append(f"scopes = {strings(one.scopes)}")
    if one.denied != 403:
        lines.append(f"denied = {one.denied}")
    if one.strip_prefix:
        lines.append(f'rewrite = {{ strip_prefix = "{one.strip_prefix}" }}')
    for name in ("cors", "rate_limit", "sign_in"):
        if value := getattr(one, name):
            lines.append(f'{name} = "{value}"')
    return "\n".join(lines)


def table(entries: dict[str, list[str]]) -> str:
    return "{ " + ", ".join(f'"{name}" = {strings(values)}' for name, values in entries.items()) + " }"
