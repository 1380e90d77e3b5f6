"""A backend that speaks HTTP/2 by hyper-h2, and misbehaves as a test tells it to."""

from __future__ import annotations

import dataclasses
import socket
import ssl
import threading
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import h2.settings

from .standin import stop_listening


@dataclasses.dataclass
class Seen:
    """One request as it arrived."""

    connection: int
    stream: int
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    def __getitem__(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key == name), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]


class Wire:
    """One connection: the state machine, the socket, and a lock around both."""

    def __init__(self, number: int, sock: socket.socket, settings: dict | None):
        self.number, self.sock = number, sock
        self.lock = threading.RLock()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        if settings:
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        self.seen: dict[int, Seen] = {}
        self.credit = threading.Condition(self.lock)
        self.acknowledged = 0

    def flush(self) -> None:
        with self.lock:
            data = self.h2.data_to_send()
            if data:
                self.sock.sendall(data)

    def head(self, stream: int, status=200, *fields, end=False) -> None:
        with self.lock:
            self.h2.send_headers(stream, [(":status", str(status)), *fields], end_stream=end)
            self.flush()

    def data(self, stream: int, body: bytes, end=True) -> None:
        """Sends content as fast as the windows allow."""
        with self.lock:
            while body:
                room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(body))
                if room <= 0:
                    if not self.credit.wait(20):
                        raise TimeoutError("no window")
                    continue
                self.h2.send_data(stream, body[:room])
                body = body[room:]
                self.flush()
            if end:
                self.h2.end_stream(stream)
                self.flush()

    def trailers(self, stream: int, *fields) -> None:
        with self.lock:
            self.h2.send_headers(stream, list(fields), end_stream=True)
            self.flush()

    def answer(self, stream: int, body=b"hello", status=200, *fields) -> None:
        self.head(stream, status, ("content-length", str(len(body))), *fields)
        self.data(stream, body)

    def reset(self, stream: int, code: int) -> None:
        with self.lock:
            self.h2.reset_stream(stream, code)
            self.flush()

    def goaway(self, last: int, code: int = 0) -> None:
        with self.lock:
            self.sock.sendall(b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + code.to_bytes(4, "big"))

    def close(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()


class HTTP2Backend:
    """`on_request(wire, seen)` is called when a request has ended, `on_head` when its head is there; both on a thread of
    the connection."""

    def __init__(self, settings: dict | None = None, context: ssl.SSLContext | None = None, credit: bool = True):
        self.settings, self.context, self.gives_credit = settings, context, credit
        self.on_request: Callable[[Wire, Seen], None] = lambda wire, seen: wire.answer(seen.stream)
        self.on_head: Callable[[Wire, Seen], None] = lambda wire, seen: None
        self.on_connect: Callable[[socket.socket], bool] = lambda sock: True
        self.requests: list[Seen] = []
        self.wires: list[Wire] = []
        self.errors: list[Exception] = []
        self.goaways = 0
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        stop_listening(self.listener)
        for wire in self.wires:
            wire.close()

    @property
    def last(self) -> Seen:
        return self.requests[-1]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            if not self.on_connect(sock):
                sock.close()
                return
            wire = Wire(number, sock, self.settings)
            self.wires.append(wire)
            wire.h2.initiate_connection()
            wire.flush()
            while data := sock.recv(65536):
                with wire.lock:
                    events = wire.h2.receive_data(data)
                for event in events:
                    self._take(wire, event)
                wire.flush()
        except OSError:
            pass
        except Exception as error:  # noqa: BLE001 - what the proxy sent is the tests' business
            self.errors.append(error)

    def _take(self, wire: Wire, event) -> None:
        match event:
            case h2.events.RequestReceived():
                seen = Seen(wire.number, event.stream_id, list(event.headers))
                wire.seen[event.stream_id] = seen
                self.requests.append(seen)
                self._run(self.on_head, wire, seen)
            case h2.events.DataReceived():
                wire.seen[event.stream_id].body += event.data
                if self.gives_credit and event.flow_controlled_length:
                    with wire.lock:
                        wire.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                wire.seen[event.stream_id].trailers = list(event.headers)
            case h2.events.StreamEnded():
                seen = wire.seen[event.stream_id]
                seen.ended = True
                self._run(self.on_request, wire, seen)
            case h2.events.StreamReset():
                if event.stream_id in wire.seen:
                    wire.seen[event.stream_id].reset = int(event.error_code)
            case h2.events.SettingsAcknowledged():
                wire.acknowledged += 1
            case h2.events.ConnectionTerminated():
                self.goaways += 1
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                with wire.lock:
                    wire.credit.notify_all()

    def _run(self, function, wire: Wire, seen: Seen) -> None:
        def run():
            try:
                function(wire, seen)
                wire.flush()
            except OSError:
                pass
            except h2.exceptions.ProtocolError as error:
                if seen.reset is None:
                    self.errors.append(error)

        threading.Thread(target=run, daemon=True).start()
