"""Whether spans are wanted, by OpenTelemetry's variables, and where they go."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
import time
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from marserve.web.tracing import context, export
from marserve.web.tracing.context import Tracing, create_tracing
from marserve.web.tracing.export import ExportedTracing
from tests.unit.web.service import until


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED", *context.ENDPOINTS, *context.PROTOCOLS):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", **ENDPOINT},
        {"OTEL_SDK_DISABLED": "TRUE", **ENDPOINT},
        {"OTEL_SERVICE_NAME": "pictures"},
    ],
)
def test_without_somewhere_to_send_them_there_are_no_spans(
    variables: dict[str, str], environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert type(create_tracing()) is Tracing
    assert caplog.records == []


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER has 'zipkin'"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **ENDPOINT}, "'grpc': there is http/protobuf"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0", **ENDPOINT}, "cannot be used: max_queue_size"),
    ],
)
def test_what_is_wrong_with_the_variables_costs_spans_alone(
    variables: dict[str, str], said: str, environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert type(create_tracing()) is Tracing
    (record,) = caplog.records
    assert (record.levelname, said in record.getMessage()) == ("WARNING", True)


def test_a_missing_extra_is_named(environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    environment.setenv("OTEL_TRACES_EXPORTER", "otlp")
    environment.setitem(__import__("sys").modules, "marserve.web.tracing.export", None)
    assert type(create_tracing()) is Tracing
    assert 'pip install "marserve[tracing]"' in caplog.text


async def end(tracing: Tracing) -> float:
    """Seconds that its end takes."""
    began = time.monotonic()
    await tracing.close()
    return time.monotonic() - began


def record(tracing: Tracing, count: int = 1) -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": [], "http_version": "1.1"}
    for _ in range(count):
        request = tracing.begin(scope, "id")
        assert request is not None
        request.end(scope, 200, {})


class Collector(SpanExporter):
    """Answers as it is told."""

    def __init__(self) -> None:
        self.result = SpanExportResult.SUCCESS
        self.spans: list[ReadableSpan] = []
        self.hangs = threading.Event()
        self.hangs.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.hangs.wait()
        if self.result is SpanExportResult.SUCCESS:
            self.spans += spans
        return self.result


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")


@pytest.mark.anyio
@pytest.mark.usefixtures("quick")
async def test_a_failing_collector_is_told_once_and_its_return_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    collector = Collector()
    tracing = ExportedTracing([collector])

    async def has_said(text: str) -> bool:
        record(tracing)
        return text in caplog.text

    collector.result = SpanExportResult.FAILURE
    await until(lambda: has_said("Spans cannot be sent"))
    for _ in range(3):
        record(tracing)
        await asyncio.sleep(0.05)
    collector.result = SpanExportResult.SUCCESS
    await until(lambda: has_said("Spans are sent again"))
    await tracing.close()
    lines = [one.getMessage() for one in caplog.records if one.name == export.__name__]
    assert len(lines) == 2
    lost = re.search(r"(\d+) were lost", lines[1])
    assert lost is not None
    assert int(lost[1]) >= 4
    assert collector.spans


@pytest.mark.anyio
@pytest.mark.usefixtures("quick")
async def test_what_was_not_sent_yet_is_sent_at_the_end_unless_the_collector_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collector = Collector()
    tracing = ExportedTracing([collector])
    record(tracing, 3)
    await tracing.close()
    assert len(collector.spans) == 3
    monkeypatch.setattr(export, "FLUSH_S", 0.2)
    hanging = Collector()
    hanging.hangs.clear()
    tracing = ExportedTracing([hanging])
    record(tracing, 3)
    took_s = await end(tracing)
    hanging.hangs.set()
    assert took_s < 5  # the exporter itself would be waited for half a minute


@pytest.mark.anyio
@pytest.mark.usefixtures("quick")
async def test_the_log_says_why_a_collector_is_not_reached(
    environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:  # and listens to nobody
        taken.bind(("127.0.0.1", 0))
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://me:canary@127.0.0.1:{taken.getsockname()[1]}")
        environment.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3")
        tracing = create_tracing()
        assert isinstance(tracing, ExportedTracing)
        record(tracing)

        async def has_said() -> bool:
            return "Spans cannot be sent" in caplog.text

        await until(has_said)
        assert await end(tracing) < 1  # it is known to be away
    lines = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one.name for one in lines] == [export.__name__]
    assert "refused" in caplog.text
    assert "canary" not in caplog.text


def test_a_resource_is_called_as_the_variables_say(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("OTEL_SERVICE_NAME", raising=False)
    environment.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    plain = export._resource().attributes
    assert plain["service.name"] == "marserve"
    environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=7,k8s.pod.name=web-1")
    environment.setenv("OTEL_SERVICE_NAME", "pictures")
    named = export._resource().attributes
    assert (named["service.name"], named["service.version"], named["k8s.pod.name"]) == ("pictures", "7", "web-1")
