"""`make demo`: the proxy in front of the sample backend, five requests that say what it is for, and curl lines.

DEMO_ONCE=1 ends after the show (a test does that); otherwise it stays up until Ctrl-C.
`make demo BETTER_AUTH_URL=http://localhost:3000/api/auth` takes the tokens of a Better Auth that runs there, by the three
lines of docs/better-auth.md, instead of tokens of its own.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BINARY = Path(os.environ.get("USHER_BINARY", ROOT / ".build" / "release" / "usher")).resolve()
SAMPLE = ROOT / "config" / "examples" / "tasks-api"
WEB = ROOT / "config" / "examples" / "tasks-web.toml"
AUTH = ROOT / "config" / "examples" / "auth-stand-in"
CONFIGURATION = ROOT / "config" / "examples" / "tasks-api.toml"
ORIGIN = "https://app.example.com"

COLOUR = "NO_COLOR" not in os.environ and (sys.stdout.isatty() or os.environ.get("DEMO_COLOUR") == "1")


def paint(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def bold(text: str) -> str:
    return paint("1", text)


def dim(text: str) -> str:
    return paint("2", text)


def say(text: str = "") -> None:
    print(text, flush=True)


def port(wanted: int) -> int:
    """`wanted` where nobody listens there, else a free one."""
    for candidate in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise SystemExit("no free port")


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"{process.args[0]} ended with {process.returncode}:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"no answer from {url}:\n{log.read_text()}")


def sign(folder: Path, user: str) -> str:
    done = subprocess.run(
        [BINARY, "token", "sign", "--algorithm", "HS256", "--secret-file", folder / "secret", "--subject", user,
         "--issuer", ORIGIN, "--audience", ORIGIN, "--lifetime", "8h"],
        capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"usher token sign: {done.stderr}")
    return done.stdout.strip()


def ask(base: str, method: str, path: str, token: str | None = None, headers=None, body=None):
    request = urllib.request.Request(base + path, method=method, headers=dict(headers or {}))
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def show(title: str, request: str, answer: tuple[int, str], comment: str) -> None:
    status, body = answer[0], answer[1].strip()
    tint = "32" if status < 300 else "31"
    say(f"{bold(title)}")
    say(f"  {paint('36', request)}")
    say(f"  {paint(tint, str(status))} {body if len(body) < 400 else body[:400] + '…'}")
    say(f"  {dim(comment)}")
    say()


def tour(base: str, alice: str, bob: str) -> None:
    """The five requests; what they must show is asserted, so a demo that lies ends with an error."""
    made = ask(base, "POST", "/api/alice/tasks", alice, body={"title": "Water the plants"})
    show("Alice makes a task", "POST /api/alice/tasks   Authorization: Bearer <alice>", made,
         "The backend was given X-User-Id: alice, taken from the verified token.")
    assert made[0] == 201 and json.loads(made[1])["owner"] == "alice", made

    made = ask(base, "POST", "/api/bob/tasks", bob, body={"title": "Call the dentist"})
    show("Bob makes one too", "POST /api/bob/tasks     Authorization: Bearer <bob>", made,
         "The same backend, another user.")
    assert made[0] == 201 and json.loads(made[1])["owner"] == "bob", made

    spoofed = ask(base, "GET", "/tasks", bob, {"X-User-Id": "alice", "X_User_Id": "alice"})
    show("Bob says that he is Alice", "GET /tasks              Authorization: Bearer <bob>   X-User-Id: alice", spoofed,
         "The forged header never arrived: these are Bob's own tasks.")
    assert spoofed[0] == 200 and {task["owner"] for task in json.loads(spoofed[1])} == {"bob"}, spoofed

    denied = ask(base, "GET", "/api/alice/tasks", bob)
    show("Bob asks for Alice's path", "GET /api/alice/tasks    Authorization: Bearer <bob>", denied,
         'Refused by the route\'s require = { sub = "{user_id}" }; the backend was not asked.')
    assert denied[0] == 403, denied

    refused = ask(base, "GET", "/tasks", None, {"X-User-Id": "alice"})
    show("Somebody without a token", "GET /tasks              X-User-Id: alice", refused,
         "Refused before a backend connection was touched.")
    assert refused[0] == 401, refused


def curls(base: str, admin: str, alice: str, bob: str) -> None:
    say(bold("Try it yourself"))
    for line in [
        f"export ALICE={alice}",
        f"export BOB={bob}",
        f'curl -i {base}/tasks -H "Authorization: Bearer $ALICE"',
        f'curl -i {base}/api/alice/tasks -H "Authorization: Bearer $ALICE" '
        f'-H "Content-Type: application/json" -d \'{{"title": "Buy milk"}}\'',
        f'curl -i {base}/tasks -H "Authorization: Bearer $BOB" -H "X-User-Id: alice"',
        f'curl -i {base}/api/alice/tasks -H "Authorization: Bearer $BOB"',
        f"curl -i {base}/tasks -H 'X-User-Id: alice'",
        f"curl -i {base}/health",
        f"curl -i {admin}/readyz",
    ]:
        say(f"  {paint('36', line)}")
    say()


def pointed_at(url: str, folder: Path) -> Path:
    """The demo's configuration with the three lines of docs/better-auth.md in the place of its own issuer."""
    lines = f'[issuer.main]\nprovider = "better-auth"\nurl = "{url}"\n\n'
    text, count = re.subn(r"\[issuer\.main\]\n(?:.+\n)+\n", lambda _: lines, CONFIGURATION.read_text())
    assert count == 1, CONFIGURATION
    path = folder / "usher.toml"
    path.write_text(text)
    say(bold("The issuer is your Better Auth"))
    for line in lines.strip().splitlines():
        say(f"  {line}")
    say()
    return path


def curls_with_better_auth(base: str, url: str) -> None:
    say(bold("Sign in to your application, and then"))
    for line in [
        f"export TOKEN=$(curl -s -b cookies.txt {url}/token | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')",
        f'curl -i {base}/tasks -H "Authorization: Bearer $TOKEN"',
        f"curl -i {base}/tasks -H 'X-User-Id: alice'",
    ]:
        say(f"  {paint('36', line)}")
    say()


def main() -> None:
    if not BINARY.exists():
        raise SystemExit(f"no binary at {BINARY}: run `make build`")
    public, backend, admin, auth = port(8080), port(8000), port(9901), port(3000)
    web, api, web_admin = port(8081), port(8082), port(9902)
    running: list[subprocess.Popen] = []
    with tempfile.TemporaryDirectory(prefix="usher-demo-") as name:
        folder = Path(name)
        secret = secrets.token_urlsafe(48)
        (folder / "secret").write_text(secret)
        (folder / "secret").chmod(0o600)
        environment = os.environ | {
            "TASKS_DATABASE": str(folder / "tasks.db"), "BETTER_AUTH_SECRET": secret,
            "USHER_ADDRESS": f"127.0.0.1:{public}", "TASKS_ADDRESS": f"127.0.0.1:{backend}",
            "USHER_ADMIN_ADDRESS": f"127.0.0.1:{admin}"}
        # The page and the API on two origins, and usher in front of both.
        site = environment | {
            "USHER_WEB_ADDRESS": f"127.0.0.1:{web}", "USHER_API_ADDRESS": f"127.0.0.1:{api}", "WEB_ORIGIN": f"http://localhost:{web}",
            "AUTH_ORIGIN": f"http://localhost:{web}", "AUTH_ADDRESS": f"127.0.0.1:{auth}", "USHER_ADMIN_ADDRESS": f"127.0.0.1:{web_admin}"}
        environment["TASKS_PUBLIC_API"] = f"http://localhost:{api}"

        def spawn(log: str, *command, env=environment, cwd=SAMPLE) -> tuple[subprocess.Popen, Path]:
            path = folder / log
            # a session of its own: Ctrl-C reaches this script, and this script ends them in order
            process = subprocess.Popen(
                list(map(str, command)), env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                stdout=path.open("wb"), stderr=subprocess.STDOUT, start_new_session=True)
            running.append(process)
            return process, path

        try:
            process, log = spawn(
                "backend.log", sys.executable, "-m", "uvicorn", "main:app", "--host", "127.0.0.1", "--port", backend)
            wait_for(f"http://127.0.0.1:{backend}/health", process, log)
            better_auth = os.environ.get("BETTER_AUTH_URL")
            file = pointed_at(better_auth, folder) if better_auth else CONFIGURATION
            process, log = spawn("usher.log", BINARY, "run", "--config", file)
            base, ready = f"http://127.0.0.1:{public}", f"http://127.0.0.1:{admin}"
            other, auth_log = spawn(
                "auth.log", sys.executable, "-m", "uvicorn", "main:app", "--host", "127.0.0.1", "--port", auth, env=site, cwd=AUTH)
            wait_for(f"http://127.0.0.1:{auth}/api/auth/jwks", other, auth_log)
            other, web_log = spawn("web.log", BINARY, "run", "--config", WEB, env=site)
            wait_for(f"{ready}/readyz", process, log)
            wait_for(f"http://127.0.0.1:{web_admin}/readyz", other, web_log)

            say()
            say(f"{bold('usher')}    {base}   {dim('verifies tokens, strips forged identity')}")
            say(f"{bold('backend')}  http://127.0.0.1:{backend}   {dim('FastAPI, trusts X-User-Id, never heard of a token')}")
            say()
            if better_auth:
                curls_with_better_auth(base, better_auth)
            else:
                alice, bob = sign(folder, "alice"), sign(folder, "bob")
                tour(base, alice, bob)
                curls(base, ready, alice, bob)
                say(bold("In a browser"))
                say(f"  {paint('36', f'http://localhost:{web}/')}   {dim('ada@example.com, password “correct horse”')}")
                say(f"  {dim('Sessions by cookie, bearer tokens and CORS: config/examples/tasks-web.toml')}")
                say(f"  {paint('36', f'{ready}/')}   {dim('usher itself: what it serves, what it refused and why')}")
                say()
            if os.environ.get("DEMO_ONCE") != "1":
                say(dim(f"Access log: {log}. Ctrl-C ends it."))
                while process.poll() is None:
                    time.sleep(0.5)
                raise SystemExit(f"usher ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        except KeyboardInterrupt:
            say()
        finally:
            for process in reversed(running):
                if process.poll() is None:
                    process.terminate()
                try:
                    process.wait(35)
                except subprocess.TimeoutExpired:
                    process.kill()


def interrupt(*_) -> None:
    """Ends the show, once: a second signal, of `timeout` or of an impatient hand, would leave behind what is yet to be ended."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    main()
