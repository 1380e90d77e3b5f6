"""A collector of spans: takes OTLP over HTTP, decodes it with OpenTelemetry's own messages, and does what a test says."""

from __future__ import annotations

import ssl
import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from .standin import StandIn
from .waiting import PATIENCE_SECONDS
from .wire import Reader

KINDS = {Span.SPAN_KIND_SERVER: "server", Span.SPAN_KIND_CLIENT: "client"}


class Seen:
    """A span as tests look at it."""

    def __init__(self, span: Span, resource: dict, scope):
        self.raw, self.resource, self.scope = span, resource, scope
        self.name, self.kind = span.name, KINDS[span.kind]
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.state = span.trace_state
        self.attributes = {pair.key: value(pair.value) for pair in span.attributes}
        assert len(self.attributes) == len(span.attributes), "an attribute twice"
        self.start, self.end = span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9
        self.is_error = span.status.code == 2

    def __repr__(self):
        return f"{self.kind} {self.name!r} {self.trace} {self.id} < {self.parent} {self.attributes}"


def value(any_value):
    return getattr(any_value, any_value.WhichOneof("value"))


class Collector(StandIn):
    """`with Collector() as collector`: `spans` are what came; `status`, `delay`, `partial`, `raw` what is answered."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int | None = None):
        self.spans: list[Seen] = []
        self.heads: list[str] = []
        self.times: list[float] = []
        self.bodies = 0
        self.status, self.delay, self.partial, self.raw, self.fields = 200, 0.0, None, None, ""
        self.closes = False
        self.errors: list[str] = []
        self._tls = tls
        super().__init__(host, port)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1/traces"

    def _serve(self, connection):
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            reader = Reader(connection)
            while True:
                head = reader.until(b"\r\n\r\n").decode("latin-1")
                fields = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in head.split("\r\n")[1:] if line}
                body = reader.exactly(int(fields["content-length"]))
                self.times.append(time.monotonic())
                self.heads.append(head)
                time.sleep(self.delay)
                if self.raw is not None:
                    connection.sendall(self.raw)
                    connection.close()
                    return
                if 200 <= self.status < 300:
                    self._take(fields, body)
                answer = ExportTraceServiceResponse()
                if self.partial:
                    answer.partial_success.CopyFrom(ExportTracePartialSuccess(rejected_spans=self.partial, error_message="some"))
                content = answer.SerializeToString() if self.status == 200 else b"no"
                closing = "Connection: close\r\n" if self.closes else ""
                connection.sendall(
                    f"HTTP/1.1 {self.status} X\r\nContent-Type: application/x-protobuf\r\n{self.fields}{closing}"
                    f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
                if self.closes:
                    connection.close()
                    return
        except (OSError, EOFError, ssl.SSLError):
            pass
        except Exception as error:
            if "Closed" not in type(error).__name__:
                self.errors.append(repr(error))

    def _take(self, fields, body):
        assert fields["content-type"] == "application/x-protobuf", fields
        request = ExportTraceServiceRequest.FromString(body)
        assert request.SerializeToString() == body, "decoded and encoded again, it is the same"
        found = []
        for resource_spans in request.resource_spans:
            resource = {pair.key: value(pair.value) for pair in resource_spans.resource.attributes}
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    assert len(span.trace_id) == 16 and len(span.span_id) == 8 and any(span.trace_id) and any(span.span_id)
                    found.append(Seen(span, resource, scope_spans.scope))
        self.bodies += 1
        self.spans += found

    def wait(self, count: int, timeout: float = PATIENCE_SECONDS, **wanted) -> list[Seen]:
        """That many spans, of those with these properties."""
        end = time.monotonic() + timeout
        while True:
            found = [s for s in list(self.spans) if all(getattr(s, key) == wish for key, wish in wanted.items())]
            if len(found) >= count:
                return found
            assert time.monotonic() < end, f"{len(found)} of {count} spans: {self.spans[:20]} {self.errors}"
            time.sleep(0.02)

    def __exit__(self, *_):
        super().__exit__()
        assert not self.errors, self.errors
