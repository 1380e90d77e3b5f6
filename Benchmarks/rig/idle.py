"""Many idle connections, held by a process of their own: `idle.py PORT COUNT TOKENFILE`, told by lines on its standard
input to `ask` once on each connection, and to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .processes import raise_descriptor_limit

# Each source address has some 28,000 ports; several keep far from that.
SOURCES = [f"127.0.0.{number}" for number in range(2, 10)]


class Crowd:
    """The connections, as long as its `with` block lasts."""

    def __init__(self, port: int, count: int, tokens: Path):
        self.child = subprocess.Popen(
            [sys.executable, "-m", "rig.idle", str(port), str(count), str(tokens)], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, preexec_fn=raise_descriptor_limit, cwd=Path(__file__).resolve().parent.parent)

    def __enter__(self) -> "Crowd":
        self._expect("connected")
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stdin.close()
        self.child.wait()

    def ask(self) -> int:
        """One request on each connection: how many were answered with 200."""
        self.child.stdin.write("ask\n")
        self.child.stdin.flush()
        return int(self._expect("answered"))

    def _expect(self, word: str) -> str:
        line = self.child.stdout.readline().split()
        if not line or line[0] != word:
            raise SystemExit(f"idle connections: no word of {word}")
        return line[1]


def main() -> None:
    from .requests import Connection, get

    port, count, tokens = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]).read_text().split()
    connections = [Connection(port, SOURCES[number % len(SOURCES)]) for number in range(count)]
    print("connected", count, flush=True)
    for _ in sys.stdin:
        good = sum(
            connection.ask(get(tokens[number % len(tokens)])) == 200 for number, connection in enumerate(connections))
        print("answered", good, flush=True)


if __name__ == "__main__":
    main()
