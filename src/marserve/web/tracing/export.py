"""Where spans go: in batches, by a thread of their own, which no request and no end of the process waits for long."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult

from marserve import __version__
from marserve.redaction import redacted
from marserve.web.tracing.spans import RecordedTracing

logger = logging.getLogger(__name__)

#: Seconds, at the end of the process, for what was not sent yet.
FLUSH_S = 2.0
#: Characters of what the log says about a failure.
MAX_REASON_LENGTH = 300


class ExportedTracing(RecordedTracing):
    def __init__(self, exporters: Collection[SpanExporter]) -> None:
        """Sampler, limits and batches by OpenTelemetry's own variables. Raises ValueError for impossible ones."""
        self._exporters = [_Reporting(exporter) for exporter in exporters]
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        for exporter in self._exporters:
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        super().__init__(self._provider.get_tracer("marserve", __version__))

    @classmethod
    def to(cls, names: Collection[str]) -> ExportedTracing:
        """``names`` are ``otlp``, ``console`` or both. Raises ValueError."""
        # What it says of each batch, _Reporting says once.
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(_Reporting.said)
        return cls([OTLPSpanExporter() if name == "otlp" else ConsoleSpanExporter(formatter=_line) for name in names])

    async def close(self) -> None:
        """A collector that hangs or is away holds nobody up."""
        if any(exporter.is_failing for exporter in self._exporters):
            return
        # None of asyncio's or concurrent.futures' threads, which the end of the process waits for.
        ending = Thread(target=self._provider.shutdown, name="flush-spans", daemon=True)
        ending.start()
        give_up = time.monotonic() + FLUSH_S
        while ending.is_alive() and time.monotonic() < give_up:
            await asyncio.sleep(0.01)


class _Said(logging.Filter):
    """Takes lines out of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        self.lines.append(record.getMessage())
        return False


class _Reporting(SpanExporter):
    """Says once that spans cannot be sent, and once that they can be again."""

    #: Of the exporter, which has something to say of each batch.
    said = _Said()

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.is_failing = False
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.said.lines.clear()
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self.is_failing:
                logger.info("Spans are sent again; %d were lost", self._lost)
            self.is_failing, self._lost = False, 0
            return result
        if not self.is_failing:
            why = redacted(self.said.lines[0])[:MAX_REASON_LENGTH] if self.said.lines else "no reason is given"
            logger.warning("Spans cannot be sent, and are lost until this says otherwise: %s", why)
        self.is_failing = True
        self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"


def _resource() -> Resource:
    """By OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES; else with this service's own name and version."""
    found = Resource.create()
    own = {"service.name": "marserve", "service.version": __version__}
    unknown = "unknown_service"
    return found.merge(
        Resource(
            {name: value for name, value in own.items() if str(found.attributes.get(name, unknown)).startswith(unknown)}
        )
    )
