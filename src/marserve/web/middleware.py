"""What surrounds every request: one spelling of its address, its id, its line in the log, its place in the metrics, and
headers for browsers.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import time
from threading import Event
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marserve.web.errors import InternalError, error_response
from marserve.web.logs import FIELDS
from marserve.web.metrics import WebMetrics
from marserve.web.tracing.context import TraceContext, Tracing, current

logger = logging.getLogger("web.access")

#: An id that a proxy or caller may give; anything else is replaced.
SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: What the log says of a caller that left before it was answered (nginx's number for it).
CLIENT_LEFT = 499
#: Longer paths are nobody's address here.
MAX_LOGGED_PATH = 200
#: The parser lets some thirty more through, each of which would be a time series of every address.
COUNTED_METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT"}
#: Requested every second by machines: only their failures are worth a line.
QUIET_ROUTES = {"/healthz", "/readyz", "/metrics", "/metrics/torchserve", "/v2/health/live", "/v2/health/ready"}

#: What a page may do: nothing but what follows, with no exception for what stands inside a page.
CONTENT_SECURITY_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob:",  # the pictures that a person has chosen
    "connect-src": "'self'",
    "media-src": "'self' blob:",
    "manifest-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
#: Swagger UI's style sheet has its arrows inside.
DOCUMENTATION_POLICY = CONTENT_SECURITY_POLICY | {"img-src": f"{CONTENT_SECURITY_POLICY['img-src']} data:"}
DOCUMENTATION = "/docs"
#: A year. Only where the request came to HTTPS's own port: a browser then uses HTTPS for every port of that host.
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")

#: Of every answer; they keep browsers from doing with it what it was not made for.
SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_PAGE, _DOCUMENTATION = (
    [(b"content-security-policy", "; ".join(map(" ".join, policy.items())).encode()), *SECURITY_HEADERS]
    for policy in (CONTENT_SECURITY_POLICY, DOCUMENTATION_POLICY)
)
#: Page and files are requested again each time, and answered with 304; everything else is about one picture.
REVALIDATED = ("/static", "/docs", "/openapi.json", "/labels/", "/example.jpg", "/examples/")


class RequestObservation:
    """ASGI middleware, outermost; the last resort for bugs."""

    def __init__(self, app: ASGIApp, metrics: WebMetrics, stopping: Event, tracing: Tracing) -> None:
        """When ``stopping`` is set every answer closes its connection: the next request goes to another process."""
        self._app = app
        # Both have few labels, which are slow to look up.
        self._count = functools.cache(metrics.requests.labels)
        self._time = functools.cache(metrics.request_seconds.labels)
        self._stopping = stopping
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        path = scope["path"]
        if "//" in path or path.endswith("/"):
            scope["path"] = canonical_path(path, scope["raw_path"])
        given = header_of(scope, b"x-request-id")
        request_id = given if SANE_ID.fullmatch(given) else os.urandom(16).hex()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["log"] = {}
        trace = self._tracing.begin(scope, request_id)
        # None as well: a pipelined request begins in the context of the one before it.
        current.set(trace)
        status = 0
        sent = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                security = _DOCUMENTATION if scope["path"] == DOCUMENTATION else _PAGE
                headers = [*message["headers"], *security, (b"x-request-id", request_id.encode())]
                if scope["scheme"] == "https" and header_of(scope, b"host").removesuffix(":443").count(":") == 0:
                    headers.append(STRICT_TRANSPORT)
                if not any(name == b"cache-control" for name, _ in message["headers"]):
                    headers.append((b"cache-control", _caching(scope["path"])))
                if self._stopping.is_set():
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            status = CLIENT_LEFT
        except Exception:
            ids = {"request_id": request_id, **(trace.ids() if trace else {})}
            logger.exception("A bug failed this request", extra={FIELDS: ids})
            if status:
                raise  # the answer has begun: all that is left is to break the connection
            error = InternalError(
                "Something is wrong with this service; its operator finds more under the request's id."
            )
            await error_response(error)(scope, receive, send_with_headers)
        finally:
            duration = time.perf_counter() - started
            self._record(scope, status or CLIENT_LEFT, duration, sent, request_id, trace, state["log"])

    def _record(
        self,
        scope: Scope,
        status: int,
        duration: float,
        sent: int,
        request_id: str,
        trace: TraceContext | None,
        more: dict[str, Any],
    ) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if route != "unmatched" and scope["method"] in COUNTED_METHODS else "any"
        self._count(method, route, status).inc()
        self._time(route).observe(duration)
        level = logging.DEBUG if route in QUIET_ROUTES and status < 400 else logging.INFO
        if logger.isEnabledFor(level):
            client = scope.get("client")
            fields = {
                "request_id": request_id,
                **(trace.ids() if trace else {}),
                "method": scope["method"],
                "path": scope["path"][:MAX_LOGGED_PATH],
                "status": status,
                "duration_ms": round(duration * 1000, 2),
                "bytes_in": header_of(scope, b"content-length") or None,
                "bytes_out": sent,
                "client": client[0] if client else None,
                **more,
            }
            logger.log(level, "request", extra={FIELDS: fields})
        if trace is not None:
            trace.end(scope, status, more)


def header_of(scope: Scope, name: bytes) -> str:
    """The first header of that name, in lower case; empty where there is none."""
    for other, value in scope["headers"]:
        if other == name:
            return str(value, "latin-1")
    return ""


def _caching(path: str) -> bytes:
    return b"no-cache" if path == "/" or path.startswith(REVALIDATED) else b"no-store"


def canonical_path(path: str, raw: bytes) -> str:
    """``path`` without repeated slashes and one in the end, which are slips of whoever put two addresses together.

    ``raw`` is what was sent. An encoded slash in it is none to a proxy in between, whose rules it could get around:
    such a path stays as it is.
    """
    if b"%2f" in raw.lower():
        return path
    return "/" + "/".join(segment for segment in path.split("/") if segment)
