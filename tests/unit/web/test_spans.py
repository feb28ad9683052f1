"""OpenTelemetry's spans: of each request, and of what its pictures wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from marserve.handler.resnet18.errors import UnsupportedImage
from marserve.web.tracing import context
from marserve.web.tracing.context import Tracing
from marserve.web.tracing.spans import RecordedTracing
from tests.unit.web.fake_torchserve import FakeTorchServe, java_error
from tests.unit.web.service import Service, running_service
from tests.unit.web.test_dispatching import Gate, start, waiting
from tests.unit.web.test_trace_context import PARENT, SPAN, TRACE, lines_of

TIMING = {"Server-Timing": "decode;dur=0.200, inference;dur=0.300, worker;dur=0.700"}

StartTraced = Callable[[Tracing], Awaitable[Service]]


class Recorded:
    """Spans that have ended."""

    def __init__(self, sampler: sampling.Sampler = sampling.DEFAULT_ON) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = RecordedTracing(provider.get_tracer("test"))

    def clear(self) -> None:
        self._exporter.clear()

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """In the order in which they began."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def below(self, parent: ReadableSpan) -> list[ReadableSpan]:
        return [span for span in self.spans if span.parent is not None and span.parent.span_id == id_of(parent)]

    def tree(self, span: ReadableSpan) -> object:
        return {span.name: [self.tree(one) for one in self.below(span)]} if self.below(span) else span.name


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def lies_within(inner: ReadableSpan, outer: ReadableSpan) -> bool:
    moments = outer.start_time, inner.start_time, inner.end_time, outer.end_time
    return None not in moments and list(moments) == sorted(moments)  # type: ignore[type-var]


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


@pytest.fixture
async def start_traced(torchserve: FakeTorchServe) -> AsyncIterator[StartTraced]:
    async with AsyncExitStack() as stack:

        async def start(tracing: Tracing) -> Service:
            return await stack.enter_async_context(running_service(torchserve, {}, tracing))

        yield start


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
async def traced(start_traced: StartTraced, recorded: Recorded) -> Service:
    service = await start_traced(recorded.tracing)
    recorded.clear()
    return service


@pytest.mark.anyio
async def test_a_picture_is_a_tree_of_spans(
    traced: Service, recorded: Recorded, torchserve: FakeTorchServe, caplog: pytest.LogCaptureFixture
) -> None:
    torchserve.timing = TIMING
    caplog.set_level("INFO")
    caplog.clear()
    headers = {"traceparent": PARENT, "tracestate": "vendor=value", "X-Request-ID": "abc"}
    assert (await traced.post("/classify?top_k=3", b"a picture", headers=headers)).status == 200
    (server,) = recorded.named("POST /classify")
    (batch,) = recorded.named("batch")
    (queue,) = recorded.named("queue")
    decode, inference = recorded.named("decode") + recorded.named("inference")
    assert recorded.tree(server) == {"POST /classify": ["queue", {"batch": ["decode", "inference"]}]}
    # Of the caller's trace.
    assert server.parent is not None
    assert server.parent.is_remote
    assert f"{server.parent.span_id:016x}" == SPAN
    assert {f"{span.context.trace_id:032x}" for span in recorded.spans if span.context} == {TRACE}
    # In time.
    assert lies_within(queue, server)
    assert lies_within(batch, server)
    assert queue.end_time == batch.start_time
    assert lies_within(decode, batch)
    assert lies_within(inference, batch)
    assert decode.end_time == inference.start_time
    assert [(span.end_time or 0) - (span.start_time or 0) for span in (decode, inference)] == [200_000, 300_000]
    assert (batch.end_time or 0) - (inference.end_time or 0) == 200_000
    # By OpenTelemetry's names.
    assert (server.kind, batch.kind, queue.kind, decode.kind) == (
        *(SpanKind.SERVER, SpanKind.CLIENT),
        *(SpanKind.INTERNAL, SpanKind.INTERNAL),
    )
    port = int(traced.url.rpartition(":")[2])
    assert attributes(server) == {
        "http.request.method": "POST",
        "http.route": "/classify",
        "http.response.status_code": 200,
        "url.path": "/classify",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "client.address": "127.0.0.1",
        "server.address": "127.0.0.1",
        "server.port": port,
        "marserve.request_id": "abc",
        "marserve.model.name": "resnet18",
        "marserve.model.version": "1.0",
        "marserve.cache": "miss",
        "marserve.picture.size": len(b"a picture"),
    }
    of_model = {"marserve.model.name": "resnet18", "marserve.model.version": "1.0"}
    assert attributes(queue) == of_model
    assert attributes(batch) == {**of_model, "marserve.batch.size": 1}
    assert {span.status.status_code for span in recorded.spans} == {StatusCode.UNSET}
    # The log names the span of the request, TorchServe is sent that of the batch.
    (line,) = lines_of(caplog)
    assert (line["trace_id"], line["span_id"]) == (TRACE, f"{id_of(server):016x}")
    assert torchserve.headers[0]["traceparent"] == f"00-{TRACE}-{id_of(batch):016x}-01"
    assert torchserve.headers[0]["tracestate"] == "vendor=value"


@pytest.mark.anyio
async def test_what_is_known_waits_for_nothing_and_probes_leave_no_spans(
    traced: Service, recorded: Recorded, torchserve: FakeTorchServe
) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/v2/health/ready"):
        await traced.get(path, headers={"traceparent": PARENT})
    assert recorded.spans == []
    await traced.post("/classify", b"a picture")
    recorded.clear()
    await traced.post("/predict", b"a picture", params={"top_k": "5"})
    (server,) = recorded.spans
    assert attributes(server)["marserve.cache"] == "hit"
    assert server.parent is None
    # An archive that was built before there were times.
    await traced.post("/classify", b"another picture")
    assert recorded.tree(recorded.named("POST /classify")[0]) == {"POST /classify": ["queue", "batch"]}
    assert torchserve.groups == [1, 1]


@pytest.mark.anyio
async def test_all_pictures_of_a_group_have_their_own_spans_and_meet_in_a_link(
    traced: Service, recorded: Recorded, torchserve: FakeTorchServe
) -> None:
    torchserve.timing = TIMING
    gate = Gate(torchserve)
    first = await gate.fill(traced)
    tasks = start(traced, *(b"picture %d" % index for index in range(3)))
    await waiting(traced, 3)
    # The second one of these comes while the first waits, the third one while a worker has it.
    tasks += start(traced, b"picture 0", headers={"X-Request-ID": "joins"})
    await traced.until_metric('web_cache_lookups_total{result="coalesced"}', 1)
    gate.opened.set()
    await asyncio.gather(*first, *tasks)
    assert torchserve.groups[2:] == [3]
    batches = [span for span in recorded.named("batch") if attributes(span)["marserve.batch.size"] == 3]
    assert len(batches) == 4
    assert len({span.context.trace_id for span in batches if span.context}) == 4
    (carrier,) = [span for span in batches if not span.links]
    assert {link.context.span_id for span in batches for link in span.links} == {id_of(carrier)}
    assert {torchserve.headers[2]["traceparent"].split("-")[2]} == {f"{id_of(carrier):016x}"}
    assert {str(recorded.tree(span)) for span in batches} == {"{'batch': ['decode', 'inference']}"}


@pytest.mark.anyio
async def test_who_asks_for_what_a_worker_has_already_waits_for_that(
    traced: Service, recorded: Recorded, torchserve: FakeTorchServe
) -> None:
    gate = Gate(torchserve)
    tasks = start(traced, b"a picture")
    await gate.sent(1)
    tasks += start(traced, b"a picture", headers={"X-Request-ID": "joins"})
    await traced.until_metric('web_cache_lookups_total{result="coalesced"}', 1)
    gate.opened.set()
    await asyncio.gather(*tasks)
    (joined,) = [
        span for span in recorded.named("POST /classify") if attributes(span)["marserve.request_id"] == "joins"
    ]
    (batch,) = recorded.below(joined)
    assert attributes(batch)["marserve.coalesced"] is True
    assert lies_within(batch, joined)
    assert len(recorded.named("batch")) == 2


@pytest.mark.anyio
async def test_a_failure_is_seen_where_it_happened(
    traced: Service, recorded: Recorded, torchserve: FakeTorchServe
) -> None:
    deaths = [1]

    async def die_once(request: web.Request, picture: bytes) -> web.StreamResponse:
        if deaths:
            deaths.pop()
            return java_error(500, "InternalServerException", "Worker died.")
        return await torchserve.answer(request, picture)

    torchserve.behaviour = die_once
    assert (await traced.post("/classify", b"a picture")).status == 200
    (server,) = recorded.named("POST /classify")
    assert recorded.tree(server) == {"POST /classify": ["queue", "batch", "queue", "batch"]}
    died, answered = recorded.named("batch")
    assert (died.status.status_code, attributes(died)["error.type"]) == (StatusCode.ERROR, "WorkerDied")
    assert (server.status.status_code, answered.status.status_code) == (StatusCode.UNSET, StatusCode.UNSET)


@pytest.mark.anyio
async def test_what_waits_in_vain_shows_how_long(
    traced: Service, recorded: Recorded, torchserve: FakeTorchServe
) -> None:
    gate = Gate(torchserve)
    first = await gate.fill(traced)
    late = await traced.post("/classify", b"late", headers={"X-Request-Timeout-Ms": "300"})
    assert late.status in (503, 504)
    kind = late.json["type"]
    (server,) = recorded.named("POST /classify")
    (queue,) = recorded.below(server)
    assert queue.name == "queue"
    for span in (server, queue):
        assert (span.status.status_code, attributes(span)["error.type"]) == (StatusCode.ERROR, kind)
    assert (queue.end_time or 0) - (queue.start_time or 0) >= 290_000_000
    gate.opened.set()
    await asyncio.gather(*first)


@pytest.mark.anyio
async def test_who_has_left_has_no_part_in_what_others_still_wait_for(
    traced: Service, recorded: Recorded, torchserve: FakeTorchServe
) -> None:
    gate = Gate(torchserve)
    first = await gate.fill(traced)
    tasks = start(traced, b"the same", headers={"X-Request-ID": "patient"})
    await waiting(traced, 1)
    hasty = await traced.post(
        "/classify", b"the same", headers={"X-Request-ID": "hasty", "X-Request-Timeout-Ms": "300"}
    )
    assert hasty.status in (503, 504)
    gate.opened.set()
    await asyncio.gather(*first, *tasks)
    below = {
        attributes(server)["marserve.request_id"]: [span.name for span in recorded.below(server)]
        for server in recorded.named("POST /classify")
    }
    assert below["hasty"] == ["queue"]
    assert below["patient"] == ["queue", "batch"]


@pytest.mark.anyio
async def test_refusals_and_unknown_addresses_keep_names_few(traced: Service, recorded: Recorded) -> None:
    await traced.get(f"/{'x' * 500}")
    await traced.ask("MKCOL", "/classify")
    assert (await traced.post("/classify", b"")).status == 400
    lost, odd, refused = recorded.spans
    assert (lost.name, len(str(attributes(lost)["url.path"]))) == ("GET", 200)
    assert (odd.name.split()[0], attributes(odd)["http.request.method"]) == ("HTTP", "_OTHER")
    # The caller's fault is no error of this service.
    assert (refused.name, refused.status.status_code) == ("POST /classify", StatusCode.UNSET)
    assert "error.type" not in attributes(refused)


@pytest.mark.anyio
async def test_what_is_not_sampled_is_passed_on_so(
    start_traced: StartTraced, torchserve: FakeTorchServe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    recorded = Recorded(sampling.ParentBasedTraceIdRatio(0))
    service = await start_traced(recorded.tracing)
    caplog.clear()
    await service.post("/classify", b"a picture")
    await service.post("/classify", b"another", headers={"traceparent": PARENT[:-1] + "0"})
    assert recorded.spans == []
    assert [headers["traceparent"][-2:] for headers in torchserve.headers] in (["00", "00"], ["02", "00"])
    assert [line["trace_id"] for line in lines_of(caplog)] == [
        headers["traceparent"].split("-")[1] for headers in torchserve.headers
    ]
    # Whoever sampled it wants it whole.
    await service.post("/classify", b"a third", headers={"traceparent": PARENT})
    assert {span.name for span in recorded.spans} == {"POST /classify", "queue", "batch"}


@pytest.mark.anyio
async def test_no_span_holds_a_picture_a_key_or_a_query(traced: Service, recorded: Recorded) -> None:
    query = "/classify?url=https://me:canary@example.org/cat.jpg?token=canary"
    await traced.post(query, b"", headers={"X-API-Key": "canary", "Authorization": "Bearer canary"})
    await traced.post("/classify", b"canary")
    assert len(recorded.spans) >= 4
    assert "canary" not in "".join(span.to_json() for span in recorded.spans)


def test_a_step_of_a_request_has_a_span_with_its_failure(recorded: Recorded) -> None:
    with context.child("nothing is recorded"):
        pass
    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": [], "http_version": "1.1"}
    request = recorded.tracing.begin(scope, "id")
    assert request is not None
    token = context.current.set(request)
    with pytest.raises(UnsupportedImage), context.child("fetch"):
        raise UnsupportedImage("It is no picture.")
    context.current.reset(token)
    request.end(scope, 415, {"fetched_from": "example.org"})
    (server,), (fetch,) = recorded.named("GET"), recorded.named("fetch")
    assert recorded.below(server) == [fetch]
    assert attributes(server)["marserve.fetched_from"] == "example.org"
    assert (fetch.status.status_code, attributes(fetch)) == (StatusCode.ERROR, {"error.type": "UnsupportedImage"})
