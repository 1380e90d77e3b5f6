"""`usher doctor`: what a new user has wrong around the configuration, and what to do about it."""

import base64
import json
import re
import socket
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness import betterauth, configuration, tokens
from harness.authority import Authority
from harness.http2backend import HTTP2Backend
from harness.keyserver import KeyServer, key_set, response
from harness.process import command, environment, unused_port
from harness.store import SERVER, Store


class Careless(BaseHTTPRequestHandler):
    """A backend as frameworks make them: folds underscores, decodes %2f, merges slashes, and its clock may be off."""

    def do_GET(self):  # noqa: N802 - the name that http.server wants
        self.server.seen.append((self.path, dict(self.headers)))
        path = self.path.replace("%2f", "/")
        while "//" in path:
            path = path.replace("//", "/")
        if not self.server.careless:
            path = self.path
        user = next((v for k, v in self.headers.items() if k.lower().replace("_" if self.server.careless else "-", "-") == "x-user-id"), "nobody")
        body = f"hello {user}\n".encode()
        self.send_response(200 if path.startswith("/api/tasks") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):  # noqa: N802
        """As an introspection endpoint: `opaque` is status and content."""
        form = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.seen.append((self.path, dict(self.headers) | {"form": form}))
        status, content = self.server.opaque
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + self.server.off)

    def log_message(self, *_):
        pass


class Lingering(Careless):
    """Keeps the connection although it is asked to close it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802
        super().do_GET()
        self.close_connection = False


@pytest.fixture
def careless():
    servers = []

    def run(careless=True, off=0, handler=Careless):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.careless, server.off, server.seen, server.opaque = careless, off, [], (200, {"active": False})
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server
    yield run
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_socket_in_no_folder(tmp_path):
    """It was called free, and the start failed."""
    text = TEXT.replace("[upstream.backend]", '[listen.socket]\naddress = "unix:nowhere/usher.sock"\n[upstream.backend]', 1)
    done = doctor(tmp_path, unused_port(), text)
    (place,) = [number for number, line in enumerate(done.lines) if "[listen.socket]" in line]
    assert done.lines[place].startswith("BAD") and f'there is no folder "{tmp_path}/nowhere"' in done.lines[place]
    assert "remedy: name a place" in done.lines[place + 1] and done.returncode == 1


TEXT = configuration.SMALL.replace("/api/**", "/api/tasks/**").replace("/public/**", "/public")


def doctor(tmp_path, backend, text=TEXT, port=None, admin=None, preamble=configuration.PREAMBLE, listen="", **env):
    whole = (preamble + text).format(
        workers=1, port=port or unused_port(), admin=admin or unused_port(), listen=listen, upstream="", backend=backend)
    (tmp_path / "usher.toml").write_text(whole)
    done = command("doctor", "--config", tmp_path / "usher.toml", env=environment(**env), timeout=120)
    done.lines = done.stdout.splitlines()
    return done


@pytest.mark.parametrize("handler", [Careless, Lingering], ids=["closes", "lingers"])
def test_all_is_well(tmp_path, careless, handler):
    server = careless(careless=False, handler=handler)
    done = doctor(tmp_path, server.server_port)
    assert done.returncode == 0, done.stdout
    assert "Nothing is in the way." in done.stdout and "BAD" not in done.stdout
    assert "does not take X_User_Id for X-User-Id" in done.stdout and "clock agrees" in done.stdout
    assert {method for method, _ in server.seen} and all(path.startswith("/") for path, _ in server.seen)
    assert all("Authorization" not in headers for _, headers in server.seen)


def test_careless_backend(tmp_path, careless):
    server = careless()
    done = doctor(tmp_path, server.server_port)
    assert done.returncode == 0, "it is worth knowing, and usher sees to it"
    for words in ("takes X_User_Id for X-User-Id", "decodes %2f: GET /api%2ftasks", "merges //: GET //api/tasks"):
        assert any(line.startswith("note") and words in line for line in done.lines), (words, done.stdout)
    assert done.stdout.count("remedy: let nothing but usher reach the backend") == 3


def test_backend_away(tmp_path):
    port = unused_port()
    done = doctor(tmp_path, port)
    assert done.returncode == 1 and f"BAD   [upstream.backend] 127.0.0.1:{port}: Connection refused" in done.stdout
    assert "remedy: start the backend" in done.stdout and "1 thing to mend." in done.stdout


def test_backend_speaks_something_else(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        def talk():
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"220 mail.example ESMTP\r\n")
            connection.close()
        threading.Thread(target=talk, daemon=True).start()
        done = doctor(tmp_path, server.getsockname()[1])
    assert done.returncode == 1 and "not HTTP/1.1" in done.stdout


@pytest.mark.parametrize("off, mark, status", [(10, "note", 0), (-200, "BAD", 1)])
def test_clock(tmp_path, careless, off, mark, status):
    done = doctor(tmp_path, careless(off=off).server_port)
    assert done.returncode == status and any(line.startswith(mark) and "s apart" in line for line in done.lines), done.stdout


SESSION = """
[session.browser]
provider = "better-auth"
secret = {{ env = "AUTH_SECRET" }}
url = "URL"
trusted_origins = ["https://app.test"]
"""


@pytest.mark.parametrize("keys", [True, False])
def test_keys_of_sessions(tmp_path, careless, keys):
    """Where Better Auth has no jwt plugin there are no keys, and nothing is wrong."""
    with betterauth.AuthServer() as server:
        if keys:
            server.keys = {"keys": [tokens.jwk(tokens.key_for("EdDSA", "better-auth"), kid="cache", alg="EdDSA")]}
        text = TEXT + SESSION.replace("URL", server.url)
        done = doctor(tmp_path, careless(careless=False).server_port, text, AUTH_SECRET=betterauth.SECRET)
    assert done.returncode == 0 and "BAD" not in done.stdout, done.stdout
    words = "keys of [session.browser]: " + ("1 usable key" if keys else "none, and none are needed without")
    assert any(line.startswith("ok") and words in line for line in done.lines), done.stdout


def test_a_server_of_sessions_that_is_away(tmp_path, careless):
    """No answer is not an answer without keys."""
    text = TEXT + SESSION.replace("URL", f"http://127.0.0.1:{unused_port()}/api/auth")
    done = doctor(tmp_path, careless(careless=False).server_port, text, AUTH_SECRET=betterauth.SECRET)
    (line,) = [line for line in done.lines if "[session.browser]" in line]
    assert done.returncode == 1 and line.startswith("BAD   [session.browser] does not answer: ") and line.endswith("refused"), done.stdout


def test_port_taken(tmp_path, careless):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = doctor(tmp_path, careless().server_port, port=port)
    assert done.returncode == 1 and f"BAD   [listen.public] 127.0.0.1:{port}: Address already in use" in done.stdout


def test_port_is_ours(tmp_path, start, own_backend, careless):
    proxy = start(own_backend)
    done = doctor(tmp_path, careless().server_port, port=proxy.port, admin=proxy.admin)
    assert done.returncode == 0 and done.stdout.count("listens there already") == 2, done.stdout


WITHOUT_ADMIN = configuration.PREAMBLE.replace('[admin]\naddress = "127.0.0.1:{admin}"\n', "")


@pytest.mark.parametrize("mode", [
    "", 'mode = "forward-auth"\ntrusted_proxies = ["192.0.2.0/24"]\n', 'protocols = ["h2"]\n'], ids=["proxy", "forward-auth", "h2"])
def test_port_is_an_usher_s_without_admin_pages(tmp_path, start, own_backend, careless, mode):
    """Beside the usher that runs, its own listener was BAD."""
    proxy = start(own_backend, listen=mode)
    done = doctor(tmp_path, careless().server_port, port=proxy.port, preamble=WITHOUT_ADMIN, listen=mode)
    (place,) = [number for number, line in enumerate(done.lines) if "[listen.public]" in line]
    assert done.lines[place] == f"note  [listen.public] 127.0.0.1:{proxy.port}: an usher listens there already", done.stdout
    assert "if that is the one of this file, nothing is wrong" in done.lines[place + 1] and done.returncode == 0
    assert not own_backend.requests


@pytest.mark.parametrize("listen, mark, status", [
    ("", "BAD", 1), ('trusted_proxies = ["127.0.0.1/32"]\nproxy_protocol = true', "note", 0)], ids=["asked", "cannot be asked"])
def test_port_is_somebody_s_without_admin_pages(tmp_path, careless, listen, mark, status):
    other = careless()
    done = doctor(tmp_path, careless().server_port, port=other.server_port, preamble=WITHOUT_ADMIN, listen=listen)
    (place,) = [number for number, line in enumerate(done.lines) if "[listen.public]" in line]
    assert done.lines[place].startswith(mark) and "Address already in use" in done.lines[place] and done.returncode == status, done.stdout
    assert "if that is this usher, nothing is wrong; else end the program" in done.lines[place + 1]


@pytest.mark.parametrize("protocols", ["", 'protocols = ["h2"]\n', 'protocols = ["h2", "http/1.1"]\n'], ids=["http1", "h2", "both"])
@pytest.mark.parametrize("name", ["secure.test", "*.secure.test"])
def test_a_secure_port_is_an_usher_s_without_admin_pages(tmp_path, start, own_backend, careless, protocols, name):
    """It was a note, whoever was there: through TLS nobody was asked."""
    pair = Authority(tmp_path).sign("own", [name])
    listen = f"{protocols}tls.certificates = [{pair.toml()}]"
    proxy = start(own_backend, listen=listen)
    done = doctor(tmp_path, careless().server_port, port=proxy.port, preamble=WITHOUT_ADMIN, listen=listen)
    (line,) = [line for line in done.lines if f"[listen.public] 127.0.0.1:{proxy.port}" in line]
    assert line == f"note  [listen.public] 127.0.0.1:{proxy.port}: an usher listens there already" and done.returncode == 0, done.stdout
    assert not own_backend.requests


def test_a_secure_port_where_clients_show_certificates(tmp_path, start, own_backend, careless):
    """Who has the key is not who it says it is; the doctor has no certificate to show."""
    authority = Authority(tmp_path)
    listen = f'tls.certificates = [{authority.sign("own", ["secure.test"]).toml()}]\ntls.client_ca = "{authority.file}"'
    proxy = start(own_backend, listen=listen)
    done = doctor(tmp_path, careless().server_port, port=proxy.port, preamble=WITHOUT_ADMIN, listen=listen)
    (line,) = [line for line in done.lines if f"[listen.public] 127.0.0.1:{proxy.port}" in line]
    assert line.startswith("note") and "shows this listener's certificate, and does not say who it is" in line, done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("other, sign, mark", [
    ("another", "nobody shows this listener's certificate there", "BAD"), ("plain", "nobody shows this listener's certificate there", "BAD"),
    ("same", "no usher answers there", "BAD"), ("expired", "it cannot be told by whom: the certificate of the listener does not hold now", "note")])
def test_a_secure_port_is_somebody_s(tmp_path, careless, other, sign, mark):
    authority = Authority(tmp_path)
    own = authority.sign("own", ["secure.test"], days=(-9, -1) if other == "expired" else (-1, 30))
    shown = authority.sign("another", ["secure.test"]) if other == "another" else own
    server = careless()
    if other != "plain":
        server.socket = authority.server_context(shown).wrap_socket(server.socket, server_side=True)
    listen = f"tls.certificates = [{own.toml()}]"
    done = doctor(tmp_path, careless().server_port, port=server.server_port, preamble=WITHOUT_ADMIN, listen=listen)
    (place,) = [number for number, line in enumerate(done.lines) if "[listen.public] 127.0.0.1" in line]
    assert done.lines[place].startswith(mark) and "Address already in use" in done.lines[place] and sign in done.lines[place], done.stdout
    assert "if that is this usher, nothing is wrong; else end the program" in done.lines[place + 1]


def test_a_certificate_that_has_a_day_left(tmp_path, careless):
    pair = Authority(tmp_path).sign("short", ["a.test"], days=(-1, 1.5))
    done = doctor(tmp_path, careless().server_port, listen=f"tls.certificates = [{pair.toml()}]")
    assert any(line.startswith("note") and line.endswith(": expires in 1 day") for line in done.lines), done.stdout


def test_a_certificate_without_a_name(tmp_path, careless):
    """The list of its names ended with nothing."""
    pair = Authority(tmp_path).sign("nameless", [], days=(-1, 60))
    done = doctor(tmp_path, careless().server_port, listen=f"tls.certificates = [{pair.toml()}]")
    assert any(line.startswith("ok") and line.endswith(" days, for no host name") for line in done.lines), done.stdout


# What else a running proxy needs

SERVICES = TEXT + """
[issuer.opaque]
issuer = "https://opaque.test"
audience = ["https://api.test"]
introspection = {{ url = "http://127.0.0.1:%(opaque)s/introspect?key=hidden", client_id = "usher", client_secret = {{ env = "USHER_TEST_SECRET" }} }}

[session.browser]
provider = "better-auth"
secret = {{ env = "AUTH_SECRET" }}
cookie_cache = "off"
url = "http://127.0.0.1:%(session)s/api/auth"
trusted_origins = ["https://app.test"]

[shared]
redis = "redis://127.0.0.1:%(store)s"
%(shared)s

[tracing]
url = "http://127.0.0.1:%(collector)s/v1/traces"
"""
TABLES = ["issuer.opaque", "session.browser", "shared", "tracing"]


def test_what_else_is_asked_is_away(tmp_path, careless):
    """Nothing was said of it, though every token was 503."""
    ports = {"opaque": unused_port(), "session": unused_port(), "store": unused_port(), "collector": unused_port(),
             "shared": 'when_unavailable = "refuse"'}
    done = doctor(tmp_path, careless(careless=False).server_port, SERVICES % ports, AUTH_SECRET=betterauth.SECRET)
    for table, port in zip(TABLES, list(ports.values())[:4], strict=True):
        (place,) = [number for number, line in enumerate(done.lines) if f"[{table}]" in line]
        line = done.lines[place]
        assert line.startswith("BAD") and f"127.0.0.1:{port}" in line and line.endswith("Connection refused"), done.stdout
        assert "remedy: start it, or correct" in done.lines[place + 1]
    assert done.returncode == 1 and "4 things to mend." in done.stdout and "hidden" not in done.stdout


def test_what_else_is_asked_says_nothing(tmp_path, careless):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        ports = dict.fromkeys(["opaque", "session", "store", "collector"], port) | {"shared": ""}
        done = doctor(tmp_path, careless(careless=False).server_port, SERVICES % ports, AUTH_SECRET=betterauth.SECRET)
    for table in TABLES:
        (line,) = [line for line in done.lines if f"[{table}]" in line]
        assert line.startswith("BAD") and "in time" in line, done.stdout
    assert done.returncode == 1


@pytest.mark.skipif(SERVER is None, reason="no redis-server: scripts/install-packages installs it")
@pytest.mark.parametrize("password", ["right", "wrong-password"])
def test_what_else_is_asked_is_there(tmp_path, careless, password):
    other = careless()
    with Store(tmp_path, "requirepass right") as store:
        ports = dict.fromkeys(["opaque", "session", "collector"], other.server_port) | {"store": store.port, "shared": 'password = {{ env = "STORE" }}'}
        done = doctor(tmp_path, careless(careless=False).server_port, SERVICES % ports, AUTH_SECRET=betterauth.SECRET, STORE=password)
    for table in TABLES:
        (line,) = [line for line in done.lines if f"[{table}]" in line]
        assert line.startswith("BAD" if table == "shared" and password != "right" else "ok"), done.stdout
    assert {path for path, _ in other.seen} == {"/introspect?key=hidden", "/api/auth/get-session", "/v1/traces"}
    assert password == "right" or "WRONGPASS" in done.stdout and password not in done.stdout
    assert done.returncode == (password != "right") and "hidden" not in done.stdout


OPAQUE = SERVICES[:SERVICES.index("[session.browser]")]


@pytest.mark.parametrize("answer, mark, words", [
    ((200, {"active": False}), "ok", "takes client_id and client_secret"), ((401, {"error": "invalid_client"}), "BAD", "does not accept client_id"),
    ((403, {}), "BAD", "does not let this client ask"), ((200, {"active": True}), "BAD", "says that such a token is active"),
    ((200, None), "BAD", "is not one about a token"), ((200, {"active": "false"}), "BAD", "is not one about a token"),
    ((404, {}), "BAD", "does not answer the question")])
def test_an_introspection_endpoint_is_asked(tmp_path, careless, answer, mark, words):
    """Any answer would do, though a wrong secret is 503 for every token."""
    server = careless()
    server.opaque = answer
    done = doctor(tmp_path, careless(careless=False).server_port, OPAQUE % {"opaque": server.server_port}, USHER_TEST_SECRET="a secret+of: 32 bytes, or some more")
    (place,) = [number for number, line in enumerate(done.lines) if "[issuer.opaque]" in line]
    assert done.lines[place].startswith(mark) and words in done.lines[place] and f"gave {answer[0]}" in done.lines[place], done.stdout
    assert done.returncode == (mark == "BAD") and ("remedy" in done.lines[place + 1]) == (mark == "BAD")
    assert "hidden" not in done.stdout and "secret+of" not in done.stdout
    ((path, headers),) = server.seen
    assert path == "/introspect?key=hidden" and "token=usher-doctor" in headers["form"] and "token_type_hint=access_token" in headers["form"]
    login = base64.b64encode(b"usher:a%20secret%2Bof%3A%2032%20bytes%2C%20or%20some%20more").decode()
    assert headers["Authorization"] == f"Basic {login}"


@pytest.mark.parametrize("trusted", [True, False])
def test_an_introspection_endpoint_is_asked_through_tls(tmp_path, careless, trusted):
    server, authority = careless(), Authority(tmp_path)
    server.socket = authority.server_context(authority.sign("opaque", ["localhost"])).wrap_socket(server.socket, server_side=True)
    ca = f', ca = "{authority.file}" }}}}' if trusted else " }}"
    text = OPAQUE.replace("http://127.0.0.1:%(opaque)s", "https://localhost:%(opaque)s").replace('"USHER_TEST_SECRET" }} }}', f'"USHER_TEST_SECRET" }}}}{ca}')
    done = doctor(tmp_path, careless(careless=False).server_port, text % {"opaque": server.server_port})
    (line,) = [line for line in done.lines if "[issuer.opaque]" in line]
    assert line.startswith("ok" if trusted else "BAD") and ("takes client_id" if trusted else "does not prove to be the server") in line, done.stdout
    assert bool(server.seen) == trusted


def test_a_collector_that_proves_nothing(tmp_path, careless):
    server, authority = careless(), Authority(tmp_path)
    server.socket = authority.server_context(authority.sign("other", ["other.test"])).wrap_socket(server.socket, server_side=True)
    text = TEXT + f'\n[tracing]\nurl = "https://localhost:{server.server_port}/v1/traces"\nca = "{authority.file}"\n'
    done = doctor(tmp_path, careless(careless=False).server_port, text)
    (line,) = [line for line in done.lines if "[tracing]" in line]
    assert line.startswith("BAD") and "does not prove to be the server" in line and "hostname mismatch" in line and done.returncode == 1, done.stdout


# Servers that speak TLS are asked the same

@pytest.fixture
def secure(careless, tmp_path):
    """`secure(names, …)`: a backend with a certificate for these names, and the `tls` that trusts its authority."""
    authority = Authority(tmp_path)

    def run(names, days=(-1, 30), **options):
        server = careless(**options)
        context = authority.server_context(authority.sign("backend", names, days=days))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        return server, TEXT.replace("{upstream}", f'tls = {{{{ ca = "{authority.file}", server_name = "tasks.internal" }}}}')
    return run


def test_tls_all_is_well(tmp_path, secure):
    server, text = secure(["tasks.internal"], careless=False)
    done = doctor(tmp_path, server.server_port, text)
    assert done.returncode == 0 and "BAD" not in done.stdout, done.stdout
    assert "does not take X_User_Id for X-User-Id" in done.stdout and "its clock agrees with this one" in done.stdout


def is_apart(text: str, seconds: int, began: float) -> bool:
    """True where the clocks are said to be so far apart, or further by what the test has taken; both count whole seconds."""
    found = re.search(r"its clock and this one are (\d+) s apart", text)
    return found is not None and seconds - 1 <= int(found[1]) <= seconds + 1 + time.monotonic() - began


def test_tls_clock_and_habits(tmp_path, secure):
    server, text = secure(["tasks.internal"], off=-300)
    began = time.monotonic()
    done = doctor(tmp_path, server.server_port, text)
    assert done.returncode == 1 and "takes X_User_Id for X-User-Id" in done.stdout
    assert any(line.startswith("BAD") and is_apart(line, 300, began) for line in done.lines), done.stdout


@pytest.mark.parametrize("names, days, reason", [
    (["other.internal"], (-1, 30), "hostname mismatch"), (["tasks.internal"], (-9, -1), "certificate has expired")])
def test_tls_of_somebody_else(tmp_path, secure, names, days, reason):
    server, text = secure(names, days)
    done = doctor(tmp_path, server.server_port, text)
    assert done.returncode == 1 and "does not prove to be the server" in done.stdout and reason in done.stdout
    assert "remedy: name its authority in tls.ca" in done.stdout and not server.seen


def test_tls_to_a_plain_server(tmp_path, secure, careless):
    _, text = secure(["tasks.internal"])
    done = doctor(tmp_path, careless().server_port, text)
    assert done.returncode == 1 and "does not prove to be the server: TLS" in done.stdout, done.stdout


KEYS = TEXT.replace('secret = {{ env = "USHER_TEST_SECRET" }}', 'jwks = {{ url = "http://127.0.0.1:{keys}/jwks" }}')


# Servers that speak HTTP/2

@pytest.mark.parametrize("takes_alias", [True, False])
def test_http2(tmp_path, takes_alias):
    def answer(wire, seen):
        names = ("x-user-id", "x_user_id") if takes_alias else ("x-user-id",)
        user = next((value for name, value in seen.fields if name in names), "nobody")
        date = ("date", formatdate(time.time() - 10, usegmt=True))
        wire.answer(seen.stream, user.encode(), 200 if seen[":path"] == "/api/tasks" else 404, date)

    with HTTP2Backend() as backend:
        backend.on_request = answer
        began = time.monotonic()
        done = doctor(tmp_path, backend.port, TEXT.replace("{upstream}", 'protocol = "h2"'))
        assert done.returncode == 0 and "answers (GET /api/tasks gave 200)" in done.stdout, done.stdout
        assert ("takes X_User_Id for X-User-Id (" in done.stdout) == takes_alias
        assert ("does not take X_User_Id for X-User-Id" in done.stdout) != takes_alias
        assert is_apart(done.stdout, 10, began), done.stdout
        assert {seen[":method"] for seen in backend.requests} == {"GET"} and not backend.errors


def test_http2_over_tls(tmp_path):
    authority = Authority(tmp_path)
    for alpn, status in ((["h2"], 0), (["http/1.1"], 1)):
        context = authority.server_context(authority.sign("backend", ["localhost"]))
        context.set_alpn_protocols(alpn)
        with HTTP2Backend(context=context) as backend:
            text = TEXT.replace("127.0.0.1:{backend}", "localhost:{backend}").replace(
                "{upstream}", f'protocol = "h2"\ntls = {{{{ ca = "{authority.file}" }}}}')
            done = doctor(tmp_path, backend.port, text)
            assert done.returncode == status, done.stdout


def test_http2_and_the_server_does_not(tmp_path, careless):
    done = doctor(tmp_path, careless().server_port, TEXT.replace("{upstream}", 'protocol = "h2"'))
    assert done.returncode == 1 and "see whether it speaks plain HTTP/2 on that port" in done.stdout, done.stdout


def test_keys_away(tmp_path, careless):
    port = unused_port()
    done = doctor(tmp_path, careless().server_port, KEYS.replace("{keys}", str(port)))
    assert done.returncode == 1
    (line,) = [line for line in done.lines if "keys of [issuer.main] cannot be fetched" in line]
    assert line.startswith("BAD") and line.endswith("refused") and f"http://127.0.0.1:{port}/jwks: " in line, line


def test_keys_there(tmp_path, careless):
    server = KeyServer()
    server.publish("one")
    try:
        done = doctor(tmp_path, careless().server_port, KEYS.replace("{keys}", str(server.port)))
    finally:
        server.down()
    assert done.returncode == 0 and "keys of [issuer.main]: 1 usable key" in done.stdout, done.stdout


@pytest.mark.parametrize("off, mark, words, status", [
    (0, "ok", "its clock agrees", 0), (-12, "note", "s apart", 0), (3600, "BAD", "s apart", 1)])
def test_clock_of_a_key_server(tmp_path, careless, off, mark, words, status):
    server, began = KeyServer(), time.monotonic()
    # By its clock when it is asked: the command may take a while to come to it.
    server.answer = lambda connection, _: connection.sendall(
        response(key_set("one"), Date=formatdate(time.time() + off, usegmt=True)))
    try:
        done = doctor(tmp_path, careless().server_port, KEYS.replace("{keys}", str(server.port)))
    finally:
        server.down()
    (line,) = [line for line in done.lines if "key server of [issuer.main]" in line]
    assert line.startswith(mark) and words in line and done.returncode == status, done.stdout
    assert off != -12 or is_apart(line, 12, began), line


def test_name_without_address(tmp_path):
    done = doctor(tmp_path, 1, TEXT.replace('"127.0.0.1:{backend}"', '"no-such-host.invalid:{backend}"'))
    assert done.returncode == 1 and "no-such-host.invalid" in done.stdout and "remedy: write the name right" in done.stdout


def test_broken_file(tmp_path):
    done = doctor(tmp_path, 1, "nonsense")
    assert done.returncode == 1 and "usher.toml:" in done.stderr and not done.stdout
