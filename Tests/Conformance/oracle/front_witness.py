"""The real binary between proxies in front, browsers and backends, and where it and `front` disagree."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass

from harness import http2
from harness.waiting import PATIENCE_SECONDS
from harness.wire import Client, Closed, Headers, Reader, render

from . import front, random_front, replies
from .front import Counted, Seen
from .random_front import FrontRequest
from .settings import Answered, Configuration, Forwarded
from .witness import Observed, Reply, Witness, answer_differences, code_of, differences, minted_differences

# Of an answer to a question, besides who it is.
OF_EVERY_ANSWER = {"date", "content-length", "x-request-id", "connection", "content-type", "via", "cache-control"}


@dataclass
class FrontReply(Reply):
    headers: Headers = None
    line: dict = None  # of the access log


class Caller(Client):
    """A connection from any address of this machine, or to a Unix socket; what is due before the first request goes ahead."""

    def __init__(self, asked: FrontRequest):
        self.sock = socket.socket(socket.AF_UNIX if asked.listener.socket else socket.AF_INET)
        self.sock.settimeout(20)
        if asked.listener.socket:
            self.sock.connect(asked.listener.socket)
        else:
            self.sock.bind((asked.source, 0))
            self.sock.connect(("127.0.0.1", asked.listener.port))
        self.reader = Reader(self.sock)
        self.try_send(asked.preface)


class CallerOverTwo(http2.Connection):
    def __init__(self, asked: FrontRequest):
        super().__init__(asked.listener.port, start=False)
        self.sock.close()
        self.sock = Caller(asked).sock
        self.h2.initiate_connection()
        self.flush()


class FrontWitness(Witness):
    variable, file = "USHER_MODEL_FRONT_SEEDS", "test_model_front.py"
    sends_all = True  # each takes from what those behind it may
    counted: Counted

    def made_up(self) -> Configuration:
        self.counted = {}
        return random_front.configuration(self.chance, self.folder)

    def random_request(self, number: int) -> FrontRequest:
        return random_front.request(self.chance, self.configuration, number)

    def decide(self, asked: FrontRequest, now: float) -> Seen:
        return front.decide(self.configuration, asked, now, self.counted)

    def explains(self, asked: FrontRequest) -> bool:
        """It knows nothing of peers, questions and pages."""
        return False

    def report(self, number: int, asked: FrontRequest, expected: Seen, said: list[str]) -> str:
        return super().report(number, asked, expected, said) + f"\n  from {asked.source}, {asked.preface!r}"

    def remember(self, expected: Seen, observed: Observed) -> None:
        for bucket in expected.spends:
            self.counted[bucket] = self.counted.get(bucket, 0) + 1

    def observe(self, asked: FrontRequest) -> Observed:
        for backend in self.backends:
            backend.requests.clear()
            backend.script = lambda exchange: (exchange.read_body(), exchange.reply(200, b"", asked.answer))
        try:
            reply = over_two(asked) if asked.listener.protocol == "h2" else over_one(asked)
        except (Closed, ConnectionError):
            reply = FrontReply(0, None, None, Headers())
        if reply.status not in (0, 400, 405):  # where no head was read, the number is another one
            reply.line = self.logged(asked.first("x-request-id"))
        return Observed(reply, [(number, recorded) for number, backend in enumerate(self.backends) for recorded in backend.requests])

    def logged(self, number: str) -> dict:
        """The line about this request, which may come a moment after its answer."""
        mark, end = f'"request_id":"{number}"'.encode(), time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            for line in bytes(self.usher.log).splitlines(keepends=True)[-3:]:
                if mark in line and line.endswith(b"\n"):
                    return json.loads(line)
            time.sleep(0.0005)
        raise AssertionError(f"no line about {number}: {bytes(self.usher.log)[-2000:]}")

    def compare(self, asked: FrontRequest, expected: Seen, observed: Observed) -> list[str]:
        reply, arrived = observed.reply, observed.arrived
        if expected.outcome is None:
            return [] if reply.status == 0 and not arrived else [f"{reply.status} {reply.code}, not closed; {len(arrived)} arrived"]
        if isinstance(expected.outcome, Answered):
            said = answer_differences(expected.outcome, reply) + [f"arrived at {number}: {one.head}" for number, one in arrived]
            if len(expected.outcome.codes) > 1:
                return said  # whether it is 401, and so maybe a redirect, is left open
        elif reply.status != 200 or len(arrived) != 1:
            said = [f"{reply.status} {reply.code}, and {len(arrived)} requests arrived"]
        else:
            said = differences(expected.outcome, *arrived[0], self.backends)
        return said or self.field_differences(asked, expected, reply) + log_differences(expected, reply)

    def field_differences(self, asked: FrontRequest, expected: Seen, reply: FrontReply) -> list[str]:
        wanted, rule = dict(expected.fields), self.configuration.cors.get(expected.rule)
        answer = asked.answer if isinstance(expected.outcome, Forwarded) else []
        for name, value in answer:
            if name.lower() != "vary" and not rule:
                wanted.setdefault(name.lower(), []).append(value)
        wanted["vary"] = replies.vary(rule, [value for name, value in answer if name == "Vary"])
        seen: dict[str, list[str]] = {}
        for name, value in reply.headers.lines:
            seen.setdefault(name.lower(), []).append(value)
        names = {name for name in seen if name.startswith("access-control-")} | {"vary", "location"} | wanted.keys()
        if asked.listener.mode == "forward-auth" and reply.status == 200:
            names = (seen.keys() | wanted.keys()) - OF_EVERY_ANSWER
        if reply.status == 302:
            names |= {"www-authenticate"}
        said = []
        for name in sorted(names):
            mine, theirs = wanted.get(name, []), seen.get(name, [])
            if mine == ["MINTED"]:
                said += minted_differences(expected.somebody.user, theirs)
            elif mine != theirs and not (name == "www-authenticate" and mine and theirs):
                said.append(f"{name}: the client saw {theirs}, not {mine}")
        return said


def log_differences(expected: Seen, reply: FrontReply) -> list[str]:
    if reply.line is None:
        return []
    wanted = {"client": expected.client, "user": expected.somebody and expected.somebody.user}
    return [f"{name} in the log: {reply.line[name]}, not {value}" for name, value in wanted.items() if reply.line[name] != value]


def over_one(asked: FrontRequest) -> FrontReply:
    with Caller(asked) as client:
        client.try_send(render(asked.method, asked.target, asked.fields, asked.body, asked.host))
        answer = client.response(asked.method)
    return reply_of(answer, answer.body)


def over_two(asked: FrontRequest) -> FrontReply:
    with CallerOverTwo(asked) as connection:
        fields = asked.fields + ([("content-length", str(len(asked.body)))] if asked.body is not None else [])
        stream = connection.start(http2.get(asked.target, asked.method, asked.host) + fields, end=not asked.body)
        if asked.body:
            connection.data(stream, asked.body, end=True)
        answer = connection.answers[stream]
        assert connection.wait(lambda: answer.ended or answer.reset is not None or connection.closed), "no answer, and no end"
    if not answer.status:
        raise Closed
    return reply_of(answer, bytes(answer.body))


def reply_of(answer, body: bytes) -> FrontReply:
    origin = answer.headers.get("access-control-allow-origin")
    return FrontReply(answer.status, code_of(answer.status, answer.headers, body), origin, answer.headers)
