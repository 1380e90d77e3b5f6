"""Load over TLS 1.3: HTTP/1.1 by wrk, HTTP/2 by h2load, and handshakes by openssl s_time."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from .load import Result
from .processes import CPU, LOAD_CORE, Process

# As many requests under way as wrk has connections in the other parts.
CONNECTIONS, STREAMS = 8, 8


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of its own, ECDSA P-256, and its key; made once."""
    file, key = folder / "server.pem", folder / "server.key"
    if not file.exists():
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", file],
            check=True, capture_output=True)
        key.chmod(0o600)
    return file, key


def run_load(proxy: Process, pattern: str, *command: str) -> tuple[CPU, re.Match]:
    """A load to its end; what it cost the proxy, and its counts, the first of which is not zero."""
    start = proxy.cpu()
    output = subprocess.run(["taskset", "-c", LOAD_CORE, *command], capture_output=True, text=True).stdout
    used = proxy.cpu() - start
    done = re.search(pattern, output)
    if not done or int(done[1]) == 0:
        raise SystemExit(f"{command[0]}: {output}\n{proxy.log.read_text(errors='replace')[-500:]}")
    return used, done


def http2(proxy: Process, token: str, seconds: int) -> Result:
    """One round of HTTP/2: every request has the same token, because h2load has one set of fields."""
    used, done = run_load(
        proxy, r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx",
        "h2load", "-t1", f"-c{CONNECTIONS}", f"-m{STREAMS}", f"-D{seconds}", "-H", f"authorization: Bearer {token}",
        "-H", "x-user-id: forged", "-H", "accept: application/json", "-H", "accept-language: en-GB,en;q=0.9",
        "-H", "accept-encoding: gzip, deflate, br", "-H", "user-agent: Mozilla/5.0 (X11; Linux x86_64) bench",
        f"https://127.0.0.1:{proxy.port}/")
    count = int(done[1])
    return Result(used.per(count), count, sum(int(done[part]) for part in (2, 3, 4)), float(seconds), 0)


def handshake(proxy: Process, seconds: int) -> float:
    """Microseconds of the proxy's CPU for a full handshake, its connection included."""
    used, done = run_load(
        proxy, r"(\d+) connections in \d+ real seconds",
        "openssl", "s_time", "-connect", f"127.0.0.1:{proxy.port}", "-new", "-time", str(seconds))
    return used.per(int(done[1])).total
