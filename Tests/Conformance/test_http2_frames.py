"""Frames that break HTTP/2, after the generic, http2 and hpack groups of h2spec.

h2spec is no package of Debian's or PyPI's, so its cases are written down here, by the section of RFC 9113 (h2spec: RFC
7540) and RFC 7541 that they are about. h2spec itself, built from its source by hand, passes 140 of its 147 cases; the other
seven are about frames on streams that are over (four), a lower stream than before, and PRIORITY (two): all of them are
ignored, for the reasons that `test_exception_…` give. Each case names the errors that the proxy may answer with; a connection that is closed
counts as a connection error where h2spec lets it. After every stream error the connection still serves.
"""

from __future__ import annotations

import struct

import pytest

from harness import configuration
from harness.http2 import (
    ACK, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY,
    HEADERS, PADDED, PING, PREFACE, PRIORITISED, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM,
    SETTINGS, STREAM_CLOSED, WINDOW_UPDATE, Connection, Raw, frame, get)

LISTEN = 'protocols = ["h2", "http/1.1"]'


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    from harness.backend import Backend
    from harness.ports import free_port
    from harness.process import Usher
    with Backend() as backend:
        text = (configuration.PREAMBLE + configuration.SMALL).format(
            workers=1, port=(port := free_port()), admin=(admin := free_port()), listen=LISTEN, backend=backend.port, upstream="")
        usher = Usher(tmp_path_factory.mktemp("frames"), text, port, admin).wait_ready()
        usher.backend = backend
        yield usher
        assert usher.stop() == 0


@pytest.fixture
def proxy(running):
    running.backend.clear()
    yield running
    assert running.process.poll() is None, bytes(running.errors)[-3000:]


@pytest.fixture
def raw(proxy):
    with Raw(proxy.port) as raw:
        yield raw


def setting(identifier: int, value: int) -> bytes:
    return struct.pack(">HI", identifier, value)


def post(raw, stream=1, *more) -> bytes:
    return raw.headers(stream, get("/public/x", "POST", "usher.test", "http", *more), END_HEADERS)


def still_serves(raw, stream: int) -> None:
    raw.send(raw.headers(stream))
    assert raw.status(stream) == 200


# Generic: what must work.


def test_generic_idle_streams_may_be_prioritised(raw):
    raw.send(frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") + raw.headers(1))
    assert raw.status(1) == 200


def test_generic_half_closed_streams_take_window_updates(raw):
    raw.send(raw.headers(1) + frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x64") + frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"))
    assert raw.status(1) == 200


def test_generic_closed_streams_take_late_frames(raw):
    raw.send(raw.headers(1))
    assert raw.status(1) == 200
    raw.next(DATA)
    raw.send(frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x64") + frame(RST_STREAM, 0, 1, bytes(4)) + frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"))
    still_serves(raw, 3)


@pytest.mark.parametrize("kind", ["padded", "prioritised", "both", "continuation"])
def test_generic_forms_of_headers(raw, kind):
    block = raw.encoder.encode(get(), huffman=True)
    raw.send({
        "padded": lambda: frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\5" + block + bytes(5)),
        "prioritised": lambda: frame(HEADERS, END_HEADERS | END_STREAM | PRIORITISED, 1, b"\0\0\0\0\xff" + block),
        "both": lambda: frame(HEADERS, END_HEADERS | END_STREAM | PADDED | PRIORITISED, 1, b"\5\0\0\0\0\xff" + block + bytes(5)),
        "continuation": lambda: frame(HEADERS, END_STREAM, 1, block[:7]) + frame(CONTINUATION, 0, 1, block[7:9])
        + frame(CONTINUATION, END_HEADERS, 1, block[9:]),
    }[kind]())
    assert raw.status(1) == 200


def test_generic_padded_data(proxy, raw):
    raw.send(post(raw) + frame(DATA, PADDED, 1, b"\6hello" + bytes(6)) + frame(DATA, PADDED | END_STREAM, 1, b"\3" + bytes(3)))
    assert raw.status(1) == 200 and proxy.backend.last.body == b"hello"


def test_generic_padding_opens_its_window(proxy):
    with Connection(proxy.port) as connection:
        stream = connection.start(get("/public/x", "POST"), end=False)
        for _ in range(500):
            while connection.h2.local_flow_control_window(stream) < 300:
                connection.read()
            connection.h2.send_data(stream, b"hello", pad_length=250)
            connection.flush()
        connection.h2.end_stream(stream)
        connection.flush()
        assert connection.answer(stream).status == 200 and proxy.backend.last.body == b"hello" * 500


@pytest.mark.parametrize("opaque", [b"12345678", bytes(8), b"\xff" * 8], ids=["text", "zero", "ones"])
def test_generic_ping(raw, opaque):
    raw.send(frame(PING, 0, 0, opaque))
    assert raw.next(PING) == (PING, ACK, 0, opaque)


def test_generic_ping_acknowledgement_is_not_answered(raw):
    raw.send(frame(PING, ACK, 0, b"12345678") + frame(PING, 0, 0, b"87654321"))
    assert raw.next(PING)[3] == b"87654321"


def test_generic_settings_are_acknowledged(raw):
    raw.send(frame(SETTINGS, 0, 0, setting(3, 100) + setting(1, 0) + setting(0xff, 1)))
    while (found := raw.next(SETTINGS)) and not found[1] & ACK:
        pass
    assert found
    still_serves(raw, 1)


@pytest.mark.parametrize("kind", [0x0b, 0x16, 0x99, 0xff])
def test_generic_unknown_frames_are_ignored(raw, kind):
    raw.send(frame(kind, 0xff, 0, b"anything") + frame(kind, 0, 1, b"") + raw.headers(1))
    assert raw.status(1) == 200


def test_generic_reserved_bits_are_ignored(raw):
    raw.send(frame(WINDOW_UPDATE, 0, 0x80000000, b"\x80\0\0\1") + frame(PING, 0xfe, 0, b"12345678"))
    assert raw.next(PING)[3] == b"12345678"


@pytest.mark.parametrize("huffman", [True, False])
def test_generic_hpack_forms(proxy, raw, huffman):
    raw.encoder.header_table_size = 4096
    for number in range(3):
        block = raw.encoder.encode(get(f"/public/{number}", "GET", "usher.test", "http", ("x-field", "same")), huffman=huffman)
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * number, block))
        assert raw.status(1 + 2 * number) == 200
    assert proxy.backend.last.headers.get("x-field") == "same"


def test_generic_table_size_update(raw):
    block = b"\x20" + b"\x3f\xe1\x1f" + raw.encoder.encode(get(), huffman=False)
    raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    assert raw.status(1) == 200


# Connection errors: GOAWAY with one of these codes, and the end.

EMPTY = object()


def raw_headers(raw, flags=END_HEADERS | END_STREAM, stream=1, block=None):
    return frame(HEADERS, flags, stream, raw.encoder.encode(get()) if block is None else block)


CONNECTION_ERRORS = {
    # 3.4 and 4
    "4.2 data larger than the limit": (lambda r: post(r) + frame(DATA, END_STREAM, 1, bytes(16_385)), {FRAME_SIZE_ERROR}),
    "4.2 headers larger than the limit": (lambda r: frame(HEADERS, END_HEADERS | END_STREAM, 1, bytes(16_385)), {FRAME_SIZE_ERROR}),
    "4.2 settings larger than the limit": (lambda r: frame(SETTINGS, 0, 0, bytes(16_386)), {FRAME_SIZE_ERROR}),
    "4.3 invalid block": (lambda r: raw_headers(r, block=b"\xff\xff\xff\xff\xff\xff"), {COMPRESSION_ERROR}),
    "4.3 continuation of another stream": (
        lambda r: raw_headers(r, END_STREAM, block=b"\x82") + frame(CONTINUATION, END_HEADERS, 3, b""), {PROTOCOL_ERROR}),
    "4.3 another frame within a block": (
        lambda r: raw_headers(r, END_STREAM, block=b"\x82") + frame(PRIORITY, 0, 1, b"\0\0\0\0\1"), {PROTOCOL_ERROR}),
    "4.3 headers within a block": (
        lambda r: raw_headers(r, END_STREAM, block=b"\x82") + raw_headers(r, stream=3), {PROTOCOL_ERROR}),
    # 5.1: states of streams
    "5.1 idle: data": (lambda r: frame(DATA, END_STREAM, 1, b"x"), {PROTOCOL_ERROR}),
    "5.1 idle: reset": (lambda r: frame(RST_STREAM, 0, 1, bytes(4)), {PROTOCOL_ERROR}),
    "5.1 idle: window update": (lambda r: frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), {PROTOCOL_ERROR}),
    "5.1 idle: continuation": (lambda r: frame(CONTINUATION, END_HEADERS, 1, b"\x82"), {PROTOCOL_ERROR}),
    "5.1.1 even stream": (lambda r: raw_headers(r, stream=2), {PROTOCOL_ERROR}),
    "5.1.1 stream zero": (lambda r: raw_headers(r, stream=0), {PROTOCOL_ERROR}),
    # Stream errors would do, and are connection errors of nghttp2.
    "5.1 half-closed: data": (lambda r: r.headers(1) + frame(DATA, END_STREAM, 1, b"x"), {STREAM_CLOSED}),
    "6.9 update of a stream by zero": (lambda r: post(r) + frame(WINDOW_UPDATE, 0, 1, bytes(4)), {PROTOCOL_ERROR}),
    # 6: frames
    "6.1 data on stream zero": (lambda r: frame(DATA, 0, 0, b"x"), {PROTOCOL_ERROR}),
    "6.1 padding as long as the frame": (lambda r: post(r) + frame(DATA, PADDED | END_STREAM, 1, b"\6Test"), {PROTOCOL_ERROR}),
    "6.2 padding as long as the frame": (
        lambda r: raw_headers(r, END_HEADERS | END_STREAM | PADDED, block=b"\xff\x82\x84"), {PROTOCOL_ERROR, FRAME_SIZE_ERROR}),
    "6.3 priority of another length": (lambda r: frame(PRIORITY, 0, 1, b"\0\0\0\1"), {FRAME_SIZE_ERROR}),
    "6.4 reset of stream zero": (lambda r: frame(RST_STREAM, 0, 0, bytes(4)), {PROTOCOL_ERROR}),
    "6.4 reset of another length": (lambda r: post(r) + frame(RST_STREAM, 0, 1, bytes(3)), {FRAME_SIZE_ERROR}),
    "6.5 acknowledgement with a payload": (lambda r: frame(SETTINGS, ACK, 0, setting(1, 0)), {FRAME_SIZE_ERROR}),
    "6.5 settings on a stream": (lambda r: frame(SETTINGS, 0, 1, setting(3, 100)), {PROTOCOL_ERROR}),
    "6.5 settings of another length": (lambda r: frame(SETTINGS, 0, 0, bytes(3)), {FRAME_SIZE_ERROR}),
    "6.5.2 enable push of 2": (lambda r: frame(SETTINGS, 0, 0, setting(2, 2)), {PROTOCOL_ERROR}),
    "6.5.2 window beyond 2^31-1": (lambda r: frame(SETTINGS, 0, 0, setting(4, 0x80000000)), {FLOW_CONTROL_ERROR}),
    "6.5.2 frame size below 2^14": (lambda r: frame(SETTINGS, 0, 0, setting(5, 16_383)), {PROTOCOL_ERROR}),
    "6.5.2 frame size beyond 2^24-1": (lambda r: frame(SETTINGS, 0, 0, setting(5, 16_777_216)), {PROTOCOL_ERROR}),
    "6.6 push promise of a client": (lambda r: frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2\x82"), {PROTOCOL_ERROR}),
    "6.7 ping on a stream": (lambda r: frame(PING, 0, 1, bytes(8)), {PROTOCOL_ERROR}),
    "6.7 ping of another length": (lambda r: frame(PING, 0, 0, bytes(6)), {FRAME_SIZE_ERROR}),
    "6.8 goaway on a stream": (lambda r: frame(GOAWAY, 0, 1, bytes(8)), {PROTOCOL_ERROR}),
    "6.9 update by zero": (lambda r: frame(WINDOW_UPDATE, 0, 0, bytes(4)), {PROTOCOL_ERROR}),
    "6.9 update of another length": (lambda r: frame(WINDOW_UPDATE, 0, 0, bytes(3)), {FRAME_SIZE_ERROR}),
    "6.9.1 window beyond 2^31-1": (
        lambda r: 2 * frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), {FLOW_CONTROL_ERROR}),
    "6.10 continuation after the end": (
        lambda r: raw_headers(r, END_HEADERS | END_STREAM) + frame(CONTINUATION, END_HEADERS, 1, b"\x82"), {PROTOCOL_ERROR}),
    "6.10 continuation on stream zero": (
        lambda r: raw_headers(r, END_STREAM, block=b"\x82") + frame(CONTINUATION, END_HEADERS, 0, b""), {PROTOCOL_ERROR}),
    "6.10 continuation after data": (
        lambda r: post(r) + frame(DATA, 0, 1, b"x") + frame(CONTINUATION, END_HEADERS, 1, b"\x82"), {PROTOCOL_ERROR}),
    # HPACK
    "hpack 2.3.3 index beyond the table": (lambda r: raw_headers(r, block=b"\xff\x00"), {COMPRESSION_ERROR}),
    "hpack 2.3.3 name beyond the table": (lambda r: raw_headers(r, block=b"\x7f\x00\x01a"), {COMPRESSION_ERROR}),
    "hpack 4.2 size update at the end": (lambda r: raw_headers(r, block=r.encoder.encode(get()) + b"\x3e"), {COMPRESSION_ERROR}),
    "hpack 5.2 padding of ones longer than 7": (
        lambda r: raw_headers(r, block=r.encoder.encode(get()) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"), {COMPRESSION_ERROR}),
    "hpack 5.2 padding of zeros": (
        lambda r: raw_headers(r, block=r.encoder.encode(get()) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"), {COMPRESSION_ERROR}),
    "hpack 5.2 end of string": (
        lambda r: raw_headers(r, block=r.encoder.encode(get()) + b"\x00\x85\xf2\xb2\x4a\x84\xff\x88\x49\x50\x9f\xff\xff\xff\xff\xff"),
        {COMPRESSION_ERROR}),
    "hpack 6.1 index zero": (lambda r: raw_headers(r, block=b"\x80"), {COMPRESSION_ERROR}),
    "hpack 6.3 table beyond the setting": (lambda r: raw_headers(r, block=b"\x3f\xe1\xff\x03" + r.encoder.encode(get())), {COMPRESSION_ERROR}),
    "hpack integer without end": (lambda r: raw_headers(r, block=b"\x1f" + b"\xff" * 20), {COMPRESSION_ERROR}),
    "hpack string beyond the block": (lambda r: raw_headers(r, block=b"\x00\x0aab"), {COMPRESSION_ERROR}),
}


@pytest.mark.parametrize("case", CONNECTION_ERRORS)
def test_connection_errors(proxy, raw, case):
    frames, codes = CONNECTION_ERRORS[case]
    raw.send(frames(raw))
    code = raw.connection_error()
    assert code in codes, f"{code}, frames {[(f[0], f[2], f[3][:12]) for f in raw.frames]}"
    assert raw.closed
    assert all(r.target == "/public/x" for r in proxy.backend.requests)


@pytest.mark.parametrize("first", [
    b"GET / HTTP/1.1\r\n\r\n", b"INVALID CONNECTION PREFACE\r\n\r\n", PREFACE[:-1] + b"X",
    PREFACE + frame(PING, 0, 0, bytes(8)), PREFACE + frame(SETTINGS, ACK), PREFACE + bytes(64)],
    ids=["http1", "words", "one-byte", "ping-first", "ack-first", "zeros"])
def test_3_4_prefaces_that_are_none(start, own_backend, first):
    proxy = start(own_backend, listen='protocols = ["h2"]')
    raw = Raw(proxy.port, handshake=False)
    raw.send(first)
    assert raw.connection_error() in (PROTOCOL_ERROR, FRAME_SIZE_ERROR) and raw.closed
    assert own_backend.requests == []


# Stream errors: RST_STREAM with one of these codes, and the connection goes on. A connection error is allowed too
# (RFC 9113 §5.4.2), but not what this proxy does.


def fields(*more, drop=(), **changed):
    pairs = [(n, v) for n, v in get("/public/x", "POST") if n not in drop]
    return [(n, changed.get(n[1:], v)) for n, v in pairs] + list(more)


STREAM_ERRORS = {
    "6.9.1 window of a stream beyond 2^31-1": (
        lambda r: post(r) + 2 * frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), {FLOW_CONTROL_ERROR}),
    "6.9.2 initial window beyond what is open": (
        lambda r: post(r) + frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\0\0") + frame(SETTINGS, 0, 0, setting(4, 0x7fffffff)),
        {FLOW_CONTROL_ERROR}),
    "8.1 trailers without the end": (lambda r: post(r) + r.headers(1, [("x-a", "b")], END_HEADERS), {PROTOCOL_ERROR}),
    "8.1 pseudo-header in trailers": (lambda r: post(r) + r.headers(1, [(":method", "GET")]), {PROTOCOL_ERROR}),
    "8.2 name in upper case": (lambda r: r.headers(1, fields(("X-Upper", "1"))), {PROTOCOL_ERROR}),
    "8.2.2 connection": (lambda r: r.headers(1, fields(("connection", "close"))), {PROTOCOL_ERROR}),
    "8.2.2 keep-alive": (lambda r: r.headers(1, fields(("keep-alive", "1"))), {PROTOCOL_ERROR}),
    "8.2.2 proxy-connection": (lambda r: r.headers(1, fields(("proxy-connection", "close"))), {PROTOCOL_ERROR}),
    "8.2.2 transfer-encoding": (lambda r: r.headers(1, fields(("transfer-encoding", "chunked"))), {PROTOCOL_ERROR}),
    "8.2.2 upgrade": (lambda r: r.headers(1, fields(("upgrade", "websocket"))), {PROTOCOL_ERROR}),
    "F5 te other than trailers": (lambda r: r.headers(1, fields(("te", "trailers, deflate"))), {PROTOCOL_ERROR}),
    "8.3 unknown pseudo-header": (lambda r: r.headers(1, [(":test", "1"), *fields()]), {PROTOCOL_ERROR}),
    "8.3 pseudo-header of answers": (lambda r: r.headers(1, [(":status", "200"), *fields()]), {PROTOCOL_ERROR}),
    "8.3 pseudo-header behind a field": (lambda r: r.headers(1, [("x-a", "b"), *fields()]), {PROTOCOL_ERROR}),
    "8.3.1 empty path": (lambda r: r.headers(1, fields(path="")), {PROTOCOL_ERROR}),
    "8.3.1 no method": (lambda r: r.headers(1, fields(drop=[":method"])), {PROTOCOL_ERROR}),
    "8.3.1 no scheme": (lambda r: r.headers(1, fields(drop=[":scheme"])), {PROTOCOL_ERROR}),
    "8.3.1 no path": (lambda r: r.headers(1, fields(drop=[":path"])), {PROTOCOL_ERROR}),
    "8.3.1 method twice": (lambda r: r.headers(1, [(":method", "GET"), *fields()]), {PROTOCOL_ERROR}),
    "8.3.1 scheme twice": (lambda r: r.headers(1, [(":scheme", "http"), *fields()]), {PROTOCOL_ERROR}),
    "8.3.1 path twice": (lambda r: r.headers(1, [(":path", "/"), *fields()]), {PROTOCOL_ERROR}),
    "8.3.1 authority twice": (lambda r: r.headers(1, [(":authority", "a"), *fields()]), {PROTOCOL_ERROR}),
    "P3 path that is a URL": (lambda r: r.headers(1, fields(path="http://other.test/public/x")), {PROTOCOL_ERROR}),
    "P3 path without a slash": (lambda r: r.headers(1, fields(path="public/x")), {PROTOCOL_ERROR}),
    "F5 scheme of another kind": (lambda r: r.headers(1, fields(scheme="ftp")), {PROTOCOL_ERROR}),
    "F5 host beside another authority": (lambda r: r.headers(1, fields(("host", "other.test"))), {PROTOCOL_ERROR}),
    "F5 two hosts": (lambda r: r.headers(1, fields(("host", "usher.test"), ("host", "usher.test"))), {PROTOCOL_ERROR}),
    "F5 length larger than the data": (
        lambda r: post(r, 1, ("content-length", "5")) + frame(DATA, END_STREAM, 1, b"four"), {PROTOCOL_ERROR}),
    "F5 length smaller than the data": (
        lambda r: post(r, 1, ("content-length", "3")) + frame(DATA, END_STREAM, 1, b"four"), {PROTOCOL_ERROR}),
    "F5 length and no data": (lambda r: r.headers(1, fields(("content-length", "3"))), {PROTOCOL_ERROR}),
    "F5 length in two parts of data": (
        lambda r: post(r, 1, ("content-length", "6")) + frame(DATA, 0, 1, b"four") + frame(DATA, END_STREAM, 1, b"four"),
        {PROTOCOL_ERROR}),
    "F5 two lengths": (
        lambda r: post(r, 1, ("content-length", "4"), ("content-length", "4")) + frame(DATA, END_STREAM, 1, b"four"), {PROTOCOL_ERROR}),
    "F5 length with a sign": (
        lambda r: post(r, 1, ("content-length", "+4")) + frame(DATA, END_STREAM, 1, b"four"), {PROTOCOL_ERROR}),
}
# F5: what would be a second line, field or request in HTTP/1.
for _name, _value in {
    "CR": "a\rb", "LF": "a\nb", "CRLF": "a\r\nX-User-Id: evil", "NUL": "a\0b", "request": "a\r\n\r\nGET /api/x HTTP/1.1\r\n\r\n",
    "leading space": " a", "trailing space": "a ", "leading tab": "\ta", "DEL": "a\x7fb", "ESC": "a\x1bb",
}.items():
    STREAM_ERRORS[f"F5 value with {_name}"] = (
        lambda r, v=_value: r.headers(1, fields(("x-field", v))), {PROTOCOL_ERROR})
    for _pseudo in ("path", "authority", "method"):
        if "space" in _name or "tab" in _name:
            continue
        STREAM_ERRORS[f"F5 {_pseudo} with {_name}"] = (
            lambda r, p=_pseudo, v=_value: r.headers(1, fields(**{p: ("/" if p == "path" else "") + v})), {PROTOCOL_ERROR})
for _name in ("x field", "x\rfield", "x\nfield", "x\0field", "x:field", "x-field:", "", "x\tfield", "\x80field", "x(field)"):
    STREAM_ERRORS[f"F5 name {_name!r}"] = (lambda r, n=_name: r.headers(1, fields((n, "1"))), {PROTOCOL_ERROR})
for _path in ("/public/a b", "/public/x HTTP/1.1", "/public/\x80", "/public/\t", " /public/x"):
    STREAM_ERRORS[f"F5 path {_path!r}"] = (lambda r, p=_path: r.headers(1, fields(path=p)), {PROTOCOL_ERROR})


@pytest.mark.parametrize("case", STREAM_ERRORS)
def test_stream_errors(proxy, raw, case):
    frames, codes = STREAM_ERRORS[case]
    raw.send(frames(raw))
    code = raw.stream_error(1)
    # A body that breaks its rule on the way may have reached the backend, cut off; nothing else has.
    arrived = bytes(proxy.backend.received)
    assert code in codes, f"{code}, frames {[(f[0], f[2], f[3][:12]) for f in raw.frames]}"
    assert b"evil" not in arrived and b"/api/x" not in arrived
    if not any(word in case for word in ("5.1", "6.9", "8.1", "length")):
        assert arrived == b""
    still_serves(raw, 3)


# What h2spec wants to be connection errors, and is ignored: nothing of it has an effect.


def test_exception_5_1_headers_of_streams_that_are_over(proxy, raw):
    """Trailers of a stream that the proxy has ended may be on their way, and look the same."""
    raw.send(raw.headers(1))
    assert raw.status(1) == 200
    while not raw.next(DATA)[1] & END_STREAM:
        pass
    raw.send(raw.headers(1, get("/public/again")))
    still_serves(raw, 3)
    assert [r.target for r in proxy.backend.requests] == ["/public/x", "/public/x"]


def test_exception_5_1_1_a_lower_stream_than_before(proxy, raw):
    """Streams that were skipped are not remembered: such a one looks like one that is over."""
    raw.send(raw.headers(5) + raw.headers(3, get("/public/lower")))
    assert raw.status(5) == 200
    still_serves(raw, 7)
    assert [r.target for r in proxy.backend.requests] == ["/public/x", "/public/x"]


def test_exception_6_3_priority_on_stream_zero(raw):
    """SETTINGS_NO_RFC7540_PRIORITIES (RFC 9218 §2.1): the frame means nothing."""
    raw.send(frame(PRIORITY, 0, 0, b"\0\0\0\0\1"))
    still_serves(raw, 1)


def test_5_1_2_more_streams_than_allowed(proxy):
    """A client that has not heard of the limit yet loses no request."""
    raw = Raw(proxy.port, handshake=False)
    raw.send(PREFACE + frame(SETTINGS) + b"".join(post(raw, 1 + 2 * n) for n in range(140)))
    refused = set()
    while len(refused) < 12:
        found = raw.next(RST_STREAM)
        assert int.from_bytes(found[3], "big") == REFUSED_STREAM
        refused.add(found[2])
    assert refused == set(range(257, 281, 2))


def test_5_1_2_more_streams_than_were_acknowledged(proxy, raw):
    raw.send(b"".join(post(raw, 1 + 2 * n) for n in range(140)))
    assert raw.connection_error() == PROTOCOL_ERROR


def test_the_settings_of_the_proxy(proxy):
    raw = Raw(proxy.port, handshake=False)
    raw.send(PREFACE + frame(SETTINGS))
    payload = raw.next(SETTINGS)[3]
    found = {int.from_bytes(payload[n:n + 2], "big"): int.from_bytes(payload[n + 2:n + 6], "big") for n in range(0, len(payload), 6)}
    # MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE, ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES
    assert found == {3: 128, 6: 32_768, 8: 1, 9: 1}


def test_F6_too_many_fields(proxy, raw):
    """431, though HPACK makes them small; each crumb of a cookie counts."""
    raw.send(raw.headers(1, get("/public/x", "GET", "a", "http", *[("x", "y")] * 101)))
    assert raw.status(1) == 431
    raw.send(raw.headers(3, get("/public/x", "GET", "a", "http", *[("cookie", "a=b")] * 101)))
    assert raw.status(3) == 431
    raw.send(raw.headers(5, get("/public/x", "GET", "a", "http", *[("cookie", "a=b")] * 90)))
    assert raw.status(5) == 200 and proxy.backend.last.headers.get("cookie") == "; ".join(["a=b"] * 90)


def test_F6_a_head_that_is_too_large(proxy, raw):
    raw.send(raw.headers(1, get("/public/x", "GET", "a", "http", *[(f"x-{n}", "y" * 1000) for n in range(5)])))
    assert raw.status(1) == 200
    block = raw.encoder.encode(get("/public/x", "GET", "a", "http", *[("x-big", "y" * 3000)] * 20), huffman=False)
    raw.send(frame(HEADERS, END_STREAM, 3, block[:16_000]) + frame(CONTINUATION, END_HEADERS, 3, block[16_000:]))
    assert raw.status(3) == 431


def test_a_target_that_is_too_long(proxy, raw):
    raw.send(raw.headers(1, get("/public/" + "x" * 9000)))
    assert raw.status(1) == 414


def test_a_method_that_is_too_long(proxy, raw):
    raw.send(raw.headers(1, get("/public/x", "M" * 40)))
    assert raw.status(1) == 501
