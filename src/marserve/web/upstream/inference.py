"""TorchServe's inference API: one picture in, its predictions out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from urllib.parse import quote

from marserve.web.errors import DeadlineExceeded, HandlerRefused, InferenceFailed, ModelUnavailable
from marserve.web.metrics import Metrics
from marserve.web.upstream.connection import Connection, TorchServeGarbage, TorchServeTimeout, TorchServeUnreachable
from marserve.web.upstream.failures import WorkerDied, to_error
from marserve.web.upstream.tokens import TokenSource

logger = logging.getLogger(__name__)

#: Seconds to wait before each attempt where the one before met the end of a worker. Others may be alive, and while
#: workers are scaled down or killed the next attempt can meet the next of them. No more than these: perhaps it is the
#: picture that kills them.
PAUSES_S = (0.0, 0.0, 0.2, 0.4)


class Inference:
    """Predictions and explanations of pictures."""

    def __init__(self, connection: Connection, tokens: TokenSource, metrics: Metrics) -> None:
        self._connection = connection
        self._tokens = tokens
        self._metrics = metrics

    async def classify(
        self, name: str, version: str, picture: bytes, *, top_k: int, explain: bool, request_id: str, timeout_s: float
    ) -> bytes:
        """The body of the handler's answer. Raises ModelGone, or the WebError that the caller is to see."""
        path = f"/{'explanations' if explain else 'predictions'}/{quote(name)}/{quote(version)}"
        headers = {
            "Content-Type": "application/octet-stream",  # TorchServe decodes text and JSON, and loses a form
            "X-Top-K": str(top_k),
            "X-Request-ID": request_id,
        }
        give_up = time.monotonic() + timeout_s
        for pause_s in PAUSES_S:
            await asyncio.sleep(pause_s)
            with contextlib.suppress(WorkerDied):
                return await self._ask(path, picture, headers, max(give_up - time.monotonic(), 0))
        raise ModelUnavailable("The model's worker ended while it worked on this picture: try again in a few seconds.")

    async def _ask(self, path: str, picture: bytes, headers: dict[str, str], timeout_s: float) -> bytes:
        started = time.perf_counter()
        try:
            reply = await self._connection.ask(
                "POST", path, tokens=self._tokens, timeout_s=timeout_s, body=picture, headers=headers
            )
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
        error = to_error(reply)
        if not isinstance(error, HandlerRefused):
            self._metrics.upstream_errors.labels(type(error).__name__).inc()
        raise error
