"""A backend that says who asked whom, and writes down what it was told to do: NAME PORT FILE."""

from __future__ import annotations

import asyncio
import json
import os
import sys

name, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
done = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *fields = head.rstrip("\r\n").split("\r\n")
            values = {key.lower(): value.strip() for key, _, value in (field.partition(":") for field in fields)}
            await reader.readexactly(int(values.get("content-length", "0")))
            if line.startswith("POST "):
                os.write(done, f"{values['x-id']}\n".encode())
            body = json.dumps({"host": name, "user": values.get("x-user-id"), "id": values.get("x-id")}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def main() -> None:
    async with await asyncio.start_server(serve, "0.0.0.0", port) as server:
        await server.serve_forever()


asyncio.run(main())
