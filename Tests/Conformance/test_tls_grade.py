"""The grade that a scanner gives the TLS listener: sslyze against Mozilla's published profiles, and for old attacks.

sslyze demands another `cryptography` than these tests, so it has an environment of its own in .venv/sslyze
(`make deps`), and runs as a program."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from test_tls import authority, pairs, secure  # noqa: F401  the fixtures

SSLYZE = Path(sys.prefix) / "sslyze" / "bin" / "sslyze"
# What the profiles are checked with, and what they say nothing of.
CHECKS = ["--certinfo", "--early_data", "--resum", "--reneg", "--heartbleed", "--openssl_ccs", "--robot",
          "--compression", "--fallback", "--ems", "--elliptic_curves", "--http_headers"]

pytestmark = pytest.mark.skipif(
    not SSLYZE.exists(), reason="sslyze is not installed: `make deps` could not fetch it from PyPI")


class Scan:
    """What sslyze says of a listener: `complaints` against the profile, and `found` of each check."""

    def __init__(self, port: int, authority, profile: str, folder: Path):
        report = folder / f"{profile}.json"
        run = subprocess.run(
            [SSLYZE, f"--mozilla_config={profile}", f"--certinfo_ca_file={authority.file}", f"--json_out={report}",
             "--sni=usher.test", *CHECKS, f"localhost:{port}{{127.0.0.1}}"],
            capture_output=True, text=True, timeout=80)
        self.output = run.stdout[-3000:] + run.stderr[-2000:]
        [result] = json.loads(report.read_text())["server_scan_results"]
        assert result["scan_status"] == "COMPLETED", self.output
        self.found = {name: check["result"] for name, check in result["scan_result"].items()}
        failed = [name for name, check in result["scan_result"].items() if check["status"].startswith("ERROR")]
        assert not failed, (failed, self.output)
        verdict = run.stdout.partition("COMPLIANCE AGAINST")[2]
        assert ("OK - Compliant" in verdict) == (run.returncode == 0) and verdict, self.output
        self.complaints = sorted(
            line.strip().removeprefix("* ") for line in verdict.splitlines() if line.strip().startswith("* "))

    def suites(self, version: str) -> set[str]:
        return {suite["cipher_suite"]["name"] for suite in self.found[f"{version}_cipher_suites"]["accepted_cipher_suites"]}


def test_the_listener_is_of_the_intermediate_profile(secure, authority, tmp_path):
    proxy = secure(names=("main", "rsa"), tls='protocols = ["h2", "http/1.1"]\ntls.hsts = "365d"', workers=2)
    scan = Scan(proxy.secure, authority, "intermediate", tmp_path)
    assert scan.complaints == [], scan.output
    for old in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        assert scan.suites(old) == set()
    for kind in ("ECDSA", "RSA"):
        assert any(f"_{kind}_" in name for name in scan.suites("tls_1_2")), "each certificate is offered"
    found = scan.found
    assert found["tls_compression"]["supports_compression"] is False
    assert found["tls_1_3_early_data"]["supports_early_data"] is False
    assert found["session_renegotiation"] == {
        "supports_secure_renegotiation": True, "is_vulnerable_to_client_renegotiation_dos": False,
        "client_renegotiations_success_count": 0}
    assert found["heartbleed"]["is_vulnerable_to_heartbleed"] is False
    assert found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"] is False
    assert found["robot"]["robot_result"] == "NOT_VULNERABLE_RSA_NOT_SUPPORTED"
    assert found["tls_fallback_scsv"]["supports_fallback_scsv"] is True
    assert found["tls_extended_master_secret"]["supports_ems_extension"] is True
    assert found["session_resumption"]["tls_ticket_resumption_result"] == "FULLY_SUPPORTED"
    assert found["http_headers"]["strict_transport_security_header"]["max_age"] == 365 * 86400
    assert {curve["name"] for curve in found["elliptic_curves"]["supported_curves"]} == {
        "X25519", "secp256r1", "secp384r1"}


def test_tls_13_alone_is_of_the_modern_profile(secure, authority, tmp_path):
    proxy = secure(tls='tls.minimum_version = "1.3"')
    scan = Scan(proxy.secure, authority, "modern", tmp_path)
    assert scan.complaints == [], scan.output
    assert scan.suites("tls_1_2") == set()


def test_a_profile_that_the_listener_is_not_of_is_told(secure, authority, tmp_path):
    """Without this, the two above could pass with a scanner that sees nothing."""
    scan = Scan(secure().secure, authority, "modern", tmp_path)
    assert [line.partition(":")[0] for line in scan.complaints] == ["ciphers", "tls_versions"], scan.output
