"""OpenTelemetry's spans of requests and their pictures. Needs the extra ``tracing``, as ``export.py`` does."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
)
from starlette.types import Scope

from marserve.handler.resnet18.errors import RequestError
from marserve.web.middleware import CLIENT_LEFT, QUIET_ROUTES
from marserve.web.tracing.context import Batch, PictureSpans, TraceContext, Tracing, read_context
from marserve.web.upstream.inference import TorchServeAway, WorkerDied

if TYPE_CHECKING:
    from marserve.web.dispatch.jobs import Job
    from marserve.web.dispatch.lane import Waiting

#: Methods that stand in a span's name; of others there could be any number.
KNOWN_METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
#: Characters of what a caller may make as long as it likes.
MAX_TEXT = 200
#: What the log calls something, and what a span does.
ATTRIBUTES = {
    "model": "marserve.model.name",
    "version": "marserve.model.version",
    "cache": "marserve.cache",
    "picture_bytes": "marserve.picture.size",
    "pictures": "marserve.pictures",
    "fetched_from": "marserve.fetched_from",
}
#: The worker's own times in its reply, in milliseconds.
TIMING = re.compile(r"(\w+);dur=(\d{1,9}(?:\.\d{1,6})?)")


class RecordedTracing(Tracing):
    """Records what its sampler chooses."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(self, scope: Scope, request_id: str) -> TraceContext | None:
        caller = read_context(scope["headers"])
        if scope["path"] in QUIET_ROUTES:  # no spans of these
            return caller
        method = scope["method"] if scope["method"] in KNOWN_METHODS else "HTTP"
        attributes: dict[str, str | int] = {
            "http.request.method": method if method != "HTTP" else "_OTHER",
            "url.path": scope["path"][:MAX_TEXT],
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
            "marserve.request_id": request_id,
        }
        if scope.get("client"):
            attributes["client.address"] = scope["client"][0]
        if scope.get("server"):
            attributes["server.address"], attributes["server.port"] = scope["server"]
        parent = Context() if caller is None else set_span_in_context(NonRecordingSpan(_remote(caller)), Context())
        return RequestSpan(self._tracer, self._tracer.start_span(method, parent, SpanKind.SERVER, attributes), method)

    def batch(self, jobs: Sequence[Job]) -> Batch:
        return RecordedBatch([job.content for job in jobs])


class RequestSpan(TraceContext):
    """The span of a request: of its whole time here."""

    __slots__ = ("_method", "_span", "_tracer")

    def __init__(self, tracer: Tracer, span: Span, method: str) -> None:
        super().__init__(*_parts(span.get_span_context()))
        self._tracer = tracer
        self._span = span
        self._method = method

    def begin_picture(self, waiting: Waiting, model: str, version: str) -> PictureSpans | None:
        if not self._span.is_recording():
            return None
        picture = RecordedPicture(self, {"marserve.model.name": model, "marserve.model.version": version})
        waiting.spans.append(picture)
        if waiting.batch is not None:  # others asked for the same picture before
            picture.join(waiting.batch)
        return picture

    @contextmanager
    def child(self, name: str) -> Iterator[None]:
        span = self.start(name, time.time_ns(), {})
        try:
            yield
        except BaseException as exc:
            _fail(span, exc)
            raise
        finally:
            span.end()

    def start(
        self,
        name: str,
        at_ns: int,
        attributes: Mapping[str, str | int],
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
        parent: Span | None = None,
    ) -> Span:
        """A span below this one, or below ``parent``."""
        above = set_span_in_context(parent or self._span, Context())
        return self._tracer.start_span(name, above, kind, attributes, links, at_ns)

    def end(self, scope: Scope, status: int, log: Mapping[str, Any]) -> None:
        span = self._span
        if not span.is_recording():
            return
        attributes = {attribute: log[name] for name, attribute in ATTRIBUTES.items() if name in log}
        route = getattr(scope.get("route"), "path", None)
        if route is not None:
            span.update_name(f"{self._method} {route}")
            attributes["http.route"] = route
        if status == CLIENT_LEFT:
            attributes["error.type"] = "ClientDisconnect"
        else:
            attributes["http.response.status_code"] = status
        if status >= 500:
            attributes["error.type"] = log.get("error", str(status))
            span.set_status(Status(StatusCode.ERROR))
        span.set_attributes(attributes)
        span.end()


class RecordedPicture(PictureSpans):
    """``queue``, then ``batch`` with ``decode`` and ``inference`` below it; both again where a worker ended."""

    def __init__(self, request: RequestSpan, attributes: Mapping[str, str | int]) -> None:
        self._request = request
        self._attributes = attributes
        #: Since when it waits; None: it does not.
        self._waits_since: int | None = time.time_ns()
        #: While TorchServe has it.
        self._span: Span | None = None
        self._sent_at = 0
        #: Whether its caller waits no longer, while others may.
        self.has_left = False

    def send(self, batch: RecordedBatch, at_ns: int, *, is_coalesced: bool = False) -> SpanContext:
        """It waits no longer: its span in ``batch``."""
        if self._waits_since is not None:
            self._request.start("queue", self._waits_since, self._attributes).end(at_ns)
        self._waits_since, self._sent_at = None, at_ns
        links = [] if batch.carrier is None else [Link(batch.carrier)]
        attributes = {
            **self._attributes,
            "marserve.batch.size": batch.size,
            **({"marserve.coalesced": True} if is_coalesced else {}),
        }
        self._span = self._request.start("batch", at_ns, attributes, SpanKind.CLIENT, links)
        return self._span.get_span_context()

    def join(self, batch: RecordedBatch) -> None:
        """Others asked for the same picture before, and TorchServe has it already."""
        self._waits_since = None
        self.send(batch, time.time_ns(), is_coalesced=True)

    def come_back(self, at_ns: int, failure: BaseException | None, timing: Mapping[str, int]) -> None:
        """TorchServe has answered, or ``failure`` has happened. ``timing`` are the worker's own nanoseconds."""
        span = self._span
        if span is None:
            return
        self._span = None
        if failure is not None:
            _fail(span, failure)
            # What is sent again waits until then.
            self._waits_since = at_ns if isinstance(failure, WorkerDied | TorchServeAway) else None
        # The worker's clock may be another one: its time is laid at the end, since nearly all of the way is before it.
        start_ns = max(at_ns - timing.get("worker", 0), self._sent_at)
        for step in ("decode", "inference"):
            if step in timing:
                end_ns = min(start_ns + timing[step], at_ns)
                self._request.start(step, start_ns, {}, parent=span).end(end_ns)
                start_ns = end_ns
        span.end(at_ns)

    def leave(self, error: BaseException) -> None:
        self.has_left = True
        if self._waits_since is not None:
            span = self._request.start("queue", self._waits_since, self._attributes)
            _fail(span, error)
            span.end()


class RecordedBatch(Batch):
    """A span for each recorded picture of a group; all others link to that of the first, which TorchServe is sent."""

    def __init__(self, pictures: Sequence[Waiting]) -> None:
        self.size = len(pictures)
        self.carrier: SpanContext | None = None
        self._pictures = pictures
        self._timing: dict[str, int] = {}

    def __enter__(self) -> RecordedBatch:
        now = time.time_ns()
        for waiting in self._pictures:
            waiting.batch = self
            waiting.spans = [picture for picture in waiting.spans if not picture.has_left]
            for picture in waiting.spans:
                sent = picture.send(self, now)
                if self.carrier is None:
                    self.carrier = sent
                    self.context = TraceContext(*_parts(sent))
        return self

    def answered(self, headers: Mapping[str, str]) -> None:
        found = TIMING.findall(headers.get("Server-Timing", "")) if self.carrier else ()
        self._timing = {name: round(float(ms) * 1e6) for name, ms in found}

    def __exit__(self, _kind: object, failure: BaseException | None, _traceback: object) -> None:
        now = time.time_ns()
        for waiting in self._pictures:
            waiting.batch = None
            for picture in waiting.spans:
                picture.come_back(now, failure, self._timing)


def _fail(span: Span, error: BaseException) -> None:
    span.set_attribute("error.type", error.kind if isinstance(error, RequestError) else type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))


def _parts(span: SpanContext) -> tuple[str, str, int, str]:
    """As a TraceContext has them."""
    state = span.trace_state.to_header() if span.trace_state else ""
    return f"{span.trace_id:032x}", f"{span.span_id:016x}", int(span.trace_flags), state


def _remote(caller: TraceContext) -> SpanContext:
    return SpanContext(
        int(caller.trace_id, 16),
        int(caller.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(caller.flags),
        trace_state=TraceState.from_header([caller.state]) if caller.state else None,
    )
