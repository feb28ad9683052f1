"""For orchestrators, load balancers and Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, Response

from marserve.web.content import Content, respond
from marserve.web.errors import RETRY_RESTART_S, ModelUnavailable
from marserve.web.failures import WITH_KEY, failures
from marserve.web.routes import GET, READ, services_of
from marserve.web.schemas import HealthReport
from marserve.web.upstream.connection import MANAGEMENT_TIMEOUT_S, UpstreamError

#: Prometheus' text format as TorchServe writes it.
TORCHSERVES_TYPE = "text/plain; version=0.0.4; charset=utf-8"

router = APIRouter(tags=["Operation"])


@router.api_route("/healthz", summary="Is the process alive?", methods=GET, response_model=HealthReport)
async def healthz() -> Response:
    """The process is up. It says nothing about TorchServe, since a restart of this process would not help that."""
    return JSONResponse({"status": "ok", "reasons": []})


@router.api_route(
    "/readyz",
    summary="Is the service ready to classify?",
    methods=GET,
    response_model=HealthReport,
    responses={503: {"model": HealthReport, "description": "Not ready, and why."}},
)
async def readyz(request: Request) -> Response:
    """Pictures are being answered: a worker is READY, and a prediction succeeded lately."""
    reasons = services_of(request).readiness.reasons()
    if reasons:
        content = {"status": "unavailable", "reasons": reasons}
        return JSONResponse(content, 503, {"Retry-After": str(RETRY_RESTART_S)})
    return JSONResponse({"status": "ok", "reasons": []})


@router.api_route(
    "/metrics",
    summary="Read the metrics for Prometheus",
    methods=GET,
    dependencies=READ,
    response_class=Response,
    responses={**failures(WITH_KEY), 200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}},
)
async def metrics(request: Request) -> Response:
    """Counters, histograms and gauges."""
    return respond(request, Content(generate_latest(services_of(request).metrics.registry), CONTENT_TYPE_LATEST))


@router.api_route(
    "/metrics/torchserve",
    summary="Read TorchServe's metrics for Prometheus",
    methods=GET,
    dependencies=READ,
    response_class=Response,
    responses={
        **failures((*WITH_KEY, ModelUnavailable)),
        200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."},
    },
)
async def torchserve_metrics(request: Request) -> Response:
    """Those of its workers and its frontend, whose own address is closed to other machines."""
    try:
        reply = await services_of(request).metrics_of_torchserve.request(
            "GET", "/metrics", timeout_s=MANAGEMENT_TIMEOUT_S
        )
    except UpstreamError as exc:
        raise ModelUnavailable("The model server does not answer: try again in a few seconds.") from exc
    if reply.status != 200:
        raise ModelUnavailable(f"The model server answers status {reply.status}: try again in a few seconds.")
    return respond(request, Content(reply.body, TORCHSERVES_TYPE))
