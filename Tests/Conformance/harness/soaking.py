"""Clients of the soak beside those of test_fuzz_sockets: good ones over HTTP/2 and WebSocket, bad ones over HTTP/2."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import random
import re
import ssl
import struct

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hpack

from . import http2, mutations
from .tokens import token

ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# After so long without an answer somebody hangs; it is the sum of all deadlines of the proxy, and some more.
PATIENCE_SECONDS = 15
# For so long after this process stood still a client of its own may be told that it was slow.
LATE_SECONDS = 5


class MultiplexedClient:
    """A good client with several users' requests at once on one connection of HTTP/2: each stream gets its own answer."""

    def __init__(self, number: int, users: list[int], port: int, findings: list[str], context: ssl.SSLContext | None):
        self.number, self.users, self.port, self.findings, self.context = number, users, port, findings, context
        self.bearers = [token(subject=f"good-{user}") for user in users]
        self.answered = self.failed = self.count = 0
        self.was_late = -LATE_SECONDS

    async def watch(self) -> None:
        """Notes when this loop was late: whoever owes a body meanwhile is told 408, and rightly."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(0.1)
            if loop.time() - began > 0.5:
                self.was_late = loop.time()

    async def run(self, until: float) -> None:
        watch = asyncio.create_task(self.watch())
        try:
            await self.ask_until(until)
        finally:
            watch.cancel()

    async def ask_until(self, until: float) -> None:
        loop, wire = asyncio.get_running_loop(), None
        while loop.time() < until:
            try:
                if wire is None:
                    wire = await asyncio.wait_for(self.connect(), PATIENCE_SECONDS)
                if not await asyncio.wait_for(self.batch(*wire), PATIENCE_SECONDS):
                    wire[1].close()
                    wire = None
            except asyncio.TimeoutError:
                self.findings.append(f"HTTP/2 client {self.number} hangs at request {self.count}")
                wire = None
            except (ConnectionError, ssl.SSLError, OSError):
                self.failed += 1
                wire = None
            await asyncio.sleep(0.01)

    async def connect(self):
        options = {"ssl": self.context, "server_hostname": "usher.test"} if self.context else {}
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **options)
        if self.context and writer.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            self.findings.append("ALPN has not chosen h2")
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        state.initiate_connection()
        return reader, writer, state

    async def batch(self, reader, writer, state) -> bool:
        """A few requests at once, and all of their answers; false where the connection is to be given up."""
        asked: dict[int, dict] = {}
        for _ in range(random.randrange(1, 7)):
            self.count += 1
            which = random.randrange(len(self.users))
            stream, each = self.ask(state, which)
            asked[stream] = each
        lives = True
        while any(not each["done"] for each in asked.values()):
            for stream, each in asked.items():
                self.send_body(state, stream, each)
            writer.write(state.data_to_send())
            await writer.drain()
            data = await reader.read(1 << 16)
            if not data:
                self.failed += sum(not each["done"] for each in asked.values())
                return False
            for event in state.receive_data(data):
                lives = self.take(state, asked, event) and lives
        writer.write(state.data_to_send())
        return lives

    def ask(self, state, which: int) -> tuple[int, dict]:
        method = random.choice(["GET", "GET", "POST", "HEAD"])
        target = f"/api/good/{self.users[which]}/{self.number}-{self.count}"
        body = b"g" * random.choice([0, 10, 5000, 40_000]) if method == "POST" else b""
        stream = state.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "https" if self.context else "http"), (":authority", "usher.test"), (":path", target),
                  ("authorization", f"Bearer {self.bearers[which]}"), ("content-length", str(len(body)))]
        state.send_headers(stream, fields, end_stream=not body)
        return stream, {"method": method, "target": target, "user": f"good-{self.users[which]}", "size": len(body), "body": body,
                        "status": 0, "named": None, "text": b"", "done": False}

    def send_body(self, state, stream: int, each: dict) -> None:
        while each["body"] and not each["done"]:
            room = min(state.local_flow_control_window(stream), state.max_outbound_frame_size)
            if room <= 0:
                return
            part, each["body"] = each["body"][:room], each["body"][room:]
            state.send_data(stream, part, end_stream=not each["body"])

    def take(self, state, asked: dict, event) -> bool:
        each = asked.get(getattr(event, "stream_id", None) or 0)
        match event:
            case h2.events.ResponseReceived() if each:
                fields = dict(event.headers)
                each["status"], each["named"] = int(fields[":status"]), fields.get("x-target")
            case h2.events.DataReceived():
                if event.flow_controlled_length:
                    state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if each:
                    each["text"] += event.data
            case h2.events.StreamEnded() if each:
                self.judge(each)
            case h2.events.StreamReset() if each:
                self.failed += not each["done"]
                each["done"] = True
            case h2.events.ConnectionTerminated():
                for stream, other in asked.items():
                    if stream > event.last_stream_id and not other["done"]:
                        self.failed += 1
                        other["done"] = True
                if event.error_code:
                    self.findings.append(f"HTTP/2 client {self.number} is sent away with {event.error_code}, {event.additional_data!r}")
                return False
        return True

    def judge(self, each: dict) -> None:
        each["done"] = True
        was_late = asyncio.get_running_loop().time() - self.was_late < LATE_SECONDS
        if each["status"] in (502, 503, 504) or each["status"] == 408 and was_late:
            self.failed += 1
            return
        self.answered += 1
        right = each["status"] == 200 and each["named"] == each["target"]
        if right and each["method"] != "HEAD":
            right = json.loads(each["text"]) == {name: each[name] for name in ("user", "target", "size")}
        if not right:
            self.findings.append(f"HTTP/2 client {self.number}: {each}")


class TunnelClient:
    """A good client of WebSocket: whoever is at the other end names its user, and gives back what is said."""

    def __init__(self, number: int, port: int, findings: list[str], context: ssl.SSLContext | None):
        self.number, self.port, self.findings, self.context = number, port, findings, context
        self.bearer, self.answered, self.failed, self.count = token(subject=f"good-{number}"), 0, 0, 0

    async def run(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            self.count += 1
            writer = None
            try:
                options = {"ssl": self.context, "server_hostname": "usher.test"} if self.context else {}
                reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port, **options), PATIENCE_SECONDS)
                await asyncio.wait_for(self.talk(reader, writer), PATIENCE_SECONDS)
            except asyncio.TimeoutError:
                self.findings.append(f"tunnel {self.number} hangs at {self.count}")
            except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, OSError):
                self.failed += 1
            if writer:
                writer.close()
            await asyncio.sleep(0.02)

    async def talk(self, reader, writer) -> None:
        key = base64.b64encode(os.urandom(16))
        target = f"/api/good/{self.number}/{self.count}"
        writer.write(
            f"GET {target} HTTP/1.1\r\nHost: usher.test\r\nAuthorization: Bearer {self.bearer}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if int(head[9:12]) in (502, 503, 504):
            self.failed += 1
            return
        expected = base64.b64encode(hashlib.sha1(key + ACCEPT).digest())
        if not head.startswith(b"HTTP/1.1 101 ") or re.search(rb"\r\nsec-websocket-accept: (\S+)", head, re.I)[1] != expected:
            self.findings.append(f"tunnel {self.number} got {head!r}")
            return
        said = await read_frame(reader)
        if said != f"good-{self.number} {target}".encode():
            self.findings.append(f"tunnel {self.number} is with {said!r}")
        for _ in range(random.randrange(8)):
            words = os.urandom(random.choice([0, 5, 200, 20_000]))
            writer.write(write_frame(words, os.urandom(4)))
            await writer.drain()
            if (back := await read_frame(reader)) != words:
                self.findings.append(f"tunnel {self.number} said {words[:40]!r} and heard {back[:40]!r}")
                return
        self.answered += 1


async def read_frame(reader) -> bytes:
    """The content of one frame, masked or not."""
    first = await reader.readexactly(2)
    size = first[1] & 0x7F
    if size >= 126:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    mask = await reader.readexactly(4) if first[1] & 0x80 else None
    content = await reader.readexactly(size)
    return masked(content, mask) if mask else content


def masked(content: bytes, mask: bytes) -> bytes:
    key = (mask * (len(content) // 4 + 1))[:len(content)]
    return (int.from_bytes(content, "big") ^ int.from_bytes(key, "big")).to_bytes(len(content), "big")


def write_frame(content: bytes, mask: bytes | None = None) -> bytes:
    size, bit = len(content), 0x80 if mask else 0
    head = bytes([0x82, bit | size]) if size < 126 else bytes([0x82, bit | 126]) + struct.pack(">H", size)
    return head + (mask + masked(content, mask) if mask else content)


async def serve_tunnel(reader, writer, fields, target: bytes) -> None:
    """The backend's end: says who it has been told is there, and gives back every frame."""
    accept = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + ACCEPT).digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
                 + accept + b"\r\n\r\n" + write_frame(fields[b"x-user-id"] + b" " + target))
    while True:
        writer.write(write_frame(await read_frame(reader)))
        await writer.drain()


async def bad_http2_client(number: int, port: int, until: float, seed: str) -> None:
    """Frames that are nearly right, resets as fast as they go, streams that nobody ends, and ends in the middle."""
    bearer = token(subject="mallory")
    loop, count = asyncio.get_running_loop(), 0
    while loop.time() < until:
        count += 1
        rng = random.Random(f"{seed}/http2/{number}/{count}")
        writer = None
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.wait_for(trouble(rng, reader, writer, bearer), rng.choice([0.05, 0.3, 2]))
        except (asyncio.TimeoutError, ConnectionError, OSError):
            pass
        if writer:
            writer.close()
        await asyncio.sleep(0.02)


async def trouble(rng, reader, writer, bearer: str) -> None:
    encoder, stream, frames = hpack.Encoder(), 1, []
    for _ in range(rng.choice([1, 5, 40])):
        fields = http2.get(rng.choice(["/public/x", "/api/m", "/nowhere", "/public/%2e%2e/x"]), rng.choice(["GET", "POST"]))
        if rng.random() < 0.5:
            fields.append(("authorization", "Bearer " + rng.choice([bearer, bearer + "x"])))
        block = encoder.encode(fields)
        match rng.randrange(6):
            case 0 | 1:
                frames.append(http2.frame(http2.HEADERS, http2.END_STREAM | http2.END_HEADERS, stream, block))
            case 2:
                frames.append(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block))
                frames.append(http2.frame(http2.DATA, rng.choice([0, http2.END_STREAM]), stream, b"d" * rng.choice([0, 9, 9000])))
            case 3:
                frames.append(http2.frame(http2.HEADERS, http2.END_STREAM | http2.END_HEADERS, stream, block))
                frames.append(http2.frame(http2.RST_STREAM, 0, stream, bytes([0, 0, 0, 8])))
            case 4:
                frames.append(http2.frame(http2.HEADERS, http2.END_STREAM, stream, block[:4]))
                frames.append(http2.frame(http2.CONTINUATION, http2.END_HEADERS, stream, block[4:]))
            case _:
                frames.append(rng.choice([
                    http2.frame(http2.PING, 0, 0, bytes(8)), http2.frame(http2.SETTINGS, 0, 0, struct.pack(">HI", 4, rng.choice([0, 1, 65535]))),
                    http2.frame(http2.WINDOW_UPDATE, 0, rng.choice([0, stream]), struct.pack(">I", rng.choice([0, 1, 1 << 30]))),
                    http2.frame(rng.randrange(12), rng.randrange(256), rng.randrange(stream + 3), rng.randbytes(rng.randrange(40)))]))
        stream += 2
    if rng.random() < 0.3:
        frames = [mutations.spoil(rng, each, [b"\0", b"\xff\xff", b"\0\0\0\4\1"]) if rng.random() < 0.3 else each for each in frames]
    writer.write(http2.PREFACE + http2.frame(http2.SETTINGS))
    for piece in mutations.pieces(rng, b"".join(frames)):
        writer.write(piece)
        await writer.drain()
    if rng.random() < 0.7:
        while await reader.read(65536):
            pass
