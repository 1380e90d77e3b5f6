"""Mistakes with handshakes of WebSocket, for `mistakes`."""

from __future__ import annotations

import dataclasses

from . import pages, places, tunnels


def of_one_list(request, right=tunnels.tokens):
    whole = ",".join(request.all("sec-websocket-protocol"))
    fields = [(name, value) for name, value in request.fields if name.lower() != "sec-websocket-protocol"]
    return right(dataclasses.replace(request, fields=[*fields, ("Sec-WebSocket-Protocol", whole)]))


def first_alone(request, *rest, right=places.tokens):
    found = right(request, *rest)
    socket = [text for text, where in found.found.items() if "websocket" in where]
    for text in socket[1:]:
        del found.found[text]
    return found


def with_the_token(request, right=tunnels.left):
    return [",".join(tunnels.parts(line)) for line in request.all("sec-websocket-protocol")]


MISTAKES = [
    ("a token among subprotocols is not looked at", tunnels, "tokens", lambda request: []),
    ("it is without an upgrade, too", tunnels, "asks_for_upgrade", lambda request: True),
    ("it is where WebSocket is asked for alone", tunnels, "asks_for_upgrade", lambda request: request.opens_tunnel),
    ("lines of subprotocols are one", tunnels, "tokens", of_one_list),
    ("the first of two tokens counts", places, "tokens", first_alone),
    ("the token stays among the subprotocols", tunnels, "left", with_the_token),
    ("no subprotocol is left", tunnels, "left", lambda request: []),
    ("a token is taken out where nobody looks for one", tunnels, "bears_token", lambda configuration, request, route: bool(tunnels.tokens(request))),
    ("the client is told of no subprotocol but the backend's", tunnels, "chosen", lambda request, has_token, backends: backends),
    ("a handshake is as safe as a GET", pages, "is_safe", lambda request: request.method in pages.SAFE),
]
