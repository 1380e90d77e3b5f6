"""A real browser: signs in, works across origins with cookies and with tokens, is refused from elsewhere, is sent to sign in.

Headless Chromium of Debian, driven by Playwright, on the page of config/examples/tasks-web.
"""

import http.server
import os
import re
import shutil
import threading
from pathlib import Path

import httpx
import pytest

from harness.web import PASSWORD, Site

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
expect.set_options(timeout=30_000)
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; scripts/install-packages installs it where it may"),
    pytest.mark.timeout(300)]
# A folder for pictures of the page: for people, nothing is compared with them.
PICTURES = os.environ.get("USHER_TEST_PICTURES")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page of a browser that knows nobody; no script of it may fail."""
    context = browser.new_context(viewport={"width": 1180, "height": 760})
    context.set_default_timeout(60_000)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert not errors, errors


def picture(page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def sign_in(page, site, name: str, path: str = "/") -> None:
    page.goto(site.page + path)
    assert re.fullmatch(re.escape(site.page) + r"/sign-in\?return_to=.*", page.url), page.url
    page.get_by_label("E-mail").fill(f"{name}@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(site.page + path)
    expect(page.locator("#name")).not_to_be_empty()


def add(page, title: str) -> None:
    page.get_by_label("New task").fill(title)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("checkbox", name=title)).to_be_visible()


def requests_to(page, site) -> list:
    """The requests that the page sends to the API from now on."""
    seen = []
    page.context.on("request", lambda request: seen.append(request) if request.url.startswith(site.api) else None)
    return seen


def test_signs_in_and_works_across_origins_with_cookies(page, site):
    page.goto(site.page)
    picture(page, "sign-in")
    sign_in(page, site, "ada", "/?from=mail")
    seen = requests_to(page, site)
    for title in ("Water the plants", "Write the third note", "Call Charles"):
        add(page, title)
    page.get_by_role("checkbox", name="Call Charles").check()
    expect(page.locator("#count")).to_have_text("2 open, 1 done")
    page.get_by_role("button", name="Delete “Write the third note”").click()
    expect(page.locator("#count")).to_have_text("1 open, 1 done")
    picture(page, "tasks")
    sent = [request.all_headers() for request in seen]
    assert all("better-auth.session_token" in headers["cookie"] and "authorization" not in headers for headers in sent)
    assert all(headers["origin"] == site.page for headers in sent), "across origins, every one"
    assert {"POST", "PATCH", "DELETE"} <= {request.method for request in seen}
    page.reload()
    expect(page.get_by_role("checkbox")).to_have_count(2)


def test_works_across_origins_with_bearer_tokens(page, site):
    sign_in(page, site, "grace")
    expect(page.locator("#empty")).to_be_visible()
    seen = requests_to(page, site)
    page.get_by_text("Bearer token", exact=True).click()
    add(page, "Find the moth")
    expect(page.locator("#log .bad")).to_have_count(0)
    picture(page, "bearer")
    sent = [request.all_headers() for request in seen]
    assert sent and all(headers["authorization"].startswith("Bearer ey") and "cookie" not in headers for headers in sent)
    page.get_by_text("Session cookie", exact=True).click()
    expect(page.get_by_role("checkbox", name="Find the moth")).to_be_visible()
    assert "Ada" not in page.content() and "Water" not in page.content(), "somebody else's tasks are not hers"


class Evil(http.server.BaseHTTPRequestHandler):
    """A page of somebody else. A real server: Chromium lets no page from nowhere near loopback."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>evil</title>")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def elsewhere():
    """The port of the other page."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


ATTACKS = """async (api) => {
  const attempt = (path, options) => fetch(api + path, { credentials: "include", ...options })
    .then(async (answer) => `${answer.type} ${answer.status} ${await answer.text()}`, (error) => `${error}`);
  return {
    read: await attempt("/tasks", {}),
    write: await attempt("/tasks", { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"title":"evil"}' }),
    plain: await attempt("/tasks", { method: "POST", headers: { "Content-Type": "text/plain" }, body: '{"title":"evil"}' }),
    blind: await attempt("/tasks", { method: "POST", mode: "no-cors", body: '{"title":"evil"}' }),
    remove: await attempt("/tasks/1", { method: "DELETE" }),
  };
}"""


@pytest.mark.parametrize("host", ["localhost", "evil.localhost"], ids=["same-site", "cross-site"])
def test_a_page_of_another_origin_is_refused(page, site, elsewhere, host):
    """Of another port of the same host too: browsers send the cookie along from there, and the origin decides."""
    sign_in(page, site, "alan")
    add(page, "Prove it")
    page.goto(f"http://{host}:{elsewhere}/")
    found = page.evaluate(ATTACKS, site.api)
    assert found.pop("blind") == "opaque 0 ", "sent without asking, and answered with something unreadable"
    assert set(found.values()) == {"TypeError: Failed to fetch"}, found
    # What needs no preflight does arrive, from another port of the host with the cookie, and is refused.
    refused = 403 if host == "localhost" else 401
    site.usher.wait_log(method="POST", path="/tasks", status=refused)
    assert [line["status"] for line in site.usher.log_lines() if line["path"] == "/tasks" and line["method"] == "POST"][-1] == refused
    page.goto(site.page + "/")
    expect(page.get_by_role("checkbox", name="Prove it")).to_be_visible()
    assert "evil" not in page.locator("#tasks").inner_text()
    for box in page.locator("#tasks .remove").all():
        box.click()
    expect(page.locator("#empty")).to_be_visible()


def test_is_sent_to_sign_in_when_its_session_ends(page, site):
    sign_in(page, site, "ada")
    expect(page.get_by_role("checkbox").first).to_be_visible()
    # Ended at the auth server; the browser keeps its cookie and knows nothing of it.
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    gone = httpx.post(site.auth.url + "/api/auth/sign-out", cookies=cookies, json={}, headers={"Origin": site.page})
    assert gone.status_code == 200
    page.wait_for_timeout(1200)  # cache_for
    page.get_by_label("New task").fill("Too late")
    page.get_by_role("button", name="Add").click()
    page.wait_for_url(f"{site.page}/sign-in?return_to=%2F")
    picture(page, "again")
    # And back to work.
    page.get_by_label("E-mail").fill("ada@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(site.page + "/")
    expect(page.get_by_role("checkbox").first).to_be_visible()
    assert "Too late" not in page.locator("#tasks").inner_text()


def test_signs_out(page, site):
    sign_in(page, site, "grace")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(site.page + "/sign-in")
    page.goto(site.page + "/")
    page.wait_for_url(f"{site.page}/sign-in?return_to=%2F")


@pytest.mark.parametrize("back", ["//evil.test/", "https://evil.test/", "/\\evil.test", "javascript:alert(1)", "/..//evil.test"])
def test_F10_the_sign_in_page_goes_back_to_its_own_origin_only(page, site, back):
    page.goto(f"{site.page}/sign-in?return_to={back}")
    page.get_by_label("E-mail").fill("ada@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
    assert page.url.startswith(site.page + "/"), page.url
