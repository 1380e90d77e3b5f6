"""The real binary between clients and servers of WebSocket, and where it and the model disagree."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from unittest.mock import ANY

from harness import http2
from harness.backend import Exchange
from harness.wire import Client, render

from . import random_tunnels, tunnels
from .decision import Decision
from .settings import Configuration, Forwarded, Request
from .witness import Observed, Reply, Witness, over_two, reply_of

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def switch(exchange: Exchange, protocol: str | None) -> None:
    headers = exchange.request.headers
    if "upgrade" not in headers:
        exchange.read_body()
        return exchange.reply()
    accept = base64.b64encode(hashlib.sha1((headers.get("sec-websocket-key") or "").encode() + MAGIC).digest()).decode()
    more = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
    exchange.send(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{more}\r\n".encode())
    exchange.close()


class TunnelsWitness(Witness):
    variable, file = "USHER_MODEL_TUNNELS_SEEDS", "test_model_backends.py"

    def made_up(self) -> Configuration:
        return random_tunnels.configuration(self.chance)

    def random_request(self, number: int) -> Request:
        found = random_tunnels.request(self.chance, self.configuration)
        self.protocol = self.chance.choice([None, None, *random_tunnels.PROTOCOLS])
        return found

    def explains(self, asked: Request) -> bool:
        return False

    def observe(self, asked: Request) -> Observed:
        for backend in self.backends:
            backend.requests.clear()
            backend.script = lambda exchange: switch(exchange, self.protocol)
        reply = self.by_two(asked) if asked.listener.protocol == "h2" else self.by_one(asked)
        return Observed(reply, [(number, recorded) for number, backend in enumerate(self.backends) for recorded in backend.requests])

    def by_one(self, asked: Request) -> Reply:
        with Client(asked.listener.port) as client:
            client.send(render(asked.method, asked.target, asked.fields, asked.body, asked.host))
            answer = client.response(asked.method)
        return self.told(reply_of(answer, answer.body), answer)

    def by_two(self, asked: Request) -> Reply:
        if not asked.opens_tunnel:
            return over_two(asked, self.two(asked))
        with self.two(asked) as connection:
            pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", asked.host), (":path", asked.target)]
            stream = connection.start(pseudo + asked.fields, end=False)
            answer = connection.answers[stream]
            assert connection.wait(lambda: answer.status and (answer.status == 200 or answer.ended) or answer.reset is not None), "no answer"
        assert answer.status, answer
        return self.told(reply_of(answer, bytes(answer.body)), answer)

    @staticmethod
    def told(reply: Reply, answer) -> Reply:
        reply.protocols = answer.headers.all("sec-websocket-protocol")
        return reply

    def compare(self, asked: Request, expected: Decision, observed: Observed) -> list[str]:
        outcome, reply = expected.outcome, observed.reply
        if not isinstance(outcome, Forwarded):
            return super().compare(asked, expected, observed)
        status = 101 if asked.opens_tunnel and asked.listener.protocol != "h2" else 200
        said = [] if reply.status == status else [f"status {reply.status} {reply.code}, not {status}"]
        if asked.opens_tunnel:
            has_token = tunnels.bears_token(self.configuration, asked, expected.route)
            wanted = tunnels.chosen(asked, has_token, self.protocol)
            if reply.protocols != ([wanted] if wanted else []):
                said.append(f"Sec-WebSocket-Protocol {reply.protocols}, not {wanted}")
            if asked.listener.protocol == "h2":
                outcome = dataclasses.replace(outcome, fields=outcome.fields | {"sec-websocket-key": [ANY]})
        reply = dataclasses.replace(reply, status=200 if reply.status == status else reply.status)
        # What opens a tunnel is read by no page.
        expected = dataclasses.replace(expected, outcome=outcome, told_origin=None if asked.opens_tunnel else expected.told_origin)
        return said or super().compare(asked, expected, Observed(reply, observed.arrived))
