"""The real binary with clients that hold keys: TLS with certificates, DPoP, a server that is asked about tokens, tokens that are revoked."""

from __future__ import annotations

import json
import re
import urllib.parse
from pathlib import Path

from harness import http2
from harness.authority import Authority, pem
from harness.backend import Backend
from harness.standin import StandIn
from harness.wire import Client

from . import explained, random_keys, replies, written
from .certificates import Certificate
from .decision import Decision
from .random_keys import NAMES
from .revoked import Revoked
from .settings import Answered, Configuration, Request
from .witness import Observed, Witness


class Server(StandIn):
    """Says of a token what the configuration's `answers` have."""

    def __init__(self, configuration: Configuration):
        self.configuration = configuration
        super().__init__()

    def _serve(self, connection) -> None:
        buffer = b""
        with connection:
            while data := connection.recv(65536):
                buffer += data
                head, end, rest = buffer.partition(b"\r\n\r\n")
                length = int(re.search(rb"(?i)\ncontent-length: *([0-9]+)", head)[1]) if end else 0
                if end and len(rest) >= length:
                    buffer = rest[length:]
                    connection.sendall(self.answer(urllib.parse.parse_qs(rest[:length].decode(), keep_blank_values=True)["token"][0]))

    def answer(self, token: str) -> bytes:
        """A question without a token is an error of who asks (RFC 7662, 2.1)."""
        status, body = self.configuration.answers.get(token, (200 if token else 400, b'{"active":false}'))
        return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


class People:
    """Who has certificates: one plain, one with a name that has to be escaped."""

    def __init__(self, folder: Path):
        self.authority = Authority(folder)
        self.server = self.authority.sign("server", ["usher.test"])
        alice = self.authority.sign("alice", ["alice.test", "spiffe://test/alice"], common_name="alice", organization="Acme, Inc.", client=True)
        other = self.authority.sign("other", [], common_name='#a+b "c" <d>; \\e', organization=" Zoë", client=True)
        loose = self.authority.sign("loose", ["10.0.0.1", "loose.test"], common_name="loose", organization="Acme ", client=True)
        self.certificates = [
            Certificate("alice", alice.fingerprint, "CN=alice,O=Acme\\, Inc.", "DNS:alice.test,URI:spiffe://test/alice"),
            Certificate("other", other.fingerprint, 'CN=\\#a\\+b \\"c\\" \\<d\\>\\; \\\\e,O=\\ Zo\\C3\\AB', ""),
            # What ends with a space is left out.
            Certificate("loose", loose.fingerprint, "", "IP:10.0.0.1,DNS:loose.test")]
        self.contexts = {}
        for name, pair in {None: None, "alice": alice, "other": other, "loose": loose}.items():
            for protocol in ("h2", "http/1.1"):
                self.contexts[name, protocol] = self.authority.client_context(pair, alpn=[protocol])

    def secured(self, asked: Request, sock):
        stem = asked.certificate and asked.certificate.stem
        return self.contexts[stem, asked.listener.protocol].wrap_socket(sock, server_hostname="usher.test")


class KeysWitness(Witness):
    variable = "USHER_MODEL_KEYS_SEEDS"

    def __init__(self, seed: int, folder: Path, backends: list[Backend], people: People):
        self.people = people
        super().__init__(seed, folder, backends)

    def made_up(self) -> Configuration:
        return random_keys.configuration(self.chance)

    def prepare(self) -> None:
        self.server = Server(self.configuration)
        self.configuration.server = self.server.port
        (self.folder / "server.pem").write_bytes(pem(self.people.server.certificate))
        (self.folder / "server.key").write_bytes(self.people.server.key_file.read_bytes())
        (self.folder / "clients.pem").write_bytes(self.people.authority.file.read_bytes())
        written.write_revoked(self.configuration, self.folder)

    def __exit__(self, *given):
        super().__exit__(*given)
        self.server.down()

    def random_request(self, number: int) -> Request:
        if self.configuration.revoked != Revoked() and self.chance.random() < 0.01:
            self.revoke(Revoked([self.chance.choice([*NAMES, "four"])]))
        return random_keys.request(self.chance, self.configuration, self.people.certificates)

    def revoke(self, more: Revoked) -> None:
        """Counts for the next request."""
        self.configuration.revoked.add(more)
        with Client(self.usher.admin) as client:
            answer = client.request("POST", "/revocations", (), json.dumps(more.document()).encode(), host="127.0.0.1")
        assert answer.status == 200, answer

    def explains(self, asked: Request) -> bool:
        """It knows nothing of TLS, of servers that are asked, of nonces, nor of what was posted."""
        known = self.configuration.revoked == Revoked() and not any(
            issuer.source == "introspection" or issuer.dpop_nonce for issuer in self.configuration.issuers.values())
        return known and not asked.listener.client_auth and not replies.navigates(asked) and explained.can_express(asked)

    def one(self, asked: Request) -> Client:
        client = super().one(asked)
        if asked.listener.client_auth:
            client.sock = client.reader.sock = self.people.secured(asked, client.sock)
        return client

    def two(self, asked: Request) -> http2.Connection:
        if not asked.listener.client_auth:
            return super().two(asked)
        connection = http2.Connection(asked.listener.port, start=False)
        connection.sock = self.people.secured(asked, connection.sock)
        connection.h2.initiate_connection()
        connection.flush()
        return connection

    def compare(self, asked: Request, expected: Decision, observed: Observed) -> list[str]:
        said = super().compare(asked, expected, observed)
        outcome, reply = expected.outcome, observed.reply
        if reply.status == 302 or expected.location and isinstance(outcome, Answered) and len(outcome.codes) < 2:
            if reply.location != expected.location or reply.challenges or reply.nonce:
                said.append(f"sent to {reply.location} with {reply.challenges} and {reply.nonce}, not to {expected.location}")
        if isinstance(outcome, Answered) and outcome.errors and reply.status == 401:
            errors = re.findall('error="([^"]*)"', " ".join(reply.challenges))
            if not set(errors) & set(outcome.errors):
                said.append(f"WWW-Authenticate {reply.challenges}, not one of {outcome.errors}")
            if (reply.nonce is not None) != ("use_dpop_nonce" in errors):
                said.append(f"DPoP-Nonce {reply.nonce} with {errors}")
        return said

    def remember(self, expected: Decision, observed: Observed) -> None:
        """What the next decisions know of this one."""
        if observed.reply.nonce:
            self.configuration.nonces.add(observed.reply.nonce)
        if expected.somebody and expected.somebody.proof:
            self.configuration.proofs.add(expected.somebody.proof)
