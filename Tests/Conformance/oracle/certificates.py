"""What a client's certificate says, and the headers in which it stands (docs/tls.md)."""

from __future__ import annotations

import base64
from dataclasses import dataclass

SOURCES = ("tls.subject", "tls.san", "tls.fingerprint")


@dataclass
class Certificate:
    stem: str
    fingerprint: str
    subject: str
    alternatives: str

    @property
    def thumbprint(self) -> str:
        return base64.urlsafe_b64encode(bytes.fromhex(self.fingerprint)).decode().rstrip("=")

    def named(self, source: str) -> str:
        return dict(zip(SOURCES, (self.subject, self.alternatives, self.fingerprint)))[source]


def identity(headers: dict[str, str], certificate: Certificate | None) -> dict[str, str]:
    """On every route, with or without a token; of nobody's certificate there is no header."""
    if certificate is None:
        return {}
    values = {name: certificate.named(source) for name, source in headers.items() if source in SOURCES}
    return {name: value.encode().decode("latin-1") for name, value in values.items() if value}
