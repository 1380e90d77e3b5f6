"""Whether what was sent on connections has been read by their other ends: a pause only hopes so."""

from __future__ import annotations

import re
import socket
from pathlib import Path


def _find(text: str, own: int, peer: int) -> tuple[int, int]:
    # One search in the text: after a while there are tens of thousands of lines about connections that are over.
    found = re.search(rf":{own:04X} \w+:{peer:04X} \w+ (\w+):(\w+)", text)
    return (int(found[1], 16), int(found[2], 16)) if found else (0, 0)


def _text() -> str:
    return Path("/proc/net/tcp").read_text()


def unread_by(port: int, at: int) -> int:
    """How many bytes the kernel keeps for the end at `port` of a connection to the port `at`, which are not read yet."""
    return _find(_text(), port, at)[1]


def has_arrived(sock: socket.socket) -> bool:
    """The kernel of the other end has all that was sent."""
    return _find(_text(), sock.getsockname()[1], sock.getpeername()[1])[0] == 0


def was_read(*socks: socket.socket) -> bool:
    """The other end has taken all that was sent from its kernel, where a reset would destroy it."""
    text = _text()
    ends = [(sock.getsockname()[1], sock.getpeername()[1]) for sock in socks]
    return all(_find(text, own, peer)[0] == 0 and _find(text, peer, own)[1] == 0 for own, peer in ends)
