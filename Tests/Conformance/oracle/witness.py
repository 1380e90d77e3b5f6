"""The real binary under a configuration, and where it and the model disagree."""

from __future__ import annotations

import json
import random
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import jwt

from harness import http2
from harness.backend import Backend, Recorded
from harness.ports import free_port
from harness.process import Usher, environment
from harness.wire import Client, render

from . import explained, written
from .decision import Decision, decide
from .random_configuration import configuration
from .random_requests import request
from .settings import Answered, Configuration, Forwarded, Request

# One in so many is also put to `usher explain`, which is a process each.
EXPLAINED = 20
# Of the hop itself: how long a body is, and a number that nobody foretells.
NOT_COMPARED = {"content-length", "transfer-encoding", "x-request-id"}


@dataclass
class Reply:
    status: int
    code: str | None
    told_origin: str | None
    challenges: list[str] = field(default_factory=list, kw_only=True)
    nonce: str | None = field(default=None, kw_only=True)
    cookies: list[str] = field(default_factory=list, kw_only=True)
    call: str | None = field(default=None, kw_only=True)  # grpc-status
    location: str | None = field(default=None, kw_only=True)


@dataclass
class Observed:
    reply: Reply
    arrived: list[tuple[int, Recorded]]  # which backend, and what


class Witness:
    """One process of usher, with the backends that record what it sends."""

    # What runs a seed again.
    variable, file = "USHER_MODEL_SEEDS", "test_model.py"
    # Whichever request is asked for, those before it are sent, too.
    sends_all = False

    def __init__(self, seed: int, folder: Path, backends: list[Backend]):
        self.seed, self.chance = seed, random.Random(seed)
        self.backends, self.folder = backends, folder
        self.configuration = self.made_up()
        for listener in self.configuration.listeners:
            listener.port = free_port()
        written.write_keys(self.configuration, folder)
        self.prepare()
        admin = free_port()
        text = written.document(self.configuration, [backend.port for backend in self.backends], admin)
        self.environment = environment(**written.environment(self.configuration))
        self.usher = Usher(folder, text, self.configuration.listeners[0].port, admin, self.environment)

    def made_up(self) -> Configuration:
        return configuration(self.chance)

    def prepare(self) -> None:
        """What must be there before the start."""

    def random_request(self, number: int) -> Request:
        return request(self.chance, self.configuration)

    def decide(self, asked: Request, now: float) -> Decision:
        return decide(self.configuration, asked, now)

    def explains(self, asked: Request) -> bool:
        return explained.can_express(asked)

    def __enter__(self):
        try:
            self.usher.wait_ready()
        except BaseException:
            self.usher.stop()
            raise
        return self

    def __exit__(self, *_):
        self.status = self.usher.stop()

    def disagreements(self, count: int, only: int | None = None) -> list[str]:
        found = []
        for number in range(count):
            asked, is_meant = self.random_request(number), only in (None, number)
            if not is_meant and not self.sends_all:
                continue
            expected = self.decide(asked, time.time())
            observed = self.observe(asked)
            said = self.compare(asked, expected, observed)
            self.remember(expected, observed)
            if number % EXPLAINED == 0 and self.explains(asked):
                said += explained.differences(asked, expected, self.folder, self.environment)
            if said and is_meant:
                found.append(self.report(number, asked, expected, said))
        return found

    def observe(self, asked: Request) -> Observed:
        for backend in self.backends:
            backend.requests.clear()
        reply = over_two(asked, self.two(asked)) if asked.listener.protocol == "h2" else over_one(asked, self.one(asked))
        return Observed(reply, [(number, recorded) for number, backend in enumerate(self.backends) for recorded in backend.requests])

    def one(self, asked: Request) -> Client:
        return Client(asked.listener.port)

    def two(self, asked: Request) -> http2.Connection:
        return http2.Connection(asked.listener.port)

    def remember(self, expected: Decision, observed: Observed) -> None:
        """What later decisions depend on."""

    def compare(self, asked: Request, expected: Decision, observed: Observed) -> list[str]:
        reply, arrived = observed.reply, observed.arrived
        said = [] if reply.told_origin == expected.told_origin else [f"Allow-Origin {reply.told_origin}, not {expected.told_origin}"]
        if isinstance(expected.outcome, Answered):
            return said + answer_differences(expected.outcome, reply) + [f"arrived at {number}: {one.head}" for number, one in arrived]
        if reply.status != 200 or len(arrived) != 1:
            return said + [f"{reply.status} {reply.code}, and {len(arrived)} requests arrived"]
        return said + differences(expected.outcome, *arrived[0], self.backends)

    def report(self, number: int, asked: Request, expected: Decision, said: list[str]) -> str:
        route = expected.route and written.route(expected.route)
        return "\n".join([
            f"{self.variable}={self.seed} USHER_MODEL_REQUEST={number} python -m pytest {self.file}   # {self.folder}/usher.toml",
            *(f"  DIFFERENT: {one}" for one in said), f"  {asked.listener.name}: {asked.method} {asked.target}  Host: {asked.host}",
            *(f"    {name}: {value}" for name, value in asked.fields), f"  model: {outcome_text(expected)}", f"  route: {route}"])


def outcome_text(expected: Decision) -> str:
    who = expected.somebody and f"{expected.somebody.user} by {expected.somebody.name}"
    return f"{expected.outcome}, somebody: {who}"


def answer_differences(expected: Answered, reply: Reply) -> list[str]:
    if len(expected.codes) < 2 and reply.status != expected.status:
        return [f"status {reply.status} {reply.code}, not {expected.status}"]
    if reply.code is not None and reply.code not in expected.codes:
        return [f"code {reply.code}, not {expected.codes}"]
    return []


def differences(expected: Forwarded, number: int, recorded: Recorded, backends: list[Backend]) -> list[str]:
    said = []
    if number != expected.upstream.backend:
        said.append(f"went to upstream {number}, not {expected.upstream.name}")
    if (recorded.method, recorded.target) != (expected.method, expected.target):
        said.append(f"{recorded.method} {recorded.target} arrived, not {expected.method} {expected.target}")
    seen: dict[str, list[str]] = {}
    for name, value in recorded.headers.lines:
        seen.setdefault(name.lower(), []).append(value)
    wanted = {name: values for name, values in expected.fields.items() if name not in NOT_COMPARED}
    if wanted["host"] == ["SERVER"]:
        wanted["host"] = [f"127.0.0.1:{backends[number].port}"]
    if expected.minted_for:
        said += minted_differences(expected.minted_for, seen.pop("authorization", []))
    if "cookie" in seen:
        seen["cookie"] = ["; ".join(re.split("; ?", "; ".join(seen["cookie"])))]
    for name in sorted((seen.keys() | wanted.keys()) - NOT_COMPARED):
        if seen.get(name) != wanted.get(name):
            said.append(f"{name}: the backend saw {seen.get(name)}, not {wanted.get(name)}")
    return said


def minted_differences(user: str, values: list[str]) -> list[str]:
    if len(values) != 1 or not values[0].startswith("Bearer "):
        return [f"no minted token: {values}"]
    claims = jwt.decode(values[0].removeprefix("Bearer "), written.MINT_SECRET, ["HS256"], options={"verify_aud": False})
    return [] if (claims["sub"], claims["type"]) == (user, "access") else [f"minted for {claims}"]


def code_of(status: int, headers, body: bytes) -> str | None:
    if headers.get("content-type") != "application/problem+json" or not body:
        return None
    return json.loads(body)["code"]


def over_one(asked: Request, client: Client) -> Reply:
    with client:
        client.send(render(asked.method, asked.target, asked.fields, asked.body, asked.host))
        answer = client.response(asked.method)
    return reply_of(answer, answer.body)


def over_two(asked: Request, connection: http2.Connection) -> Reply:
    with connection:
        fields = asked.fields + ([("content-length", str(len(asked.body)))] if asked.body is not None else [])
        answer = connection.request(http2.get(asked.target, asked.method, asked.host, asked.listener.scheme) + fields, asked.body)
    assert answer.status, answer  # a stream may be reset behind an answer that did not wait for the body
    return reply_of(answer, bytes(answer.body))


def reply_of(answer, body: bytes) -> Reply:
    headers = answer.headers
    return Reply(answer.status, code_of(answer.status, headers, body), headers.get("access-control-allow-origin"),
                 challenges=headers.all("www-authenticate"), nonce=headers.get("dpop-nonce"), cookies=headers.all("set-cookie"), call=headers.get("grpc-status"),
                 location=headers.get("location"))
