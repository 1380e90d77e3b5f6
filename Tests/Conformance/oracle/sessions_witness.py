"""The real binary beside a server that is asked about sessions, and where it and the model disagree."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness import betterauth
from harness import tokens as keys
from harness.backend import Backend
from harness.betterauth import AuthServer
from harness.waiting import wait_until
from harness.wire import Client

from . import asked_sessions, random_sessions, written
from .decision import Decision
from .settings import Configuration, Question, Request, SessionAnswer
from .witness import Observed, Witness

# What a question may have besides; nothing else of the client's is for the server.
OF_THE_QUESTION = {"host", "accept", "accept-encoding", "user-agent", "cookie", "authorization", "x-forwarded-for", "connection"}


class Server(AuthServer):
    """Says of a session what the configuration's `told` has, each session's API at a path of its own."""

    def __init__(self, configuration_of):
        self.configuration_of = configuration_of
        super().__init__()

    def _answer(self, connection, head: str) -> None:
        if "/get-session" in head and self.said(head).status == 0:
            with self._lock:
                self.heads.append(head)
            connection.close()
            return
        super()._answer(connection, head)

    def said(self, head: str) -> SessionAnswer:
        configuration = self.configuration_of()
        return configuration.outage or configuration.told.get(self.token(head) or "", asked_sessions.NOBODY)

    def response(self, head: str) -> bytes:
        method, path, _ = head.split("\r\n")[0].split(" ")
        for session in self.configuration_of().sessions.values():
            if (method, path) == ("GET", f"{session.place}/jwks") and session.published:
                public = [keys.jwk(keys.key_for(name, "better-auth"), kid=name.lower(), alg=name) for name in session.published]
                return self.http(betterauth.dump({"keys": public}).encode())
            if (method, path) == ("GET", f"{session.place}/get-session"):
                said = self.said(head)
                return self.http(said.body, f"{said.status} X", *(f"Set-Cookie: {cookie}" for cookie in said.cookies))
        return self.http(b"{}", "404 Not Found")


@dataclass
class SessionObserved(Observed):
    questions: list[str] = field(default_factory=list)


class SessionsWitness(Witness):
    variable, file = "USHER_MODEL_SESSIONS_SEEDS", "test_model_servers.py"
    sends_all = True  # what was said of a session is remembered

    def __init__(self, seed: int, folder: Path, backends: list[Backend]):
        self.server = Server(lambda: self.configuration)
        self.left = 0  # so many requests more the outage lasts
        super().__init__(seed, folder, backends)

    def made_up(self) -> Configuration:
        return random_sessions.configuration(self.chance, f"http://127.0.0.1:{self.server.port}")

    def prepare(self) -> None:
        written.write_revoked(self.configuration, self.folder)

    def __enter__(self):
        super().__enter__()
        wait_until(self.has_keys)
        return self

    def has_keys(self) -> bool:
        """They need not be there for it to be ready."""
        with Client(self.usher.admin) as client:
            text = client.request("GET", "/metrics", host="127.0.0.1").body.decode()
        return all(f'usher_keys{{issuer="session.{one.name}"}}' in text for one in self.configuration.sessions.values()
                   if one.server and one.published and one.cache in ("auto", "jwks"))

    def __exit__(self, *given):
        super().__exit__(*given)
        self.server.down()

    def random_request(self, number: int) -> Request:
        self.change()
        return random_sessions.request(self.chance, self.configuration)

    def change(self) -> None:
        """Somebody signs out at the server, or it fails for a while."""
        self.left -= 1
        if self.left == 0:
            self.configuration.outage = None
        if self.left < 0 and self.chance.random() < 0.03:
            self.left, self.configuration.outage = self.chance.randint(3, 12), self.chance.choice(random_sessions.OUTAGES)
        if self.configuration.told and self.chance.random() < 0.05:
            # Not one that it has said no about: how long that is remembered is open.
            self.configuration.told[self.chance.choice(sorted(self.configuration.told))] = SessionAnswer(200, b"null")

    def explains(self, asked: Request) -> bool:
        """It asks nobody."""
        return False

    def observe(self, asked: Request) -> SessionObserved:
        before = len(self.server.questions)
        found = super().observe(asked)
        return SessionObserved(found.reply, found.arrived, self.server.questions[before:])

    def compare(self, asked: Request, expected: Decision, observed: SessionObserved) -> list[str]:
        said, heads = super().compare(asked, expected, observed), list(observed.questions)
        cookies: list[str] = []
        for question in expected.questions:
            if heads and self.is_about(heads[0], question):
                said += self.differences(heads.pop(0), question)
                cookies += asked_sessions.relayed(question)
                while question.told.status == 0 and heads and self.is_about(heads[0], question):
                    heads.pop(0)  # the connection was closed without an answer: once more
            elif question.is_sure:
                said.append(f"not asked: {question}")
        said += [f"asked: {head}" for head in heads]
        if observed.reply.cookies != cookies:
            said.append(f"Set-Cookie {observed.reply.cookies}, not {cookies}")
        return said

    def is_about(self, head: str, question: Question) -> bool:
        name, kind, _ = question.about
        return head.startswith(f"GET /{name}/") and self.server.token(head) == question.token and bool(AuthServer.field(head, "authorization")) == (kind == "bearer")

    @staticmethod
    def differences(head: str, question: Question) -> list[str]:
        names = {line.partition(":")[0].lower() for line in head.rstrip().split("\r\n")[1:]}
        said = [f"a question has {name}" for name in names - OF_THE_QUESTION]
        for name in ("cookie", "authorization", "x-forwarded-for"):
            if AuthServer.field(head, name) != question.fields.get(name, []):
                said.append(f"{name} of a question: {AuthServer.field(head, name)}, not {question.fields.get(name)}")
        if not head.startswith(f"GET /{question.about[0]}/api/auth/get-session HTTP/1.1\r\n"):
            said.append(f"the question: {head}")
        return said

    def remember(self, expected: Decision, observed: SessionObserved) -> None:
        for question in expected.questions:
            if any(self.is_about(head, question) for head in observed.questions):
                self.configuration.verdicts[question.about] = question.told
                if self.configuration.outage:
                    # It goes on so about this one: how long a failure is remembered is open.
                    self.configuration.told[question.token] = question.told
