"""config/recipes/nextjs-*.toml as they are, each in front of the kind of backend that it is for, and of an auth server."""

import httpx
import pytest

from harness.ports import free_port
from harness.process import REPOSITORY, Usher, command, environment
from harness.tokens import token
from harness.web import PASSWORD, SECRET, Server, auth_server

RECIPES = REPOSITORY / "config" / "recipes"
APP = "https://app.example.com"
SERVICE_TOKEN = "service-token-of-the-recipe"
# recipe: (the backend's application, the path of Ada's tasks, whether Next.js is behind usher too)
KINDS = {
    "nextjs-user-id": ("user_id", "/api/tasks", True),
    "nextjs-minted-token": ("hs256", "/api/tasks", False),
    "nextjs-user-path": ("user_path", "/api/user-ada/tasks", False),
    "nextjs-service-token": ("service_token", "/api/tasks", True),
}


@pytest.mark.parametrize("file", sorted(path.name for path in RECIPES.glob("nextjs-*.toml")))
def test_each_is_accepted_as_it_is(file):
    done = command("check", "--config", RECIPES / file, env=environment(BETTER_AUTH_SECRET=SECRET, SERVICE_TOKEN=SERVICE_TOKEN))
    assert done.returncode == 0 and "warning" not in done.stdout + done.stderr, done.stdout + done.stderr
    assert file.removesuffix(".toml") in KINDS


@pytest.fixture(scope="module")
def auth():
    with auth_server(APP, AUTH_CACHE_SECONDS="300") as server:
        yield server.wait_ready()


class Recipe:
    """A recipe at work, and Ada, who is signed in."""

    def __init__(self, name: str, auth: Server, backend: Server, folder):
        self.name, self.auth, self.backend = name, auth, backend
        _, self.path, self.has_web = KINDS[name]
        port, admin = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.usher = Usher(folder, (RECIPES / f"{name}.toml").read_text(), port, admin, environment(
            USHER_ADDRESS=f"127.0.0.1:{port}", USHER_ADMIN_ADDRESS=f"127.0.0.1:{admin}", NEXT_ADDRESS=f"127.0.0.1:{auth.port}",
            TASKS_ADDRESS=f"127.0.0.1:{backend.port}", BETTER_AUTH_SECRET=SECRET, SERVICE_TOKEN=SERVICE_TOKEN))
        self.usher.wait_ready()
        self.cookie = self.sign_in("ada")

    def sign_in(self, name: str) -> str:
        """The Cookie field of somebody who is signed in: through usher where it stands in front of Next.js too."""
        url = self.url if self.has_web else self.auth.url
        answer = httpx.post(url + "/api/auth/sign-in/email", json={"email": f"{name}@example.com", "password": PASSWORD}, headers={"Origin": APP})
        assert answer.status_code == 200, answer.text
        cookies = [value.split(";")[0] for value in answer.headers.get_list("set-cookie")]
        assert [cookie.split("=")[0] for cookie in cookies] == ["__Secure-better-auth.session_token", "__Secure-better-auth.session_data"]
        return "; ".join(cookies)

    def token(self) -> str:
        return httpx.get(self.auth.url + "/api/auth/token", headers={"Cookie": self.cookie}).json()["token"]

    def ask(self, method: str = "GET", path: str | None = None, **headers: str) -> httpx.Response:
        return httpx.request(method, self.url + (path or self.path), headers={n.replace("_", "-"): v for n, v in headers.items()})


@pytest.fixture(scope="module", params=KINDS)
def recipe(request, auth, tmp_path_factory):
    application = KINDS[request.param][0]
    folder = REPOSITORY / "Tests" / "Conformance"
    with Server(folder, f"recipe_backends:{application}", BETTER_AUTH_SECRET=SECRET, SERVICE_TOKEN=SERVICE_TOKEN) as backend:
        found = Recipe(request.param, auth, backend.wait_ready(), tmp_path_factory.mktemp(request.param))
        yield found
        assert found.usher.stop() == 0


def test_a_session_and_a_token_are_the_same_user(recipe):
    by_cookie = recipe.ask(Cookie=recipe.cookie + "; theme=dark")
    by_token = recipe.ask(Authorization=f"Bearer {recipe.token()}")
    for answer in (by_cookie, by_token):
        assert answer.status_code == 200, answer.text
        assert answer.json()["user"] == "user-ada" and answer.json()["x-user-id"] == ["user-ada"]
    assert by_cookie.json()["cookie"] == ["theme=dark"], "the session stays here"
    assert recipe.ask("POST", Cookie=recipe.cookie, Origin=APP).json()["user"] == "user-ada"


def test_nobody_else_is(recipe):
    forged = {"X_User_Id": "user-ada"}
    assert recipe.ask(**forged).status_code == 401
    assert recipe.ask(Authorization="Bearer " + token(subject="user-ada", issuer=APP, audience=APP), **forged).status_code == 401
    assert recipe.ask(Authorization="Bearer " + token(subject="user-ada", secret_or_key=SECRET, issuer=APP, audience=APP)).status_code == 401
    assert recipe.ask(Authorization=f"Bearer {SERVICE_TOKEN}", **forged).status_code in (401, 503)
    assert recipe.ask(Cookie=recipe.cookie.replace("session_token=", "session_token=x")).status_code in (400, 401)
    answer = recipe.ask(Cookie=recipe.sign_in("grace"), **forged)
    if recipe.name == "nextjs-user-path":
        assert answer.status_code == 403
    else:
        assert answer.json()["user"] == "user-grace" and answer.json()["x-user-id"] == ["user-grace"]


@pytest.mark.parametrize("origin", ["https://evil.test", "https://evil.example.com", "null", None], ids=str)
def test_a_page_of_another_site_changes_nothing(recipe, origin):
    headers = {"Cookie": recipe.cookie} | ({"Origin": origin} if origin else {})
    answer = recipe.ask("POST", **headers)
    assert answer.status_code == 403 and answer.json()["code"] == "origin_refused"
    assert "access-control-allow-origin" not in answer.headers


def test_what_the_backend_gets_as_authorization(recipe):
    sent = recipe.ask(Cookie=recipe.cookie).json()["authorization"]
    match recipe.name:
        case "nextjs-minted-token":
            assert len(sent) == 1 and sent[0].startswith("Bearer ey")
        case "nextjs-service-token":
            assert sent == [f"Bearer {SERVICE_TOKEN}"]
        case _:
            assert sent == []


def test_pages_of_the_app(recipe):
    if recipe.has_web:
        assert recipe.ask(path="/api/auth/get-session", Cookie=recipe.cookie).json()["user"]["id"] == "user-ada"
        assert recipe.ask(path="/anything").status_code == 404, "Next.js's own answer"
    else:
        preflight = recipe.ask("OPTIONS", Origin=APP, Access_Control_Request_Method="POST", Access_Control_Request_Headers="content-type")
        assert preflight.status_code == 204 and preflight.headers["access-control-allow-origin"] == APP
        answer = recipe.ask(Origin=APP)
        assert answer.status_code == 401 and answer.headers["access-control-allow-credentials"] == "true"
    if recipe.name == "nextjs-user-id":
        navigation = {"Sec_Fetch_Mode": "navigate"}
        answer = recipe.ask(path="/dashboard/a?b=c", **navigation)
        assert answer.status_code == 302 and answer.headers["location"] == "/sign-in?return_to=%2Fdashboard%2Fa%3Fb%3Dc"
        assert recipe.ask(path="/dashboard/a", Cookie=recipe.cookie, **navigation).status_code == 404
        for data in ("dashboard.json", "dashboard/a.json"):
            assert recipe.ask(path=f"/_next/data/build-1/{data}").status_code == 401
            assert recipe.ask(path=f"/_next/data/build-1/{data}", Cookie=recipe.cookie).status_code == 404
