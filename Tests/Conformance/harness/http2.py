"""HTTP/2 over a raw socket: hyper-h2 keeps the state, the test says what is sent, valid or not."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack

from .wire import Headers

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 0x1, 0x1, 0x4, 0x8, 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR, \
    REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(12)


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def get(path="/public/x", method="GET", authority="usher.test", scheme="http", *more) -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *more]


@dataclass
class Answer:
    """What came back on one stream."""

    status: int = 0
    headers: Headers = field(default_factory=Headers)
    body: bytearray = field(default_factory=bytearray)
    trailers: Headers | None = None
    interim: list[tuple[int, Headers]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    def json(self):
        import json
        return json.loads(bytes(self.body))

    @property
    def problem(self) -> dict:
        assert self.headers.get("content-type") == "application/problem+json", (self.status, self.headers.lines)
        return self.json()


def _fields(pairs) -> Headers:
    text = [(n.decode() if isinstance(n, bytes) else n, v.decode("latin-1") if isinstance(v, bytes) else v) for n, v in pairs]
    assert all(n == n.lower() for n, _ in text), text
    return Headers([(n, v) for n, v in text if not n.startswith(":")])


class Connection:
    """One connection, with prior knowledge. Nothing is read but in the calls that wait for something."""

    def __init__(self, port: int, settings: dict | None = None, timeout: float = 20, receive_buffer: int | None = None,
                 start: bool = True, update_windows: bool = True):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout, self.update_windows = timeout, update_windows
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False))
        self.answers: dict[int, Answer] = {}
        self.goaway: h2.events.ConnectionTerminated | None = None
        self.goaways: list[tuple[int, int]] = []
        self.closed = False
        self.pings = 0
        self.settings_seen = False
        if start:
            if settings:
                self.h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
            self.h2.initiate_connection()
            self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def try_send(self, data: bytes) -> bool:
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            return False

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.try_send(data)

    def start(self, headers, end: bool = True) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    def data(self, stream: int, content: bytes, end: bool = False) -> None:
        """Sends content as the windows allow, reading meanwhile."""
        if end and not content:
            self.h2.end_stream(stream)
            return self.flush()
        while content:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room == 0:
                self.read()
                continue
            part, content = content[:room], content[room:]
            self.h2.send_data(stream, part, end_stream=end and not content)
            self.flush()

    def trailers(self, stream: int, headers) -> None:
        self.h2.send_headers(stream, headers, end_stream=True)
        self.flush()

    def reset(self, stream: int, code: int = CANCEL) -> None:
        self.h2.reset_stream(stream, code)
        self.flush()

    def read(self, timeout: float | None = None) -> bool:
        """One read; False where the connection is closed. Raises TimeoutError where nothing comes."""
        self.sock.settimeout(self.timeout if timeout is None else timeout)
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return False
        for event in self.h2.receive_data(data):
            self._note(event)
        self.flush()
        return True

    def _note(self, event) -> None:
        stream = getattr(event, "stream_id", None)
        answer = self.answers.get(stream) if stream else None
        match event:
            case h2.events.ResponseReceived():
                answer.status = int(dict(event.headers)[b":status"])
                answer.headers = _fields(event.headers)
            case h2.events.InformationalResponseReceived():
                answer.interim.append((int(dict(event.headers)[b":status"]), _fields(event.headers)))
            case h2.events.TrailersReceived():
                answer.trailers = _fields(event.headers)
            case h2.events.DataReceived():
                answer.body += event.data
                if self.update_windows and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
            case h2.events.StreamEnded():
                answer.ended = True
            case h2.events.StreamReset():
                if answer:
                    answer.reset = int(event.error_code)
            case h2.events.ConnectionTerminated():
                self.goaway = event
                self.goaways.append((int(event.error_code), event.last_stream_id))
            case h2.events.PingAckReceived():
                self.pings += 1
            case h2.events.RemoteSettingsChanged():
                self.settings_seen = True

    def wait(self, condition, timeout: float = 20) -> bool:
        """Reads until the condition holds; False where the connection or the time ends first."""
        end = time.monotonic() + timeout
        while not condition():
            left = end - time.monotonic()
            if left <= 0 or self.closed:
                return condition()
            try:
                self.read(left)
            except TimeoutError:
                return condition()
        return True

    def answer(self, stream: int, timeout: float = 20) -> Answer:
        answer = self.answers[stream]
        assert self.wait(lambda: answer.ended or answer.reset is not None, timeout), (
            f"no answer: {answer}, {self.goaways}, closed {self.closed}")
        return answer

    def request(self, headers, body: bytes | None = None) -> Answer:
        stream = self.start(headers, end=body is None)
        if body is not None:
            self.data(stream, body, end=True)
        return self.answer(stream)

    def get(self, path="/public/x", *more) -> Answer:
        return self.request(get(path, "GET", "usher.test", "http", *more))

    def ended(self, timeout: float = 9) -> bool:
        """True where the proxy closes within that time."""
        return self.wait(lambda: self.closed, timeout) and self.closed


class Raw:
    """A connection on which the test writes every frame itself, and reads those that come."""

    def __init__(self, port: int, handshake: bool = True, timeout: float = 9, receive_buffer: int | None = None):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer = b""
        self.frames: list[tuple[int, int, int, bytes]] = []
        self.closed = False
        if handshake:
            self.send(PREFACE + frame(SETTINGS))
            assert self.next(SETTINGS) is not None
            self.send(frame(SETTINGS, ACK))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data: bytes) -> bool:
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            return False

    def headers(self, stream: int, fields=None, flags: int = END_HEADERS | END_STREAM) -> bytes:
        block = self.encoder.encode(get() if fields is None else fields, huffman=False)
        return frame(HEADERS, flags, stream, block)

    def read(self) -> tuple[int, int, int, bytes] | None:
        """The next frame, or None at the end of the connection."""
        while True:
            if len(self.buffer) >= 9:
                size = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + size:
                    found = (self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big"), self.buffer[9:9 + size])
                    self.buffer = self.buffer[9 + size:]
                    self.frames.append(found)
                    return found
            try:
                data = self.sock.recv(1 << 18)
            except ConnectionResetError:
                data = b""
            if not data:
                self.closed = True
                return None
            self.buffer += data

    def next(self, *kinds: int):
        """The next frame of one of these kinds; None at the end of the connection."""
        while found := self.read():
            if found[0] in kinds:
                return found
        return None

    def connection_error(self) -> int | None:
        """The code of the GOAWAY that ends the connection; None where it is closed without one."""
        code = None
        while found := self.next(GOAWAY):
            code = int.from_bytes(found[3][4:8], "big")
        return code

    def stream_error(self, stream: int) -> int | None:
        """The code of the RST_STREAM of that stream; None where the connection ends first."""
        while found := self.next(RST_STREAM):
            if found[2] == stream:
                return int.from_bytes(found[3], "big")
        return None

    def status(self, stream: int) -> int:
        """The status of the answer on that stream."""
        while found := self.next(HEADERS, RST_STREAM, GOAWAY):
            if found[0] == HEADERS:
                fields = self.decoder.decode(found[3])
                if found[2] == stream:
                    return int(dict(fields)[":status"])
            else:
                raise AssertionError(f"{found} in place of an answer")
        raise AssertionError("closed in place of an answer")
