"""Where a request bears credentials: `Authorization`, cookies, parameters of the query."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field

from . import tunnels
from .settings import Request
from .targets import bad


@dataclass
class Authorization:
    scheme: str
    credentials: str
    whole: str


def authorization(request: Request) -> Authorization | None:
    values = request.all("authorization")
    if len(values) > 1:
        raise bad()  # H7: what decides has one value
    if len(request.all("dpop")) > 1:
        raise bad()
    if not values:
        return None
    scheme, _, credentials = values[0].partition(" ")
    return Authorization(scheme.lower(), credentials.strip(" "), values[0])


@dataclass
class Cookie:
    text: str  # the whole piece between semicolons
    name: str
    value: str


def cookies(request: Request) -> list[Cookie]:
    found = []
    for value in request.all("cookie"):
        for piece in value.split(";"):
            name, _, text = piece.strip(" \t").partition("=")
            if len(text) >= 2 and text[0] == text[-1] == '"':
                text = text[1:-1]
            found.append(Cookie(piece, name, text))
    return found


def spelled_alike(name: str, wanted: str) -> bool:
    """Whether some backend takes one name for the other: no case, percent-encoding undone, `.`, `[` and spaces as `_`."""
    def mangled(text: str) -> str:
        text = urllib.parse.unquote(text.replace("+", " ")).split("\0")[0].lstrip(" ")
        return re.sub(r"[ .\[]", "_", text).lower()
    return mangled(name) == mangled(wanted)


def parameters(query: str | None, name: str) -> list[str]:
    pieces = (query or "").split("&")
    return [piece[len(name) + 1:] for piece in pieces if piece.startswith(name + "=")]


def hidden_parameters(query: str | None, name: str) -> int:
    """How many parameters only some backends would take for this one."""
    count = 0
    for piece in re.split("[&;]", query or ""):
        found = piece.partition("=")[0]
        if spelled_alike(found, name) and not (found == name and piece in (query or "").split("&")):
            count += 1
    return count


def without_parameters(target: str, names: list[str]) -> str:
    """The target without these, and without a question mark that nothing stands behind any more."""
    path, mark, query = target.partition("?")
    kept = [piece for piece in query.split("&") if not any(piece.startswith(name + "=") for name in names)]
    if not mark or kept == query.split("&"):
        return target
    return path + ("?" + "&".join(kept) if kept else "")


@dataclass
class Tokens:
    """What the issuers of a route find, and in which of their places: "header", "cookie:NAME", "query:NAME"."""

    found: dict[str, set[str]] = field(default_factory=dict)
    parameters: int = 0

    def add(self, text: str, place: str) -> None:
        self.found.setdefault(text, set()).add(place)


def tokens(request: Request, query: str | None, places: set[str], bearer: str | None) -> Tokens:
    """All tokens in these places; a bearer counts wherever it stands (it may be the same one again)."""
    result = Tokens()
    if bearer is not None:
        result.add(bearer, "header")
    for place in sorted(places - {"header"}):
        kind, _, name = place.partition(":")
        if kind == "cookie":
            for cookie in cookies(request):
                if cookie.name == name and cookie.value:
                    result.add(cookie.value, place)
        elif kind == "websocket":
            for value in tunnels.tokens(request):
                result.add(value, place)
        else:
            for value in parameters(query, name):
                result.parameters += 1
                result.add(value, place)
    if result.parameters > 1:
        raise bad()  # one is cut out of the target; nobody sends two, not even of one token
    return result
