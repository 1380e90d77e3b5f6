"""Whom to believe: who the peer is (its socket's address, or what a PROXY header says), what a trusted one may say of its client, and
what the backend is told of both (docs/configuration.md, `trusted_proxies` and `proxy_protocol`; docs/security.md, H8 and H9)."""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass, field

from .settings import Listener, Request
from .targets import Target

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
# What a trusted proxy says in fields of one value each, besides the client's address.
TOLD = ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-server", "x-forwarded-scheme",
        "x-forwarded-ssl", "x-forwarded-by"]
OLDER = {"for": "x-forwarded-for", "proto": "x-forwarded-proto", "host": "x-forwarded-host"}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ClosedWithoutAnswer(Exception):
    """What does not begin with a header where one is due."""


def plain(address: Address) -> Address:
    """An IPv4 address that stands in an IPv6 one is the IPv4 address."""
    return getattr(address, "ipv4_mapped", None) or address


def is_trusted(listener: Listener, address: Address | None) -> bool:
    """A peer on a Unix socket has no address, and is never trusted."""
    return address is not None and any(plain(address) in ipaddress.ip_network(network) for network in listener.trusted)


def peer_of(request: Request) -> Address | None:
    own = ipaddress.ip_address(request.source) if request.source else None
    if not request.listener.proxy_protocol:
        return own
    if own is not None and not is_trusted(request.listener, own):
        raise ClosedWithoutAnswer
    told = (binary if request.preface.startswith(SIGNATURE) else text)(request.preface)
    return own if told is None else plain(told)


def text(preface: bytes) -> Address | None:
    """Version 1: one line of at most 107 bytes. None: the peer speaks for itself."""
    if not preface.endswith(b"\r\n") or len(preface) > 107:
        raise ClosedWithoutAnswer
    line = preface[:-2].decode("latin-1")
    if re.fullmatch(r"PROXY UNKNOWN( [^\r\n]*)?", line):
        return None
    match = re.fullmatch(r"PROXY TCP([46]) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})", line)
    if not match or max(int(match[4]), int(match[5])) > 65535:
        raise ClosedWithoutAnswer
    kind = ipaddress.IPv4Address if match[1] == "4" else ipaddress.IPv6Address
    try:
        source, _ = kind(match[2]), kind(match[3])
    except ValueError:
        raise ClosedWithoutAnswer from None
    return somewhere(source)


def binary(preface: bytes) -> Address | None:
    """Version 2: the command, the family, how long the rest is, and addresses with whatever stands behind them."""
    if len(preface) < 16:
        raise ClosedWithoutAnswer
    command, family, length = struct.unpack(">BBH", preface[12:16])
    if command not in (0x20, 0x21) or length > 4096 or len(preface) != 16 + length:
        raise ClosedWithoutAnswer
    if command == 0x20 or family == 0x00:
        return None
    least = {0x11: 12, 0x21: 36, 0x31: 216}.get(family)  # TCP over IPv4 and IPv6, and a Unix socket
    if least is None or length < least:
        raise ClosedWithoutAnswer
    return None if family == 0x31 else somewhere(ipaddress.ip_address(preface[16:16 + (least - 4) // 2]))


def somewhere(source: Address) -> Address:
    if source == ipaddress.IPv6Address("::"):
        raise ClosedWithoutAnswer  # it stands for nobody
    return source


@dataclass
class Origin:
    """Where a request comes from: the client's address, the scheme and the host that it saw, and what the backend is told."""

    peer: Address | None
    client: Address | None
    scheme: str = "http"
    fields: dict[str, list[str]] = field(default_factory=dict)


def origin(request: Request, target: Target, reads_forwarded: bool = True) -> Origin:
    peer = peer_of(request)
    fields = {"x-forwarded-proto": [request.listener.scheme], "x-forwarded-host": [target.authority], "forwarded": [own_element(peer, request, target)]}
    if peer is not None:
        fields["x-forwarded-for"] = [str(peer)]
    found = Origin(peer, peer, request.listener.scheme, fields)
    if is_trusted(request.listener, peer):
        believe(found, request, reads_forwarded)
    return found


def own_element(peer: Address | None, request: Request, target: Target) -> str:
    who = "unknown" if peer is None else f'"[{peer}]"' if peer.version == 6 else str(peer)
    return f'for={who};host="{target.authority}";proto={request.listener.scheme}'


def is_nominated(request: Request, name: str) -> bool:
    return any(name == option.strip().lower() for value in request.all("connection") for option in value.split(","))


def said(request: Request, name: str) -> list[str]:
    """By exactly that name, and not taken away by `Connection`; an empty field says nothing."""
    return [] if is_nominated(request, name) else [value for value in request.all(name) if value]


def believe(found: Origin, request: Request, reads_forwarded: bool) -> None:
    """The older fields count; `Forwarded` does where none of them is there, and goes on where it says nothing else than they do."""
    told = {name: values for name in [*OLDER.values(), *TOLD] if (values := said(request, name))}
    elements = parse_forwarded(", ".join(said(request, "forwarded"))) if reads_forwarded else None
    newer = of_forwarded(request.listener, elements) if elements else Told()
    [own] = found.fields.pop("forwarded")
    if told.keys() & OLDER.values():
        older = Told(last_untrusted(request.listener, ", ".join(told.get(OLDER["for"], [])).split(","))[0],
                     *(last(told.get(OLDER[name])) for name in ("proto", "host")))
        keeps_forwarded = bool(elements) and newer.says_no_more_than(older)
        goes_on = keeps_forwarded
    else:
        older, keeps_forwarded, goes_on = newer, bool(elements), True
        told |= newer.in_older_fields()
    found.client = older.client or found.peer
    if goes_on:
        found.fields["forwarded"] = [", ".join([*(said(request, "forwarded") if keeps_forwarded else []), own])]
    found.fields |= told
    if found.peer is not None and OLDER["for"] in told:
        found.fields[OLDER["for"]] = [", ".join([*told[OLDER["for"]], str(found.peer)])]
    if len({value.lower() for value in told.get(OLDER["proto"], [])}) == 1:
        found.scheme = scheme(older.proto)  # of two, none counts


def last(values: list[str] | None) -> str | None:
    return values[-1] if values else None


def scheme(said: str) -> str:
    """`https` and `wss` are over TLS, everything else is not."""
    return "https" if said.lower() in ("https", "wss") else "http"


@dataclass
class Told:
    """What is said of the client, its scheme and its host."""

    client: Address | None = None
    proto: str | None = None
    host: str | None = None
    is_whole: bool = False  # nobody stands before it, and everybody's address is read

    def says_no_more_than(self, older: Told) -> bool:
        pairs = [(self.proto, older.proto), (self.host, older.host)]
        return self.is_whole and self.client == older.client and all(
            mine is None or mine.lower() == (theirs or "").lower() for mine, theirs in pairs)

    def in_older_fields(self) -> dict[str, list[str]]:
        """Written as everybody reads it; a host that is none is not told."""
        found = {OLDER["for"]: str(self.client) if self.client else None, OLDER["proto"]: self.proto and scheme(self.proto),
                 OLDER["host"]: self.host if self.host and is_host(self.host) else None}
        return {name: [value] for name, value in found.items() if value}


def of_forwarded(listener: Listener, elements: list[dict[str, str]]) -> Told:
    """The element of the client: the last one of somebody that we do not trust, or of nobody that we know."""
    client, hops = last_untrusted(listener, [one.get("for", "") for one in elements])
    own = elements[-hops]
    return Told(client, own.get("proto"), own.get("host"), hops == len(elements) and ("for" not in own or address_of(own["for"]) is not None))


def is_host(text: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?", text))


def last_untrusted(listener: Listener, told: list[str]) -> tuple[Address | None, int]:
    """The last one that is not a proxy that we trust, and how many were looked at; what cannot be read names nobody."""
    known = None
    for hops, one in enumerate(reversed(told), 1):
        address = address_of(one)
        if address is None:
            return known, hops
        known = address
        if not is_trusted(listener, address):
            return known, hops
    return known, len(told)


def address_of(text: str) -> Address | None:
    """An address, in brackets or not, with a port or not, which nobody looks at."""
    match = re.fullmatch(r"\[([^\]]*).*|([^:]*):[^:]*|(.*)", text.strip(" \t"))
    try:
        address = plain(ipaddress.ip_address(next(group for group in match.groups() if group is not None)))
    except ValueError:
        return None
    return None if "%" in text or address == ipaddress.IPv6Address("::") else address


TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
UNQUOTED = r"[!#$%&'*+.^_`|~0-9A-Za-z:\[\]-]+"  # the colon and the brackets of an address need quotes, and often have none


def parse_forwarded(text: str) -> list[dict[str, str]] | None:
    """RFC 7239 §4; None where it cannot be read: no pair, a quote without end, a backslash in one, a name twice."""
    elements: list[dict[str, str]] = []
    for element in split(text, ","):
        pairs: dict[str, str] = {}
        for pair in split(element, ";"):
            if not pair.strip(" \t"):
                continue  # may be left out
            match = re.fullmatch(rf'({TOKEN})=(?:({UNQUOTED})|"([^"\\]+)")', pair.strip(" \t"))
            if not match or match[1].lower() in pairs:
                return None
            pairs[match[1].lower()] = match[2] if match[2] is not None else match[3]
        if element.strip(" \t"):
            elements.append(pairs)
    return elements


def split(text: str, mark: str) -> list[str]:
    """At the marks that stand in no quotes."""
    return re.findall(rf'(?:^|{mark})((?:"(?:[^"\\]|\\.)*"|[^"{mark}])*"?)', text)
