"""What /metrics says, as numbers: `Metrics(proxy)["usher_requests_total", {"class": "2xx"}]`."""

from __future__ import annotations

import re
import shutil
import subprocess

SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)')


def promtool(text: str) -> subprocess.CompletedProcess:
    """What `promtool check metrics` says; nothing, and status 0, where all is well."""
    assert shutil.which("promtool"), "promtool is in Debian's package prometheus: scripts/install-packages"
    return subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)


class Metrics:
    def __init__(self, proxy):
        self.text = proxy.admin_request("/metrics").body.decode()
        self.samples: dict[tuple, float] = {}
        for line in self.text.splitlines():
            if line.startswith("#"):
                continue
            name, labels, value = SAMPLE.match(line).groups()
            key = name, frozenset(LABEL.findall(labels or ""))
            assert key not in self.samples, f"twice: {line}"
            self.samples[key] = float(value)

    def get(self, name: str, labels: dict | None = None, default=None):
        return self.samples.get((name, frozenset((labels or {}).items())), default)

    def __getitem__(self, key):
        name, labels = key if isinstance(key, tuple) else (key, {})
        return self.samples[name, frozenset(labels.items())]

    @property
    def families(self) -> set[str]:
        return set(re.findall(r"^# TYPE (\S+)", self.text, re.M))
