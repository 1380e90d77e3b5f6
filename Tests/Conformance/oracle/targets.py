"""Which targets and hosts are taken at all (security.md, P1 to P5): nothing is normalised, and what could be read in two ways is 400."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from .settings import Refused

UNRESERVED = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
SEPARATORS = set(b"/\\")
CONTROLS = set(range(32)) | {127}


def bad() -> Refused:
    return Refused(400, "bad_request")


@dataclass
class Target:
    path: str
    query: str | None
    host: str  # without case, port and a dot at the end
    authority: str  # as it came

    @property
    def segments(self) -> list[str]:
        return self.path[1:].split("/")


def decoded(text: str) -> str:
    """As a backend decodes it; bytes that are not UTF-8 stay apart."""
    return urllib.parse.unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def parse(target: str, host: str) -> Target:
    if match := re.fullmatch(r"(?i:https?)://([^/?#]*)(.*)", target):
        # The absolute form's authority counts, whatever Host says (P3).
        host, target = match[1], match[2] or "/"
    if not target.startswith("/") or "#" in target:
        raise bad()
    path, mark, query = target.partition("?")
    check_path(path)
    return Target(path, query if mark else None, canonical_host(host), host)


def check_path(path: str) -> None:
    if re.search(r"[^\x21-\x7e]|[\"<>\\^`{|}]|%(?![0-9A-Fa-f]{2})", path):
        raise bad()
    check_encoding(path)
    segments = path[1:].split("/")
    if any(not segment for segment in segments[:-1]):
        raise bad()  # an empty one in the middle; the last one is a slash at the end
    for segment in segments:
        # What stands behind a semicolon is a parameter to some backends, and the segment what is before it.
        name = decoded(segment).partition(";")[0]
        if name in (".", ".."):
            raise bad()


def check_encoding(path: str) -> None:
    """Encoded once: separators, controls and what needs no encoding. Encoded twice: all of these, and the semicolon."""
    if any(value in SEPARATORS | CONTROLS | UNRESERVED for value in encoded(path, "%")):
        raise bad()
    if any(value in SEPARATORS | CONTROLS | UNRESERVED | {ord(";")} for value in encoded(path, "%25")):
        raise bad()
    if re.search(r"%[cC][01]", path):
        raise bad()  # overlong UTF-8


def encoded(path: str, mark: str) -> list[int]:
    return [int(pair, 16) for pair in re.findall(mark + "([0-9A-Fa-f]{2})", path)]


def canonical_host(host: str) -> str:
    """P5: no case, no port, no dot at the end; what is no host is 400."""
    match = re.fullmatch(r"([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)\.?(?::([0-9]{1,5}))?", host)
    if not match or int(match[2] or 0) > 65535:
        raise bad()
    return match[1].lower()
