"""`usher explain` about a request, and where it and the model disagree."""

from __future__ import annotations

import json
import re
from pathlib import Path

from harness.process import command

from .decision import Decision
from .settings import Answered, Forwarded, Request


def can_express(asked: Request) -> bool:
    """A URL has no absolute form beside another Host, no fragment that is sent, and a host without user and nonsense."""
    return asked.target.startswith("/") and "#" not in asked.target and bool(re.fullmatch(r"[A-Za-z.]+(:[0-9]+)?", asked.host))


def differences(asked: Request, expected: Decision, folder: Path, environment: dict[str, str]) -> list[str]:
    fields = [part for name, value in asked.fields for part in ("-H", f"{name}: {value}")]
    done = command("explain", "--config", folder / "usher.toml", "--listener", asked.listener.name, asked.method,
                   f"http://{asked.host}{asked.target}", *fields, env=environment)
    if isinstance(expected.outcome, Answered):
        return refusal_differences(expected.outcome, done)
    return forwarding_differences(expected.outcome, done)


def refusal_differences(expected: Answered, done) -> list[str]:
    status = 0 if expected.status in (204, 308) else 2  # who gets a preflight's answer, or is sent on, is not refused
    if done.returncode != status:
        return [f"explain ended with {done.returncode}, not {status}: {done.stdout[-300:]}{done.stderr[-300:]}"]
    match = re.search(r"^Answer: (\d+)(?: (\w+))?", done.stdout, re.M)
    if not match or int(match[1]) != expected.status and len(expected.codes) < 2:
        return [f"explain says {match and match[0]}, not {expected.status}"]
    # The line has the log's word, which tells a `denied = 404` from no route; the client's is in the document.
    body = done.stdout.splitlines()[-1].strip()
    code = json.loads(body)["code"] if body.startswith("{") else match[2]
    if expected.codes and code not in expected.codes:
        return [f"explain says {match[0]}, {code}, not {expected.codes}"]
    return []


def forwarding_differences(expected: Forwarded, done) -> list[str]:
    shown = re.search(r'^The backend "(\w+)" sees\n(.*?)\n(?:\n|and not)', done.stdout, re.M | re.S)
    if done.returncode != 0 or not shown:
        return [f"explain ended with {done.returncode}, not 0: {done.stdout[-300:]}{done.stderr[-300:]}"]
    first, *lines = [line.strip() for line in shown[2].split("\n")]
    said = []
    # What looks like a token in the query is masked.
    pattern = re.escape(first).replace("…", ".*")
    if shown[1] != expected.upstream.name or not re.fullmatch(pattern, f"{expected.method} {expected.target} HTTP/1.1"):
        said.append(f"explain says {shown[1]}: {first}, not {expected.upstream.name}: {expected.method} {expected.target}")
    seen: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        seen.setdefault(name.lower(), []).append(value)
    return said + field_differences(expected, seen)


def field_differences(expected: Forwarded, seen: dict[str, list[str]]) -> list[str]:
    """Credentials are masked, so that of these only the names count."""
    wanted = dict(expected.fields)
    if expected.minted_for:
        wanted["authorization"] = [""]
    said = []
    for name in sorted((seen.keys() | wanted.keys()) - {"x-request-id", "content-length"}):
        mine, theirs = wanted.get(name), seen.get(name)
        if name == "cookie":
            mine, theirs = cookie_names(mine), cookie_names(theirs)
        elif name in ("authorization", "dpop", "host") and mine and theirs:
            continue
        elif mine is not None:
            mine = [value.encode("latin-1").decode() for value in mine]
        if mine != theirs:
            said.append(f"explain's {name}: {theirs}, not {mine}")
    return said


def cookie_names(values: list[str] | None) -> list[str]:
    return [piece.partition("=")[0].strip() for value in values or [] for piece in value.split(";")]
