"""A secret in a configuration is printed by nothing: no command, no log line, no page of the admin listener."""

import json
import signal

import pytest
from test_config_check import GOOD, change

from harness.process import command, environment
from harness.tokens import bearer, token
from harness.wire import Client

CANARY = "Kq7RgNU3sdoOL0wNhqoVWhr3g6s1xYv72olp9Zq4"
SECRET = 'secret = { env = "USHER_TEST_SECRET" }'
# idea: what the file says in the place of the secret
WRONG = {
    "bare": f"secret = {CANARY}", "list": f'secret = ["{CANARY}"]', "table": f'secret = {{ value = "{CANARY}" }}',
    "base64": f'secret = {{ base64 = "{CANARY}" }}', "variable": 'secret = "${CANARY}"', "default": f'secret = "${{NOPE:-{CANARY}}}"',
    "env by a variable": 'secret = { env = "${CANARY}" }', "file by a variable": 'secret = { file = "${CANARY}" }',
    "env": f'secret = {{ env = "{CANARY}" }}', "file": f'secret = {{ file = "{CANARY}" }}', "unknown": f'{SECRET}\nsecret_key = "{CANARY}"',
    "unknown word": f'{SECRET}\npasswd = "{CANARY}"', "lines": f'secret = """\n{CANARY}',
    "not closed": f'secret = "{CANARY}', "two": f'secret = "{CANARY}" "{CANARY}"',
    "escape": f'secret = "{CANARY}\\q"', "key set": f'{SECRET}\njwks = {{ url = "https://u:${{CANARY}}@h" }}',
    "redis by a variable": f'{SECRET}\n[shared]\nredis = {{ env = "${{CANARY}}" }}',
    "redis": f'{SECRET}\n[shared]\nredis = "redis://u:{CANARY}@h:x"', "redis not closed": f'{SECRET}\n[shared]\nredis = "redis://u:{CANARY}@h',
    "redis in the environment": f'{SECRET}\n[shared]\nredis = {{ env = "REDIS" }}',
    "headers": f'{SECRET}\n[tracing]\nurl = "http://h"\nheaders = {{ A = "Basic {CANARY}" B = 1 }}',
    "bearer": f'{SECRET}\n[upstream.x]\nservers = ["127.0.0.1:1"]\nauthorization = "Bearer ${{CANARY}}"',
    "bearer unquoted": f'{SECRET}\n[upstream.x]\nauthorization = {{ bearer = {CANARY} }}',
}
ENVIRONMENT = {"CANARY": CANARY, "REDIS": f"redis://u:{CANARY}@{CANARY}:x"}


def shows(text: str | bytes) -> bool:
    text = (text if isinstance(text, str) else text.decode("utf-8", "replace")).lower()
    return any(CANARY[at:at + 6].lower() in text for at in range(len(CANARY) - 5))


@pytest.mark.parametrize("name", WRONG)
def test_no_command_shows_a_secret(tmp_path, name):
    file = tmp_path / "usher.toml"
    file.write_text(change(SECRET, WRONG[name]))
    for arguments in (
            ["check"], ["run"], ["routes"], ["explain", "GET", "/tasks/x"], ["doctor"], ["healthcheck", "--timeout", "1s"],
            ["token", "verify", "--token", token()]):
        first = 2 if arguments[0] == "token" else 1
        done = command(*arguments[:first], "--config", file, *arguments[first:], env=environment(**ENVIRONMENT), cwd=tmp_path)
        assert done.returncode != 0, done
        assert not shows(done.stdout) and not shows(done.stderr), done
    assert "usher.toml:" in command("check", "--config", file, env=environment(**ENVIRONMENT)).stderr


def test_no_reload_shows_a_secret(start, own_backend):
    proxy = start(own_backend, env=ENVIRONMENT)
    good = proxy.file.read_text()
    assert SECRET in good
    for wrong in WRONG.values():
        proxy.file.write_text(good.replace(SECRET, wrong, 1))
        with Client(proxy.admin) as client:
            answer = client.request("POST", "/reload", {}, b"", host=f"127.0.0.1:{proxy.admin}")
        assert answer.status == 409 and b"usher.toml:" in answer.body and not shows(answer.body), answer.body
        proxy.signal(signal.SIGHUP)
        status = proxy.admin_request("/status.json").body
        assert json.loads(status)["reload_failure"] and not shows(status), status
    assert proxy.get("/api/x", bearer(token())).status == 200
    proxy.wait_said("configuration not changed")
    assert not shows(bytes(proxy.errors)), proxy.errors


def test_the_text_of_the_file_is_quoted(tmp_path):
    (tmp_path / "usher.toml").write_text(change(SECRET, WRONG["env by a variable"]))
    done = command("check", "--config", tmp_path / "usher.toml", env=environment(**ENVIRONMENT))
    assert 'did you mean "CANARY"?' in done.stderr and 'secret = { env = "${CANARY}" }' in done.stderr, done.stderr


@pytest.mark.parametrize("contents, said", [
    ("\ufeff{}\n", "byte-order mark"), ("{}\n\n", "further line end"), ("{} \n", "white space"), ("{}\n{}\n", "several lines")])
def test_what_an_editor_put_into_a_secrets_file(tmp_path, contents, said):
    (tmp_path / "s").write_text(contents.replace("{}", "x" * 32))
    (tmp_path / "usher.toml").write_text(change(SECRET, 'secret = { file = "s" }'))
    done = command("check", "--config", tmp_path / "usher.toml")
    assert done.returncode == 0 and said in done.stderr and "1 warning" in done.stdout, done
