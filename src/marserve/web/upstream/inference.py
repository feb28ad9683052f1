"""TorchServe's inference API: pictures in, their predictions out, or one of this service's errors."""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from marserve.handler.resnet18.errors import ImageTooLarge, RequestError
from marserve.handler.resnet18.groups import GROUP, Buffer, decode_answers, encode_group
from marserve.handler.resnet18.requests import BARE_PICTURE
from marserve.torchserve.key_file import REFUSED_TOKEN
from marserve.web.errors import (
    DeadlineExceeded,
    HandlerRefused,
    InferenceFailed,
    ModelUnavailable,
    Overloaded,
)
from marserve.web.metrics import WebMetrics
from marserve.web.tracing.context import TraceContext
from marserve.web.upstream.connection import (
    NoDescriptorsLeft,
    TorchServeGarbage,
    TorchServeLost,
    TorchServeTimeout,
    TorchServeUnreachable,
    UpstreamConnection,
    UpstreamReply,
)

logger = logging.getLogger(__name__)

#: Our handler names its errors after what is wrong, TorchServe after Java's classes.
HANDLER_NAME = re.compile(r"(?!.*(Exception|Error|Throwable)$)[A-Z][A-Za-z]{1,40}")
#: No message of the handler is longer.
MAX_MESSAGE_LENGTH = 1000

WORKER_DIED = "Worker died."
GARBAGE = "The model server's answer cannot be understood: try again."


class ModelGone(Exception):  # noqa: N818
    """TorchServe does not serve this model, or this version of it."""


class WorkerDied(Exception):  # noqa: N818
    """The worker ended while it worked on this; it is restarted. Of several pictures: it failed on one of them."""

    def __init__(self, message: str = "", *, was_killed: bool = False) -> None:
        """``was_killed``: by SIGKILL, which comes from a person or from a system without memory, and not by itself."""
        super().__init__(message)
        self.was_killed = was_killed


class TorchServeAway(Exception):  # noqa: N818
    """TorchServe is not there; ``had_it``: it ended while it had this."""

    def __init__(self, *, had_it: bool) -> None:
        super().__init__()
        self.had_it = had_it


#: What a version may fail a picture with.
FAILURES = (RequestError, ModelGone, WorkerDied)


@dataclass(slots=True)
class PictureTiming:
    """What became of a picture, in seconds; all of it 0 until a worker has answered."""

    #: It waited in the web service.
    queue_s: float = 0.0
    #: From sending its group until that was answered, and what the worker spent on the group, by its own clock.
    group_s: float = 0.0
    worker_s: float = 0.0
    #: Pictures in the group, and groups on their way when it was sent, itself included.
    pictures: int = 0
    company: int = 0

    def as_header(self) -> str:
        """For ``Server-Timing``, in milliseconds (https://www.w3.org/TR/server-timing)."""
        return (
            f"queue;dur={self.queue_s * 1e3:.3f}, group;dur={self.group_s * 1e3:.3f};desc={self.pictures}, "
            f"company;desc={self.company}, worker;dur={self.worker_s * 1e3:.3f}"
        )


class PictureCall(NamedTuple):
    """What the handler is asked about a picture."""

    picture: bytes
    top_k: int
    request_id: str
    explain: bool = False
    #: To be explained; None: the most probable one.
    class_id: int | None = None
    #: By its header; 0: that does not say.
    pixels: int = 0
    #: Of the request it came with.
    trace: TraceContext | None = None
    #: Filled in when it is answered; None: nobody wants to know.
    timing: PictureTiming | None = None


#: What is asked to see whether anything is answered: a grey square, real enough to be decoded and classified.
PROBE = PictureCall(
    base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mOsr69nwAaYGHCAwSkBAC3FAY1cxr/UAAAAAElFTkSuQmCC"
    ),
    1,
    "readiness",
)


class GroupReply(NamedTuple):
    #: Seconds that the worker spent; None: it does not say.
    worker_s: float | None
    #: For each picture the body of the handler's answer, or the error that the caller is to see.
    outcomes: list[bytes | RequestError]
    #: Of TorchServe's reply.
    headers: Mapping[str, str]


class Inference:
    def __init__(self, connection: UpstreamConnection, metrics: WebMetrics) -> None:
        self._connection = connection
        self._metrics = metrics

    async def send(
        self,
        name: str,
        version: str,
        calls: Sequence[PictureCall],
        *,
        as_group: bool,
        timeout_s: float,
        trace: TraceContext | None = None,
    ) -> GroupReply:
        """What a worker says to ``calls``: several only where they go ``as_group``, which explanations do not.

        TorchServe is sent ``trace``; None: the first that a caller came with.

        Raises ModelGone, WorkerDied, TorchServeAway, or the RequestError that all callers are to see.
        """
        first = calls[0]
        path = f"/{'explanations' if first.explain else 'predictions'}/{quote(name)}/{quote(version)}"
        headers = {
            "Content-Type": GROUP if as_group else BARE_PICTURE,
            "X-Request-ID": ",".join([call.request_id for call in calls]),
        }
        for call in calls:
            trace = trace or call.trace
        if trace is not None:
            headers |= trace.headers()
        if as_group:
            body = encode_group([(call.top_k, call.picture) for call in calls])
        else:
            body = [first.picture]
            headers["X-Top-K"] = str(first.top_k)
            if first.class_id is not None:
                headers["X-Class-ID"] = str(first.class_id)
        reply = await self._request(path, body, headers, timeout_s)
        if reply.status != 200:
            error = self._read_error(reply)
            if len(calls) > 1 and isinstance(error, RequestError) and not isinstance(error, Overloaded):
                # Whatever it is, it is not of them all: an archive that knows no groups, a picture it stumbles over.
                raise WorkerDied from error
            raise error
        if not as_group:
            return GroupReply(None, [reply.body], reply.headers)
        try:
            worker_s, answers = decode_answers(reply.body)
            if len(answers) != len(calls):
                raise ValueError(f"{len(answers)} answers to {len(calls)} pictures")
        except ValueError as exc:
            self._metrics.upstream_errors.labels("garbage").inc()
            logger.error("TorchServe's answer is none to a group: %s", exc)
            raise (WorkerDied if len(calls) > 1 else InferenceFailed)(GARBAGE) from exc
        return GroupReply(worker_s, [self._read(status, answer) for status, answer in answers], reply.headers)

    def _read(self, status: int, answer: bytes) -> bytes | RequestError:
        if status == 200:
            return answer
        error = self._read_error(UpstreamReply(status, answer))
        return error if isinstance(error, RequestError) else InferenceFailed(GARBAGE)

    def _read_error(self, reply: UpstreamReply) -> RequestError | ModelGone | WorkerDied:
        error = error_of(reply)
        if not isinstance(error, HandlerRefused):
            self._metrics.upstream_errors.labels(type(error).__name__).inc()
        return error

    async def _request(
        self, path: str, body: Sequence[Buffer], headers: dict[str, str], timeout_s: float
    ) -> UpstreamReply:
        started = time.perf_counter()
        try:
            reply = await self._connection.request("POST", path, timeout_s=timeout_s, body=body, headers=headers)
        except TorchServeUnreachable as exc:
            self._metrics.upstream_errors.labels("unreachable").inc()
            logger.debug("TorchServe cannot be reached: %s", exc)  # the catalogue says so once
            raise TorchServeAway(had_it=isinstance(exc, TorchServeLost)) from exc
        except NoDescriptorsLeft as exc:
            self._metrics.upstream_errors.labels("descriptors").inc()
            raise Overloaded("This service has too many connections open: try again in a moment.") from exc
        except TorchServeTimeout as exc:
            self._metrics.upstream_errors.labels("timeout").inc()
            raise DeadlineExceeded("The model did not answer in time: try again in a few seconds.") from exc
        except TorchServeGarbage as exc:
            self._metrics.upstream_errors.labels("garbage").inc()
            logger.error("TorchServe's answer is no HTTP: %s", exc)
            raise InferenceFailed(GARBAGE) from exc
        self._metrics.upstream_seconds.observe(time.perf_counter() - started)
        return reply


def error_of(reply: UpstreamReply) -> RequestError | ModelGone | WorkerDied:
    """What an answer with another status than 200 means, without TorchServe's Java text and paths."""
    try:
        content = json.loads(reply.body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        content = {}
    kind, message = content.get("type"), content.get("message")
    if isinstance(kind, str) and isinstance(message, str) and HANDLER_NAME.fullmatch(kind):
        return HandlerRefused(reply.status, kind, message[:MAX_MESSAGE_LENGTH])
    if reply.status == 404:
        return ModelGone()
    if message == WORKER_DIED:
        return WorkerDied(was_killed=reply.status == 507)
    if reply.status == 413:
        return ImageTooLarge("The picture has more bytes than TorchServe takes: send a smaller one.")
    if kind == "ServiceUnavailableException":  # its text speaks of missing workers for a full queue as well
        return Overloaded("More requests are waiting than can be answered soon: try again in a moment.")
    if kind == REFUSED_TOKEN:
        return ModelUnavailable("The model server's tokens have just changed: try again in a few seconds.")
    if reply.status == 507:
        return ModelUnavailable(
            "The model's worker ran out of memory and is being restarted: try again in a few seconds."
        )
    return InferenceFailed("The model server failed on this request: try again, or with another picture.")
