"""Where the access log goes, and what happens when it cannot: lines are lost and counted, requests never."""

import ctypes
import json
import os
import re
import resource
import signal
import subprocess
import time

import pytest

from harness import configuration
from harness.ports import free_port
from harness.process import BINARY, command, environment
from harness.tokens import bearer, token
from harness.waiting import wait_until
from harness.wire import render


@pytest.fixture
def logging(start, own_backend, monkeypatch):
    def run(more, **options):
        monkeypatch.setattr(configuration, "PREAMBLE", configuration.PREAMBLE.replace('access = "stdout"', more.replace("{", "{{").replace("}", "}}")))
        try:
            return start(own_backend, **options)
        finally:
            monkeypatch.undo()
    return run


def lost(proxy) -> int:
    return int(re.search(r"^usher_access_log_lines_lost_total (\d+)$", proxy.admin_request("/metrics").body.decode(), re.M)[1])


def ask(proxy, count, path="/public/x", status=200):
    with proxy.client() as client:
        for _ in range(count):
            assert client.request("GET", path).status == status


def test_dev_full(logging):
    """Every write fails: every line is counted."""
    proxy = logging('access = "/dev/full"')
    ask(proxy, 200)
    wait_until(lambda: lost(proxy) == 200)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=64k") != 0:
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    libc.umount2(str(folder).encode(), 2)


def test_full_disk_and_room_again(logging, small_disk):
    proxy = logging(f'access = "{small_disk}/access.log"')
    ask(proxy, 400)  # some 120 KB
    counts = [0, 0]

    def all_are_tried():
        counts.append(lost(proxy))
        time.sleep(0.3)
        return 50 < counts[-1] == counts[-2] == counts[-3]
    wait_until(all_are_tried)
    os.truncate(small_disk / "access.log", 0)
    before = lost(proxy)
    ask(proxy, 3, "/public/after")
    wait_until(lambda: (small_disk / "access.log").read_text().count("/public/after") == 3)
    assert lost(proxy) == before
    for line in (small_disk / "access.log").read_text().splitlines():
        assert line == "" or json.loads(line)


def test_file_size_limit_is_no_death(logging, tmp_path):
    """RLIMIT_FSIZE sends SIGXFSZ, which ends a process that does not expect it."""
    proxy = logging(f'access = "{tmp_path}/access.log"')
    resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
    ask(proxy, 100)
    wait_until(lambda: lost(proxy) > 50)
    assert proxy.process.poll() is None


def test_blocked_pipe(logging):
    """Nobody reads: what does not fit into the queue is counted, and the answers are as quick as ever."""
    proxy = logging('access = "stdout"', collect=False)
    ask(proxy, 1500)
    assert proxy.ready() and lost(proxy) == 0, "4 MiB wait in memory before a line is lost"
    proxy.collect()
    wait_until(lambda: len(proxy.log_lines()) == 1500)


def test_blocked_pipe_and_full_queue(logging):
    """Beyond what the queue takes, lines are lost: each one is counted, no request is, and those that were kept are whole."""
    proxy = logging('access = "stdout"', collect=False)
    agent = {"User-Agent": "a" * 400}
    sent = 0
    with proxy.client() as client:
        while lost(proxy) == 0:
            assert sent < 20_000
            client.send(render("GET", "/public/" + "x" * 3000, agent) * 50)
            assert all(client.response().status == 200 for _ in range(50))
            sent += 50
        assert client.request("GET", "/public/last").status == 200
    proxy.collect()
    wait_until(lambda: len(proxy.log_lines()) + lost(proxy) == sent + 1)
    assert proxy.get("/public/after").status == 200
    assert proxy.wait_log(path="/public/after")


def read_all(descriptor) -> bytes:
    found = b""
    try:
        while data := os.read(descriptor, 1 << 20):
            found += data
    except BlockingIOError:
        pass
    return found


def test_named_pipe_that_nobody_reads(logging, tmp_path):
    """The start does not wait for a reader, and neither does a request; who reads later gets the lines that fit."""
    pipe = tmp_path / "access.pipe"
    os.mkfifo(pipe)
    started = time.monotonic()
    proxy = logging(f'access = "{pipe}"')
    ask(proxy, 500)
    assert time.monotonic() - started < 25 and lost(proxy) == 0
    proxy.signal(signal.SIGUSR1)
    wait_until(lambda: b"access log opened again" in proxy.errors)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    found = bytearray()
    wait_until(lambda: found.extend(read_all(reader)) or found.count(b"\n") == 500)
    assert all(json.loads(line)["status"] == 200 for line in bytes(found).splitlines())
    # its reader goes, and comes again: nothing was lost in between
    os.close(reader)
    ask(proxy, 20, "/public/between")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    found.clear()
    wait_until(lambda: found.extend(read_all(reader)) or found.count(b"/public/between") == 20)
    os.close(reader)
    assert lost(proxy) == 0


def test_a_full_pipe_does_not_hold_up_the_file_in_its_place(logging, tmp_path):
    """Nobody reads, the pipe is full, and then it is moved away: what waits goes into the file that comes after it."""
    pipe = tmp_path / "access.pipe"
    os.mkfifo(pipe)
    proxy = logging(f'access = "{pipe}"')
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sent = 1500  # some 400 KB, and the pipe takes 64
    ask(proxy, sent)
    pipe.rename(tmp_path / "old.pipe")
    proxy.signal(signal.SIGUSR1)
    ask(proxy, 1, "/public/after")
    wait_until(lambda: pipe.exists() and "/public/after" in pipe.read_text())
    after = pipe.read_text().splitlines()
    assert all(json.loads(line) for line in after)
    before = read_all(reader)
    os.close(reader)
    assert before.count(b"\n") + len(after) + lost(proxy) == sent + 1
    assert lost(proxy) <= 1, "the line that the pipe took a part of"


def test_reopen_after_it_was_moved(logging, tmp_path):
    proxy = logging(f'access = "{tmp_path}/access.log"')
    ask(proxy, 3, "/public/before")
    wait_until(lambda: (tmp_path / "access.log").read_text().count("\n") == 3)
    (tmp_path / "access.log").rename(tmp_path / "access.log.1")
    proxy.signal(signal.SIGUSR1)
    wait_until(lambda: (tmp_path / "access.log").exists())
    ask(proxy, 2, "/public/after")
    wait_until(lambda: (tmp_path / "access.log").read_text().count("/public/after") == 2)
    assert (tmp_path / "access.log.1").read_text().count("/public/before") == 3


def test_off(logging):
    proxy = logging('access = "off"')
    ask(proxy, 5)
    time.sleep(0.2)
    assert not proxy.log


COMBINED = re.compile(
    r'^(\S+) - (\S+) \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "([^"]*)" (\d+) (\d+) "([^"]*)" "([^"]*)"$')


def lines(proxy, count):
    wait_until(lambda: bytes(proxy.log).count(b"\n") >= count)
    return bytes(proxy.log).decode().splitlines()


def test_combined(logging):
    proxy = logging('access = "stdout"\naccess_format = "combined"')
    agent = {"User-Agent": 'curl/8 "x" \\ y', "Referer": "https://a.example/page?secret=1#part"}
    answer = proxy.get("/api/x?secret=2", bearer(token()) | agent)
    proxy.get("/public/\xff", agent)
    proxy.get("/api/y")
    first, second, third = (COMBINED.match(line) for line in lines(proxy, 3))
    assert first and second and third, bytes(proxy.log)
    assert first.group(1, 2, 4, 5) == ("127.0.0.1", "alice", "GET /api/x HTTP/1.1", "200")
    assert int(first[6]) == len(answer.body)
    assert first[7] == "https://a.example/page" and first[8].startswith(r"curl/8 \x22x\x22 \x5C")
    written = time.strptime(first[3], "%d/%b/%Y:%H:%M:%S %z")
    assert abs(time.time() - (time.mktime(written[:8] + (0,)) - time.timezone)) < 100
    assert third.group(2, 5, 7, 8) == ("-", "401", "-", "-")
    assert b"secret" not in bytes(proxy.log)


def test_format_is_that_of_messages(logging, monkeypatch):
    """`format` is the form of the application log; an access line is JSON all the same, unless `access_format` says else."""
    monkeypatch.setattr(configuration, "PREAMBLE", configuration.PREAMBLE.replace('format = "json"', 'format = "text"'))
    proxy = logging('access = "stdout"')
    assert proxy.get("/public/x").status == 200
    (line,) = lines(proxy, 1)
    assert json.loads(line)["path"] == "/public/x"
    proxy.wait_said("listening on")
    assert not any(message.startswith("{") for message in proxy.errors.decode().splitlines())


@pytest.mark.parametrize("form", ["json", "combined"])
def test_H11_a_line_stays_a_line(logging, form):
    """A user's name is whatever the token says; a header whatever a client sends."""
    proxy = logging(f'access = "stdout"\naccess_format = "{form}"')
    subject = 'a"200\\x'
    assert proxy.get("/api/x", bearer(token(subject=subject)) | {"User-Agent": '" 200 "\t'}).status == 200
    (line,) = lines(proxy, 1)
    if form == "json":
        assert json.loads(line)["user"] == subject
    else:
        assert COMBINED.match(line)[2] == r"a\x22200\x5Cx"


def test_sample(logging):
    proxy = logging('access = "stdout"\nsample = { "2xx" = 0.1, "4xx" = 0 }')
    ask(proxy, 1000)
    ask(proxy, 50, "/nothing", status=404)
    own = proxy.backend
    own.script = lambda exchange: exchange.gone(0)
    assert proxy.get("/public/x").status == 502
    proxy.wait_log(status=502)
    classes = [line["status"] // 100 for line in proxy.log_lines()]
    assert 40 < classes.count(2) < 170 and classes.count(4) == 0 and classes.count(5) == 1


def test_reload_changes_all_of_it(logging, tmp_path):
    proxy = logging('access = "stdout"')
    ask(proxy, 1, "/public/one")
    proxy.wait_log(path="/public/one")
    proxy.file.write_text(
        proxy.file.read_text().replace('format = "json"\naccess = "stdout"', 'format = "text"\naccess = "stdout"\naccess_format = "combined"\nsample = { "4xx" = 0 }'))
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: b" info     configuration reloaded" in proxy.errors)

    def is_heard():
        """The worker may hear of it a moment later."""
        ask(proxy, 1, "/public/heard")
        count = bytes(proxy.log).count(b"\n")
        return COMBINED.match(lines(proxy, count)[-1])
    wait_until(is_heard)
    ask(proxy, 1, "/nothing", status=404)
    ask(proxy, 1, "/public/two")
    wait_until(lambda: b"/public/two" in proxy.log)
    combined = [match for line in lines(proxy, 1) if (match := COMBINED.match(line))]
    assert combined[-1][4] == "GET /public/two HTTP/1.1"
    assert b"/nothing" not in proxy.log, "not one of a hundred of these"


def test_a_file_that_cannot_be_opened_is_named_at_the_start(tmp_path):
    file = tmp_path / "usher.toml"
    file.write_text(f'[listen.public]\naddress = "127.0.0.1:{free_port()}"\n[log]\naccess = "nowhere/access.log"\n')
    done = command("run", "--config", str(file))
    assert done.returncode == 1, done.stderr
    assert f'cannot open the access log "{tmp_path}/nowhere/access.log": No such file or directory' in json.loads(done.stderr.splitlines()[-1])["reason"]


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_start_that_fails_says_so_in_the_form_of_the_log(tmp_path, form):
    """Warnings that were due before, too."""
    file = tmp_path / "usher.toml"
    text = f'[listen.public]\naddress = "127.0.0.1:{free_port()}"\n[log]\nformat = "{form}"\naccess = "{tmp_path}"\n'
    file.write_text(text)
    done = command("run", "--config", file)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert "there is no [[route]]" in lines[0]
    if form == "json":
        last = [json.loads(line) for line in lines][-1]
        assert last["level"] == "critical" and last["message"] == "cannot start"
        assert last["reason"] == f'cannot open the access log "{tmp_path}": Is a directory'
    else:
        assert re.fullmatch(r'\S+Z critical cannot start reason="cannot open the access log .*"', lines[-1]), lines


@pytest.mark.parametrize("limit", [4, 6, 8, 10, 12, 16])
def test_too_few_descriptors_are_told_in_the_form_of_the_log(tmp_path, limit):
    """Wherever the start gets to with so few."""
    file = tmp_path / "usher.toml"
    file.write_text(f'workers = 4\n[listen.public]\naddress = "127.0.0.1:{free_port()}"\n[log]\nformat = "json"\n')
    done = subprocess.run(
        [BINARY, "run", "--config", file], env=environment(), capture_output=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
    assert done.returncode == 1, done
    said = [json.loads(line) for line in done.stderr.splitlines()]
    (reason,) = [line["reason"] for line in said if line["message"] == "cannot start"]
    assert "raise the limit of file descriptors" in reason, said
