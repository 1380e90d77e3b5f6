"""An issuer's key server that does what a test tells it: good, slow, wrong, huge, cut, rotating, redirecting."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from . import tokens
from .standin import StandIn
from .waiting import PATIENCE_SECONDS


def key_set(*names: str, owner: str = "keys") -> bytes:
    """A JWK Set of ES256 keys; each name is a `kid`, and `owner` + `kid` is the key."""
    return json.dumps({"keys": [
        tokens.jwk(tokens.key("ES256", f"{owner}/{name}"), kid=name, alg="ES256") for name in names]}).encode()


def signed(kid: str | None, owner: str = "keys", issuer: str = "https://keys.test", **more) -> str:
    """A token of the key called `kid` of `owner`."""
    header = {"kid": kid} if kid is not None else {}
    return tokens.token("ES256", tokens.key("ES256", f"{owner}/{kid}"), header=header, issuer=issuer, **more)


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\nConnection: close\r\n\r\n" + body


class KeyServer(StandIn):
    """`answer` is bytes, or a function of the connection and the path; `pages` holds answers for single paths."""

    cuts = False  # each ends by itself, after its one answer

    def __init__(self, answer: bytes = b"", port: int | None = None, tls: ssl.SSLContext | None = None,
                 host: str = "127.0.0.1"):
        self.answer: object = answer
        self.pages: dict[str, object] = {}
        self.requests: list[str] = []
        self.heads: list[bytes] = []
        self.times: list[float] = []
        self.tls = tls
        super().__init__(host, port)

    def publish(self, *names: str, owner: str = "keys", **headers: str) -> None:
        self.answer = response(key_set(*names, owner=owner), **headers)

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return self.origin + "/jwks"

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                connection.settimeout(20)
                head = b""
                while b"\r\n\r\n" not in head:
                    data = connection.recv(65536)
                    if not data:
                        return
                    head += data
                    if head[:1] == b"\x16":  # TLS, to a server that speaks none
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                        return
                path = head.split(b" ")[1].decode()
                self.times.append(time.monotonic())
                self.heads.append(head)
                self.requests.append(path)
                answer = self.pages.get(path, self.answer)
                if callable(answer):
                    answer(connection, path)
                else:
                    connection.sendall(answer)
                if self.tls:
                    connection.unwrap()
        except (OSError, ValueError):
            pass  # the client has gone, or the answer has ended TLS itself

    def wait_requests(self, count: int, timeout: float = PATIENCE_SECONDS) -> None:
        end = time.monotonic() + timeout
        while len(self.requests) < count:
            assert time.monotonic() < end, f"{len(self.requests)} requests, {count} wanted"
            time.sleep(0.01)


class Authority:
    """A certificate authority for one test."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "usher test authority")])
        self.certificate = self._sign(name, self.key.public_key(), name, [
            (x509.BasicConstraints(ca=True, path_length=None), True),
            (x509.KeyUsage(False, False, False, False, False, True, True, False, False), True)])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, subject, public_key, issuer, extensions, days=(-1, 30)) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=days[0]))
            .not_valid_after(now + datetime.timedelta(days=days[1])))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def context(self, names: list[str], days=(-1, 30), version=None, subject="server") -> ssl.SSLContext:
        """A server's context with a certificate for these names and addresses; without any, its subject alone has a name."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = []
        for name in names:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                alternatives.append(x509.DNSName(name))
        certificate = self._sign(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]), key.public_key(),
            self.certificate.subject, [(x509.SubjectAlternativeName(alternatives), False)] if names else [], days)
        stem = self.folder / f"server-{id(certificate)}"
        (stem.with_suffix(".pem")).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (stem.with_suffix(".key")).write_bytes(tokens.private_pem(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        if version:
            context.minimum_version, context.maximum_version = version, version
        return context
