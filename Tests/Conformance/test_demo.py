"""`make demo`, once: the script of the README does what it promises."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from harness.process import BINARY, REPOSITORY


@pytest.mark.timeout(300)
def test_demo():
    done = subprocess.run(
        [sys.executable, "scripts/demo.py"], cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200,
        env=os.environ | {"DEMO_ONCE": "1", "USHER_BINARY": str(BINARY), "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    statuses = re.findall(r"^  (\d{3}) ", done.stdout, re.M)
    assert statuses == ["201", "201", "200", "403", "401"], done.stdout
    assert done.stdout.count("curl -i") >= 5 and "export ALICE=ey" in done.stdout
    assert re.search(r"^  http://localhost:\d+/ ", done.stdout, re.M), "the page"
    assert "\x1b[" not in done.stdout, "no colours where nobody looks"


@pytest.mark.timeout(300)
def test_the_printed_commands():
    """Each line to try, pasted as it stands, does what the show has promised; Ctrl-C ends it all."""
    demo = subprocess.Popen(
        [sys.executable, "scripts/demo.py"], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        # Who runs the tests in the background may have SIGINT ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env=os.environ | {"USHER_BINARY": str(BINARY), "PYTHONDONTWRITEBYTECODE": "1"})
    try:
        said = []
        while not said or "Ctrl-C" not in said[-1]:
            said.append(demo.stdout.readline())
            assert said[-1], "".join(said)
        lines = [line.strip() for line in said if line.startswith(("  export", "  curl"))]
        done = subprocess.run(["bash", "-eu", "-c", "\n".join(lines)], capture_output=True, text=True, timeout=120)
        assert re.findall(r"HTTP/1.1 (\d+)", done.stdout) == ["200", "201", "200", "403", "401", "200", "200"], done
        assert '"owner":"alice","title":"Buy milk"' in done.stdout
        pages = [line.split()[0] for line in said if line.startswith("  http")]
        done = subprocess.run(["curl", "-sfL", "-H", "Sec-Fetch-Mode: navigate", "-H", "Sec-Fetch-Site: none", "-H", "Accept: text/html", *pages], capture_output=True, text=True, timeout=120)
        assert len(pages) == 2 and done.returncode == 0 and done.stdout.count("<title>") == 2, done
    finally:
        demo.send_signal(signal.SIGINT)
        time.sleep(0.1)
        demo.send_signal(signal.SIGTERM)  # makes no difference any more
        demo.wait(100)
    assert demo.returncode == 0
    assert subprocess.run(["curl", "-s", pages[0]], timeout=60).returncode == 7, "nobody listens any more"


@pytest.mark.timeout(300)
def test_demo_with_a_better_auth():
    """`make demo BETTER_AUTH_URL=…`: three lines take the place of the demo's own issuer, and the keys come from there."""
    from harness.keyserver import KeyServer, key_set, response

    with KeyServer() as server:
        server.pages["/api/auth/jwks"] = response(key_set("one"))
        done = subprocess.run(
            [sys.executable, "scripts/demo.py"], cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=200, env=os.environ | {
                "DEMO_ONCE": "1", "USHER_BINARY": str(BINARY), "PYTHONDONTWRITEBYTECODE": "1",
                "BETTER_AUTH_URL": server.origin + "/api/auth"})
        assert done.returncode == 0, done.stdout + done.stderr
        assert server.requests == ["/api/auth/jwks"], "ready means that the keys are here"
        assert f'provider = "better-auth"\n  url = "{server.origin}/api/auth"' in done.stdout
        assert f"{server.origin}/api/auth/token" in done.stdout
