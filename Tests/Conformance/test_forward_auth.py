"""A listener in forward-auth mode: a proxy in front asks about its client's request, and gets 200 or the refusal.

Asked by hand as Traefik, Caddy and nginx ask, and by a real nginx with auth_request.
"""

import contextlib
import random
import re
import shutil
import socket
import subprocess
import time
from urllib.parse import quote

import pytest

from harness import betterauth, configuration, mutations
from harness.keyserver import KeyServer, signed
from harness.process import REPOSITORY, allocate, command, environment
from harness.tokens import bearer, token
from harness.wire import Client, Closed, render

TEXT = configuration.SMALL.replace("/api/**", "/api/{{user_id}}/**").replace(
    'auth = "main"', 'auth = "main"\nrequire = {{ sub = "{{user_id}}" }}') + """
[listen.verify]
address = "127.0.0.1:{verify}"
mode = "forward-auth"
trusted_proxies = ["{trusted}"]
"""

DIALECTS = {
    "traefik, caddy": ("X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"),
    "nginx": ("X-Original-Method", "X-Original-URI", "X-Original-Host"),
}


def question(method="GET", target="/api/alice/1", host="app.test", dialect="nginx"):
    return dict(zip(DIALECTS[dialect], (method, target, host)))


@pytest.fixture
def verify(start, own_backend):
    port, _ = allocate()
    proxy = start(own_backend, TEXT, verify=port, trusted="127.0.0.1/32")

    def ask(headers, method="GET", target="/verify"):
        with Client(port) as client:
            return client.request(method, target, headers)

    ask.port, ask.proxy = port, proxy
    yield ask
    assert own_backend.requests == [], "a question reached the backend"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_yes_with_the_identity(verify, dialect):
    answer = verify(question(dialect=dialect) | bearer(token()))
    assert answer.status == 200 and answer.headers.all("x-user-id") == ["alice"] and answer.body == b""


def test_H11_a_name_beyond_ascii(start, own_backend):
    port, _ = allocate()
    start(own_backend, TEXT + '[identity]\nheaders = {{ "X-User-Id" = "sub", "X-Name" = "name" }}\n', verify=port, trusted="127.0.0.1/32")
    with Client(port) as client:
        answer = client.request("GET", "/verify", question() | bearer(token(name="Zo\xeb")))
        assert answer.status == 200 and answer.headers.all("x-user-id") == ["alice"]
        assert answer.headers.all("x-name") == ["Zo\xeb".encode().decode("latin-1")]
        refused = client.request("GET", "/verify", question() | bearer(token(name="Zo\x85")))
        assert refused.status == 401 and not refused.headers.all("x-name")


def test_yes_for_a_public_route_names_nobody(verify):
    answer = verify(question(target="/public/x") | {"X-User-Id": "evil"})
    assert answer.status == 200 and answer.headers.all("x-user-id") == []


@pytest.mark.parametrize("target, headers, status, code", [
    ("/api/alice/1", {}, 401, "token_missing"), ("/api/alice/1", {"Authorization": "Bearer x.y.z"}, 401, "token_invalid"),
    ("/api/bob/1", bearer(token()), 403, "not_yours"), ("/elsewhere", bearer(token()), 404, "no_route"),
    ("/api/alice/../bob/1", bearer(token()), 400, "bad_request"), ("/api/bob%2f1", bearer(token()), 400, "bad_request"),
    ("/api/alice/1 HTTP/1.1", bearer(token()), 400, "bad_request")])
def test_no(verify, target, headers, status, code):
    answer = verify(question(target=target) | headers)
    assert answer.status == status and answer.problem["code"] == code
    assert (status == 401) == ("www-authenticate" in answer.headers)


@pytest.mark.parametrize("missing", range(3))
def test_what_is_not_said_is_not_guessed(verify, missing):
    asked = dict(item for place, item in enumerate(question().items()) if place != missing)
    assert verify(asked | bearer(token()), target="/api/alice/1").status == 400
    assert verify.proxy.wait_log(listener="verify", status=400)["detail"] == "question_incomplete"


def test_said_twice_is_refused(verify):
    asked = question() | question(dialect="traefik, caddy", target="/public/x")
    assert verify(asked | bearer(token())).status == 400


@pytest.mark.parametrize("target", ["http://public.test/public/x", "http://app.test/public/x", "*", "public/x"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_H7_a_target_that_is_no_path_is_refused(verify, dialect, target):
    """An absolute one names a host, too, and would be decided on by the routes of that one."""
    answer = verify(question(target=target, dialect=dialect))
    assert answer.status == 400 and answer.problem["code"] == "bad_request"


def test_the_connection_goes_on(verify):
    with Client(verify.port) as client:
        for user in ("alice", "bob", "alice"):
            answer = client.request("GET", "/verify", question(target=f"/api/{user}/1") | bearer(token(subject=user)))
            assert answer.status == 200 and answer.headers.get("x-user-id") == user
        assert client.request("GET", "/verify", question()).status == 401


def test_a_question_with_a_body_is_refused(verify):
    with Client(verify.port) as client:
        client.send(b"GET /verify HTTP/1.1\r\nHost: a\r\nX-Original-Method: GET\r\nX-Original-URI: /public/x\r\n"
                    b"X-Original-Host: a\r\nContent-Length: 5\r\n\r\nhello")
        assert client.response().status == 400


@pytest.mark.parametrize("asking", ["GET", "POST"])
def test_a_question_that_says_that_it_has_no_body(verify, asking):
    """As clients write a POST without content: Apache APISIX asks so, and proxies that pass on what their client said."""
    with Client(verify.port) as client:
        for _ in range(2):
            answer = client.request(asking, "/verify", question(method="POST") | bearer(token()) | {"Content-Length": "0"})
            assert answer.status == 200 and answer.headers.get("x-user-id") == "alice"


def test_a_question_as_large_as_a_head_may_be(start, own_backend):
    port, _ = allocate()
    start(own_backend, TEXT + '[limits]\nheader_bytes = "240KiB"\n', verify=port, trusted="127.0.0.1/32")
    with Client(port) as client:
        for size in (1000, 130_000, 240_000):
            answer = client.request("GET", "/verify", question() | bearer(token()) | {"Cookie": "x" * size})
            assert answer.status == 200 and answer.headers.get("x-user-id") == "alice", size


FETCHED = TEXT.replace('path = "/api', 'path = "/far/**"\nauth = "far"\nupstream = "backend"\n\n[[route]]\npath = "/api') + """
[issuer.far]
issuer = "https://keys.test"
audience = ["https://api.test"]
jwks = {{ url = "{keys}", cooldown = "100ms" }}
algorithms = ["ES256"]
"""


@pytest.mark.parametrize("asking, asked", [("GET", "HEAD"), ("HEAD", "GET")])
def test_a_question_that_waits_is_answered_as_it_was_asked(start, own_backend, asking, asked):
    """Whether the refusal has a body is a matter of the question's own method: nginx asks about a HEAD by GET. Otherwise the
    proxy in front waits for a body that never comes, or takes one for the next answer."""
    with KeyServer() as server:
        server.publish("one")
        port, _ = allocate()
        start(own_backend, FETCHED, verify=port, trusted="127.0.0.1/32", keys=server.url)
        time.sleep(0.2)
        fetched = len(server.requests)
        with Client(port) as client:
            answer = client.request(asking, "/verify", question(method=asked, target="/far/x") | bearer(signed("two")))
            assert len(server.requests) > fetched, "the question did not wait"
            assert answer.status == 401 and (len(answer.body) > 0) == (asking == "GET")
            assert client.request("GET", "/verify", question(target="/public/x")).status == 200


BROWSERS = TEXT.replace('path = "/api', 'path = "/cookie/**"\nauth = "cookie"\nupstream = "backend"\n\n[[route]]\n'
                        'path = "/session/**"\nauth = "browser"\nupstream = "backend"\n\n[[route]]\npath = "/api') + """
[issuer.cookie]
issuer = "https://main.test"
audience = ["https://api.test"]
secret = {{ env = "USHER_TEST_SECRET" }}
token_from = ["cookie:t"]
trusted_origins = ["https://app.test"]

[session.browser]
provider = "better-auth"
secret = {{ env = "USHER_TEST_AUTH_SECRET" }}
secure_cookies = false
trusted_origins = ["https://app.test"]
"""


def test_a_handshake_is_known_without_the_fields_of_the_hop(start, own_backend):
    """Any page may open a WebSocket to anywhere, and browsers add cookies. nginx and Traefik take Connection and Upgrade out of
    their question, and nginx asks by HTTP/1.0: without a look at the key, that would be a plain GET, which needs no Origin."""
    port, _ = allocate()
    start(own_backend, BROWSERS, verify=port, trusted="127.0.0.1/32", env={"USHER_TEST_AUTH_SECRET": betterauth.SECRET})
    signed_in = {
        "/cookie/x": f"t={token()}",
        "/session/x": f"better-auth.session_token={quote(betterauth.signed('T'), safe='')}; "
                      f"better-auth.session_data={betterauth.compact(betterauth.payload('T'))}"}
    handshake = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    for target, cookie in signed_in.items():
        def ask(*headers):
            lines = question(target=target) | {"Cookie": cookie} | {k: v for more in headers for k, v in more.items()}
            with Client(port) as client:
                client.send(render("GET", "/verify", lines).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
                return client.response()
        evil, good = {"Origin": "https://evil.test"}, {"Origin": "https://app.test"}
        assert ask().headers.get("x-user-id") == "alice" and ask(evil).status == 200, "reading is for the browser to guard"
        refused = ask(handshake, evil)
        assert refused.status == 403 and refused.problem["code"] == "origin_refused"
        assert ask(handshake, good).headers.get("x-user-id") == "alice"


def test_a_handshake_is_sent_to_no_page(start, own_backend):
    port, _ = allocate()
    text = BROWSERS.replace('auth = "browser"\n', 'auth = "browser"\nsign_in = "/sign-in"\n')
    start(own_backend, text, verify=port, trusted="127.0.0.1/32", env={"USHER_TEST_AUTH_SECRET": betterauth.SECRET})
    lines = question(target="/session/x") | {"Accept": "text/html"}
    with Client(port) as client:
        assert client.request("GET", "/verify", lines).headers.get("location") == "/sign-in?return_to=%2Fsession%2Fx"
        refused = client.request("GET", "/verify", lines | {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
        assert refused.status == 401 and "location" not in refused.headers


def test_only_trusted_proxies_may_ask(start, own_backend):
    port, _ = allocate()
    proxy = start(own_backend, TEXT, verify=port, trusted="192.0.2.0/24")
    with Client(port) as client:
        assert client.request("GET", "/verify", question() | bearer(token())).status == 403
    assert proxy.wait_log(listener="verify", status=403)["detail"] == "peer_not_trusted"


def test_check_wants_somebody_to_trust(tmp_path):
    file = tmp_path / "usher.toml"
    file.write_text(configuration.PREAMBLE.format(workers=1, port=8080, admin=8081, listen='mode = "forward-auth"')
                    + configuration.SMALL.format(backend=1, upstream=""))
    done = command("check", "--config", file, env=environment())
    assert done.returncode == 1 and "trusted_proxies" in done.stderr + done.stdout


NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      auth_request /verify;
      auth_request_set $user $upstream_http_x_user_id;
      proxy_set_header X-User-Id $user;
      proxy_pass http://127.0.0.1:{backend};
    }}
    location = /verify {{
      internal;
      proxy_pass http://127.0.0.1:{verify};
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header X-Original-Method $request_method;
      proxy_set_header X-Original-URI $request_uri;
      proxy_set_header X-Original-Host $host;
    }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(folder, port, text):
    """nginx with that configuration, from when it answers to the end of the block."""
    file = folder / "nginx.conf"
    file.write_text(text if "daemon off" in text else f"daemon off; pid {folder}/nginx.pid; {text}")
    process = subprocess.Popen([shutil.which("nginx"), "-c", str(file)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


RECIPES = ["deploy/forward-auth/nginx.conf", "docs/forward-auth.md"]


def recipe(source, port, backend, verify) -> str:
    """One of ours for nginx, with these ports."""
    text = (REPOSITORY / source).read_text()
    if source.endswith(".md"):
        servers = text.split("```nginx\n")[1].split("```")[0]
        text = f"events {{}}\nhttp {{ access_log off; server {{ listen 8088;\n{servers} }} }}\n"
    text = text.replace("pid /tmp/usher-nginx.pid;", "")
    # All at once: a port that was put in may have another one's digits in it.
    own = {"8088": f"127.0.0.1:{port}", "8000": str(backend), "8081": str(verify)}
    return re.sub("|".join(own), lambda number: own[number[0]], text)


needs_nginx = pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx: scripts/install-packages installs it")


@needs_nginx
def test_behind_a_real_nginx(start, own_backend, tmp_path):
    verify, port = allocate()
    start(own_backend, TEXT, verify=verify, trusted="127.0.0.1/32")
    with nginx(tmp_path, port, NGINX.format(folder=tmp_path, port=port, backend=own_backend.port, verify=verify)):
        with Client(port) as client:
            good = client.request("POST", "/api/alice/1", bearer(token()) | {"X-User-Id": "evil"}, body=b"hello")
            assert good.status == 200
            assert own_backend.requests[-1].headers.all("x-user-id") == ["alice"]
            assert own_backend.requests[-1].body == b"hello"
        for target, headers, status in [("/api/alice/1", {}, 401), ("/api/bob/1", bearer(token()), 403)]:
            with Client(port) as client:
                assert client.request("GET", target, headers | {"X-User-Id": "evil"}).status == status
        assert len(own_backend.requests) == 1
        with Client(port) as client:
            assert client.request("GET", "/public/x", {"X-User-Id": "evil"}).status == 200
        assert own_backend.requests[-1].headers.all("x-user-id") == []


@needs_nginx
@pytest.mark.parametrize("source", RECIPES)
def test_a_client_of_nginx_does_not_choose_its_address(start, own_backend, tmp_path, source):
    """nginx passes on what its client says, but for what is set: X-Forwarded-For would be believed, since nginx is."""
    verify, port = allocate()
    start(own_backend, TEXT + '[limits]\nfailed_authentications = {{ requests = 3, per = "1m" }}\n', verify=verify,
          trusted="127.0.0.1/32")
    text = recipe(source, port, own_backend.port, verify)
    with nginx(tmp_path, port, text):
        for number in range(6):
            with Client(port) as client:
                lines = {"X-Forwarded-For": f"198.51.100.{number}", "Authorization": f"Bearer a.b.{number}"}
                status = client.request("GET", "/api/alice/1", lines).status
        assert status == 500, "nginx makes this of 429"


@needs_nginx
@pytest.mark.parametrize("source", RECIPES)
def test_H7_nginx_asks_about_the_host_that_it_serves(start, own_backend, tmp_path, source):
    """Of `GET http://HOST/` that is HOST, whatever the line Host says (RFC 9112, 3.2.2): by it nginx chooses its server block."""
    verify, port = allocate()
    text = configuration.BACKEND + configuration.MAIN_ISSUER + """
[listen.verify]
address = "127.0.0.1:{verify}"
mode = "forward-auth"
trusted_proxies = ["127.0.0.1/32"]

[[route]]
host = "www.test"
path = "/**"
auth = "none"
upstream = "backend"

[[route]]
host = "api.test"
path = "/**"
auth = "main"
upstream = "backend"
"""
    start(own_backend, text, verify=verify)
    block = re.compile(r"server \{\s*listen[^;]*;")
    one = recipe(source, port, own_backend.port, verify)
    place = block.search(one)
    # The same block for each of the two names.
    rest = one[place.start():]
    depth, end = 0, 0
    for end, sign in enumerate(rest):
        depth += (sign == "{") - (sign == "}")
        if sign == "}" and depth == 0:
            break
    server = rest[:end + 1]
    both = "".join(server.replace(place[0], f"{place[0]} server_name {name};") for name in ("www.test", "api.test"))
    with nginx(tmp_path, port, one[:place.start()] + both + rest[end + 1:]):
        def ask(target, host, headers=b""):
            with Client(port) as client:
                client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n".encode() + headers + b"\r\n")
                return client.response().status

        assert ask("/x", "www.test") == 200 and ask("/x", "api.test") == 401
        own_backend.clear()
        assert ask("http://api.test/x", "www.test") == 401
        assert own_backend.requests == []
        assert ask("http://api.test/x", "www.test", f"Authorization: Bearer {token()}\r\n".encode()) == 200
        assert own_backend.last.headers.get("host") != "www.test", "the backend serves the host that was asked about"
        assert ask("http://www.test/x", "api.test") == 200


def test_spoilt_questions(verify):
    """Questions of no form at all: no crash, and a yes only for the open route or with the name in the token."""
    rng = random.Random("forward-auth")
    words = mutations.CLIENT_WORDS + [
        b"X-Original-URI: /public/x\r\n", b"X-Forwarded-Uri: /public/x\r\n", b"X-Original-Method: GET\r\n", b" HTTP/1.1",
        b"/public/x", b"GET /public/x HTTP/1.1", b"\xe9", b"GET", b"GET ", b"x" * 9000]
    for count in range(400):
        target = rng.choice(["/api/alice/1", "/api/bob/1", "/nowhere", "/api/../public/x", "http://app.test/api/alice/1", "*"])
        fields = question(rng.choice(["GET", "POST", "OPTIONS"]), target, dialect=rng.choice(list(DIALECTS)))
        mine = rng.random() < 0.5
        if mine:
            fields |= bearer(token(subject="mallory"))
        data = render("GET", "/verify", fields)
        if rng.random() < 0.9:
            data = mutations.spoil(rng, data, words)
        with Client(verify.port, timeout=5) as client:
            client.try_send(data)
            client.sock.shutdown(socket.SHUT_WR)
            try:
                answer = client.head()
            except (Closed, OSError):
                continue
        assert answer.status >= 200
        if answer.status == 200:
            assert b"/public" in data, data[:2000]
            assert answer.headers.all("x-user-id") == [], data[:2000]
