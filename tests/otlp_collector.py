"""A collector for OpenTelemetry's spans on this machine: it takes OTLP over HTTP, and keeps what comes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class CollectedSpan:
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]

    def lies_within(self, outer: CollectedSpan) -> bool:
        return outer.start_ns <= self.start_ns <= self.end_ns <= outer.end_ns


@dataclass
class OtlpCollector:
    url: str
    spans: list[CollectedSpan] = field(default_factory=list)
    #: Of each request that came, whether it was answered or not.
    headers: list[dict[str, str]] = field(default_factory=list)
    #: Cleared: it takes requests and never answers.
    answers: threading.Event = field(default_factory=threading.Event)

    def of_trace(self, trace_id: str) -> list[CollectedSpan]:
        """In the order in which they began."""
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.start_ns)


def draw(spans: list[CollectedSpan]) -> str:
    """The spans of a trace, each below its parent, with milliseconds from the first one's beginning and its own."""
    known = {span.span_id for span in spans}
    begin = min(span.start_ns for span in spans)

    def lines(parent_id: str | None, depth: int) -> Iterator[str]:
        for span in spans:
            if span.parent_id == parent_id or (parent_id is None and span.parent_id not in known):
                name = "  " * depth + span.name
                yield f"{name:<24}{(span.start_ns - begin) / 1e6:>8.2f}{(span.end_ns - span.start_ns) / 1e6:>8.2f}"
                yield from lines(span.span_id, depth + 1)

    return "\n".join(lines(None, 0))


@contextmanager
def otlp_collector() -> Iterator[OtlpCollector]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.headers.append(
                {"path": self.path, **{name.lower(): value for name, value in self.headers.items()}}
            )
            collector.answers.wait()
            collector.spans += _read(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    collector = OtlpCollector(f"http://127.0.0.1:{server.server_address[1]}")
    collector.answers.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        collector.answers.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _read(body: bytes) -> Iterator[CollectedSpan]:
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _values(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield CollectedSpan(
                    span.name,
                    *(span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()),
                    *(span.start_time_unix_nano, span.end_time_unix_nano),
                    _values(span.attributes),
                    resource,
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
