"""Clients that mean harm over HTTP/2 (rules F6 and F7): each ends with GOAWAY or a closed stream, with memory and CPU
bounded, while another client is served."""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import h2.exceptions
import pytest

from harness import configuration
from harness.http2 import (
    ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, INTERNAL_ERROR, PING, PREFACE,
    PRIORITY, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, Connection, Raw, frame, get)

LISTEN = 'protocols = ["h2", "http/1.1"]'
LIMITS = '[limits]\nbody_timeout = "2s"\nheader_timeout = "2s"\nidle_timeout = "5s"\n'
# What one hostile connection may cost at most, in bytes: windows of 1.75 MiB, sections in scratch, and room to spare.
MEMORY = 16 << 20


@pytest.fixture
def proxy(start, own_backend):
    proxy = start(own_backend, configuration.SMALL + LIMITS, listen=LISTEN)
    assert proxy.get("/public/warm").status == 200
    own_backend.clear()
    return proxy


def cpu_seconds(proxy) -> float:
    fields = Path(f"/proc/{proxy.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def others_are_served(proxy):
    """Another client asks all the while, over HTTP/2 and HTTP/1, and is answered quickly; memory stays bounded."""
    slowest, failures, stop = [0.0], [], threading.Event()
    before = proxy.memory()

    def ask():
        with Connection(proxy.port) as good:
            while not stop.is_set():
                begun = time.monotonic()
                try:
                    if good.get("/api/good").status != 401 or proxy.get("/api/good").status != 401:
                        failures.append("status")
                except Exception as error:  # noqa: BLE001
                    failures.append(repr(error))
                    return
                slowest[0] = max(slowest[0], time.monotonic() - begun)
                time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures, failures[:3]
    # A machine may stand still for a moment; who has to wait until a flood is over waits for longer, or is sent away.
    assert slowest[0] < 6, f"another client waited {slowest[0]:.2f} s"
    # A sanitizer keeps what was freed.
    assert "USHER_SANITIZED" in os.environ or proxy.memory() - before < MEMORY, f"{(proxy.memory() - before) >> 20} MiB"


def flood(raw, pieces) -> int | None:
    """Sends until the proxy has had enough; the code of its GOAWAY."""
    for piece in pieces:
        if not raw.send(piece):
            break
    try:
        return raw.connection_error()
    except TimeoutError:
        raise AssertionError("the flood is not ended") from None


def let_through(began: float) -> float:
    """How many requests that are reset may have reached the backend since then: 400 at once, some more, and 40 a second."""
    return 600 + 40 * (time.monotonic() - began)


def literal(fields) -> bytes:
    """Fields that leave the table as it is."""
    return b"".join(b"\0%c%s%c%s" % (len(n), n.encode(), len(v), v.encode()) for n, v in fields)


def streams(first: int = 1):
    while True:
        yield first
        first += 2


def test_F7_rapid_reset(proxy):
    """CVE-2023-44487: requests that are cancelled at once. Those that come in one read never reach a backend."""
    began = time.monotonic()
    with others_are_served(proxy), Raw(proxy.port) as raw:
        ids = streams()

        def attack():
            for _ in range(100):
                piece = b""
                for _ in range(50):
                    stream = next(ids)
                    piece += raw.headers(stream) + frame(RST_STREAM, 0, stream, CANCEL.to_bytes(4, "big"))
                yield piece

        assert flood(raw, attack()) in (ENHANCE_YOUR_CALM, None)
        assert raw.closed
    # A reset costs 25 of 10,000: about 400 are let through, and what time gives back.
    assert len(proxy.backend.requests) < let_through(began)


def test_F7_rapid_reset_one_by_one(proxy):
    """As above, each reset after its request has started."""
    proxy.backend.recording = False
    began = time.monotonic()
    with others_are_served(proxy), Raw(proxy.port) as raw:
        def attack():
            for stream in range(1, 2001, 2):
                yield raw.headers(stream)
                yield frame(RST_STREAM, 0, stream, CANCEL.to_bytes(4, "big"))

        assert flood(raw, attack()) in (ENHANCE_YOUR_CALM, None)
    assert len(proxy.backend.requests) < let_through(began)


# What a client may do so that the server resets the stream.
PROVOCATIONS = {
    "malformed": lambda r, s: r.headers(s, [*get(), ("Upper", "1")]),
    "length": lambda r, s: r.headers(s, [*get("/public/x", "POST"), ("content-length", "1")]),
    "window": lambda r, s: r.headers(s, get("/public/x", "POST"), END_HEADERS) + 2 * frame(WINDOW_UPDATE, 0, s, b"\x7f\xff\xff\xff"),
    "trailers": lambda r, s: r.headers(s, get("/public/x", "POST"), END_HEADERS) + r.headers(s, [("x-a", "b")], END_HEADERS),
    "late": lambda r, s: r.headers(1, [("x-a", "b")]),
}


@pytest.mark.parametrize("provocation", PROVOCATIONS)
def test_F7_made_you_reset(proxy, provocation):
    """CVE-2025-8671: resets that the server is provoked to count like the client's own."""
    proxy.backend.recording = False
    with others_are_served(proxy), Raw(proxy.port) as raw:
        raw.send(raw.headers(1, get("/api/x")))
        assert raw.status(1) == 401

        def attack():
            for stream in range(3, 4003, 2):
                yield PROVOCATIONS[provocation](raw, stream)
                if provocation != "late":
                    raw.next(RST_STREAM, GOAWAY)

        began = time.monotonic()
        code = flood(raw, attack())
        # 400 resets at once and 40 a second are let through: for the 2,000 of an attack that takes so long that is enough.
        assert code in (ENHANCE_YOUR_CALM, None) or time.monotonic() - began > 40
    assert len(proxy.backend.requests) < let_through(began)


@pytest.mark.parametrize("piece", [b"", b"\0\1a\1b"], ids=["empty", "fields"])
def test_F7_continuation_flood(proxy, piece):
    """CVE-2024-28182 and its kin: a section that never ends."""
    with others_are_served(proxy), Raw(proxy.port) as raw:
        begin = frame(HEADERS, END_STREAM, 1, raw.encoder.encode(get()))
        code = flood(raw, [begin, *[frame(CONTINUATION, 0, 1, piece)] * 10_000])
        assert code in (ENHANCE_YOUR_CALM, None)
    assert proxy.backend.requests == []


FLOODS = {
    "ping": frame(PING, 0, 0, bytes(8)),
    "ping-ack": frame(PING, ACK, 0, bytes(8)),
    "settings": frame(SETTINGS),
    "settings-with-values": frame(SETTINGS, 0, 0, b"\0\3\0\0\0\1" * 30),
    "settings-ack": frame(SETTINGS, ACK),
    "priority": frame(PRIORITY, 0, 99, b"\0\0\0\0\1"),
    "unknown": frame(0x55, 0, 0, b"grease"),
    "window-update": frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
    "priority-update": frame(0x10, 0, 0, b"\0\0\0\1u=1"),
}


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "reads-not"])
def test_F7_floods_of_frames_that_do_nothing(proxy, kind, reads):
    with others_are_served(proxy), Raw(proxy.port, receive_buffer=None if reads else 4096) as raw:
        expected = PROTOCOL_ERROR if kind == "settings-ack" else ENHANCE_YOUR_CALM
        assert flood(raw, [FLOODS[kind] * 500] * 200) in (expected, None)


@pytest.mark.parametrize("content", [b"", b"x"], ids=["empty", "one-byte"])
@pytest.mark.parametrize("padded", [False, True], ids=["plain", "padded"])
def test_F7_tiny_data(proxy, content, padded):
    with others_are_served(proxy), Raw(proxy.port) as raw:
        proxy.backend.script = lambda e: e.drain()
        raw.send(raw.headers(1, get("/public/x", "POST"), END_HEADERS))
        piece = frame(DATA, 8, 1, b"\0" + content) if padded else frame(DATA, 0, 1, content)
        assert flood(raw, [piece * 200] * 500) in (ENHANCE_YOUR_CALM, None)


def test_F7_windows_opened_by_the_byte(proxy):
    """CVE-2019-9511: each byte of an answer would be framed by itself."""
    with others_are_served(proxy), Raw(proxy.port, handshake=False) as raw:
        raw.send(PREFACE + frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"))
        streams = range(1, 41, 2)
        raw.send(b"".join(raw.headers(stream, get(f"/public/{'x' * 2000}")) for stream in streams))
        taken, code, end = 0, None, time.monotonic() + 20
        while code is None and time.monotonic() < end:
            raw.send(b"".join(frame(WINDOW_UPDATE, 0, stream, b"\0\0\0\1") for stream in streams))
            for _ in streams:
                kind, _, _, content = raw.next(DATA, GOAWAY) or (GOAWAY, 0, 0, b"\xff" * 8)
                taken += kind == DATA
                if kind == GOAWAY:
                    code = int.from_bytes(content[4:8], "big")
                    break
        assert code == ENHANCE_YOUR_CALM, (taken, code)


NO_WINDOW = PREFACE + frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0") + frame(SETTINGS, ACK)


def open_windows(raw, streams, by: int) -> None:
    raw.send(b"".join(frame(WINDOW_UPDATE, 0, stream, by.to_bytes(4, "big")) for stream in streams))


def test_F6_whole_answers_taken_by_the_byte(proxy):
    """Kin of CVE-2019-9511: answers of usher's own are whole at once, and no route's time counts for them. A client that takes
    a byte now and then holds them no longer than one that takes nothing."""
    with others_are_served(proxy), Raw(proxy.port, handshake=False, timeout=60) as raw:
        left = set(range(1, 41, 2))
        raw.send(NO_WINDOW + b"".join(raw.headers(stream, get("/api/x")) for stream in sorted(left)))
        while left:
            open_windows(raw, left, 1)
            waiting = set(left)
            while waiting:
                kind, flags, stream, content = raw.next(DATA, RST_STREAM, GOAWAY)
                assert kind != GOAWAY and not (kind == DATA and flags & END_STREAM), (kind, stream, content)
                waiting.discard(stream)
                if kind == RST_STREAM:
                    assert int.from_bytes(content, "big") == CANCEL
                    left.discard(stream)
            time.sleep(0.2)


def test_a_whole_answer_may_take_longer_than_body_timeout(start, own_backend):
    """Over a bad line: what counts is that it goes on."""
    proxy = start(own_backend, configuration.SMALL + LIMITS.replace("2s", "5s"), listen=LISTEN)
    own_backend.script = lambda e: e.reply(200, b"x" * 15_000)
    with Raw(proxy.port, handshake=False, timeout=60) as raw:
        raw.send(NO_WINDOW + raw.headers(1))
        began, taken, ended = time.monotonic(), 0, False
        while not ended:
            time.sleep(0.6)
            open_windows(raw, [1], 1200)
            kind, flags, _, content = raw.next(DATA, RST_STREAM, GOAWAY)
            assert kind == DATA, (kind, taken)
            taken, ended = taken + len(content), bool(flags & END_STREAM)
        assert taken == 15_000 and time.monotonic() - began > 5


def test_F6_unread_answers_give_way_where_memory_is_short(start, own_backend):
    """Without a token, and for longer than any client waits: they held the memory, and nobody else was served."""
    limits = '[limits]\nbuffer_bytes = "1MiB"\nbody_timeout = "10m"\n'
    proxy = start(own_backend, configuration.SMALL + limits, listen=LISTEN)
    raws = [Raw(proxy.port, handshake=False, timeout=60) for _ in range(4)]
    for raw in raws:
        raw.send(NO_WINDOW + b"".join(raw.headers(stream, get("/api/x")) for stream in range(1, 241, 2)))
        for _ in range(120):
            assert raw.next(HEADERS, RST_STREAM, GOAWAY)[0] == HEADERS
    with proxy.client(timeout=60) as client:
        assert client.request("GET", "/public/x").status == 200
    for raw in raws:
        raw.sock.close()


def test_F6_unread_answers_give_way_to_further_streams(start, own_backend):
    """As above, by their number: a worker has 4,096 streams at least, and all were taken."""
    limits = '[limits]\nconnections = 100\nbody_timeout = "10m"\n'
    proxy = start(own_backend, configuration.SMALL + limits, listen=LISTEN)
    raws = [Raw(proxy.port, handshake=False, timeout=60) for _ in range(33)]
    for raw in raws:
        raw.send(NO_WINDOW + b"".join(raw.headers(stream, get("/api/x")) for stream in range(1, 257, 2)))
    end = time.monotonic() + 60
    with Connection(proxy.port) as good:
        while (answer := good.get("/public/x")).reset is not None:
            assert answer.reset == REFUSED_STREAM and time.monotonic() < end
            time.sleep(0.2)
        assert answer.status == 200
    for raw in raws:
        raw.sock.close()


def test_F7_answers_left_unread_again_and_again(start, own_backend):
    """Streams that are reset because nobody takes their answers are resets that the client has provoked."""
    proxy = start(own_backend, configuration.SMALL + LIMITS.replace('body_timeout = "2s"', 'body_timeout = "100ms"'), listen=LISTEN)
    with others_are_served(proxy), Raw(proxy.port, handshake=False, timeout=60) as raw:
        raw.send(NO_WINDOW)
        ids = streams()

        def attack():
            for _ in range(50):
                wave = [next(ids) for _ in range(100)]
                yield b"".join(raw.headers(stream, get("/api/x")) for stream in wave)
                for _ in wave:
                    if raw.next(RST_STREAM, GOAWAY) is None:
                        return

        assert flood(raw, attack()) in (ENHANCE_YOUR_CALM, None)
        assert raw.closed


def test_small_messages_of_an_honest_client_pass(proxy):
    """A stream of small messages, as gRPC and WebSocket have them, is no flood."""
    proxy.backend.script = lambda e: e.reply(200, str(e.drain()).encode())
    with Connection(proxy.port) as connection:
        stream = connection.start(get("/public/x", "POST"), end=False)
        for _ in range(8000):
            connection.h2.send_data(stream, b"\0\0\0\0\2hi") if connection.h2.local_flow_control_window(stream) > 100 else (
                connection.flush(), connection.read())
        connection.h2.end_stream(stream)
        connection.flush()
        assert connection.answer(stream).status == 200 and not connection.goaways


def test_F6_hpack_bomb(proxy):
    """CVE-2026-49975 and its kin: one byte of the block is a field of 4 KiB."""
    with others_are_served(proxy), Raw(proxy.port) as raw:
        before = cpu_seconds(proxy)
        bomb = literal(get()) + b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, bomb))
        raw.send(frame(RST_STREAM, 0, 1, CANCEL.to_bytes(4, "big")))
        prefix = literal(get())

        def attack():
            for stream in range(3, 203, 2):
                yield frame(HEADERS, END_HEADERS | END_STREAM, stream, prefix + b"\xbe" * 16_000)

        assert flood(raw, attack()) in (ENHANCE_YOUR_CALM, None)
        assert cpu_seconds(proxy) - before < 3
    assert len(proxy.backend.requests) <= 1, "the one that fills the table"


def test_F6_cookie_bomb(proxy):
    """As above with crumbs of a cookie, which are joined, and count each."""
    with others_are_served(proxy), Raw(proxy.port) as raw:
        prefix = literal(get())
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, prefix + b"\x60\x7f\xa1\x1e" + b"y" * 4000))
        # The crumb is the newest entry of the table: index 62.
        assert flood(raw, (
            frame(HEADERS, END_HEADERS | END_STREAM, s, prefix + b"\xbe" * 8000) for s in range(3, 203, 2))) in (
                ENHANCE_YOUR_CALM, None)


@pytest.mark.memory
def test_F6_many_large_heads_in_one_read(proxy):
    """A hundred heads of 30 KB, each of them small by HPACK: answered, or refused to be tried again."""
    with others_are_served(proxy), Raw(proxy.port) as raw:
        raw.encoder.header_table_size = 4096
        fields = [*get("/api/x"), *[("x-large", "y" * 3500)] * 8]
        piece = b"".join(raw.headers(s, fields) for s in range(1, 201, 2))
        raw.send(piece)
        done = set()
        while len(done) < 100:
            found = raw.next(HEADERS, RST_STREAM, GOAWAY)
            assert found and found[0] != GOAWAY, found
            if found[0] == RST_STREAM:
                assert int.from_bytes(found[3], "big") in (7, 0)
            done.add(found[2])


@pytest.mark.memory
def test_F6_streams_without_window(proxy):
    """128 streams that take nothing: each dies after its time, and holds no more than a block meanwhile."""
    proxy.backend.recording = False
    proxy.backend.script = lambda e: e.reply(200, b"x" * 400_000)
    with others_are_served(proxy), Connection(proxy.port, settings={4: 0}) as connection:
        ids = [connection.start(get(f"/public/{n}")) for n in range(100)]
        for stream in ids:
            assert connection.answer(stream, 40).reset is not None
        assert {connection.answers[s].reset for s in ids} == {CANCEL}


def test_a_client_that_reads_nothing_at_all(proxy):
    proxy.backend.script = lambda e: e.reply(200, b"x" * 1_000_000)
    with others_are_served(proxy), Raw(proxy.port, receive_buffer=4096) as raw:
        raw.send(frame(WINDOW_UPDATE, 0, 0, b"\x7f\0\0\0") + frame(SETTINGS, 0, 0, b"\0\4\x7f\0\0\0"))
        raw.send(b"".join(raw.headers(s) for s in range(1, 61, 2)))
        time.sleep(3.5)
        raw.sock.settimeout(5)
        try:
            while raw.sock.recv(1 << 20):
                pass
        except ConnectionResetError:
            pass


def test_uploads_that_no_backend_takes_hold_a_bounded_window(proxy):
    gate = threading.Event()
    proxy.backend.recording = False
    proxy.backend.script = lambda e: gate.wait(8)
    with others_are_served(proxy), Connection(proxy.port) as connection:
        ids = [connection.start(get(f"/public/{n}", "POST"), end=False) for n in range(100)]
        total, end = 0, time.monotonic() + 1
        while time.monotonic() < end:
            moved = False
            for stream in ids:
                room = min(connection.h2.local_flow_control_window(stream), 16_384)
                if room > 0:
                    connection.h2.send_data(stream, b"x" * room)
                    total += room
                    moved = True
            connection.flush()
            if not moved:
                try:
                    connection.read(0.1)
                except TimeoutError:
                    pass
        gate.set()
        assert not connection.goaways


@pytest.mark.memory
def test_idle_connections_cost_little(start, own_backend):
    """What an idle HTTP/2 connection holds, nghttp2's own memory included, in bytes."""
    proxy = start(own_backend, configuration.SMALL + LIMITS.replace("5s", "60s"), listen=LISTEN)
    warm = [Raw(proxy.port) for _ in range(20)]
    for raw in warm:
        raw.send(raw.headers(1, get("/api/x")))
        assert raw.status(1) == 401
    before = proxy.memory()
    idle = [Raw(proxy.port) for _ in range(300)]
    for raw in idle:
        raw.send(raw.headers(1, get("/api/x")))
        assert raw.status(1) == 401
    time.sleep(0.1)
    each = (proxy.memory() - before) / 300
    assert each < 32 << 10, each
    for raw in idle + warm:
        raw.sock.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_clients_at_random(proxy, seed):
    """Requests, bodies, windows, resets and departures in any order: usher answers the next request."""
    dice = random.Random(seed)

    def script(exchange):
        size = int(exchange.request.target.rsplit("/", 1)[1])
        if size % 3 == 0:
            exchange.read_body()
        exchange.reply(200, b"x" * size)
        if size % 7 == 0:
            exchange.close()

    proxy.backend.recording = False
    proxy.backend.script = script
    for _ in range(12):
        with Connection(proxy.port, settings={4: dice.choice([0, 1000, 65_535, 1 << 20])}, update_windows=dice.random() < 0.7) as connection:
            live = []
            for _ in range(60):
                step = dice.random()
                try:
                    if step < 0.4 and len(live) < 100:
                        method = dice.choice(["GET", "POST"])
                        path = f"/{dice.choice(['public', 'api'])}/{dice.choice([0, 10, 5000, 70_000, 400_001])}"
                        live.append(connection.start(get(path, method), end=method == "GET"))
                    elif step < 0.6 and live:
                        stream = dice.choice(live)
                        count = min(connection.h2.local_flow_control_window(stream), dice.choice([1, 100, 16_000]))
                        connection.h2.send_data(stream, b"y" * max(count, 0), end_stream=dice.random() < 0.5)
                    elif step < 0.7 and live:
                        connection.h2.reset_stream(live.pop(dice.randrange(len(live))), CANCEL)
                    elif step < 0.8 and live:
                        connection.h2.increment_flow_control_window(dice.choice([1, 3000, 100_000]), dice.choice(live))
                    elif step < 0.85:
                        connection.h2.increment_flow_control_window(100_000)
                    else:
                        connection.read(0.01)
                    connection.flush()
                except (TimeoutError, KeyError, h2.exceptions.ProtocolError):
                    # hyper-h2 has forgotten the stream, or will not break the protocol.
                    pass
    proxy.backend.script = lambda e: e.echo()
    with Connection(proxy.port) as connection:
        assert connection.get("/public/1").status == 200
