"""TorchServe's inference API: one picture in, its predictions out, or one of this service's errors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from urllib.parse import quote

from marserve.handler.resnet18.errors import ImageTooLarge, RequestError
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
from marserve.web.upstream.connection import (
    TorchServeGarbage,
    TorchServeTimeout,
    TorchServeUnreachable,
    UpstreamConnection,
    UpstreamReply,
)

logger = logging.getLogger(__name__)

#: Seconds to wait before each attempt where the one before met the end of a worker. Others may be alive, and while
#: workers are scaled down or killed the next attempt can meet the next of them. No more than these: perhaps it is the
#: picture that kills them.
PAUSES_S = (0.0, 0.0, 0.2, 0.4)
#: Our handler names its errors after what is wrong, TorchServe after Java's classes.
HANDLER_NAME = re.compile(r"(?!.*(Exception|Error|Throwable)$)[A-Z][A-Za-z]{1,40}")
#: No message of the handler is longer.
MAX_MESSAGE_LENGTH = 1000

WORKER_DIED = "Worker died."


class ModelGone(Exception):  # noqa: N818
    """TorchServe does not serve this model, or this version of it."""


class WorkerDied(Exception):  # noqa: N818
    """The worker ended while it worked on this request; it is restarted."""


class Inference:
    def __init__(self, connection: UpstreamConnection, metrics: WebMetrics) -> None:
        self._connection = connection
        self._metrics = metrics

    async def classify(
        self,
        name: str,
        version: str,
        picture: bytes,
        *,
        top_k: int,
        request_id: str,
        timeout_s: float,
        explain: bool = False,
        class_id: int | None = None,
    ) -> bytes:
        """The body of the handler's answer. Raises ModelGone, or the RequestError that the caller is to see."""
        path = f"/{'explanations' if explain else 'predictions'}/{quote(name)}/{quote(version)}"
        headers = {
            "Content-Type": BARE_PICTURE,
            "X-Top-K": str(top_k),
            "X-Request-ID": request_id,
        }
        if class_id is not None:
            headers["X-Class-ID"] = str(class_id)
        give_up = time.monotonic() + timeout_s
        for pause_s in PAUSES_S:
            await asyncio.sleep(pause_s)
            with contextlib.suppress(WorkerDied):
                return await self._send(path, picture, headers, max(give_up - time.monotonic(), 0))
        raise ModelUnavailable("The model's worker ended while it worked on this picture: try again in a few seconds.")

    async def _send(self, path: str, picture: bytes, headers: dict[str, str], timeout_s: float) -> bytes:
        started = time.perf_counter()
        try:
            reply = await self._connection.request("POST", path, timeout_s=timeout_s, body=picture, headers=headers)
        except TorchServeUnreachable as exc:
            self._metrics.upstream_errors.labels("unreachable").inc()
            logger.debug("TorchServe cannot be reached: %s", exc)  # the catalogue says so once
            raise ModelUnavailable(
                "The model server is being started or restarted: try again in a few seconds."
            ) from exc
        except TorchServeTimeout as exc:
            self._metrics.upstream_errors.labels("timeout").inc()
            raise DeadlineExceeded("The model did not answer in time: try again in a few seconds.") from exc
        except TorchServeGarbage as exc:
            self._metrics.upstream_errors.labels("garbage").inc()
            logger.error("TorchServe's answer is no HTTP: %s", exc)
            raise InferenceFailed("The model server's answer cannot be understood: try again.") from exc
        self._metrics.upstream_seconds.observe(time.perf_counter() - started)
        if reply.status == 200:
            return reply.body
        error = error_of(reply)
        if not isinstance(error, HandlerRefused):
            self._metrics.upstream_errors.labels(type(error).__name__).inc()
        raise error


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
        return WorkerDied()
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
