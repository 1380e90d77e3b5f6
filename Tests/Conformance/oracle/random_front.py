"""Who asks, by chance: peers, PROXY headers, what proxies in front say, questions, browsers. The rest of a request is `random_requests`'s."""

from __future__ import annotations

import ipaddress
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path

from . import random_configuration, random_requests
from .peers import SIGNATURE
from .random_configuration import PAGES, some
from .settings import CORS, Configuration, Limit, Listener, Request

NETWORKS = [["127.0.0.1"], ["127.0.0.0/30"], ["127.0.0.1", "10.0.0.0/8"], ["127.0.0.0/30", "2001:db8:1::/48"], ["127.0.0.2/32", "10.0.0.0/8"]]
SOURCES = ["127.0.0.1"] * 6 + ["127.0.0.2", "127.0.0.3", "127.0.0.77"]
ADDRESSES = ["203.0.113.9", "203.0.113.9", "198.51.100.7", "10.1.2.3", "127.0.0.2", "127.0.0.3", "2001:db8:1::5", "2001:db8:2:3::4", "2001:db8:2:3::6",
             "2001:DB8:2:3:0::5", "::ffff:203.0.113.9", "::ffff:10.1.2.3", "::ffff:7f00:1", "0.0.0.0", "::1"]
ODD = ["unknown", "_hidden", "", "203.0.113.256", "203.0.113.09", "::", "0::0", "203.0.113", "203.0.113.9%eth0", "fe80::1%eth0", "x y",
       '"203.0.113.9"', "[203.0.113.9]", "[2001:db8:2:3::4", "203.0.113.9:", "203.0.113.9:99999", "1.2.3.4.5", "0x7f.1", "2130706433",
       "1:2:3:4:5:6:7:8:9", "2001:db8:2:3::4:80:", "localhost", "-", "127.0.0.1 evil"]
SIGN_IN = ["https://app.test/sign-in", "/sign-in", "/sign-in?lang=en", "http://localhost:3000/a/b?", "https://app.test"]
VARY = [[], [], ["Accept-Encoding"], ["Origin"], ["accept, origin"], ["*"], ["A", "B"], [""], ["A,, B ,"], ["Origin-Agent"], ["a, *"]]


@dataclass
class FrontRequest(Request):
    answer: list[tuple[str, str]] = field(default_factory=list)  # what the backend adds to its answer


def configuration(chance: random.Random, folder: Path) -> Configuration:
    result = random_configuration.configuration(chance)

    def networks() -> list[str]:
        return list(chance.choice(NETWORKS))
    result.listeners = [
        Listener("plain"), Listener("edge", trusted=networks()), Listener("two", "h2", trusted=networks()),
        Listener("greeted", chance.choice(["http/1.1", "h2"]), networks(), proxy_protocol=True),
        Listener("verify", trusted=networks(), mode="forward-auth"),
        Listener("verify2", trusted=networks(), mode="forward-auth", proxy_protocol=chance.random() < 0.5),
        Listener("local", socket=str(folder / "l.sock"), proxy_protocol=chance.random() < 0.5, trusted=chance.choice([[], networks()])),
        Listener("away", trusted=networks(), mode="redirect", redirect=chance.choice(["https", "https:8443"]))]
    result.cors = {one.name: one for one in (rule(chance, "pages"), rule(chance, "all"))}
    result.limits = {name: Limit(name, key, chance.randint(2, 6)) for name, key in [("visitors", "address"), ("users", "user")]}
    result.access = "stdout"
    for route in result.routes:
        route.rate_limit = chance.choice([None, None, "visitors", "users"])
        route.cors = chance.choice([None, "pages", "pages", "all"])
        if route.names and chance.random() < 0.6:
            route.sign_in = chance.choice(SIGN_IN)
        if not route.names and not route.strip_prefix and chance.random() < 0.3:
            route.redirect, route.rate_limit = chance.choice(["https", "https:8443"]), None
    return result


def rule(chance: random.Random, name: str) -> CORS:
    is_for_all = name == "all"
    credentials = not is_for_all and chance.random() < 0.5
    anything = [] if credentials else [["*"]]
    return CORS(
        name, ["*"] if is_for_all else some(chance, PAGES, most=2), credentials,
        methods=chance.choice([["GET", "HEAD", "POST"], ["GET", "DELETE", "PURGE"], ["PUT"]]),
        headers=chance.choice([[], ["Authorization", "Content-Type"], ["X-A"], *anything]),
        expose_headers=chance.choice([[], ["X-Request-Id"], ["ETag", "X-B"], *anything]), max_age=chance.choice([None, 0, 600, 86400]))


def request(chance: random.Random, whole: Configuration, number: int) -> FrontRequest:
    base = random_requests.request(chance, whole)
    fields = [(name, value) for name, value in base.fields if not name.lower().replace("_", "-").startswith(("x-forwarded-f", "forwarded"))
              and name.lower() not in ("x-forwarded-proto", "x-forwarded-host", "x-forwarded-port")]
    if chance.random() < 0.06:
        come_back_with_a_bad_token(chance, base, fields)
    fields += said_by_proxies(chance) + by_browsers(chance) + [("X-Request-Id", f"number-{number}")]
    asked = FrontRequest(base.listener, base.method, base.target, base.host, fields, base.body)
    asked.source = None if base.listener.socket else chance.choice(SOURCES)
    if base.listener.proxy_protocol:
        asked.preface = preface(chance)
    if base.listener.mode == "forward-auth":
        ask(chance, asked)
    asked.answer = [("Vary", value) for value in chance.choice(VARY)] + chance.choice([
        [], [], [("Access-Control-Allow-Origin", "https://evil.test"), ("access-control-allow-credentials", "true")],
        [("Access-Control-Allow-Private-Network", "true"), ("Access-Control-Anything", "1")], [("Access-Control-Max-Age", "9")]])
    asked.fields = [(name, value.strip(" \t")) for name, value in asked.fields]
    chance.shuffle(asked.fields)
    if base.listener.protocol == "h2":
        asked.fields = [(name.lower(), value) for name, value in asked.fields if name != "Connection"]
    return asked


def come_back_with_a_bad_token(chance: random.Random, base: Request, fields: list[tuple[str, str]]) -> None:
    """A page, by a link with a token that is good no more, between other parameters."""
    base.method, base.body = "GET", None
    base.target = base.target.partition("?")[0] + "?" + chance.choice(["", "a=1&"]) + chance.choice(["access_token", "t"]) + "=x.y.z&b=" + "2" * chance.choice([1, 1, 900, 1200])
    fields[:] = [(name, value) for name, value in fields if name not in ("Authorization", "Cookie")]
    fields.append(("Sec-Fetch-Mode", "navigate"))


def ask(chance: random.Random, asked: FrontRequest) -> None:
    """The request becomes a question about it, mostly as nginx, Traefik and Caddy put it."""
    values = {"Method": asked.method, "Uri": asked.target, "Host": asked.host}
    prefix = chance.choice(["X-Original-", "X-Forwarded-"])
    taken = {"x-forwarded-method", "x-forwarded-uri"} | ({"x-forwarded-host"} if prefix == "X-Forwarded-" else set())
    if chance.random() < 0.93:
        asked.fields = [(name, value) for name, value in asked.fields if name.lower() not in taken]
        if prefix == "X-Original-":
            asked.fields = [(name, value) for name, value in asked.fields if name.lower() != "x-forwarded-host"]
    for name, value in values.items():
        for _ in range(chance.choice([0] + [1] * 30 + [2])):
            written = (prefix if chance.random() < 0.97 else chance.choice(["X-Original-", "X-Forwarded-", "X_Original_"])) + name
            asked.fields.append((chance.choice([written, written, written.upper(), written.lower()]), value))
    if chance.random() < 0.3:
        asked.fields.append(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
    asked.method, asked.target, asked.host = chance.choice(["GET", "GET", "GET", "HEAD", "POST"]), chance.choice(["/", "/verify?x"]), "usher.test"
    asked.body = b"hello" if chance.random() < 0.02 else None


def said_by_proxies(chance: random.Random) -> list[tuple[str, str]]:
    """As they say it, or their clients: the older fields, `Forwarded`, both alike, both otherwise."""
    found: list[tuple[str, str]] = []
    older = {"X-Forwarded-For": lambda: ", ".join(address(chance) for _ in range(chance.choice([1, 1, 2, 3]))),
             "X-Forwarded-Proto": lambda: chance.choice(["https", "https", "http", "HTTPS", "ftp", "https, http"]),
             "X-Forwarded-Host": lambda: chance.choice(["seen.test", "seen.test:8443", "SEEN.test", "a b", "evil.test/x"]),
             "X-Forwarded-Port": lambda: "8443", "X-Forwarded-Prefix": lambda: "/seen", "X-Forwarded-Server": lambda: "edge",
             "X-Forwarded-Scheme": lambda: "https", "X-Forwarded-SSL": lambda: "on", "X-Forwarded-By": lambda: "127.0.0.2",
             "X-Forwarded-Uri": lambda: "/evil", "X-Forwarded-Method": lambda: "DELETE", "X-Forwarded-User": lambda: "evil",
             "X-Forwarded-Email": lambda: "evil", "X_Forwarded_For": lambda: "6.6.6.6", "X-Forwarded_Proto": lambda: "https"}
    kind = chance.random()
    if kind < 0.35:
        for name in chance.sample(sorted(older), chance.choice([1, 1, 2, 4])):
            found += [(name, older[name]()) for _ in range(1 if chance.random() < 0.93 else 2)]
        if chance.random() < 0.5:
            found.append(("X-Forwarded-For", older["X-Forwarded-For"]()))
    if 0.25 < kind < 0.65:
        found += [("Forwarded", ", ".join(element(chance) for _ in range(chance.choice([1, 1, 2, 3]))))
                  for _ in range(1 if chance.random() < 0.9 else 2)]
    elif 0.65 < kind < 0.85:
        said = {"X-Forwarded-For": address(chance), "X-Forwarded-Proto": "https", "X-Forwarded-Host": "seen.test"}
        said = dict(chance.sample(sorted(said.items()), chance.randint(1, 3)))
        also = {"for": said.get("X-Forwarded-For"), "proto": said.get("X-Forwarded-Proto"), "host": said.get("X-Forwarded-Host")}
        if chance.random() < 0.4:
            also[chance.choice(["for", "proto", "host"])] = chance.choice(["198.51.100.7", "http", "other.test"])
        own = ";".join(f"{name}={quoted(chance, value)}" for name, value in also.items() if value)
        found += [*said.items(), ("Forwarded", chance.choice(["", "", "for=6.6.6.6, "]) + own)]
    return found


def address(chance: random.Random) -> str:
    text = chance.choice(ODD) if chance.random() < 0.12 else chance.choice(ADDRESSES)
    if text in ADDRESSES and chance.random() < 0.15:
        return f"[{text}]:4711" if ":" in text else f"{text}:4711"
    return text if text not in ADDRESSES or chance.random() < 0.9 else f" {text}\t"


def quoted(chance: random.Random, text: str) -> str:
    needs = any(not (letter.isascii() and (letter.isalnum() or letter in "!#$%&'*+-.^_`|~")) for letter in text) or not text
    return '"' + text.replace('"', '\\"') + '"' if needs or chance.random() < 0.3 else text


def element(chance: random.Random) -> str:
    if chance.random() < 0.06:
        return chance.choice(["", "for", "for=", 'for="1.2.3.4', "for=1.2.3.4;for=5.6.7.8", "for=[::1]", "=x", "for =1.2.3.4", 'for="1.2.\\3.4"',
                              "by=127.0.0.1", "for=203.0.113.9;", "secret=x;FOR=203.0.113.9", 'host="a,b;c"', "for=203.0.113.9 ; proto=https"])
    said = address(chance).strip(" \t")
    if ":" in said and "." not in said and not said.startswith("["):
        said = f"[{said}]"
    pairs = {"for": said, "proto": chance.choice(["https", "http", "HTTPS"]), "host": chance.choice(["seen.test", "seen.test:8443", "a b", "evil.test/x"]),
             "by": "_edge"}
    chosen = dict(chance.sample(sorted(pairs.items()), chance.randint(1, 3)))
    return ";".join(f"{chance.choice([name, name, name.capitalize()])}={quoted(chance, value)}" for name, value in chosen.items())


def by_browsers(chance: random.Random) -> list[tuple[str, str]]:
    found = chance.choice([
        [], [], [("Sec-Fetch-Mode", "navigate")], [("Sec-Fetch-Mode", "navigate"), ("Accept", "text/html,*/*")], [("Accept", "text/html")],
        [("Accept", "text/html, application/xml;q=0.9")], [("Accept", "application/json")], [("Sec-Fetch-Mode", "cors"), ("Accept", "text/html")],
        [("Sec-Fetch-Mode", "Navigate")], [("Accept", "TEXT/HTML;q=0.5")], [("Accept", "*/*"), ("Accept", "text/html")], [("Accept", "text/htmlx")],
        [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Mode", "cors")], [("Sec-Fetch-Site", "none"), ("Accept", "text/html")],
        [("Sec-Fetch-User", "?1"), ("Accept", "text/html")], [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")], [("Sec_Fetch_Mode", "navigate")], [("Accept", "application/json;x=text/html")]])
    if chance.random() < 0.08:
        found.append(("Origin", chance.choice([*PAGES, "null", "", "*", "https://app.test:443", "https://APP.test", "https://app.test.evil.test"])))
    if chance.random() < 0.03:
        found.append(("Access-Control-Request-Method", chance.choice(["GET", "get", "TRACE", "", "PUT"])))
    return found


def preface(chance: random.Random) -> bytes:
    """A PROXY header, now and then none."""
    source = ipaddress.ip_address(chance.choice(ADDRESSES + SOURCES))
    other = ipaddress.ip_address("192.0.2.1" if source.version == 4 else "2001:db8:f::1")
    kind = chance.random()
    if kind < 0.4:
        made = f"PROXY TCP{source.version} {source} {other} 1234 80\r\n".encode()
    elif kind < 0.8:
        block = source.packed + other.packed + struct.pack(">HH", 1234, 80) + chance.choice([b"", b"\x04\x00\x01\x00"])
        made = v2(0x21, 0x11 if source.version == 4 else 0x21, block)
    else:
        made = chance.choice([b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN 203.0.113.9 x\r\n", v2(0x20, 0, b""), v2(0x20, 0x11, b"\xcb\0\x71\x09" * 3),
                              v2(0x21, 0, b""), v2(0x21, 0x31, bytes(216)), b"", v2(0x22, 0x11, bytes(12)), v2(0x21, 0x12, bytes(12)),
                              b"PROXY TCP6 :: 2001:db8::1 1 2\r\n", b"PROXY TCP4 0.0.0.0 192.0.2.1 1 2\r\n", v2(0x21, 0x11, bytes(12))])
    if chance.random() < 0.05 and made:
        place = chance.choice([place for place in range(len(made)) if place not in (14, 15) or made[0] == ord("P")])  # no other length
        made = made[:place] + bytes([made[place] ^ 1 << chance.randrange(8)]) + made[place + 1:]
    return made


def v2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(block)) + block
