"""Configurations of the proxies and of the backend, each doing the same job."""

from __future__ import annotations

import json
import os
from pathlib import Path

from . import secure
from .processes import LOAD_CORE, PROXY_CORE, Process, free_port
from .tokens import ISSUER


class Stage:
    """A folder for the configurations of one run, and what they have in common."""

    def __init__(self, folder: Path, keys: Path):
        self.folder, self.keys = folder, keys
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    # MARK: The backend

    def backend(self, http2: bool = False, at_once: bool = False) -> Process:
        """nginx with one small fixed answer, on the core of the load; it speaks one version."""
        port = free_port()
        name = "backend-h2" if http2 else "backend"
        path = self.write(f"{name}.conf", f"""
            {self._nginx_head(name)}
            http {{
              access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; client_body_buffer_size 64k;
              server {{
                listen 127.0.0.1:{port} {"http2" if http2 else ""} backlog=4096;
                location / {{
                  default_type application/json;
                  return 200 '{{"id":1,"title":"write the report","done":false,"user":"$http_x_user_id"}}\\n';
                }}
              }}
            }}""")
        return Process(["nginx", "-c", path], port, self.folder / f"{name}.log", LOAD_CORE, at_once=at_once)

    def bulk(self, program: str, before: tuple[str, ...] = ()) -> Process:
        """The backend of large bodies."""
        port = free_port()
        return Process([*before, program, str(port)], port, self.folder / "bulk.log", LOAD_CORE)

    def _nginx_head(self, name: str) -> str:
        return f"""worker_processes 1; daemon off; pid {self.folder}/{name}.pid; error_log /dev/null;
            events {{ worker_connections 16384; multi_accept on; }}"""

    # MARK: The proxies

    def nginx(
        self, backend: Process, buffering: bool = True, light: Process | None = None, tls: bool = False,
    ) -> Process:
        """Passes requests through, and authenticates nobody: the yardstick. `light` serves what is below /light."""
        port = free_port()
        security = ""
        if tls:
            certificate, key = secure.certificate(self.folder)
            security = f"ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;"
        off = "" if buffering else "proxy_buffering off; proxy_request_buffering off; client_max_body_size 0;"
        path = self.write(f"nginx-{port}.conf", f"""
            {self._nginx_head(f"nginx-{port}")}
            http {{
              access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; {off} {security}
              upstream tasks {{ server 127.0.0.1:{backend.port}; keepalive 2048; keepalive_requests 1000000000; }}
              upstream light {{ server 127.0.0.1:{(light or backend).port}; keepalive 64; }}
              server {{
                listen 127.0.0.1:{port} {"ssl http2" if tls else ""} backlog=4096;
                location /light/ {{
                  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header X-User-Id u1;
                  proxy_pass http://light;
                }}
                location / {{
                  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header X-User-Id u1;
                  proxy_pass http://tasks;
                }}
              }}
            }}""")
        return Process(["nginx", "-c", path], port, self.folder / f"nginx-{port}.log")

    def haproxy(self, backend: Process, algorithm: str) -> Process:
        """Verifies tokens of one algorithm on each request."""
        port = free_port()
        key = (self.keys / "secret").read_text() if algorithm == "HS256" else self.keys / f"{algorithm}.pem"
        path = self.write(f"haproxy-{algorithm}.cfg", f"""
global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  http-reuse always
frontend public
  bind 127.0.0.1:{port}
  http-request set-var(txn.token) http_auth_bearer
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_header_query('$.alg') -m str {algorithm} }}
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify("{algorithm}","{key}") -m int 1 }}
  http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.iss') -m str {ISSUER} }}
  http-request del-header X-User-Id
  http-request set-header X-User-Id %[var(txn.token),jwt_payload_query('$.sub')]
  default_backend tasks
backend tasks
  server one 127.0.0.1:{backend.port} maxconn 4000
""")
        return Process(["haproxy", "-f", path], port, self.folder / f"haproxy-{algorithm}.log")

    def envoy(self, backend: Process, program: str, caches: bool) -> Process:
        """Verifies with jwt_authn, with or without its cache of tokens."""
        port = free_port()
        filters = "type.googleapis.com/envoy.extensions.filters."
        provider = {
            "issuer": ISSUER, "audiences": [ISSUER], "forward": True,
            "local_jwks": {"inline_string": (self.keys / "jwks.json").read_text()},
            "claim_to_headers": [{"header_name": "x-user-id", "claim_name": "sub"}],
        } | ({"jwt_cache_config": {"jwt_cache_size": 4096}} if caches else {})
        everything = {"match": {"prefix": "/"}}
        manager = {
            "@type": filters + "network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "public", "generate_request_id": False,
            "route_config": {"virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [everything | {"route": {"cluster": "tasks"}}]}]},
            "http_filters": [
                {"name": "envoy.filters.http.jwt_authn", "typed_config": {
                    "@type": filters + "http.jwt_authn.v3.JwtAuthentication", "providers": {"bench": provider},
                    "rules": [everything | {"requires": {"provider_name": "bench"}}]}},
                {"name": "envoy.filters.http.router",
                 "typed_config": {"@type": filters + "http.router.v3.Router"}}],
        }
        limits = {"max_connections": 4096, "max_requests": 8192, "max_pending_requests": 4096}
        address = lambda number: {"socket_address": {"address": "127.0.0.1", "port_value": number}}
        path = self.write(f"envoy-{port}.json", json.dumps({"static_resources": {
            "listeners": [{"name": "public", "address": address(port), "filter_chains": [{"filters": [
                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
            "clusters": [{"name": "tasks", "type": "STATIC", "circuit_breakers": {"thresholds": [limits]},
                          "load_assignment": {"cluster_name": "tasks", "endpoints": [
                              {"lb_endpoints": [{"endpoint": {"address": address(backend.port)}}]}]}}]}}))
        command = [program, "-c", path, "--concurrency", "1", "-l", "error", "--base-id", str(port)]
        return Process(command, port, self.folder / f"envoy-{port}.log")

    def usher(
        self, backend: Process, program: str, workers: int = 1, tokens_cached: int = 10_000, core: str = PROXY_CORE,
        before: tuple[str, ...] = (), light: Process | None = None, tls: bool = False,
        http2: bool = False, http2_backend: bool = False, **environment: str,
    ) -> Process:
        """The proxy that this repository is about; `before` is put in front of its command, and `light` serves what is
        below /light. `http2` takes both versions without TLS, too; `http2_backend` says what the backend speaks."""
        port = free_port()
        security = 'protocols = ["h2", "http/1.1"]' if http2 else ""
        if tls:
            certificate, key = secure.certificate(self.folder)
            security = f'protocols = ["h2", "http/1.1"]\ntls.certificates = [{{ certificate = "{certificate}", key = "{key}" }}]'
        path = self.write(f"usher-{port}.toml", f"""
workers = {workers}

[listen.public]
address = "127.0.0.1:{port}"
{security}

[upstream.tasks]
servers = ["127.0.0.1:{backend.port}"]
{'protocol = "h2"' if http2_backend else ""}

[upstream.light]
servers = ["127.0.0.1:{(light or backend).port}"]

[issuer.hmac]
issuer = "{ISSUER}"
audience = ["{ISSUER}"]
algorithms = ["HS256"]
secret = {{ file = "{self.keys}/secret" }}

[issuer.keys]
issuer = "{ISSUER}"
audience = ["{ISSUER}"]
algorithms = ["RS256", "ES256", "EdDSA"]
jwks = {{ file = "{self.keys}/public-jwks.json" }}

[identity]
headers = {{ "X-User-Id" = "sub", "X-User-Email" = "email" }}

[[route]]
path = "/**"
auth = ["hmac", "keys"]
require = {{ iss = "{ISSUER}" }}
upstream = "tasks"
max_body = "4GiB"
timeout = "10m"

[[route]]
path = "/light/**"
auth = ["hmac", "keys"]
require = {{ iss = "{ISSUER}" }}
upstream = "light"

[limits]
tokens_cached = {tokens_cached}
connections = 15000

[log]
access = "off"
""")
        command = [*before, os.path.abspath(program), "run", "--config", path]
        return Process(command, port, self.folder / f"usher-{port}.log", core, **environment)
