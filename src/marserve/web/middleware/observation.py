"""Gives every request an id, a line in the log, and its place in the metrics; the last resort for bugs."""

from __future__ import annotations

import logging
import re
import time
import uuid
from threading import Event
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marserve.web.error_responses import error_response
from marserve.web.errors import InternalError
from marserve.web.logs import FIELDS
from marserve.web.metrics import Metrics

logger = logging.getLogger("web.access")

#: An id that a proxy or caller may give; anything else is replaced.
SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: What the log says of a caller that left before it was answered (nginx's number for it).
CLIENT_LEFT = 499
#: Longer paths are nobody's address here.
MAX_LOGGED_PATH = 200
#: Asked for every second by machines: only their failures are worth a line.
QUIET_ROUTES = {"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"}


class Observation:
    """ASGI middleware, outermost."""

    def __init__(self, app: ASGIApp, metrics: Metrics, stopping: Event) -> None:
        """When ``stopping`` is set every answer closes its connection: the next request goes to another process."""
        self._app = app
        self._metrics = metrics
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if SANE_ID.fullmatch(given) else uuid.uuid4().hex
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["log"] = {}
        status = 0
        sent = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                if self._stopping.is_set():
                    headers["Connection"] = "close"
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            status = CLIENT_LEFT
        except Exception:
            logger.exception("A bug failed this request", extra={FIELDS: {"request_id": request_id}})
            if status:
                raise  # the answer has begun: all that is left is to break the connection
            error = InternalError(
                "Something is wrong with this service; its operator finds more under the request's id."
            )
            await error_response(error, scope)(scope, receive, send_with_id)
        finally:
            duration = time.perf_counter() - started
            self._record(scope, status or CLIENT_LEFT, duration, sent, request_id, state["log"])

    def _record(
        self, scope: Scope, status: int, duration: float, sent: int, request_id: str, more: dict[str, Any]
    ) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.requests.labels(scope["method"] if route != "unmatched" else "any", route, status).inc()
        self._metrics.request_seconds.labels(route).observe(duration)
        level = logging.DEBUG if route in QUIET_ROUTES and status < 400 else logging.INFO
        if logger.isEnabledFor(level):
            client = scope.get("client")
            fields = {
                "request_id": request_id,
                "method": scope["method"],
                "path": scope["path"][:MAX_LOGGED_PATH],
                "status": status,
                "duration_ms": round(duration * 1000, 2),
                "bytes_in": Headers(scope=scope).get("content-length"),
                "bytes_out": sent,
                "client": client[0] if client else None,
                **more,
            }
            logger.log(level, "request", extra={FIELDS: fields})
