"""Which trace a request belongs to, by W3C Trace Context: taken from its caller, logged, and passed on to TorchServe.

By itself this records nothing. The modules beside it do, where the usual ``OTEL_*`` variables want spans.
"""

from __future__ import annotations

import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from starlette.types import Scope

if TYPE_CHECKING:
    from marserve.web.dispatch.jobs import Job
    from marserve.web.dispatch.lane import Waiting

logger = logging.getLogger(__name__)

#: Version, trace, span and flags; a later version may have more. https://www.w3.org/TR/trace-context-2/#traceparent-header
TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
INVALID_VERSION = b"ff"
#: Longer ones are nobody's, whatever their version.
MAX_TRACEPARENT_LENGTH = 512
#: Flags with a meaning in the version that is sent on: sampled, and that the trace's id is random.
SAMPLED, KNOWN_FLAGS = 0x01, 0x03
#: A member of tracestate: a key, that of a tenant included, and what it says.
MEMBER = re.compile(
    r"(?:[a-z][_0-9a-z*/-]{0,255}|[a-z0-9][_0-9a-z*/-]{0,240}@[a-z][_0-9a-z*/-]{0,13})=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)
MAX_MEMBERS = 32
#: Characters of all members. The specification wants 512 to be passed on, and lets longer ones be dropped.
MAX_TRACESTATE_LENGTH = 4096

#: Variables that say where spans go, and so that they are wanted.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
EXPORTERS = ("otlp", "console")


class TraceContext:
    """A span of a trace, as it is passed on."""

    __slots__ = ("flags", "span_id", "state", "trace_id")

    def __init__(self, trace_id: str, span_id: str, flags: int, state: str) -> None:
        """``trace_id`` has 32 hexadecimal digits and ``span_id`` 16; ``state`` is empty where there is none."""
        self.trace_id = trace_id
        self.span_id = span_id
        self.flags = flags
        self.state = state

    def headers(self) -> dict[str, str]:
        headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"}
        if self.state:
            headers["tracestate"] = self.state
        return headers

    def ids(self) -> dict[str, str]:
        """For the log, by OpenTelemetry's names."""
        return {"trace_id": self.trace_id, "span_id": self.span_id}

    def begin_picture(self, waiting: Waiting, model: str, version: str) -> PictureSpans | None:  # noqa: ARG002
        """A picture of this request waits for a worker of that version; None: nothing is recorded of it."""
        return None

    def child(self, name: str) -> AbstractContextManager[object]:  # noqa: ARG002
        """A span of what is done inside the block."""
        return nullcontext()

    def end(self, scope: Scope, status: int, log: Mapping[str, Any]) -> None:
        """The request is over; ``status`` 499: its caller left. ``log`` is what its line in the log says besides."""


class PictureSpans(ABC):
    """What is recorded of one caller's picture."""

    @abstractmethod
    def leave(self, error: BaseException) -> None:
        """Its caller waits no longer, but gets ``error``."""


class Batch:
    """Entered while TorchServe has a group of pictures."""

    #: What TorchServe is sent; None: the context that the group's first caller came with.
    context: TraceContext | None = None

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, _kind: object, failure: BaseException | None, _traceback: object) -> None:
        pass

    def answered(self, headers: Mapping[str, str]) -> None:
        """The worker's reply came, with these headers."""


class Tracing:
    """Takes contexts as they are and records nothing."""

    _no_batch = Batch()

    def begin(self, scope: Scope, request_id: str) -> TraceContext | None:  # noqa: ARG002
        """The context of a request; None where it has none."""
        return read_context(scope["headers"])

    def batch(self, jobs: Sequence[Job]) -> Batch:  # noqa: ARG002
        return self._no_batch

    async def close(self) -> None:
        """Send what was recorded and not sent yet, as far as that is quick."""


#: Of the request that is being answered.
current: ContextVar[TraceContext | None] = ContextVar("current", default=None)


def child(name: str) -> AbstractContextManager[object]:
    """A span of what is done inside the block, where spans are recorded."""
    context = current.get()
    return nullcontext() if context is None else context.child(name)


def read_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """What ``traceparent`` and ``tracestate`` say. One that is not as the specification wants it is ignored: the other
    headers and the request are none the worse for it.
    """
    given = [value for name, value in headers if name == b"traceparent"]
    if len(given) != 1 or len(given[0]) > MAX_TRACEPARENT_LENGTH:
        return None
    found = TRACEPARENT.fullmatch(given[0].strip(b" \t"))
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == INVALID_VERSION or (version == b"00" and more is not None):
        return None
    if not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return None
    return TraceContext(trace_id.decode(), span_id.decode(), int(flags, 16) & KNOWN_FLAGS, _read_state(headers))


def _read_state(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """All ``tracestate`` in one line; empty where there is none that can be passed on."""
    given = b",".join([value for name, value in headers if name == b"tracestate"])
    if not given or len(given) > MAX_TRACESTATE_LENGTH:
        return ""
    members = [member for part in given.decode("latin-1").split(",") if (member := part.strip(" \t"))]
    keys = {member.partition("=")[0] for member in members}
    if len(members) > MAX_MEMBERS or len(keys) < len(members) or not all(map(MEMBER.fullmatch, members)):
        return ""
    return ",".join(members)


def create_tracing() -> Tracing:
    """By the usual ``OTEL_*`` variables. What is wrong with them is said, and costs spans alone, as OpenTelemetry asks:
    they may be set for a whole cluster, by somebody who knows nothing of this service.
    """
    wanted = os.environ.get("OTEL_TRACES_EXPORTER") or ("otlp" if any(map(os.environ.get, ENDPOINTS)) else "none")
    exporters = {name.strip().lower() for name in wanted.split(",")} - {"none", ""}
    if not exporters or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Tracing()
    protocol = next(filter(None, map(os.environ.get, PROTOCOLS)), "http/protobuf").strip().lower()
    if unknown := exporters.difference(EXPORTERS):
        return _without_spans(f"OTEL_TRACES_EXPORTER has {min(unknown)!r}: there are {', '.join(EXPORTERS)} and none.")
    if "otlp" in exporters and protocol != "http/protobuf":
        return _without_spans(f"{PROTOCOLS[1]} is {protocol!r}: there is http/protobuf, usually at port 4318.")
    try:
        from marserve.web.tracing.export import ExportedTracing
    except ImportError:
        return _without_spans('They need more packages: pip install "marserve[tracing]", or unset OTEL_*.')
    try:
        return ExportedTracing.to(exporters)
    except ValueError as exc:
        return _without_spans(f"The OTEL_* variables cannot be used: {exc}")


def _without_spans(reason: str) -> Tracing:
    logger.warning("No spans are recorded. %s", reason)
    return Tracing()
