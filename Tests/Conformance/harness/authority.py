"""A certificate authority made in the test, and what it signs."""

from __future__ import annotations

import datetime
import functools
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


@functools.cache
def make_key(kind: str, number: int = 0):
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())


def subject(name: str, organization: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def pem(certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def general(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Pair:
    """A certificate and its key, written into a folder."""

    def __init__(self, folder: Path, stem: str, certificate, key):
        self.certificate, self.key = certificate, key
        self.cert_file, self.key_file = folder / f"{stem}.pem", folder / f"{stem}.key"
        self.write()

    def write(self, certificate: bytes | None = None, key: bytes | None = None) -> None:
        # Replaced as operators do it: the key first or last, each file whole.
        self.key_file.write_bytes(key or key_pem(self.key))
        self.cert_file.write_bytes(certificate or pem(self.certificate))

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def toml(self) -> str:
        return f'{{ certificate = "{self.cert_file}", key = "{self.key_file}" }}'


class Authority:
    """`sign` makes certificates; `file` is what trusts them."""

    def __init__(self, folder: Path, name: str = "usher test authority"):
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        self.certificate = (
            x509.CertificateBuilder().subject_name(subject(name)).issuer_name(subject(name))
            .public_key(self.key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY).not_valid_after(now + 365 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256()))
        self.file = folder / f"{name.replace(' ', '-')}.pem"
        self.file.write_bytes(pem(self.certificate))

    def sign(self, stem: str, names: list[str], kind: str = "ec", days=(-1, 30), common_name: str | None = None,
             organization: str | None = None, client: bool = False, self_signed: bool = False,
             raw_names: list[x509.GeneralName] | None = None) -> Pair:
        key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        own = subject(common_name or (names[0] if names else stem), organization)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = (
            x509.CertificateBuilder().subject_name(own)
            .issuer_name(own if self_signed else self.certificate.subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now + days[0] * DAY).not_valid_after(now + days[1] * DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False))
        if not self_signed:
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        alternatives = [general(name) for name in names] + (raw_names or [])
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return Pair(self.folder, stem, builder.sign(key if self_signed else self.key, hashes.SHA256()), key)

    def client_context(self, pair: Pair | None = None, alpn: list[str] | None = None,
                       version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """What a careful client uses."""
        context = ssl.create_default_context(cafile=str(self.file))
        if pair:
            context.load_cert_chain(pair.cert_file, pair.key_file)
        if alpn:
            context.set_alpn_protocols(alpn)
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def server_context(self, pair: Pair, clients: Path | None = None) -> ssl.SSLContext:
        """What a backend with that certificate uses; `clients` are the authorities of its clients."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert_file, pair.key_file)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(str(clients))
        return context
