"""Claims of every kind, by chance: numbers as they stand, texts that a header holds and such that it does not."""

from __future__ import annotations

import random
import re

NUMBERS = ["5", "5.0", "1.50", "-0", "1e3", "1E+3", "12345678901234567890", "0.1e-7", "-12"]
TEXTS = ["Zoë", "张伟 <a@b>", "😀 \u2028 \u202ex", "é\u00a0é", "é" * 128, "a,b", "a;b", "a b", "x" * 256, "\"", "\\", "%0d%0a", "a\u200bb"]
SPOILT = ["a\x85b", "\x80", "a\x9f", "\x7f", "a\nb", "\r\nX-Admin: 1", "é" * 129, " Zoë", "Zoë ", "Zoe\u00a0", "\u3000Zoe", "Zoe\u2028", "\ufeffZoe",
          "Zoe\u200b", "Zoe\u202e", "\u200dZoe", "x" * 257, "\t", "a\tb", " ", "\0"]
LISTS = [["a", "b"], [], ["a,b"], ["a,b"], ["b", "a,b"], ["a", 5, True], [["a"]], [{}], [None], [""], ["a", ""], ["x" * 256] * 15, ["x" * 256] * 16, ["Zoë"], ["a "], [" "], [5, "~1e3~"]]


def value(chance: random.Random):
    return chance.choice([
        lambda: f"~{chance.choice(NUMBERS)}~", lambda: f"~{chance.choice(NUMBERS)}~", lambda: chance.choice(TEXTS), lambda: chance.choice(TEXTS),
        lambda: chance.choice(SPOILT), lambda: chance.choice(LISTS), lambda: chance.choice([True, False, None, "", {}, {"a": 1}])])()


def odd_claims(chance: random.Random, claims: dict, mapped: list[str]) -> None:
    """Mostly of those that stand in headers."""
    known = ["level", "name", "text", "email", "realm", "deep", "org", "admin", "certificate", "literal"]
    for _ in range(chance.choice([1, 1, 2])):
        heads = [name.partition(".")[0].replace("tls", "certificate") for name in mapped]
        name = chance.choice([head for head in heads if head in known] or known) if chance.random() < 0.8 else chance.choice(known)
        if name == "realm":
            claims["realm"] = chance.choice([{"roles": value(chance)}, value(chance)])
        elif name == "org":
            claims["org"] = {"id": value(chance)}
        elif name == "deep":
            claims["deep"] = chance.choice([{"er": {"than": value(chance)}}, {"er.than": value(chance), "er": {"than": "other"}}, {"er": []}])
        elif name == "certificate":
            claims |= chance.choice([{"tls": {"subject": "CN=evil", "fingerprint": "evil"}}, {"tls.subject": "CN=evil", "tls.san": "evil"}])
        elif name == "literal":
            claims["deep.er.than"] = value(chance)
        else:
            claims[name] = value(chance)


def with_numbers(text: str) -> str:
    """Numbers in the spelling in which they were chosen, which no library would write."""
    return re.sub('"~([^"~]+)~"', r"\1", text)
