"""The real binary beside key servers, and where it and the model disagree."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path

from harness.backend import Backend
from harness.keyserver import KeyServer
from harness.waiting import wait_until
from harness.wire import Client

from . import random_network
from .decision import Decision
from .random_network import document, reply
from .settings import Configuration, Issuer, Request
from .witness import Observed, Witness

PAUSE_SECONDS = 0.13  # longer than the short cooldown


class Server(KeyServer):
    """Each issuer's keys at a path of its own, found through metadata where it `discovers`."""

    def __init__(self, issuers_of):
        self.issuers_of, self.good = issuers_of, Counter()
        super().__init__(self.serve)

    def serve(self, connection, path: str) -> None:
        connection.sendall(self.page(path))

    def page(self, path: str) -> bytes:
        for issuer in self.issuers_of():
            network = issuer.network
            if network and path in (network.path, network.path + "/moved"):
                return network.outage if network.outage is not None else self.set_of(issuer, path)
            if network and network.discovers and path == well_known(network.discovers, issuer.name):
                text = json.dumps({"issuer": issuer.iss, "jwks_uri": self.origin + network.path})
                return reply(text.encode())
        return reply(b"", "404 Not Found")

    def set_of(self, issuer: Issuer, path: str) -> bytes:
        """Every second issuer's are a redirect away, within the origin."""
        if path == issuer.network.path and issuer.name in ("second", "fourth"):
            return reply(b"", "302 Found", f"Location: {path}/moved")
        self.good[issuer.name] += 1
        return reply(document(issuer.network.published))


def well_known(kind: str, name: str) -> str:
    return f"/{name}/.well-known/{kind}" if kind == "openid-configuration" else f"/.well-known/{kind}/{name}"


class NetworkWitness(Witness):
    variable, file = "USHER_MODEL_NETWORK_SEEDS", "test_model_servers.py"
    sends_all = True

    def __init__(self, seed: int, folder: Path, backends: list[Backend]):
        self.server = Server(lambda: self.issuers if self.started else ())
        self.started, self.left, self.failing = False, 0, set()
        self.asked_at: dict[str, float] = {}
        super().__init__(seed, folder, backends)

    @property
    def issuers(self) -> list[Issuer]:
        return [issuer for issuer in self.configuration.issuers.values() if issuer.network]

    def made_up(self) -> Configuration:
        return random_network.configuration(self.chance, self.server.port)

    def prepare(self) -> None:
        self.configuration.server, self.started = self.server.port, True
        self.dead = {issuer.name for issuer in self.issuers if issuer.network.outage is not None}

    def __enter__(self):
        """It is ready when every issuer has keys, which some never have."""
        try:
            if not self.dead:
                self.usher.wait_ready()
            wait_until(self.listens)
            wait_until(self.have_keys)
        except BaseException:
            self.usher.stop()
            raise
        return self

    def __exit__(self, *given):
        super().__exit__(*given)
        self.server.down()

    def metrics(self) -> str:
        try:
            with Client(self.usher.admin) as client:
                return client.request("GET", "/metrics", host="127.0.0.1").body.decode()
        except ConnectionError:
            return ""

    def listens(self) -> bool:
        try:
            for listener in self.configuration.listeners:
                Client(listener.port).close()
        except ConnectionError:
            return False
        return bool(self.metrics())

    def have_keys(self) -> bool:
        text = self.metrics()
        return all(re.search(rf'^usher_keys{{issuer="{issuer.name}"}} [1-9]', text, re.M) for issuer in self.living())

    def random_request(self, number: int) -> Request:
        self.left -= 1
        if self.left == 0:
            self.recover()
        if self.left < 0 and self.chance.random() < 0.02:
            self.left = self.chance.randint(4, 20)
            for issuer in self.living():
                if self.chance.random() < 0.6:
                    issuer.network.outage = self.chance.choice(random_network.outages())
        for issuer in self.living():
            # Where a fetch may come again unasked, by the clock, it finds nothing new.
            if self.chance.random() < 0.03 and not (issuer.network.discovers and issuer.network.was_asked):
                issuer.network.published = random_network.key_set(self.chance, issuer)
        return random_network.request(self.chance, self.configuration)

    def living(self) -> list[Issuer]:
        return [issuer for issuer in self.issuers if issuer.name not in self.dead]

    def recover(self) -> None:
        """Who has asked in vain tries again by itself; what comes then is waited for."""
        waited_for = [issuer for issuer in self.living() if issuer.name in self.failing]
        before = Counter(self.server.good)
        for issuer in self.living():
            issuer.network.outage = None
        for issuer in waited_for:
            wait_until(lambda: self.server.good[issuer.name] > before[issuer.name])
            issuer.network.replace_known()
        for _ in range(2 if waited_for else 0):
            self.metrics()  # by the thread that has to take in the keys before
        self.failing.clear()

    def explains(self, asked: Request) -> bool:
        """It has no keys that the program has fetched."""
        return False

    def decide(self, asked: Request, now: float) -> Decision:
        found = super().decide(asked, now)
        for name in found.fetches:
            time.sleep(max(0, self.asked_at.get(name, 0) + PAUSE_SECONDS - time.monotonic()))
        return found

    def observe(self, asked: Request) -> Observed:
        self.before = len(self.server.requests)
        return super().observe(asked)

    def compare(self, asked: Request, expected: Decision, observed: Observed) -> list[str]:
        said = super().compare(asked, expected, observed)
        paths = self.server.requests[self.before:]
        for issuer in self.living():
            if issuer.network.outage is not None or issuer.network.discovers and issuer.network.was_asked:
                continue  # fetched again by itself, too
            count = paths.count(issuer.network.path)
            if count != expected.fetches.count(issuer.name):
                said.append(f"{count} fetches of the keys of {issuer.name}, not {expected.fetches}")
        allowed = {issuer.network.path for issuer in self.issuers} | {issuer.network.path + "/moved" for issuer in self.issuers}
        allowed |= {well_known(kind, issuer.name) for issuer in self.issuers if issuer.network.discovers
                    for kind in ("openid-configuration", "oauth-authorization-server")}
        return said + [f"fetched: {path}" for path in paths if path not in allowed]

    def remember(self, expected: Decision, observed: Observed) -> None:
        for name in expected.fetches:
            network = self.configuration.issuers[name].network
            self.asked_at[name] = time.monotonic()
            network.was_asked = True
            if network.outage is None:
                network.replace_known()
            elif name not in self.dead:
                self.failing.add(name)
