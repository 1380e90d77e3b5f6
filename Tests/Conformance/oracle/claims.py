"""Claims: where one stands, what `require` and `scopes` ask of it, and how it stands in a header."""

from __future__ import annotations

import re
import unicodedata

from .certificates import SOURCES
from .proof import Proven, invalid
from .settings import Configuration


def claim(claims: dict, name: str):
    """A claim whose literal name has the dots wins over one in nested objects. None: there is none."""
    if name in claims:
        return claims[name]
    found = claims
    for part in name.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(part)
    return found


def of(somebody: Proven, name: str):
    """`sub` is the verified user, whichever claim that was; and what a certificate says is no claim."""
    if name in SOURCES:
        return None
    return somebody.user if name == "sub" else claim(somebody.claims, name)


def plain(value) -> str | None:
    """A string, a number or a boolean as it stands; None for what is neither."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return getattr(value, "text", str(value))
    return value if isinstance(value, str) else None


def holds(somebody: Proven, table: dict[str, list[str]], captures: dict[str, str]) -> bool:
    """Every entry of one table of `require`: any of its values is the claim, or one of the claim's elements."""
    for name, values in table.items():
        wanted = []
        for value in values:
            for capture, text in captures.items():
                value = value.replace("{" + capture + "}", text)
            wanted.append(value)
        found = of(somebody, name)
        found = found if isinstance(found, list) else [found]
        if not any(plain(one) in wanted for one in found if plain(one) is not None):
            return False
    return True


def scopes(somebody: Proven) -> set[str]:
    """What any of the claims says that hold scopes."""
    found: set[str] = set()
    for name in ("scope", "scp", "scopes"):
        value = somebody.claims.get(name)
        if isinstance(value, str):
            found |= set(value.split(" "))
        if isinstance(value, list):
            found |= {one for one in value if isinstance(one, str)}
    return found


def header_value(value, header: str = "") -> str | None:
    """How a mapped claim stands in its header; None: there is no header. What cannot stand there refuses the token."""
    if value is None or value == "" or value == []:
        return None
    if not isinstance(value, list):
        return text_of(value, header)
    parts = [text_of(one, header) for one in value]
    if not all(parts) or any("," in part for part in parts) or len(",".join(parts).encode()) > 4096:
        raise invalid()
    return ",".join(parts)


def text_of(value, header: str) -> str:
    text = plain(value)
    if text is None or len(text.encode()) > 256 or any(unicodedata.category(letter) == "Cc" for letter in text):
        raise invalid()  # H11
    if any(is_loose(letter) for letter in text[:1] + text[-1:]) or names_user(header) and not text.isascii():
        raise invalid()
    return text


def is_loose(letter: str) -> bool:
    """White space, or what is not seen: backends cut it off."""
    return letter.isspace() or unicodedata.category(letter) == "Cf" or bool(re.match("[\u034f\u115f\u1160\u17b4\u17b5\u3164\ufe00-\ufe0f\uffa0]", letter))


def names_user(header: str) -> bool:
    """Where who the user is stays ASCII, whichever claim it is of."""
    folded = re.sub("[^0-9a-z]", "-", header.lower())
    kinds = ["x-user", "x-forwarded-user", "x-remote-user", "remote-user", "x-auth-request-user", "x-webauth-user"]
    return folded in ["x-user-id", "x-user-email", *kinds] or folded in [kind.replace("user", "email") for kind in kinds[1:]] or \
        folded.endswith("preferred-username")


def fit(configuration: Configuration, somebody: Proven) -> Proven:
    """A mapped claim that cannot stand in its header refuses the token."""
    for header, name in configuration.identity.items():
        header_value(of(somebody, name), header)
    return somebody
