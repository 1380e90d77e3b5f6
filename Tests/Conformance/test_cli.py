"""The command line: routes, token sign|verify|decode, healthcheck, version."""

import json
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import jwt
import pytest

from harness import configuration, tokens
from harness.keyserver import KeyServer, signed
from harness.process import BINARY, command, environment, unused_port
from harness.tokens import SECRET, bearer, token, unb64
from test_config_check import GOOD


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    return tmp_path / "secret"


@pytest.fixture
def config(tmp_path):
    configuration.write_keys(tmp_path)
    text = (configuration.PREAMBLE + configuration.DEFAULT).format(workers=1, port=1, admin=2, backend=3, nobody=4, listen="")
    (tmp_path / "usher.toml").write_text(text)
    return tmp_path / "usher.toml"


def test_version():
    for arguments in (["version"], ["--version"]):
        done = command(*arguments)
        assert done.returncode == 0 and re.search(r"\d+\.\d+\.\d+", done.stdout), done


@pytest.mark.parametrize("arguments", [
    ["version"], ["--version"], ["--help"], ["run", "--help"], ["token"], [], ["routes", "--config", "FILE"], ["check", "--config", "FILE"], ["doctor", "--config", "FILE"],
    ["explain", "--config", "FILE", "GET", "/"], ["token", "decode", "TOKEN"],
    ["token", "sign", "--algorithm", "HS256", "--secret-env", "USHER_TEST_SECRET", "--subject", "a"]], ids=" ".join)
def test_what_nobody_gets_is_no_success(arguments, config):
    """On a disk that is full, a script went on with an empty token, or table."""
    arguments = [{"FILE": str(config), "TOKEN": token()}.get(argument, argument) for argument in arguments]
    with open("/dev/full", "wb") as full:
        done = subprocess.run([BINARY, *arguments], env=environment(USHER_TEST_SERVICE_TOKEN="x"), stdin=subprocess.DEVNULL,
                              stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith(b"usher: ")]
    assert len(lines) == 1 and lines[0].startswith(b"usher: cannot write to the standard output: "), done.stderr


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["run", "--nonsense"], ["token"], ["token", "nonsense"]])
def test_usage(arguments):
    done = command(*arguments)
    text = done.stdout + done.stderr
    assert "usher" in text.lower() and ("usage" in text.lower() or "overview" in text.lower())
    if arguments not in ([], ["token"]):
        assert done.returncode != 0


def test_an_empty_name_of_the_configuration():
    """`--config "$FILE"` without FILE: said as such, and not looked for at another place."""
    done = command("check", "--config", "")
    assert done.returncode == 64 and "--config is empty" in done.stderr, done


def test_help():
    done = command("--help")
    assert done.returncode == 0
    for name in ("run", "check", "routes", "token", "healthcheck", "version"):
        assert name in done.stdout


@pytest.mark.parametrize("arguments", [["version"], ["nonsense"], [], ["check", "--config", "/nowhere.toml"]])
def test_arguments_where_a_preloaded_library_has_moved_the_environment(arguments):
    """libfaketime does so before the start, and Swift finds no arguments then: `run` printed the help and ended with 0."""
    library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
    if not library:
        pytest.skip("libfaketime is not installed")
    plain, moved = command(*arguments), command(*arguments, env={"LD_PRELOAD": str(library), "FAKETIME": "2026-01-25 00:00:00"})
    assert (moved.returncode, moved.stdout, moved.stderr) == (plain.returncode, plain.stdout, plain.stderr)


@pytest.mark.parametrize("arguments", [["version"], ["check", "--config", "/nowhere.toml"], ["healthcheck", "--config", "/nowhere.toml"]])
def test_no_arguments_to_be_had_is_no_success(arguments):
    """Without /proc, as in a chroot, Swift finds none: each command, `check` and `healthcheck` too, printed the help and ended with 0."""
    without = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$0" "$@"']
    if subprocess.run([*without, "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    done = subprocess.run([*without, BINARY, *arguments], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr == "usher: cannot read the command line: /proc is not mounted here\n"


# routes

def test_routes(config):
    done = command("routes", "--config", config, env=environment(USHER_TEST_SERVICE_TOKEN="x"))
    assert done.returncode == 0, done.stderr
    order = [done.stdout.index(path) for path in ("/specific/exact", "/specific/{name}", "/specific/**")]
    assert order == sorted(order), "most specific first"
    line = next(l for l in done.stdout.splitlines() if "/api/{user_id}/tasks/**" in l)
    assert "main" in line and "backend" in line


def columns(text: str) -> list[dict[str, str]]:
    """The rows of a table, by the places where its headings begin."""
    head, *rows = text.splitlines()
    places = [match.start() for match in re.finditer(r"(?<!\S)\S(?: ?\S)*", head)]
    cut = list(zip(places, places[1:] + [None]))
    return [{head[a:b].strip(): row[a:b].strip() for a, b in cut} for row in rows]


def test_routes_say_who_may_read_and_where_to_sign_in(tmp_path):
    from test_config_check import GOOD
    file = tmp_path / "usher.toml"
    file.write_text(GOOD + '''
[cors.app]
origins = ["https://app.example.com"]

[[route]]
path = "/page/**"
auth = "optional:main"
upstream = "tasks"
cors = "app"
sign_in = "https://app.example.com/sign-in"

[[route]]
path = "/moved"
auth = "none"
redirect = "https"
''')
    done = command("routes", "--config", file)
    assert done.returncode == 0, done.stderr
    rows = {row["PATH"]: row for row in columns(done.stdout)}
    assert rows["/page/**"] == {
        "HOST": "*", "METHODS": "*", "PATH": "/page/**", "AUTH": "optional:main", "REQUIRE": "-", "SCOPES": "-", "CORS": "app",
        "SIGN IN": "https://app.example.com/sign-in", "UPSTREAM": "tasks"}
    assert {row["CORS"] for path, row in rows.items() if path != "/page/**"} == {"-"}
    assert {row["SIGN IN"] for path, row in rows.items() if path != "/page/**"} == {"-"}
    assert rows["/moved"]["UPSTREAM"] == "(https)"


def test_routes_of_a_bad_file(tmp_path):
    (tmp_path / "usher.toml").write_text("nonsense")
    assert command("routes", "--config", tmp_path / "usher.toml").returncode == 1


def test_config_from_the_environment(tmp_path):
    (tmp_path / "elsewhere.toml").write_text(GOOD)
    done = command("check", env=environment(USHER_CONFIG=str(tmp_path / "elsewhere.toml")), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_flag_over_environment(tmp_path):
    (tmp_path / "good.toml").write_text(GOOD)
    (tmp_path / "bad.toml").write_text("nonsense")
    env = environment(USHER_CONFIG=str(tmp_path / "bad.toml"))
    assert command("check", env=env).returncode == 1
    assert command("check", "--config", tmp_path / "good.toml", env=env).returncode == 0


def test_default_file(tmp_path):
    (tmp_path / "usher.toml").write_text(GOOD)
    assert command("check", cwd=tmp_path).returncode == 0


# token

def sign(*arguments, **more):
    done = command("token", "sign", *arguments, **more)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, "one line: the token"
    return done.stdout.strip()


@pytest.mark.parametrize("algorithm", tokens.HMAC_ALGORITHMS)
def test_sign_hmac(secret, algorithm):
    text = sign("--algorithm", algorithm, "--secret-file", secret, "--subject", "alice", "--issuer", "https://main.test",
                "--audience", "https://api.test", "--lifetime", "1h", "--kid", "k1", "--claim", "email=a@example.com")
    claims = jwt.decode(text, SECRET, [algorithm], audience="https://api.test", issuer="https://main.test")
    assert claims["sub"] == "alice" and claims["email"] == "a@example.com"
    assert claims["exp"] - claims["iat"] == 3600 and abs(claims["iat"] - time.time()) < 10
    assert jwt.get_unverified_header(text)["kid"] == "k1"


@pytest.mark.parametrize("algorithm", tokens.PUBLIC_KEY_ALGORITHMS)
def test_sign_public_key(tmp_path, algorithm):
    private = tokens.key_for(algorithm, "cli")
    (tmp_path / "key.pem").write_bytes(tokens.private_pem(private))
    text = sign("--algorithm", algorithm, "--key-file", tmp_path / "key.pem", "--subject", "alice", "--lifetime", "5m")
    assert jwt.decode(text, private.public_key(), [algorithm])["sub"] == "alice"


def test_sign_claims_json(secret):
    text = sign("--algorithm", "HS256", "--secret-file", secret, "--claims-json", '{"realm": {"roles": ["a", "b"]}, "n": 5}', "--subject", "s")
    claims = jwt.decode(text, SECRET, ["HS256"])
    assert claims["realm"] == {"roles": ["a", "b"]} and claims["n"] == 5 and claims["sub"] == "s"


def test_signed_token_is_accepted(proxy, secret):
    text = sign("--algorithm", "HS256", "--secret-file", secret, "--subject", "alice", "--issuer", "https://main.test", "--audience",
                "https://api.test", "--lifetime", "1h")
    proxy.assert_arrived(proxy.get("/tasks", bearer(text)), "alice")


@pytest.mark.parametrize("arguments", [
    ["--algorithm", "none"], ["--algorithm", "HS256"], ["--algorithm", "RS256"], ["--algorithm", "HS257", "--secret-file", "SECRET"],
    ["--algorithm", "RS256", "--secret-file", "SECRET"], ["--algorithm", "HS256", "--secret-file", "/no/such/file"],
    ["--algorithm", "HS256", "--secret-file", "SECRET", "--lifetime", "5"],
    ["--algorithm", "HS256", "--secret-file", "SECRET", "--claims-json", "{"]], ids=" ".join)
def test_sign_refuses(secret, arguments):
    done = command("token", "sign", *[str(secret) if a == "SECRET" else a for a in arguments])
    assert done.returncode != 0 and not done.stdout.strip() and done.stderr


def test_short_secret_is_refused(tmp_path):
    (tmp_path / "s").write_text("x" * 31)
    assert command("token", "sign", "--algorithm", "HS256", "--secret-file", tmp_path / "s", "--subject", "a").returncode != 0


def verify(config, text, *more):
    return command("token", "verify", "--config", config, "--token", "-", *more, stdin=text.encode(),
                   env=environment(USHER_TEST_SERVICE_TOKEN="x"))


def test_verify(config, tmp_path):
    assert verify(config, token() + "\n").returncode == 0
    assert verify(config, token(), "--issuer", "main").returncode == 0
    (tmp_path / "t").write_text(token() + "\n")
    done = command("token", "verify", "--config", config, "--token", f"@{tmp_path / 't'}", env=environment(USHER_TEST_SERVICE_TOKEN="x"))
    assert done.returncode == 0, done.stderr


def test_verify_says_what_does_not_fit(config):
    """As `usher explain` does: what the token has, and what the configuration accepts."""
    def words(text):
        done = command("token", "verify", "--config", config, "--issuer", "main", "--token", text, env=environment(USHER_TEST_SERVICE_TOKEN="x"))
        assert done.returncode == 1, done
        return done.stderr.strip()

    assert words(token(issuer="https://other.test")) == (
        'usher: refused: token_wrong_issuer: "iss" is "https://other.test"; accepted: main https://main.test')
    spoilt = words(token(audience="\x1b[31mred"))
    assert "\x1b" not in spoilt and "; accepted: https://api.test" in spoilt, spoilt


def test_verify_tells_reasons_apart(config):
    """Whoever has the configuration may know why; the client may not."""
    reasons = []
    for text in (token(exp=1), token(audience="x"), token(secret_or_key=b"w" * 40), token(issuer="https://nobody.test"), "garbage"):
        done = verify(config, text)
        assert done.returncode == 1, done
        reasons.append(done.stdout + done.stderr)
    assert len(set(reasons)) == len(reasons), reasons


def test_verify_takes_the_token_without_a_flag(config):
    env = environment(USHER_TEST_SERVICE_TOKEN="x")
    assert command("token", "verify", "--config", config, token(), env=env).returncode == 0
    assert command("token", "verify", "--config", config, "--token", token(), token(), env=env).returncode != 0


def test_verify_fetches_keys(tmp_path):
    """As a route would: for whoever has their keys at a URL, every token would be refused otherwise."""
    with KeyServer() as server:
        server.publish("one")
        (tmp_path / "usher.toml").write_text(GOOD.replace(
            'secret = { env = "USHER_TEST_SECRET" }', f'jwks = {{ url = "{server.url}" }}\nalgorithms = ["ES256"]'))

        def verify(kid="one", **more):
            claims = {"issuer": "https://app.example.com", "audience": "https://app.example.com"} | more
            return command("token", "verify", "--config", tmp_path / "usher.toml", signed(kid, **claims))

        done = verify()
        assert done.returncode == 0 and json.loads(done.stdout)["sub"] == "alice", done.stderr
        assert verify("two").returncode == 1 and verify(exp=1).returncode == 1
        server.down()
        done = verify()
        assert done.returncode == 1 and "keys_unavailable: " in done.stderr, done.stderr


def test_verify_of_another_issuer(config):
    assert verify(config, token(), "--issuer", "keys").returncode == 1


def test_decode():
    text = token(email="a@example.com")
    for done in (command("token", "decode", "--token", text), command("token", "decode", "--token", "-", stdin=text.encode())):
        assert done.returncode == 0, done.stderr
        assert "alice" in done.stdout and "a@example.com" in done.stdout and "HS256" in done.stdout


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "....", "e30.e30"], ids=repr)
def test_decode_garbage(text):
    assert command("token", "decode", "--token", "-", stdin=text.encode()).returncode != 0


def test_decode_escapes_for_the_terminal():
    done = command("token", "decode", "--token", token(email="\x1b[31mred"))
    assert "\x1b" not in done.stdout


# healthcheck

def test_healthcheck(proxy):
    done = command("healthcheck", "--config", proxy.file, env=environment(USHER_TEST_SERVICE_TOKEN="x"))
    assert done.returncode == 0, done.stderr


def test_healthcheck_of_nobody(tmp_path):
    (tmp_path / "usher.toml").write_text(GOOD + f'\n[admin]\naddress = "127.0.0.1:{unused_port()}"\n')
    assert command("healthcheck", "--config", tmp_path / "usher.toml").returncode == 1


@pytest.mark.parametrize("old, new", [
    ("workers =", "wokers ="), ('auth = "main"', 'auth = "mian"'), ("USHER_TEST_SECRET", "USHER_TEST_NO_SUCH_SECRET"),
    ('[listen.public]\naddress = "127.0.0.1:', '[listen.public]\naddress = "127.0.0.1'),
    ("[admin]\n", '[admin]\ntoken = { file = "nowhere" }\n')], ids=["key", "name", "secret", "listener", "token"])
def test_healthcheck_by_a_file_with_mistakes(start, own_backend, old, new):
    """A reload refused it and the proxy is well: a container that is replaced then gets one that cannot start."""
    proxy = start(own_backend)
    text = proxy.file.read_text()
    assert old in text
    proxy.file.write_text(text.replace(old, new))
    proxy.signal(signal.SIGHUP)
    proxy.wait_said("configuration not changed")
    done = command("healthcheck", "--config", proxy.file, "--timeout", "30s")
    assert done.returncode == 0 and "/readyz answered 200" in done.stdout and not done.stderr, done


def test_healthcheck_by_a_file_with_mistakes_without_admin_pages(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (tmp_path / "usher.toml").write_text("wokers = 1\n" + GOOD.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
        done = command("healthcheck", "--config", tmp_path / "usher.toml", "--timeout", "30s")
    assert done.returncode == 0 and "takes connections" in done.stdout, done
    done = command("healthcheck", "--config", tmp_path / "usher.toml")
    assert done.returncode == 1 and "unhealthy" in done.stdout, done


@pytest.mark.parametrize("more, words", [
    ('\n[admin]\naddress = "127.0.0.1"\n', "lacks a port"), ('\n[admin]\nadress = "127.0.0.1:1"\n', 'unknown key "adress"'),
    ("\n[admin\n", "this is not TOML")], ids=["address", "key", "not TOML"])
def test_healthcheck_of_an_address_that_cannot_be_read(tmp_path, more, words):
    """No other one is asked in its place."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        text = GOOD.replace("127.0.0.1:8080", f"127.0.0.1:{listener.getsockname()[1]}")
        (tmp_path / "usher.toml").write_text(text + more)
        done = command("healthcheck", "--config", tmp_path / "usher.toml")
    assert done.returncode == 1 and words in done.stderr and not done.stdout, done


def test_admin_answers(proxy):
    assert proxy.admin_request("/livez").status == 200
    assert proxy.admin_request("/readyz").status == 200
    assert proxy.admin_request("/nothing").status == 404


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.test"}, {"Sec-Fetch-Mode": "cors"}, {"Origin": "null"}], ids=str)
def test_F9_admin_is_not_for_browsers(proxy, headers):
    assert proxy.admin_request("/readyz", headers).status == 403


def test_payload_is_what_was_signed(secret):
    text = sign("--algorithm", "HS256", "--secret-file", secret, "--subject", 'a"b\\c\u00e9')
    assert json.loads(unb64(text.split(".")[1]))["sub"] == 'a"b\\c\u00e9'
