"""Claims: where one stands, what `require` and `scopes` ask of it, and how it stands in a header."""

from __future__ import annotations

from .proof import Proven, invalid


def claim(claims: dict, name: str):
    """A claim whose literal name has the dots wins over one in nested objects. None: there is none."""
    if name in claims:
        return claims[name]
    head, dot, rest = name.partition(".")
    if dot and isinstance(claims.get(head), dict):
        return claim(claims[head], rest)
    return None


def of(somebody: Proven, name: str):
    """`sub` is the verified user, whichever claim that was."""
    return somebody.user if name == "sub" else claim(somebody.claims, name)


def plain(value) -> str | None:
    """A string, a number or a boolean as it stands; None for what is neither."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
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


def header_value(value) -> str | None:
    """How a mapped claim stands in its header; None: there is no header. What cannot stand there refuses the token."""
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, list):
        parts = [text_of(one) for one in value]
        if any("," in part for part in parts):
            raise invalid()
        return ",".join(parts)
    return text_of(value)


def text_of(value) -> str:
    text = plain(value)
    if text is None or any(ord(letter) < 32 or ord(letter) == 127 for letter in text) or text != text.strip():
        raise invalid()  # H11
    if len(text.encode()) > 256:
        raise invalid()
    return text
