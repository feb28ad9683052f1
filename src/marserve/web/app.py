"""Puts the application together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from threading import Event
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from marserve import __version__
from marserve.handler.resnet18.errors import InvalidRequest
from marserve.web.cache import create_cache
from marserve.web.catalogue import Catalogue
from marserve.web.certificate import Certificate
from marserve.web.classifier import Classifier
from marserve.web.dispatch.queues import PictureQueues
from marserve.web.errors import error_response, handle_errors
from marserve.web.feedback import Feedback
from marserve.web.fetching import Fetcher
from marserve.web.metrics import SupervisionMetrics, WebMetrics, WorkerMetrics
from marserve.web.middleware import RequestObservation
from marserve.web.protection import Admission, Guard, RateLimit
from marserve.web.proxies import TrustedProxies
from marserve.web.quarantine import Quarantine
from marserve.web.readiness import Readiness
from marserve.web.rollout.traffic import LiveTraffic
from marserve.web.routes import Services, feedback, health, inference_protocol, pages, pictures
from marserve.web.routes.direct import DirectRouting
from marserve.web.settings import WebSettings
from marserve.web.tracing.context import Tracing
from marserve.web.upstream.connection import KeyFileTokens, UpstreamConnection
from marserve.web.upstream.inference import Inference

logger = logging.getLogger(__name__)

MANAGEMENT_CONNECTIONS = 8
METRICS_CONNECTIONS = 2
#: Requests' headers that a page of another origin may send.
ALLOWED_HEADERS = [
    "X-API-Key",
    "Authorization",
    "Content-Type",
    "X-Request-ID",
    "X-Request-Timeout-Ms",
    "X-Priority",
    "X-Model-Version",
    "traceparent",
    "tracestate",
]
#: Answers' headers that a page of another origin may read.
EXPOSED_HEADERS = ["X-Request-ID", "X-Cache", "X-Model", "X-Model-Version", "X-Weights", "Retry-After"]


class CrossOrigin(CORSMiddleware):
    """Which pages of other origins may call this service; refuses a preflight in the shape of every error."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return error_response(InvalidRequest(f"{bytes(response.body).decode()}: see MARSERVE_CORS_ORIGINS."), kept)


class Application(FastAPI):
    """FastAPI, behind layers that every request passes: the last of them answers those with pictures itself."""

    layers: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        await self.layers(scope, receive, send)

    async def answer_others(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As FastAPI does."""
        await super().__call__(scope, receive, send)


def create_app(settings: WebSettings, tracing: Tracing | None = None) -> Application:
    """The whole service; it talks to TorchServe from its start-up to its shutdown.

    ``tracing`` None: no spans are recorded.
    """
    metrics = WebMetrics()
    tracing = tracing or Tracing()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(tracing.close)
            if app.state.certificate is not None:
                await stack.enter_async_context(_running(app.state.certificate.keep_current()))
            services = await stack.enter_async_context(_run_services(settings, metrics, tracing, app.state.stopping))
            app.state.services = services
            yield

    app = Application(
        title=f"{settings.name}: image classification",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,  # RequestObservation takes them away: a redirect loses bodies, and HTTPS behind a proxy
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere
        redoc_url=None,
        openapi_url=None,  # routes/pages.py has it, with the address that it was fetched from
    )
    #: For the pages, which need no other service.
    app.state.name = settings.name
    app.state.asks_for_keys = bool(settings.api_keys)
    app.state.metrics = metrics
    #: None: HTTP.
    app.state.certificate = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        certificate = Certificate(settings.tls_certificate, settings.tls_key, settings.tls_published)
        metrics.certificate_expires.set_function(lambda: certificate.expires_at)
        app.state.certificate = certificate
    #: Set, from a signal handler, when the process is about to end.
    app.state.stopping = Event()
    for routes in (pictures, feedback, health, inference_protocol, pages):
        app.include_router(routes.router)
    handle_errors(app)
    layers: ASGIApp = DirectRouting(app.answer_others, [pictures.router])
    if settings.cors_origins:
        layers = CrossOrigin(
            layers,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT"],
            allow_headers=ALLOWED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
        )
    layers = RequestObservation(layers, metrics, app.state.stopping, tracing)
    if settings.trusted_proxies:
        layers = TrustedProxies(layers, settings.trusted_proxies)
    app.layers = layers
    return app


@asynccontextmanager
async def _run_services(
    settings: WebSettings, metrics: WebMetrics, tracing: Tracing, stopping: Event
) -> AsyncIterator[Services]:
    async with AsyncExitStack() as stack:
        tokens: KeyFileTokens | None = None
        background: list[Coroutine[Any, Any, None]] = []
        if settings.key_file is not None:
            tokens = KeyFileTokens(settings.key_file, lambda step: management.renew_token(step))
            background.append(tokens.keep_fresh())
        cache = create_cache(settings, metrics)
        predictions = UpstreamConnection(
            settings.inference_url, "inference", tokens, max_connections=settings.max_in_flight
        )
        management = UpstreamConnection(
            settings.management_url, "management", tokens, max_connections=MANAGEMENT_CONNECTIONS
        )
        metrics_of_torchserve = UpstreamConnection(
            settings.metrics_url, "management", None, max_connections=METRICS_CONNECTIONS
        )
        fetcher = Fetcher(settings.max_image_bytes) if settings.fetch_pictures else None
        for opened in (cache, predictions, management, metrics_of_torchserve, *([fetcher] if fetcher else ())):
            stack.push_async_callback(opened.close)
        catalogue = Catalogue(management, settings.default_model)
        inference = Inference(predictions, metrics)
        metrics.registry.register(WorkerMetrics(catalogue))
        if settings.supervision_file is not None:
            metrics.registry.register(SupervisionMetrics(settings.supervision_file))
        queues = PictureQueues(
            catalogue,
            inference,
            metrics,
            Quarantine(settings.quarantine_file, metrics),
            tracing,
            max_image_bytes=settings.max_image_bytes,
            max_waiting_bytes=settings.max_waiting_bytes,
        )
        stack.push_async_callback(queues.close)
        readiness = Readiness(catalogue, queues, metrics, stopping)
        traffic = LiveTraffic(catalogue, queues, metrics)
        background += [catalogue.keep_current(), readiness.keep_probing()]
        if settings.rollout_file is not None:
            background.append(traffic.keep_current(settings.rollout_file))
        for work in background:
            await stack.enter_async_context(_running(work))
        yield Services(
            settings=settings,
            metrics=metrics,
            guard=Guard(settings.api_keys, RateLimit(settings.rate_limit_per_minute), metrics),
            admission=Admission(settings.max_in_flight, settings.max_waiting_bytes, metrics),
            catalogue=catalogue,
            metrics_of_torchserve=metrics_of_torchserve,
            readiness=readiness,
            classifier=Classifier(
                catalogue=catalogue,
                queues=queues,
                cache=cache,
                traffic=traffic,
                metrics=metrics,
                max_image_pixels=settings.max_image_pixels,
            ),
            fetcher=fetcher,
            feedback=Feedback(settings.feedback_dir, settings.feedback_max_bytes) if settings.feedback_dir else None,
        )


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run ``work`` in the background. That it ends by itself is a bug, after which /readyz is 503 for good."""
    task = asyncio.create_task(work)
    task.add_done_callback(_report_end)
    yield
    task.cancel()
    await asyncio.wait([task])


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        logger.critical("A background task has ended", exc_info=task.exception())
