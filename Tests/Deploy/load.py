"""A client that asks several proxies all the time, from a host of its own, and remembers what became of each request."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from dataclasses import dataclass

PATIENCE = 3.5  # seconds for one request, connecting included


@dataclass
class Record:
    at: float
    proxy: str
    method: str
    id: str
    # answered: 200 · refused: another status, or no connection · lost: sent, and nothing came back
    outcome: str
    seconds: float
    detail: str


class Load(threading.Thread):
    """`connections` to each proxy, each with one request every `pause` seconds; every fourth is a POST."""

    def __init__(self, hosts, host: str, proxies: dict[str, str], tokens: dict[str, str], connections=3, pause=0.04):
        super().__init__(daemon=True)
        self.hosts, self.host, self.proxies, self.tokens = hosts, host, proxies, list(tokens.items())
        self.connections, self.pause = connections, pause
        self.records: list[Record] = []
        self.wrong: list[str] = []
        # From when until when this process itself stood still.
        self.pauses: list[tuple[float, float]] = []
        self.ends = threading.Event()
        self.numbers = itertools.count()

    def run(self) -> None:
        self.hosts.move_thread(self.host)
        asyncio.run(self.ask_all())

    def stop(self) -> None:
        self.ends.set()
        self.join(30)

    async def ask_all(self) -> None:
        await asyncio.gather(self.watch(), *(self.ask_one(proxy) for proxy in self.proxies for _ in range(self.connections)))

    async def watch(self) -> None:
        while not self.ends.is_set():
            began = time.monotonic()
            await asyncio.sleep(0.05)
            if time.monotonic() - began > 0.3:
                self.pauses.append((began, time.monotonic()))

    async def ask_one(self, proxy: str) -> None:
        line = None
        while not self.ends.is_set():
            number = next(self.numbers)
            method = "POST" if number % 4 == 0 else "GET"
            user, token = self.tokens[number % len(self.tokens)]
            began, sent, detail = time.monotonic(), False, ""
            try:
                async with asyncio.timeout(PATIENCE):
                    if line is None:
                        line = await asyncio.open_connection(self.proxies[proxy], 8080)
                    reader, writer = line
                    body = b"x" * 100 if method == "POST" else b""
                    sent = True
                    writer.write(
                        f"{method} /tasks/{number} HTTP/1.1\r\nHost: usher.test\r\nAuthorization: Bearer {token}\r\n"
                        f"X-Id: {number}\r\nX-User-Id: mallory\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                    status, fields, content = await self.read(reader)
                outcome = "answered" if status == 200 else "refused"
                if status == 200:
                    said = json.loads(content)
                    if said["user"] != user or said["id"] != str(number):
                        self.wrong.append(f"{proxy} {number} of {user}: {said}")
                else:
                    detail = f"{status} {json.loads(content).get('code')}"
                if fields.get("connection") == "close":
                    line[1].close()
                    line = None
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                outcome, detail = ("lost" if sent else "refused"), type(error).__name__
                if line:
                    line[1].transport.abort()
                line = None
            self.records.append(
                Record(began, proxy, method, str(number), outcome, time.monotonic() - began, detail))
            await asyncio.sleep(max(0.0, began + self.pause - time.monotonic()))

    @staticmethod
    async def read(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.rstrip("\r\n").split("\r\n")
        fields = {key.lower(): value.strip() for key, _, value in (text.partition(":") for text in lines)}
        return int(line.split()[1]), fields, await reader.readexactly(int(fields.get("content-length", "0")))
