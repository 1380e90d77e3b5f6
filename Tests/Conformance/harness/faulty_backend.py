"""`faulty_backend.py PORT CONDUCT RECORD`: a backend as a process of its own, that can be killed. It answers as the word in the
file CONDUCT says; each request is a line in RECORD before anything else is done about it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sys
from pathlib import Path

ALIAS = re.compile(rb"x[^a-z0-9]user[^a-z0-9]id", re.I)
SLOW_SECONDS = 0.3


async def read_body(reader, fields) -> int:
    if fields.get(b"transfer-encoding") == b"chunked":
        total = 0
        while size := int(await reader.readuntil(b"\r\n"), 16):
            total += len(await reader.readexactly(size + 2)) - 2
        await reader.readuntil(b"\r\n")
        return total
    return len(await reader.readexactly(int(fields.get(b"content-length", b"0"))))


class Backend:
    def __init__(self, conduct: Path, record: Path):
        self.conduct = conduct
        self.record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    async def serve(self, reader, writer) -> None:
        try:
            while await self.exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def exchange(self, reader, writer) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *rest = head[:-4].split(b"\r\n")
        pairs = [each.split(b": ", 1) for each in rest]
        method, target, _ = line.split(b" ")
        users = b",".join(value for name, value in pairs if ALIAS.fullmatch(name)) or b"-"
        os.write(self.record, b"%s %s %s\n" % (method, target, users))
        conduct = self.conduct.read_text()
        if conduct == "crash" and random.random() < 0.1:
            os._exit(1)
        size = await read_body(reader, {name.lower(): value for name, value in pairs})
        text = json.dumps({"user": users.decode(), "target": target.decode(), "size": size}).encode()
        answer = b"HTTP/1.1 200 OK\r\nX-Target: %s\r\nContent-Length: %d\r\n\r\n" % (target, len(text))
        return await self.answer(writer, conduct, answer + (b"" if method == b"HEAD" else text))

    async def answer(self, writer, conduct: str, answer: bytes) -> bool:
        match conduct:
            case "hang":
                await asyncio.sleep(3600)
            case "slow":
                await asyncio.sleep(SLOW_SECONDS)
            case "drip":
                for at in range(0, len(answer), 8):
                    writer.write(answer[at:at + 8])
                    await asyncio.sleep(0.01)
                return True
            case "garbage":
                writer.write(random.randbytes(random.choice([1, 100, 20_000])))
                return False
            case "cut":
                writer.write(answer[:random.randrange(len(answer))])
                return False
        writer.write(answer)
        await writer.drain()
        return True


async def main(port: int, conduct: Path, record: Path) -> None:
    server = await asyncio.start_server(Backend(conduct, record).serve, "127.0.0.1", port, reuse_port=False)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
