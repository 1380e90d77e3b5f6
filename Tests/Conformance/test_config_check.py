"""`usher check`: FILE:LINE:COLUMN: error: …, every mistake in one run, with its line and a suggestion; exit status 1."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness.authority import Authority
from harness.process import BINARY, command, environment

GOOD = """\
[listen.public]
address = "127.0.0.1:8080"

[upstream.tasks]
servers = ["127.0.0.1:8000"]

[issuer.main]
issuer = "https://app.example.com"
audience = ["https://app.example.com"]
secret = { env = "USHER_TEST_SECRET" }

[[route]]
path = "/health"
auth = "none"
upstream = "tasks"

[[route]]
path = "/tasks/**"
auth = "main"
upstream = "tasks"
"""


@pytest.fixture
def check(tmp_path):
    def run(text: str, env=None):
        file = tmp_path / "usher.toml"
        file.write_text(text)
        done = command("check", "--config", file, env=environment(**(env or {})), cwd=tmp_path)
        done.text = done.stdout + done.stderr
        done.errors = [
            (int(m[1]), int(m[2]), m[3]) for m in re.finditer(r"usher\.toml:(\d+):(\d+): error: (.+)", done.text)]
        done.warnings = [int(m[1]) for m in re.finditer(r"usher\.toml:(\d+):\d+: warning: ", done.text)]
        return done
    return run


def change(old: str, new: str, text: str = GOOD) -> str:
    assert old in text
    return text.replace(old, new, 1)


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_good(check):
    done = check(GOOD)
    assert done.returncode == 0, done.text
    assert not done.errors and not done.warnings


ROUTE = "\n[[route]]\npath = \"/more\"\nauth = \"none\"\nupstream = \"tasks\"\n"
# idea: (text, a part of the line that is pointed at, a part of the message)
MISTAKES = {
    "unknown key in a table": (change("address =", "adress ="), "adress", "address"),
    "unknown key in a route": (GOOD + ROUTE + 'upstrem = "x"\n', "upstrem", "upstream"),
    "unknown key at the top": ("wokers = 2\n" + GOOD, "wokers", "workers"),
    "key of 80,000 parts": (GOOD + "\n[deep]\n" + ".".join(["a"] * 80_000) + " = 1\n", "a.a.a", "nested more than 64 deep"),
    "unknown table": (GOOD + "\n[lisen.x]\naddress = \"127.0.0.1:1\"\n", "[lisen", "listen"),
    "unknown limit": (GOOD + '\n[limits]\nheader_byte = "1KiB"\n', "header_byte", "header_bytes"),
    "unknown upstream": (GOOD + ROUTE.replace('"tasks"', '"taks"'), '"taks"', "tasks"),
    "unknown issuer": (change('auth = "main"', 'auth = "mian"'), '"mian"', "main"),
    "unknown algorithm": (change("secret =", 'algorithms = ["HS265"]\nsecret ='), "HS265", "HS256"),
    "route without auth": (change('auth = "none"\n', ""), "[[route]]", "auth"),
    "route without upstream": (GOOD + '\n[[route]]\npath = "/more"\nauth = "none"\n', '[[route]]\npath = "/more"', "upstream"),
    "route without path": (GOOD + '\n[[route]]\nauth = "none"\nupstream = "tasks" # x\n', None, "path"),
    "auth = open": (change('auth = "none"', 'auth = "open"'), '"open"', "open"),
    "auth none in a list": (change('auth = "main"', 'auth = ["none", "main"]'), '["none"', "none"),
    "auth empty list": (change('auth = "main"', "auth = []"), "auth = []", "auth"),
    "issuer without audience": (change('audience = ["https://app.example.com"]\n', ""), "[issuer.main]", "audience"),
    "issuer with empty audience": (change('["https://app.example.com"]', "[]"), "audience", "audience"),
    "issuer without issuer": (change('issuer = "https://app.example.com"\n', ""), "[issuer.main]", "issuer"),
    "issuer without a key": (change('secret = { env = "USHER_TEST_SECRET" }\n', ""), "[issuer.main]", "secret"),
    "issuer with two keys": (change("secret =", 'public_key = { file = "x.pem" }\nsecret ='), "public_key", "one"),
    "HMAC with a public key": (
        change('secret = { env = "USHER_TEST_SECRET" }', 'public_key = { file = "x.pem" }\nalgorithms = ["HS256"]'), "HS256", "HS256"),
    "RS256 with a secret": (change("secret =", 'algorithms = ["RS256"]\nsecret ='), "RS256", "RS256"),
    "algorithm none": (change("secret =", 'algorithms = ["none"]\nsecret ='), '"none"', "none"),
    "two equally specific routes": (GOOD + ROUTE + ROUTE, None, "/more"),
    "two equally specific templates": (
        GOOD + '\n[[route]]\npath = "/a/{x}"\nauth = "none"\nupstream = "tasks"\n[[route]]\npath = "/a/{y}"\nauth = "none"\n'
        'upstream = "tasks"\n', None, "/a/{"),
    "path without slash": (change('"/health"', '"health"'), '"health"', "/"),
    "path with dots": (change('"/health"', '"/a/../b"'), '"/a/../b"', ""),
    "path with query": (change('"/health"', '"/a?b"'), '"/a?b"', ""),
    "rest not last": (change('"/health"', '"/a/**/b"'), '"/a/**/b"', "**"),
    "capture twice": (change('"/health"', '"/{a}/{a}"'), '"/{a}/{a}"', "a"),
    "capture not closed": (change('"/health"', '"/{a"'), '"/{a"', ""),
    "require names no capture": (change('auth = "main"', 'auth = "main"\nrequire = { sub = "{user}" }'), '{user}', "user"),
    "require on an open route": (change('auth = "none"', 'auth = "none"\nrequire = { sub = "x" }'), "require", "auth"),
    "scopes on an open route": (change('auth = "none"', 'auth = "none"\nscopes = ["x"]'), "scopes", "auth"),
    "denied 500": (change('auth = "main"', 'auth = "main"\ndenied = 500'), "denied = 500", "404"),
    "duration as a number": (change('servers = ["127.0.0.1:8000"]', 'servers = ["127.0.0.1:8000"]\nconnect_timeout = 2'),
                             "connect_timeout = 2", "unit"),
    "duration without a unit": (change('servers = ["127.0.0.1:8000"]', 'servers = ["127.0.0.1:8000"]\nconnect_timeout = "2"'),
                                'connect_timeout = "2"', "unit"),
    "duration of a wrong unit": (change('servers = ["127.0.0.1:8000"]', 'servers = ["127.0.0.1:8000"]\nconnect_timeout = "2sec"'),
                                 '"2sec"', "2sec"),
    "size as a number": (GOOD + "\n[limits]\nheader_bytes = 32768\n", "32768", "unit"),
    "size of a wrong unit": (GOOD + '\n[limits]\nheader_bytes = "32 kilo"\n', "32 kilo", "32 kilo"),
    "negative duration": (GOOD + '\n[limits]\nheader_timeout = "-1s"\n', '"-1s"', "-1s"),
    "wrong type": (change('servers = ["127.0.0.1:8000"]', 'servers = "127.0.0.1:8000"'), 'servers = "', "servers"),
    "no servers": (change('servers = ["127.0.0.1:8000"]', "servers = []"), "servers = []", "servers"),
    "bad address": (change('"127.0.0.1:8080"', '"127.0.0.1"'), '"127.0.0.1"', "port"),
    "bad port": (change('"127.0.0.1:8080"', '"127.0.0.1:99999"'), "99999", "99999"),
    "two listeners on one address": (GOOD + '\n[listen.other]\naddress = "127.0.0.1:8080"\n', None, "127.0.0.1:8080"),
    "trust everybody": (change('address = "127.0.0.1:8080"', 'address = "127.0.0.1:8080"\ntrusted_proxies = ["0.0.0.0/0"]'),
                        "0.0.0.0/0", "0.0.0.0/0"),
    "trust every IPv6": (change('address = "127.0.0.1:8080"', 'address = "127.0.0.1:8080"\ntrusted_proxies = ["::/0"]'), "::/0", "::/0"),
    "bad CIDR": (change('address = "127.0.0.1:8080"', 'address = "127.0.0.1:8080"\ntrusted_proxies = ["10.0.0.0/33"]'), "10.0.0.0/33", "33"),
    "bad header name": (GOOD + '\n[identity]\nheaders = { "X User" = "sub" }\n', "X User", "X User"),
    "header that is framing": (GOOD + '\n[identity]\nheaders = { "Content-Length" = "sub" }\n', "Content-Length", "Content-Length"),
    "duplicate key": (change('auth = "none"', 'auth = "none"\nauth = "main"'), 'auth = "main"', "auth"),
    "not TOML": (change("[upstream.tasks]", "[upstream.tasks"), "[upstream.tasks", ""),
    "unset variable": (change("USHER_TEST_SECRET", "USHER_NO_SUCH"), "USHER_NO_SUCH", "USHER_NO_SUCH"),
    "unreadable file": (change('{ env = "USHER_TEST_SECRET" }', '{ file = "no-such-file" }'), "no-such-file", "no-such-file"),
    "expansion in the default of another": (
        change('issuer = "https://app.example.com"', 'issuer = "${USHER_NO_SUCH:-https://${USHER_TEST_SECRET}}"'), "USHER_NO_SUCH", "default"),
    "unset expansion": (change('"127.0.0.1:8000"', '"${USHER_NO_SUCH}:8000"'), "USHER_NO_SUCH", "USHER_NO_SUCH"),
    "workers 0": ("workers = 0\n" + GOOD, "workers = 0", "workers"),
    "workers text": ('workers = "many"\n' + GOOD, '"many"', "auto"),
    "no listener": (change('[listen.public]\naddress = "127.0.0.1:8080"\n', ""), None, "listen"),
    "limit of a name that is taken": (
        GOOD + '\n[rate_limit.failed-authentications]\nkey = "user"\nrequests = 1\nper = "1s"\n', "[rate_limit.", 'the name "failed-authentications" is taken'),
    "limit of the name of those that have none in the metrics": (
        GOOD + '\n[rate_limit.other]\nkey = "user"\nrequests = 1\nper = "1s"\n', "[rate_limit.", 'the name "other" is taken'),
    "CORS for everybody with credentials": (GOOD + '\n[cors.app]\norigins = ["*"]\ncredentials = true\n', '"*"', "credentials"),
    "CORS for null": (GOOD + '\n[cors.app]\norigins = ["null"]\n', '"null"', "null"),
    "CORS for a pattern": (GOOD + '\n[cors.app]\norigins = ["https://*.example.com"]\n', "https://*", "origin"),
    "CORS for an origin with a path": (GOOD + '\n[cors.app]\norigins = ["https://app.example.com/"]\n', '.com/"]', "as browsers write it"),
    "CORS header name": (GOOD + '\n[cors.app]\norigins = ["https://a.test"]\nheaders = ["X-A: b"]\n', '"X-A: b"', "header name"),
    "cors that is not there": (change('auth = "main"', 'auth = "main"\ncors = "app"'), '"app"', "[cors.app]"),
    "sign_in elsewhere": (change('auth = "main"', 'auth = "main"\nsign_in = "//evil.test"'), '"//evil.test"', "sign_in"),
    "sign_in on an open route": (change('auth = "none"', 'auth = "none"\nsign_in = "https://a.test"'), "https://a.test", "none"),
    "issuer * with a list": (change('issuer = "https://app.example.com"', "issuer = 5"), "issuer = 5", "issuer"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(check, name):
    text, where, what = MISTAKES[name]
    done = check(text)
    assert done.returncode == 1, done.text
    assert done.errors, done.text
    assert any(what.lower() in message.lower() for _, _, message in done.errors) or what in done.text, done.text
    if where is not None:
        assert line_of(text, where) in [line for line, _, _ in done.errors], (line_of(text, where), done.text)


def test_the_line_itself_is_shown(check):
    done = check(change("address =", "adress ="))
    assert 'adress = "127.0.0.1:8080"' in done.text


@pytest.mark.parametrize("name", [n for n in MISTAKES if n.startswith("unknown")])
def test_did_you_mean(check, name):
    text, _, meant = MISTAKES[name]
    assert re.search(r"did you mean [`'\"“]?\[?" + re.escape(meant), check(text).text, re.I)


def test_no_suggestion_that_is_far_off(check):
    assert "did you mean" not in check(GOOD + "\n[limits]\nqqqqqqqq = 1\n").text.lower()


def test_column(check):
    text = change('auth = "main"', 'auth = "mian"')
    done = check(text)
    line, column, _ = done.errors[0]
    assert text.splitlines()[line - 1][column - 1:].startswith('"mian"'), (line, column)


def test_every_mistake_in_one_run(check):
    text = change('auth = "none"\n', "")
    text = change("address =", "adress =", text)
    text = change('auth = "main"', 'auth = "mian"', text)
    text = change('audience = ["https://app.example.com"]\n', "", text)
    text += '\n[limits]\nheader_bytes = 5\nheader_cuont = 5\n'
    done = check(text)
    assert done.returncode == 1
    assert len(done.errors) >= 6, done.text
    assert [e[0] for e in done.errors] == sorted(e[0] for e in done.errors), "in the order of the file"


@pytest.mark.parametrize("path, methods, auth, warned", [
    ("/admin", "", "main", "/admin/**"), ("/admin/{id}", "", "main", "/admin/{id}/**"), ("/admin/**", "", "main", None),
    ("/admin/**", 'methods = ["GET"]', "main", "methods"), ("/admin", "", "none", None), ("/admin/", "", "main", "/admin/**"),
    ("/health", 'methods = ["GET"]', "main", "/health")])
def test_what_a_protected_route_leaves_to_an_open_one(check, path, methods, auth, warned):
    """A slash at the end, or another method, would go to the open route: not an error, but hardly meant."""
    done = check(GOOD + f"""
[[route]]
path = "/**"
auth = "none"
upstream = "tasks"

[[route]]
path = "{path}"
auth = "{auth}"
upstream = "tasks"
{methods}
""")
    assert done.returncode == 0, done.text
    lines = [line for line in done.text.splitlines() if "warning" in line and "open route" in line]
    assert bool(lines) == bool(warned) and (not warned or warned in lines[0]), done.text


SESSION = change('auth = "main"', 'auth = ["main", "browser"]') + """
[session.browser]
provider = "better-auth"
secret = {{ env = "USHER_TEST_SECRET" }}
trusted_origins = ["https://app.example.com"]
{}
""".replace("{{", "{").replace("}}", "}")


def session(line: str = "", drop: str = "") -> str:
    return "\n".join(row for row in SESSION.replace("{}", line).split("\n") if not drop or not row.startswith(drop))


@pytest.mark.parametrize("line", [
    "", 'url = "https://app.example.com/api/auth"', 'cookie_cache = "jwe"', "secure_cookies = false", 'cookie_prefix = "my-app"',
    'url = "https://a.example/x"\ncookie_cache = "jwks"\nissuer = "https://a.example"', 'cache_for = "1h"',
    'url = "https://a.example/x"\nissuer = "https://b.example"',
    'secrets = "2:new-secret-of-more-than-32-bytes-0123, 1:old-secret-of-more-than-32-bytes-0123"',
])
def test_sessions(check, line):
    done = check(session(line))
    assert done.returncode == 0, done.text


@pytest.mark.parametrize("text, message", [
    (session(drop="secret"), 'needs "secret"'), (session(drop="provider"), 'needs "provider"'),
    (session('cookie_prefx = "a"'), 'unknown key "cookie_prefx"'), (session('cookie_prefix = "__Secure-a"'), "cannot begin the name"),
    (session('cookie_prefix = "a b"'), "cannot begin the name"), (session('cookie_cache = "jws"'), '"cookie_cache" must be one of'),
    (session('cookie_cache = "off"'), 'needs "url"'), (session('cookie_cache = "jwks"'), 'needs "url"'),
    (session('issuer = "https://a.example"'), 'it belongs to a "url"'),
    (session('url = "https://a/x"\ncookie_cache = "jwt"\nissuer = "https://a.example"'), 'cookie_cache = "auto" or "jwks"'),
    (session('url = "ftp://a"'), "is not a URL"),
    (session('url = "https://a/x?y"'), "has a query"), (session('cache_for = "0s"'), '"cache_for" must be between'),
    (session("cache_for = 30"), "bare number"), (session().replace('trusted_origins = ["https://app.example.com"]', 'trusted_origins = ["https://a/b"]'), "is not an origin"),
    (session('secrets = "new-secret-of-more-than-32-bytes-0123"'), "VERSION:SECRET"),
    (session('secrets = "1:new-secret-of-more-than-32-bytes-0123,1:old-secret-of-more-than-32-bytes-0123"'), "VERSION:SECRET"),
    (session('secrets = "2:new-secret-of-more-than-32-bytes-0123,1:short"'), "the secret with version 1"),
    (session('secure_cookies = "yes"'), "true or false"),
    (session().replace("[session.browser]", "[session.main]"), "an issuer is named"),
    (session().replace('"better-auth"', '"better_auth"'), 'must be "better-auth"'),
    (session().replace("secret = { env", "secret = { evn"), "unknown key"),
])
def test_mistakes_in_sessions(check, text, message):
    done = check(text)
    assert done.returncode == 1, done.text
    assert any(message in error for _, _, error in done.errors), done.text


@pytest.mark.parametrize("keys", [
    'jwks = { url = "https://app.example.com/jwks", refresh = "5m", cooldown = "5s", stale_for = "1h" }',
    'jwks = "discover"'])
def test_keys_from_the_network_need_no_network_to_check(check, keys):
    done = check(change('secret = { env = "USHER_TEST_SECRET" }', keys))
    assert done.returncode == 0 and not done.errors, done.text


def test_a_revocation_list_that_is_not_there(check):
    done = check(GOOD + '\n[revocation]\nfile = "revoked.json"\n')
    assert done.returncode == 1 and "cannot read" in done.text, done.text


# Secrets and the environment

def test_short_secret(check):
    """J19: at least 32 bytes."""
    done = check(GOOD, env={"USHER_TEST_SECRET": "x" * 31})
    assert done.returncode == 1 and done.errors[0][0] == line_of(GOOD, "secret =") and "32" in done.text
    assert check(GOOD, env={"USHER_TEST_SECRET": "x" * 32}).returncode == 0


def test_inline_secret_is_a_warning(check):
    text = change('{ env = "USHER_TEST_SECRET" }', '"inline-secret-inline-secret-inline-secret"')
    done = check(text)
    assert done.returncode == 0 and line_of(text, "secret =") in done.warnings


def test_plain_origins_where_every_listener_has_tls(check, tmp_path):
    pair = Authority(tmp_path).sign("site", ["app.example.com"])
    secure = change("[upstream.tasks]", f"tls.certificates = [{pair.toml()}]\n\n[upstream.tasks]")

    def warned(origin, text=secure):
        places = f'token_from = ["cookie:session"]\ntrusted_origins = ["https://ok.example.com", "{origin}"]\nsecret ='
        done = check(change("secret =", places, text))
        assert done.returncode == 0, done.text
        return [line for line in done.text.splitlines() if "trusts" in line]

    assert len(warned("http://app.example.com")) == 1 and "begins with https://" in warned("http://app.example.com")[0]
    assert warned("https://app.example.com") == [] and warned("http://localhost:5173") == []
    assert warned("http://app.example.com", GOOD) == [], "TLS may end in front of usher"


# What has no effect: whoever wrote it believes that it does something.
OPEN = 'auth = "none"\n'
NO_EFFECT = {
    "origins and no cookie": (change("secret =", 'trusted_origins = ["https://a.example"]\nsecret ='), "trusted_origins"),
    "origins and a parameter": (
        change("secret =", 'token_from = ["header", "query:t"]\ntrusted_origins = ["https://a.example"]\nsecret ='), "trusted_origins"),
    "a session that asks nobody": (session('cache_for = "1m"'), "cache_for"),
    "a session without a cache": (session('url = "https://a/x"\ncookie_cache = "off"\ncookie_cache_version = "2"'), "cookie_cache_version"),
    "denied and no require": (change('auth = "main"', 'auth = "main"\ndenied = 404'), "denied"),
    "a sample of nothing": (GOOD + '\n[log]\naccess = "off"\nsample = { "2xx" = 0.1 }\n', "sample"),
    "the form of nothing": (GOOD + '\n[log]\naccess = "off"\naccess_format = "combined"\n', "access_format"),
    "proxies on a socket": (change('address = "127.0.0.1:8080"', 'address = "unix:u.sock"\ntrusted_proxies = ["10.0.0.0/8"]'), "trusted_proxies"),
    "an issuer of no route": (
        GOOD + '\n[issuer.app]\nissuer = "https://b.example"\naudience = "a"\njwks = { url = "https://b.example/jwks" }\n', "[issuer.app]"),
    "a session of no route": (session().replace(', "browser"]', "]"), "[session.browser]"),
    "a limit of no route": (GOOD + '\n[rate_limit.one]\nkey = "user"\nrequests = 5\nper = "1s"\n', "[rate_limit.one]"),
    "pages of no route": (GOOD + '\n[cors.app]\norigins = ["https://a.example"]\n', "[cors.app]"),
    "revoked by nobody": (GOOD + "\n[revocation]\n", "[revocation]"),
    "claims of no certificate": (GOOD + '\n[identity]\nheaders = { "X-Cert" = "tls.subject" }\n', "X-Cert"),
    "marks of nobody": (
        GOOD + '\n[tracing]\nurl = "http://127.0.0.1:4318"\ncontinue_from = "nobody"\nsampled_by = "trusted"\n', "sampled_by"),
    "the only server": (change('"127.0.0.1:8000"]', '"127.0.0.1:8000"]\neject = {}'), "eject"),
}


@pytest.mark.parametrize("name", NO_EFFECT)
def test_what_has_no_effect_is_warned_of(check, name):
    text, where = NO_EFFECT[name]
    done = check(text)
    assert done.returncode == 0, done.text
    assert done.warnings == [line_of(text, where)], done.text
    assert "has no effect: " in done.text or "is never sent: " in done.text, done.text


def test_revoked_elsewhere_is_an_effect(check):
    """What the other proxies revoke, and that nothing passes while nobody can say what is revoked."""
    done = check(GOOD + '\n[revocation]\n\n[shared]\nredis = "redis://127.0.0.1:6379"\nwhen_unavailable = "refuse"\n')
    assert done.returncode == 0 and not any("[revocation]" in line for line in done.text.splitlines()), done.text


def test_nobody_to_believe_is_no_setting_without_effect(check):
    done = check(change('address = "127.0.0.1:8080"', 'address = "unix:u.sock"\ntrusted_proxies = []'))
    assert done.returncode == 0 and done.warnings == [], done.text


def test_authorities_of_nobody(check, tmp_path):
    authority = Authority(tmp_path).file.name
    for text, where in [
        (change('secret = { env = "USHER_TEST_SECRET" }', f'jwks = {{ url = "http://127.0.0.1/k", ca = "{authority}" }}'), "jwks"),
        (session(f'url = "http://127.0.0.1/api"\nca = "{authority}"'), "ca = "), (session(f'ca = "{authority}"'), "ca = "),
        (GOOD + f'\n[tracing]\nurl = "http://127.0.0.1:4318"\nca = "{authority}"\n', "ca = ")]:
        done = check(text)
        assert done.returncode == 0 and done.warnings == [line_of(text, where)], done.text


def test_what_has_an_effect_is_not_warned_of(check):
    text = change(OPEN, OPEN + 'rate_limit = "one"\ncors = "app"\n')
    text = change("secret =", 'token_from = ["cookie:t"]\ntrusted_origins = ["https://a.example"]\nsecret =', text)
    text = change('auth = "main"', 'auth = "main"\nrequire = { role = "x" }\ndenied = 404', text)
    text = change('["127.0.0.1:8000"]', '["127.0.0.1:8000", "127.0.0.1:8001"]\neject = {}', text)
    done = check(text + """
[rate_limit.one]
key = "user"
requests = 5
per = "1s"
[cors.app]
origins = ["https://a.example"]
[log]
access = "stdout"
access_format = "combined"
sample = { "2xx" = 0.1 }
[revocation]
[admin]
address = "127.0.0.1:9901"
""")
    assert done.returncode == 0 and not done.warnings, done.text


# What the start would fail at, as far as it can be seen without opening anything.

def test_places_that_cannot_be_written_to(check, tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()

    def warned(text):
        done = check(text)
        assert done.returncode == 0, done.text
        lines = [line for line in done.text.splitlines() if "warning" in line and "cannot be" in line]
        return [(int(line.split(":")[1]), line.split("cannot be ")[1].split(";")[0]) for line in lines]

    text = GOOD + '\n[log]\naccess = "{}"\n'
    for path, reason in [
        ("nowhere/access.log", f'there is no folder "{tmp_path}/nowhere"'), ("file/access.log", "Not a directory"),
        ("folder", "it is a folder")]:
        ((line, said),) = warned(text.replace("{}", path))
        assert line == line_of(text, "access =") and said.startswith("written to: ") and reason in said, said
    for path in ("file", "folder/access.log", "access.log", "/dev/null"):
        assert warned(text.replace("{}", path)) == []
    assert not (tmp_path / "access.log").exists() and (tmp_path / "file").read_text() == "kept"

    listening = change('"127.0.0.1:8080"', '"unix:{}"')
    for path, reason in [("nowhere/u.sock", "there is no folder"), ("file", "something else is there")]:
        ((line, said),) = warned(listening.replace("{}", path))
        assert line == 2 and said.startswith("listened at: ") and reason in said, said
    assert warned(listening.replace("{}", "folder/u.sock")) == []
    assert len(warned('takeover = "nowhere/next.sock"\n' + GOOD + '\n[admin]\naddress = "unix:nowhere/admin.sock"\n')) == 2
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(tmp_path / "u.sock"))
    assert warned(listening.replace("{}", "u.sock")) == [], "one that is left over is replaced"


def test_places_of_somebody_else(tmp_path):
    """As the user who looks, which root is not."""
    if os.geteuid() != 0:
        pytest.skip("somebody else can be played by root alone")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        folder.chmod(0o755)
        file = folder / "usher.toml"
        file.write_text(change('"127.0.0.1:8080"', '"unix:left.sock"') + '\n[log]\naccess = "access.log"\n')
        file.chmod(0o644)
        with socket.socket(socket.AF_UNIX) as old:
            old.bind(str(folder / "left.sock"))
        done = subprocess.run([BINARY, "check", "--config", file], env=environment(), capture_output=True, text=True, user=65534, timeout=60)
    except PermissionError:
        pytest.skip("the binary is where nobody else gets to")
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 0 and done.stderr.count(f'"{folder}": Permission denied') == 2, done


def test_no_certificates_to_trust(check, tmp_path):
    text = change('["127.0.0.1:8000"]', '["127.0.0.1:8000"]\ntls = true')
    done = check(text, env={"SSL_CERT_FILE": str(tmp_path / "nowhere.pem")})
    assert done.returncode == 0 and done.warnings == [line_of(text, "[upstream.tasks]")] and "tls.ca" in done.text, done.text
    assert "1 warning" in done.stdout


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16(tmp_path, name):
    """As some editors save it, and a shell of Windows writes it by `>`."""
    (tmp_path / "usher.toml").write_bytes(("\ufeff" + GOOD).encode(name))
    done = command("check", "--config", tmp_path / "usher.toml")
    assert done.returncode == 1 and "usher.toml:1:1: error: this is UTF-16, and TOML is UTF-8" in done.stderr, done.stderr


def test_secret_from_a_file(check, tmp_path):
    (tmp_path / "s").write_text("x" * 32 + "\n")
    text = change('{ env = "USHER_TEST_SECRET" }', '{ file = "s" }')
    assert check(text).returncode == 0
    (tmp_path / "s").write_text("x" * 31 + "\n")
    assert check(text).returncode == 1, "the newline is trimmed before it is counted"


def test_secrets_are_never_shown(check):
    secret = "short-secret-value"
    done = check(GOOD, env={"USHER_TEST_SECRET": secret})
    assert done.returncode == 1 and secret not in done.text


def test_environment_expands(check):
    text = change('"127.0.0.1:8000"', '"${BACKEND_HOST}:${BACKEND_PORT:-8000}"')
    assert check(text, env={"BACKEND_HOST": "127.0.0.1"}).returncode == 0
    assert check(text, env={"BACKEND_HOST": "127.0.0.1", "BACKEND_PORT": "x"}).returncode == 1


def test_relative_paths_are_relative_to_the_file(tmp_path):
    from harness import configuration
    configuration.write_keys(tmp_path)
    (tmp_path / "usher.toml").write_text(change('secret = { env = "USHER_TEST_SECRET" }', 'jwks = { file = "keys.json" }'))
    done = command("check", "--config", tmp_path / "usher.toml", cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("content", ["", "{}", '{"keys": []}', '{"keys": {}}', "[]", "not json", '{"keys": [{"kty": "oct", "k": "AAAA"}]}'], ids=repr)
def test_key_files_without_a_usable_key(check, tmp_path, content):
    (tmp_path / "keys.json").write_text(content)
    done = check(change('secret = { env = "USHER_TEST_SECRET" }', 'jwks = { file = "keys.json" }'))
    assert done.returncode == 1, done.text


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"], ids=["empty", "text", "broken"])
def test_bad_pem(check, tmp_path, content):
    (tmp_path / "k.pem").write_text(content)
    assert check(change('secret = { env = "USHER_TEST_SECRET" }', 'public_key = { file = "k.pem" }')).returncode == 1


def test_rsa_key_below_2048_bits(check, tmp_path):
    from harness import tokens
    (tmp_path / "k.pem").write_bytes(tokens.public_pem(tokens.key("rsa1024", "check")))
    done = check(change('secret = { env = "USHER_TEST_SECRET" }', 'public_key = { file = "k.pem" }'))
    assert done.returncode == 1 and "2048" in done.text


def test_a_private_key_is_not_a_public_one(check, tmp_path):
    from harness import tokens
    (tmp_path / "k.pem").write_bytes(tokens.private_pem(tokens.key("ES256", "check")))
    done = check(change('secret = { env = "USHER_TEST_SECRET" }', 'public_key = { file = "k.pem" }'))
    assert done.returncode == 1


def test_missing_file():
    done = command("check", "--config", "/no/such/usher.toml")
    assert done.returncode == 1 and "/no/such/usher.toml" in done.stdout + done.stderr


def test_run_refuses_what_check_refuses(tmp_path):
    file = tmp_path / "usher.toml"
    file.write_text(change("address =", "adress ="))
    done = command("run", "--config", file)
    assert done.returncode == 1
    assert re.search(r"usher\.toml:2:1: error: ", done.stdout + done.stderr)


def test_sample_configuration():
    from harness.process import REPOSITORY
    done = command("check", "--config", REPOSITORY / "config" / "examples" / "tasks-api.toml",
                   env=environment(BETTER_AUTH_SECRET="x" * 32))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "\0", "\xff", "[[route]]\n" * 500, "a = " + "[" * 5000, "x" * 100_000], ids=range(8))
def test_never_a_crash(tmp_path, text):
    file = tmp_path / "usher.toml"
    file.write_bytes(text.encode("latin-1"))
    done = command("check", "--config", file)
    assert done.returncode == 1, (done.returncode, done.stderr[-500:])


@pytest.mark.parametrize("auth", ["none", "nobody"])
def test_thousands_of_routes_take_no_time(check, auth):
    """The work grows with the file, not with its square: good routes and broken ones alike."""
    routes = "".join(f'\n[[route]]\npath = "/r{i}/**"\nauth = "{auth}"\nupstream = "tasks"\n' for i in range(3000))
    started = time.monotonic()
    done = check(GOOD + routes)
    assert time.monotonic() - started < 9
    assert done.returncode == (0 if auth == "none" else 1)
    assert len(done.errors) == (0 if auth == "none" else 3000)


def test_routes_of_one_shape_conflict_wherever_they_stand(check):
    routes = "".join(
        f'\n[[route]]\npath = "{path}"\nmethods = [{methods}]\nauth = "none"\nupstream = "tasks"\n'
        for path, methods in [
            ("/a/{x}", '"GET"'), ("/a/{y}/", '"GET"'), ("/a/b", '"GET"'), ("/b/{x}", '"GET"'),
            ("/a/{y}", '"POST"'), ("/a/{z}", '"PUT", "GET"')])
    done = check(GOOD + routes)
    assert len(done.errors) == 1 and '"/a/{z}" is as specific as "/a/{x}"' in done.text, done.text


@pytest.mark.parametrize(("auth", "said"), [
    ("", '"auth"'), ('auth = "nobody"', "there is no [issuer.nobody]"), ('auth = ["main", "optional:nobody"]', "there is no [issuer.nobody]"),
])
def test_a_conflict_is_told_beside_another_mistake_of_the_route(check, auth, said):
    done = check(GOOD + f'\n[[route]]\npath = "/twice"\n{auth}\nupstream = "tasks"\n'
                 '\n[[route]]\npath = "/twice"\nauth = "none"\nupstream = "tasks"\n')
    assert done.returncode == 1 and said in done.text and '"/twice" is as specific as "/twice"' in done.text, done.text


@pytest.mark.parametrize("table, most", [('[listen.x{i}]\naddress = "127.0.0.1:{port}"', 64), ('[upstream.x{i}]\nservers = ["127.0.0.1:9"]', 1024)])
def test_more_than_a_worker_has_room_for(check, table, most):
    """Refused here, and not by the end of the process at its start or at a reload."""
    def tables(count):
        return "".join("\n" + table.format(i=i, port=20_000 + i) + "\n" for i in range(count))
    assert check(GOOD + tables(most - 1)).returncode == 0
    done = check(GOOD + tables(most))
    assert done.returncode == 1 and f"at most {most}" in done.text
