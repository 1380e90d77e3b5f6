"""The real binary between clients of either version and backends of either, and where it and the model disagree."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from harness import http2
from harness.backend import Backend, Recorded
from harness.http2backend import HTTP2Backend, Seen, Wire
from harness.wire import Client, Headers, chunk, render

from . import random_two, two
from .decision import Decision
from .settings import Answered, Configuration, Forwarded, Request
from .witness import Observed, Reply, Witness, over_two, reply_of


class BackendOverTwo(HTTP2Backend):
    """Records as the other one does; an answer comes when the whole request is there."""

    def __init__(self):
        super().__init__()
        self.on_request = self.reply

    def reply(self, wire: Wire, seen: Seen) -> None:
        if seen[":method"] == "HEAD":
            wire.head(seen.stream, 200, end=True)
        else:
            wire.answer(seen.stream)


def recorded(seen: Seen) -> Recorded:
    """What a backend of HTTP/1.1 would have seen of it, with the pseudo-fields beside it."""
    lines = [(name, value.encode().decode("latin-1")) for name, value in seen.fields if not name.startswith(":")]
    found = Recorded(seen[":method"], seen[":path"], "HTTP/2", Headers([("host", seen[":authority"] or ""), *lines]), b"", seen.connection, 0)
    found.body, found.trailers = seen.body, Headers(seen.trailers)
    found.complete = seen.ended
    return found


class TwoWitness(Witness):
    variable, file = "USHER_MODEL_TWO_SEEDS", "test_model_backends.py"

    def __init__(self, seed: int, folder: Path, backends: list[Backend]):
        self.over_two = [BackendOverTwo() for _ in backends]
        super().__init__(seed, folder, backends)

    def made_up(self) -> Configuration:
        found = random_two.configuration(self.chance)
        for upstream in found.upstreams.values():
            if upstream.protocol == "h2":
                self.backends = [*self.backends[:upstream.backend], self.over_two[upstream.backend], *self.backends[upstream.backend + 1:]]
        return found

    def random_request(self, number: int) -> Request:
        return random_two.request(self.chance, self.configuration)

    def __exit__(self, *given):
        super().__exit__(*given)
        for backend in self.over_two:
            backend.close()

    def explains(self, asked: Request) -> bool:
        return False

    def observe(self, asked: Request) -> Observed:
        for backend in self.backends:
            backend.requests.clear()
        reply = self.by_two(asked) if asked.listener.protocol == "h2" else self.by_one(asked)
        found = [(number, recorded(one) if isinstance(one, Seen) else one, one) for number, backend in enumerate(self.backends)
                 for one in backend.requests]
        self.seen = [one for _, _, one in found]
        return Observed(reply, [(number, one) for number, one, _ in found])

    def by_one(self, asked: Request) -> Reply:
        if not asked.trailers:
            return self.plain(asked)
        with Client(asked.listener.port) as client:
            lines = "".join(f"{name}: {value}\r\n" for name, value in asked.trailers).encode()
            fields = [*asked.fields, ("Transfer-Encoding", "chunked")]
            parts = [asked.body] if asked.body else []
            client.try_send(render(asked.method, asked.target, fields, None, asked.host) + chunk(*parts, trailers=lines))
            answer = client.response(asked.method)
        return reply_of(answer, answer.body)

    def plain(self, asked: Request) -> Reply:
        with Client(asked.listener.port) as client:
            client.try_send(render(asked.method, asked.target, asked.fields, asked.body, asked.host))
            answer = client.response(asked.method)
        return reply_of(answer, answer.body)

    def by_two(self, asked: Request) -> Reply:
        if not asked.trailers:
            return over_two(asked, self.two(asked))
        with self.two(asked) as connection:
            stream = connection.start(http2.get(asked.target, asked.method, asked.host) + asked.fields, end=False)
            if asked.body:
                connection.data(stream, asked.body)
            connection.trailers(stream, asked.trailers)
            answer = connection.answer(stream)
        assert answer.status, answer
        return reply_of(answer, bytes(answer.body))

    def compare(self, asked: Request, expected: Decision, observed: Observed) -> list[str]:
        outcome = expected.outcome
        if isinstance(outcome, Answered) and two.is_call(asked) and outcome.status != 204:
            is_read = expected.route or outcome.status not in (400, 405)
            return self.call_differences(outcome, observed) if is_read or observed.reply.status == 200 else super().compare(asked, expected, observed)
        if not isinstance(outcome, Forwarded) or len(observed.arrived) != 1:
            return super().compare(asked, expected, observed)
        [(number, one)] = observed.arrived
        fields = dict(outcome.fields)
        if outcome.upstream.protocol == "h2" and two.te(asked):
            fields["te"] = two.te(asked)
        said = super().compare(asked, Decision(Forwarded(outcome.upstream, outcome.method, outcome.target, fields, outcome.minted_for),
                                               expected.told_origin, expected.route, expected.somebody), observed)
        if isinstance(self.seen[0], Seen):
            said += self.pseudo_differences(outcome, self.seen[0])
        if (asked.body or b"") != one.body:
            said.append(f"{len(one.body)} bytes of the body arrived, not {len(asked.body or b'')}")
        mine, theirs = two.trailers(self.configuration, asked, outcome.upstream), [(name.lower(), value) for name, value in one.trailers.lines]
        if Counter(mine) != Counter(theirs):
            said.append(f"trailers: the backend saw {theirs}, not {mine}")
        return said

    @staticmethod
    def call_differences(outcome: Answered, observed: Observed) -> list[str]:
        said = [f"arrived at {number}: {one.target}" for number, one in observed.arrived]
        found, wanted = (observed.reply.status, observed.reply.call), two.of_call(outcome)
        if found != wanted and len(outcome.codes) < 2:
            said.append(f"a call got {found}, not {wanted} for {outcome}")
        return said

    def pseudo_differences(self, outcome: Forwarded, seen: Seen) -> list[str]:
        host = outcome.fields["host"][0]
        host = f"127.0.0.1:{self.backends[outcome.upstream.backend].port}" if host == "SERVER" else host
        pseudo = [(name, value) for name, value in seen.fields if name.startswith(":")]
        wanted = two.pseudo_fields(outcome, host)
        said = [] if sorted(pseudo) == sorted(wanted.items()) else [f"pseudo-fields {pseudo}, not {wanted}"]
        names = {name for name, _ in seen.fields}
        return said + [f"{name} arrived" for name in names & {"host", "connection", "transfer-encoding", "upgrade", "keep-alive", "http2-settings"}]
