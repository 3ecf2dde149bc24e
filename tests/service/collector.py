"""A collector of traces: takes what OpenTelemetry sends over HTTP, as the real ones do."""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Keeps the spans that it is sent.

    Attributes:
        url: of the collector, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it.
        raw: all that came, as bytes.
        resources: attributes of the processes that sent something.
    """

    def __init__(self) -> None:
        self.raw = b""
        self.resources: list[dict[str, str]] = []
        self._spans: list[Span] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def spans(self, trace: str = "") -> list[Span]:
        """Those of a trace, or all."""
        with self._lock:
            return [span for span in self._spans if not trace or span.trace_id.hex() == trace]

    def until(self, trace: str, *names: str) -> list[Span]:
        """Return the spans of a trace once there are some of these names, and no more come."""
        before: list[Span] = []
        for _ in range(600):
            spans = self.spans(trace)
            if spans == before and {span.name for span in spans} >= set(names):
                return spans
            before = spans
            time.sleep(0.1)
        raise AssertionError(f"only {sorted(span.name for span in before)} came")

    def serve(self) -> None:
        self._server.serve_forever(0.02)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, body: bytes) -> None:
        told = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            self.raw += body
            for resource in told.resource_spans:
                found = resource.resource.attributes
                self.resources.append({each.key: each.value.string_value for each in found})
                for scope in resource.scope_spans:
                    self._spans.extend(scope.spans)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/traces"
                collector._take(body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def collecting() -> Iterator[Collector]:
    """Collect until the block ends."""
    collector = Collector()
    thread = threading.Thread(target=collector.serve)
    thread.start()
    try:
        yield collector
    finally:
        collector.close()
        thread.join(20)


def attributes(span: Span) -> dict[str, str | int | float | bool]:
    """What a span says of itself."""
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "")
        for each in span.attributes
    }
