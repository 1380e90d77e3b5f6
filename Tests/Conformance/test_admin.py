"""The admin listener: who may ask, what it shows, what it does, and the page for people in a real browser."""

import contextlib
import json
import os
import re
import socket
import threading
import time
from pathlib import Path

import pytest

from harness import configuration
from harness.tokens import SECRET, bearer, token
from harness.waiting import wait_until
from harness.wire import Client, render

MORE = configuration.SMALL + "\n[revocation]\n"
TOKEN = "the-token-of-the-admin-pages"


def admin(proxy, method, path, headers=(), body=None, host=None):
    with Client(proxy.admin) as client:
        return client.request(method, path, headers, body, host=host or f"127.0.0.1:{proxy.admin}")


PAGES = ["/", "/livez", "/readyz", "/metrics", "/version", "/config", "/routes", "/status.json"]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1"}, {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Mode": "navigate"}, {"Sec-Fetch-Site": "same-origin, none"}, {"Sec-Fetch-Dest": "image"},
], ids=lambda h: "-".join(f"{k}={v}" for k, v in h.items()))
def test_F9_not_from_other_pages(proxy, path, headers):
    assert admin(proxy, "GET", path, headers).status == 403


@pytest.mark.parametrize("host, status", [
    ("evil.example", 403), ("evil.example:9901", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403),
    ("localhost:9901", 200), ("LOCALHOST.", 200), ("[::1]:9901", 200), ("10.1.2.3:9901", 200), ("usher:9901", 200), ("x.localhost", 200)])
def test_F9_dns_rebinding(proxy, host, status):
    """A name that somebody else can own is not ours, though it leads here."""
    assert admin(proxy, "GET", "/status.json", host=host).status == status


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_F9_typed_addresses_and_our_own_page(proxy, site):
    assert admin(proxy, "GET", "/", {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}).status == 200


@pytest.mark.parametrize("path", ["/reload", "/revocations"])
def test_F9_changes(start, own_backend, path):
    """POST alone, and nothing that a page could send."""
    proxy = start(own_backend, MORE)
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        answer = admin(proxy, method, path, body=b"" if method in ("PUT", "DELETE") else None) if method != "HEAD" else None
        assert answer is None or (answer.status == 405 and answer.headers.get("allow") == "POST")
    for headers in ({"Origin": f"http://127.0.0.1:{proxy.admin}"}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "cross-site"}):
        assert admin(proxy, "POST", path, headers, b"{}").status == 403
    assert admin(proxy, "POST", path, body=b"{}").status == 200


def test_names(start, own_backend):
    proxy = start(own_backend)
    assert admin(proxy, "GET", "/version", host="usher.internal").status == 403
    proxy.file.write_text(proxy.file.read_text().replace(f'address = "127.0.0.1:{proxy.admin}"', f'address = "127.0.0.1:{proxy.admin}"\nnames = ["Usher.internal."]'))
    assert admin(proxy, "POST", "/reload", body=b"").status == 200
    assert admin(proxy, "GET", "/version", host="usher.internal:80").status == 200
    assert admin(proxy, "GET", "/version", host="other.internal").status == 403


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_ask_by_any_name(proxy, path):
    assert admin(proxy, "GET", path, host="usher.default.svc.cluster.local:9901").status == 200


def open_to_all(proxy_text):
    return proxy_text.replace('address = "127.0.0.1:{admin}"', 'address = "0.0.0.0:{admin}"\n{token}')


def test_F9_off_loopback_a_change_needs_the_token(start, own_backend, monkeypatch):
    monkeypatch.setattr(configuration, "PREAMBLE", open_to_all(configuration.PREAMBLE))
    (proxy := start(own_backend, MORE, token=""))
    answer = admin(proxy, "POST", "/reload", body=b"")
    assert answer.status == 403 and b"admin.token" in answer.body
    assert admin(proxy, "GET", "/status.json").status == 200
    guarded = start(own_backend, MORE, token='token = {{ env = "USHER_TEST_ADMIN_TOKEN" }}'.replace("{{", "{").replace("}}", "}"),
                    env={"USHER_TEST_ADMIN_TOKEN": TOKEN})
    for headers in ({}, bearer("wrong"), bearer(TOKEN + "x"), bearer(TOKEN[:-1]), {"Authorization": f"Basic {TOKEN}"}):
        answer = admin(guarded, "POST", "/reload", headers, b"")
        assert answer.status == 401 and answer.headers.get("www-authenticate") == "Bearer"
    assert admin(guarded, "POST", "/reload", bearer(TOKEN), b"").status == 200


def test_reload_says_what_is_wrong(start, own_backend):
    proxy = start(own_backend)
    good = proxy.file.read_text()
    proxy.file.write_text(good.replace('auth = "main"', 'auth = "mian"'))
    answer = admin(proxy, "POST", "/reload", body=b"")
    assert answer.status == 409 and b"mian" in answer.body and b"usher.toml:" in answer.body
    assert proxy.get("/public/x").status == 200
    assert json.loads(admin(proxy, "GET", "/status.json").body)["reload_failure"]
    proxy.file.write_text(good.replace("/public/**", "/other/**"))
    assert admin(proxy, "POST", "/reload", body=b"").status == 200
    assert proxy.get("/public/x").status == 404 and proxy.get("/other/x").status == 200


def test_config_shows_everything_but_secrets(start, own_backend, tmp_path):
    """The example holds every key; of its secrets nothing is to be seen."""
    proxy = start(own_backend, MORE)
    shown = json.loads(admin(proxy, "GET", "/config").body)
    assert shown["limits"]["header_bytes"] == 32768 and shown["upstreams"][0]["connect_timeout"] == "2000ms"
    assert shown["routes"][0]["path"] and shown["log"]["access"] == "standard_output"
    assert shown["issuers"][0]["key_source"] == {"secret": "<secret>"}
    assert shown["issuers"][0]["refuse_claims"] == [] and shown["listeners"][0]["protocols"] == ["http/1.1"]


def test_no_page_shows_a_secret(start, own_backend, monkeypatch):
    """Every secret of the default configuration, a token, a query: none of it is on any page."""
    marks = {"USHER_TEST_SERVICE_TOKEN": "mark-of-the-service-token", "USHER_TEST_ADMIN_TOKEN": "mark-of-the-admin-token"}
    preamble = configuration.PREAMBLE.replace('address = "127.0.0.1:{admin}"', 'address = "127.0.0.1:{admin}"\ntoken = {{ env = "USHER_TEST_ADMIN_TOKEN" }}')
    monkeypatch.setattr(configuration, "PREAMBLE", preamble)
    text = configuration.SMALL.replace("{upstream}", 'authorization = {{ bearer = {{ env = "USHER_TEST_SERVICE_TOKEN" }} }}') + """
[upstream.mint]
servers = ["127.0.0.1:1"]
authorization = {{ mint = {{ algorithm = "HS256", secret = {{ env = "USHER_TEST_SECRET" }}, lifetime = "60s" }} }}

[session.browser]
provider = "better-auth"
secret = {{ env = "USHER_TEST_SECRET" }}
url = "http://127.0.0.1:1/api/auth"
trusted_origins = ["https://app.example.com"]

[issuer.fetched]
issuer = "https://fetched.test"
audience = ["https://api.test"]
jwks = {{ url = "http://127.0.0.1:1/jwks?key=mark-of-a-query" }}
"""
    proxy = start(own_backend, text, env=marks)
    bad = token(secret_or_key=b"w" * 40)
    assert proxy.get("/api/x?mark-of-the-query=1", bearer(bad)).status == 401
    time.sleep(0.1)
    for path in PAGES:
        body = admin(proxy, "GET", path).body.decode()
        for secret in [*marks.values(), SECRET.decode(), bad.split(".")[2], "mark-of-the-query", "mark-of-a-query"]:
            assert secret not in body, (path, secret)
    assert "/api/x" in admin(proxy, "GET", "/status.json").body.decode()


def test_routes_as_the_command_shows_them(proxy):
    text = admin(proxy, "GET", "/routes").body.decode()
    assert text.startswith("HOST") and "/api/{user_id}/tasks/**" in text and "optional:main" in text


def test_status(start, own_backend):
    proxy = start(own_backend)
    time.sleep(1.2)
    for _ in range(20):
        assert proxy.get("/api/x", bearer(token())).status == 200
    with proxy.client() as client:  # quickly: some are kept each second
        for _ in range(300):
            assert client.request("GET", "/api/x", bearer("x")).status == 401

    def counted():
        return json.loads(admin(proxy, "GET", "/status.json").body)
    wait_until(lambda: sum(counted()["history"]["4xx"]) >= 300)
    status = counted()
    history = status["history"]
    assert sum(history["2xx"]) == 20 and sum(history["4xx"]) == 300
    assert sum(history["reasons"]["token_invalid"]) == 300 and "ok" not in history["reasons"]
    assert 0 < max(history["p50"]) <= max(history["p99"]) < 5_000_000
    assert 8 <= len(status["refusals"]) < 300, "a flood is not kept whole"
    refusal = status["refusals"][0]
    assert (refusal["status"], refusal["reason"], refusal["path"], refusal["client"]) == (401, "token_invalid", "/api/x", "127.0.0.1")
    assert status["not_ready"] is None and status["upstreams"][0]["servers"][0]["address"] == f"127.0.0.1:{own_backend.port}"
    assert status["issuers"][0]["name"] == "main"


def test_unix_socket(start, own_backend, monkeypatch, tmp_path):
    """No browser reaches it: every host name will do, and changes need no token."""
    path = tmp_path / "admin.sock"
    preamble = configuration.PREAMBLE.replace('address = "127.0.0.1:{admin}"', f'address = "unix:{path}"')
    monkeypatch.setattr(configuration, "PREAMBLE", preamble)
    start(own_backend, MORE, wait=False)

    def ask(text):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            client.sendall(text)
            return b"".join(iter(lambda: client.recv(65536), b""))

    def is_ready():
        with contextlib.suppress(OSError):
            return ask(render("GET", "/readyz", host="any.example")).startswith(b"HTTP/1.1 200")
    wait_until(is_ready)
    assert ask(render("GET", "/status.json", host="any.example")).startswith(b"HTTP/1.1 200")
    assert ask(render("POST", "/reload", body=b"", host="any.example")).startswith(b"HTTP/1.1 200")


# The page in a browser

def launch():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    binary = "/usr/bin/chromium"
    if not os.path.exists(binary):
        pytest.skip("chromium is not installed")
    return playwright.sync_playwright(), {"executable_path": binary, "args": ["--no-sandbox"]}


@pytest.fixture
def busy(start, own_backend):
    """A proxy with some seconds of mixed traffic behind it."""
    proxy = start(own_backend, MORE + """
[upstream.away]
servers = ["127.0.0.1:1", "127.0.0.1:2"]

[[route]]
path = "/away/{{user_id}}"
auth = "main"
require = {{ sub = "{{user_id}}" }}
upstream = "away"
""", workers=2)
    stop = threading.Event()

    def load():
        targets = ["/api/x"] * 12 + ["/public/y"] * 6 + ["/nothing", "/away/alice", "/away/bob", "/public/<img src=x onerror=alert(1)>".replace(" ", "%20")]
        n = 0
        while not stop.is_set():
            n += 1
            headers = bearer(token()) if n % 9 else bearer("x")
            try:
                proxy.get(targets[n % len(targets)], headers)
            except OSError:
                return
    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(5)
    yield proxy
    stop.set()
    for thread in threads:
        thread.join()


def test_status_page_in_a_browser(busy, tmp_path):
    """No error, nothing loaded from elsewhere, live figures; and pictures of it where USHER_SCREENSHOTS says."""
    manager, options = launch()
    folder = Path(os.environ.get("USHER_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    expect = pytest.importorskip("playwright.sync_api").expect
    with manager as playwright:
        browser = playwright.chromium.launch(**options)
        problems, requested = [], []
        for name, scheme, width in (("light", "light", 1280), ("dark", "dark", 1280), ("phone", "dark", 390)):
            context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
            page = context.new_page()
            page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("request", lambda request: requested.append(request.url))
            answer = page.goto(f"http://127.0.0.1:{busy.admin}/")
            assert answer.status == 200 and "default-src 'none'" in answer.headers["content-security-policy"]
            expect(page.locator("#state")).to_have_text("ready", timeout=30_000)
            page.wait_for_selector("#traffic polygon")
            first = page.inner_text("#tiles")
            assert "requests a second" in first
            assert "127.0.0.1:1" in page.inner_text("#upstreams") and "main" in page.inner_text("#issuers")
            assert "/away/{user_id}" in page.inner_text("#routes")
            for reason in ("token_invalid", "not_yours"):
                expect(page.locator("#refusals")).to_contain_text(reason, timeout=30_000)
            refusals = page.inner_text("#refusals")
            assert page.evaluate("document.querySelectorAll('main img').length") == 0
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{name}: {wide} pixels too wide"
            page.screenshot(path=folder / f"status-{name}.png", full_page=True)
            if name == "light":
                expect(page.locator("#refusals")).not_to_have_text(refusals, use_inner_text=True, timeout=30_000)
            context.close()
        assert not problems, problems
        assert requested and all(url.startswith(f"http://127.0.0.1:{busy.admin}/") or url == "data:," for url in requested)

        # another page must not read it
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{busy.port}/public/page")
        failed = page.evaluate(
            "url => fetch(url, {mode: 'no-cors'}).then(r => r.type + r.status, e => String(e))", f"http://127.0.0.1:{busy.admin}/status.json")
        assert "TypeError" in failed or failed == "opaque0", failed
        browser.close()
    assert re.search(r"usher_ready 1", admin(busy, "GET", "/metrics").body.decode())
