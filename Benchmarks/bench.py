#!/usr/bin/env python3
"""Measures the proxy against nginx passing the same requests through, HAProxy and Envoy: one page of ratios.

  bench.py [--usher PATH] [--envoy PATH] [--rounds 5] [--seconds 3] [--only PART,...]

Parts: get, first, post, tls, bulk, idle, fairness, scaling. Envoy is the binary that $ENVOY or --envoy names, and is left
out without one. Each proxy has one worker on the first core; backend and load share the second. The figure is the CPU
time that the proxy itself used, from /proc/PID/stat, for each request that was answered: it holds on a busy machine,
where requests a second do not. Every ratio compares two runs of the same round; the median of the rounds is printed.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path

from rig import bulk, idle, light, load, native, secure, tokens
from rig.page import Table
from rig.processes import LOAD_CORE, Process
from rig.proxies import Stage

HERE = Path(__file__).resolve().parent
# In front of whatever must not take the processor from the light client itself: its delays are to be the proxy's.
LAST = ("chrt", "--idle", "0")
PARTS = ("get", "first", "post", "tls", "bulk", "idle", "fairness", "scaling")


class Bench:
    """One run: the options, the keys, and what all parts share."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.work = HERE / ".work"
        self.keys = tokens.prepare(self.work / "keys")
        self.stage = Stage(self.work / "bench", self.keys)

    def tokens_of(self, algorithm: str) -> Path:
        return self.keys / f"{algorithm}.tokens"

    def load(self, proxy: Process, algorithm: str = "HS256", **more: str) -> load.Result:
        return load.run(proxy, self.tokens_of(algorithm), self.options.seconds, **more)

    def rounds(self, loads: dict[str, tuple[Process, str, dict]]) -> dict[str, load.Series]:
        """Runs each load in each round, one after the other, each round beginning with another: what the machine does
        at the start of a round does not always meet the same."""
        series = {name: load.Series() for name in loads}
        for proxy, algorithm, more in loads.values():
            load.run(proxy, self.tokens_of(algorithm), 1, **more)
        order = list(loads.items())
        for _ in range(self.options.rounds):
            for name, (proxy, algorithm, more) in order:
                series[name].add(self.load(proxy, algorithm, **more))
            order = order[1:] + order[:1]
        return series

    # MARK: The parts

    def get(self) -> None:
        """Small GETs with the tokens of 2,000 users in turn."""
        with ExitStack() as stack:
            backend = stack.enter_context(self.stage.backend())
            nginx = stack.enter_context(self.stage.nginx(backend))
            usher = stack.enter_context(self.stage.usher(backend, self.options.usher))
            loads = {"nginx, no authentication": (nginx, "HS256", {})}
            loads |= {f"usher {name}": (usher, name, {}) for name in tokens.ALGORITHMS}
            for name in ("HS256", "RS256", "ES256"):
                loads[f"HAProxy {name}"] = (stack.enter_context(self.stage.haproxy(backend, name)), name, {})
            for caches in (False, True) if self.options.envoy else ():
                envoy = stack.enter_context(self.stage.envoy(backend, self.options.envoy, caches))
                label = "Envoy with token cache" if caches else "Envoy"
                loads |= {f"{label} {name}": (envoy, name, {}) for name in tokens.ALGORITHMS}
            self.print_loads("Small GET, tokens of 2,000 users in turn", self.rounds(loads))

    def post(self) -> None:
        """POSTs of 1 KiB."""
        with ExitStack() as stack:
            backend = stack.enter_context(self.stage.backend())
            nginx = stack.enter_context(self.stage.nginx(backend))
            usher = stack.enter_context(self.stage.usher(backend, self.options.usher))
            body = {"METHOD": "POST", "BODY_BYTES": "1024"}
            self.print_loads("POST of 1 KiB, HS256", self.rounds({
                "nginx, no authentication": (nginx, "HS256", body), "usher": (usher, "HS256", body)}))

    def tls(self) -> None:
        """Small GETs over TLS 1.3, by HTTP/1.1 and by HTTP/2, and full handshakes."""
        token = tokens.read(self.keys, "HS256")[0]
        with ExitStack() as stack:
            backend = stack.enter_context(self.stage.backend())
            nginx = stack.enter_context(self.stage.nginx(backend, tls=True))
            usher = stack.enter_context(self.stage.usher(backend, self.options.usher, tls=True))
            proxies = {"nginx, no authentication": nginx, "usher": usher}
            over = {"scheme": "https"}
            self.print_loads("TLS 1.3 and HTTP/1.1, HS256", self.rounds(
                {name: (proxy, "HS256", over) for name, proxy in proxies.items()}))
            series = {name: load.Series() for name in proxies}
            handshakes = []
            for _ in range(self.options.rounds):
                for name, proxy in proxies.items():
                    series[name].add(secure.http2(proxy, token, self.options.seconds))
                handshakes.append([secure.handshake(proxy, self.options.seconds) for proxy in proxies.values()])
            self.print_loads("TLS 1.3 and HTTP/2, HS256, 8 connections with 8 streams each", series)
            table = Table("Full handshakes, TLS 1.3, ECDSA P-256", "CPU µs a handshake", "nginx", "usher", "ratio")
            table.add("", statistics.median(a for a, _ in handshakes), statistics.median(b for _, b in handshakes),
                      statistics.median(b / a for a, b in handshakes))
            table.print()

    def print_loads(self, title: str, series: dict[str, load.Series]) -> None:
        table = Table(title, "CPU a request", "user µs", "system µs", "total µs", "ratio to nginx", "refused")
        yardstick = next(iter(series.values()))
        for name, rounds in series.items():
            middle = rounds.middle.cpu
            table.add(name, middle.user, middle.system, middle.total, rounds.ratio(yardstick), rounds.refused)
        table.print()

    def first(self) -> None:
        """Tokens that the proxy sees for the first time: it remembers 16, and 2,000 come in turn."""
        verify = native.build(self.work, "verify_loop", "-lcrypto")
        table = Table(
            "A token at first sight: beyond a cached one, against OpenSSL alone", "", "cached µs", "first sight µs",
            "more µs", "OpenSSL µs", "beyond OpenSSL µs")
        with ExitStack() as stack:
            backend = stack.enter_context(self.stage.backend())
            cached = stack.enter_context(self.stage.usher(backend, self.options.usher))
            forgetful = stack.enter_context(self.stage.usher(backend, self.options.usher, tokens_cached=16))
            for name in tokens.ALGORITHMS:
                known, new, raw = [], [], []
                load.run(cached, self.tokens_of(name), 1)
                for _ in range(self.options.rounds):
                    known.append(self.load(cached, name).cpu.total)
                    new.append(self.load(forgetful, name).cpu.total)
                    raw.append(self.verify_alone(verify, name))
                more = statistics.median(b - a for a, b in zip(known, new))
                beyond = statistics.median(b - a - c for a, b, c in zip(known, new, raw))
                table.add(name, statistics.median(known), statistics.median(new), more, statistics.median(raw), beyond)
        table.print()

    def verify_alone(self, program: str, algorithm: str) -> float:
        """Microseconds of CPU for one verification by OpenSSL, measured on the core of the proxy."""
        key = self.keys / ("secret" if algorithm == "HS256" else f"{algorithm}.pem")
        rounds = {"HS256": 100, "RS256": 10}.get(algorithm, 4)
        done = subprocess.run(
            ["taskset", "-c", "0", program, algorithm, key, self.tokens_of(algorithm), str(rounds)], check=True,
            capture_output=True, text=True)
        return float(done.stdout)

    def bulk(self) -> None:
        """Bodies of 1 GB in both directions, against nginx without buffering."""
        size = 10**9 // bulk.CHUNK * bulk.CHUNK
        token = tokens.read(self.keys, "HS256")[0]
        table = Table("A body of 1 GB", "seconds of CPU", "nginx, no buffering", "usher", "ratio")
        with ExitStack() as stack:
            backend = stack.enter_context(self.stage.bulk(native.build(self.work, "bulk", "-pthread")))
            nginx = stack.enter_context(self.stage.nginx(backend, buffering=False))
            usher = stack.enter_context(self.stage.usher(backend, self.options.usher))
            for name, move in (("download", bulk.download), ("upload", bulk.upload)):
                pairs = [
                    (move(nginx, token, size).total, move(usher, token, size).total)
                    for _ in range(self.options.rounds)]
                table.add(name, statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs),
                          statistics.median(b / a for a, b in pairs))
        table.print()

    def idle(self) -> None:
        """10,000 connections that are held, asked once each, and held again."""
        count = 10_000
        table = Table("10,000 idle keep-alive connections", "", "value")
        with self.stage.backend() as backend, self.stage.usher(backend, self.options.usher) as usher:
            load.run(usher, self.tokens_of("HS256"), 1)
            before = usher.resident_bytes()
            with idle.Crowd(usher.port, count, self.tokens_of("HS256")) as crowd:
                table.add("resident bytes a connection, before a request", (usher.resident_bytes() - before) // count)
                table.add("answered, one request on each", crowd.ask())
                table.add("resident bytes a connection, after it", (usher.resident_bytes() - before) // count)
        table.print()

    def fairness(self) -> None:
        """What others do to a light client's 99th percentile; nginx shows what the machine itself does to it."""
        table = Table("A light client's 99th percentile", "", "alone ms", "beside others ms", "ratio", "nginx's ratio")
        known, seconds = self.tokens_of("HS256"), self.options.seconds
        token = tokens.read(self.keys, "HS256")[0]
        gigabyte = 10**9 // bulk.CHUNK * bulk.CHUNK
        others = {
            "a download at full speed": lambda proxy: bulk.download(proxy, token, seconds * gigabyte, LAST),
            "an upload at full speed": lambda proxy: bulk.upload(proxy, token, seconds * gigabyte, LAST),
            "1,000 connections, a request each 100 ms": lambda proxy: load.run(
                proxy, known, seconds + 2, connections=1000, before=LAST, DELAY_MS="100"),
        }
        with ExitStack() as stack:
            # What waits for the core that it shares with the others would be taken for the proxy's doing.
            small = stack.enter_context(self.stage.backend(at_once=True))
            large = stack.enter_context(self.stage.bulk(native.build(self.work, "bulk", "-pthread"), LAST))
            usher = stack.enter_context(self.stage.usher(large, self.options.usher, light=small))
            nginx = stack.enter_context(self.stage.nginx(large, buffering=False, light=small))
            for name, work in others.items():
                mine, theirs = [], []
                for _ in range(self.options.rounds):
                    mine.append(self.beside(usher, known, seconds, work))
                    theirs.append(self.beside(nginx, known, seconds, work))
                table.add(name, statistics.median(a for a, _ in mine), statistics.median(b for _, b in mine),
                          statistics.median(b / a for a, b in mine), statistics.median(b / a for a, b in theirs))
        table.print()

    @staticmethod
    def beside(proxy: Process, known: Path, seconds: int, work) -> tuple[float, float]:
        """The light client alone, and while the others are at work; they begin before it does and end after it."""
        alone = light.p99(proxy.port, known, seconds, LOAD_CORE)
        busy = threading.Thread(target=work, args=(proxy,))
        busy.start()
        busy.join(0.5)
        beside = light.p99(proxy.port, known, 1, LOAD_CORE)
        busy.join()
        return alone, beside

    def scaling(self) -> None:
        """CPU a request with more workers: what sharing nothing is worth."""
        table = Table("Workers", "", "CPU µs a request", "ratio to one", "requests a second")
        workers = [1 << power for power in range((os.cpu_count() or 1).bit_length())]
        cores = f"0-{(os.cpu_count() or 1) - 1}"
        with ExitStack() as stack:
            backend = stack.enter_context(self.stage.backend())
            proxies = {
                number: stack.enter_context(
                    self.stage.usher(backend, self.options.usher, workers=number, core=cores))
                for number in workers if number <= (os.cpu_count() or 1)}
            series = self.rounds({str(number): (proxy, "HS256", {}) for number, proxy in proxies.items()})
            for name, rounds in series.items():
                middle = rounds.middle
                table.add(name, middle.cpu.total, rounds.ratio(series["1"]), int(middle.requests / middle.seconds))
        table.print()


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}"


def version(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout + done.stderr).splitlines()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--usher", default=".build/release/usher")
    parser.add_argument("--envoy", default=os.environ.get("ENVOY", ""))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each round of wrk")
    parser.add_argument("--only", default=",".join(PARTS))
    bench = Bench(parser.parse_args())
    print(machine())
    print("; ".join([version("nginx", "-v"), version("haproxy", "-v"), version("openssl", "version"),
                     f"{bench.options.rounds} rounds of {bench.options.seconds} s"]))
    for part in PARTS:
        if part in bench.options.only.split(","):
            getattr(bench, part)()


if __name__ == "__main__":
    main()
