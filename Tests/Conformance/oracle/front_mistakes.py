"""Mistakes in what stands in front, for `mistakes`."""

from __future__ import annotations

import dataclasses
import ipaddress
from unittest.mock import patch

from . import front, pages, peers, questions, replies


def first_of_all(listener, told):
    """The one that the client itself may have made up."""
    return next((found for one in told if (found := peers.address_of(one))), None), len(told)


def over_what_is_unread(listener, told, right=peers.last_untrusted):
    return right(listener, [one for one in told if peers.address_of(one)] or [""])


def both_kinds(listener, elements, right=peers.of_forwarded):
    return dataclasses.replace(right(listener, elements), is_whole=True)


def strangers_too(listener, address, right=peers.is_trusted):
    return address is None or right(listener, address) or address in ipaddress.ip_network("127.0.0.0/8")


def first_word(request, names, right=questions.once):
    return next((value for name in names for value in request.all(name)), None) or right(request, names)


def any_target(request, right=questions.asked_about):
    return right(dataclasses.replace(request, fields=[(name, "/a" if value.startswith("http:") else value) for name, value in request.fields]))


def of_the_socket(request, right=peers.peer_of):
    right(request)
    return ipaddress.ip_address(request.source) if request.source else None


def newer_in_questions(request, target, reads_forwarded=True, right=peers.origin):
    return right(request, target)


def blind_to_case(rule, origin, right=pages.allowed_origin):
    return right(rule, origin and origin.lower())


def without(name: str, right=replies.cross_origin):
    return lambda *given: {key: value for key, value in right(*given).items() if key != name}


def by_the_whole_address(limit, step, origin, *rest, right=front.spend):
    """IPv6 addresses one by one."""
    with patch.object(front.ipaddress, "ip_network", lambda pair, strict: pair[0]):
        right(limit, step, origin, *rest)


def users_by_address(limit, step, origin, somebody, *rest, right=front.spend):
    right(limit, step, origin, None, *rest)


def peers_counted(limit, step, origin, *rest, right=front.spend):
    right(limit, step, dataclasses.replace(origin, client=origin.peer), *rest)


MISTAKES = [
    ("who is not listed is trusted", peers, "is_trusted", strangers_too),
    ("an IPv4 address in an IPv6 one is another", peers, "plain", lambda address: address),
    ("a PROXY header is not looked at", peers, "peer_of", of_the_socket),
    ("the first address of a list is the client's", peers, "last_untrusted", first_of_all),
    ("what cannot be read is passed over", peers, "last_untrusted", over_what_is_unread),
    ("`Forwarded` goes on beside what contradicts it", peers.Told, "says_no_more_than", lambda *given: True),
    ("so it does with something in front", peers, "of_forwarded", both_kinds),
    ("nominated by `Connection`, it counts all the same", peers, "is_nominated", lambda *given: False),
    ("a port is part of the address", peers, "address_of", lambda text, right=peers.address_of: None if "]:" in text else right(text)),
    ("any word is a host", peers, "is_host", lambda text: True),
    ("no scheme counts", peers, "scheme", lambda said: "http"),
    ("anybody may ask", peers, "is_trusted", lambda listener, address: listener.mode == "forward-auth" or bool(listener.trusted)),
    ("what a question says twice counts once", questions, "once", first_word),
    ("a question may have an absolute target", questions, "asked_about", any_target),
    ("`Forwarded` counts in a question", peers, "origin", newer_in_questions),
    ("a handshake is known by `Upgrade` alone", questions, "is_handshake", lambda request: False),
    ("a question is answered like a request", front, "confirm", lambda configuration, request, seen, right=front.confirm: (
        right(configuration, request, seen), front.tell(configuration, request, seen))),
    ("preflights are answered as questions, too", front, "answers_preflights", lambda listener: True),
    ("origins compared without case", pages, "allowed_origin", blind_to_case),
    ("credentials are not told", replies, "cross_origin", without("access-control-allow-credentials")),
    ("methods are not", replies, "cross_origin", without("access-control-allow-methods")),
    ("`Vary` as the backend says it", replies, "vary", lambda rule, backends: backends),
    ("everybody who gets a page navigates", replies, "navigates", lambda request: request.method == "GET"),
    ("who accepts HTML navigates", replies, "navigates", lambda request: any("text/html" in one for one in request.all("accept"))),
    ("the way back may be long", replies, "LONGEST", 10000),
    ("the way back has the token", replies, "without_tokens", lambda configuration, route, back: back),
    ("a redirect keeps the port", replies, "over_tls", lambda where, target: f"https://{target.authority}{target.path}"),
    ("IPv6 addresses counted one by one", front, "spend", by_the_whole_address),
    ("users counted by address", front, "spend", users_by_address),
    ("the proxy in front counted", front, "spend", peers_counted),
    ("`Origin` may be there twice", front, "check_single", lambda request: None),
    ("a trusted page of any name", pages, "is_listed", lambda page, trusted: page is not None),
    ("nobody asks whose page it is", pages, "is_safe", lambda request: True),
]
