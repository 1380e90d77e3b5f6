"""What Better Auth signs with its secret, `VALUE.CODE`, and how it writes moments."""

from __future__ import annotations

import base64
import datetime
import re
import urllib.parse

from harness import betterauth

from .proof import invalid
from .settings import Refused


def signed_value(text: str) -> str:
    if "%" in text:
        text = urllib.parse.unquote(text)
    value, dot, code = text.rpartition(".")
    if not dot or len(code) != 44 or base64.b64encode(betterauth.mac(value)).decode() != code:
        raise invalid()
    return value


def is_signed(text: str) -> bool:
    try:
        return signed_value(text) is not None
    except Refused:
        return False


def is_code(value: str, code: str) -> bool:
    """As a bearer has it: either alphabet, with padding or without."""
    return bool(re.fullmatch("[A-Za-z0-9+/_-]{43}=?", code)) and re.sub("=$", "", code).translate(str.maketrans("-_", "+/")) == \
        base64.b64encode(betterauth.mac(value)).decode().rstrip("=")


def moment(text) -> float | None:
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None
