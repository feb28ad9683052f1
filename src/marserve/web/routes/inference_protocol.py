"""/v2: the Open Inference Protocol."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from marserve import __version__
from marserve.handler.resnet18.errors import InvalidImage, InvalidRequest, RequestError
from marserve.handler.resnet18.requests import MAX_TOP_K
from marserve.web.bodies import read_body
from marserve.web.classifier import Classified
from marserve.web.dispatch.urgency import Urgency
from marserve.web.errors import ModelUnavailable
from marserve.web.failures import COMMON, WITH_MODEL, WITH_WORK, failures
from marserve.web.models import KnownModel
from marserve.web.oip import (
    CLASS_ID,
    INPUT,
    LABEL,
    PROBABILITIES,
    InferenceRequest,
    encode_response,
    needed_top_k,
    parse_inference_request,
)
from marserve.web.openapi import BINARY, EXAMPLE_PICTURE, PINNED_VERSION
from marserve.web.routes import GET, READ, WORK, Services, pinned_version, services_of, urgency_of
from marserve.web.upstream.inference import FAILURES, ModelGone, WorkerDied

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])

HEADER_LENGTH = "Inference-Header-Content-Length"
#: Pictures of one request that wait in TorchServe at once, so that a request of many does not push others out.
PICTURES_AT_ONCE = 8

ModelInPath = Annotated[str, Path(max_length=200, examples=["resnet18"])]
VersionInPath = Annotated[str, Path(max_length=50, examples=["1.0"])]

INFERENCE_BODY = {
    "parameters": PINNED_VERSION,
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {
                    "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [EXAMPLE_PICTURE]}],
                    "outputs": [{"name": "label"}, {"name": "class_id"}],
                    "parameters": {"top_k": 3},
                },
            },
            "application/octet-stream": BINARY,
        },
    },
}


@router.api_route("", summary="Describe the server", methods=GET, responses=failures(COMMON))
async def server() -> dict[str, Any]:
    """The server's name and what it can do."""
    extensions = ["binary_tensor_data", "classification"]
    return {"name": "marserve", "version": __version__, "extensions": extensions}


@router.api_route("/health/live", summary="Is the server alive?", methods=GET, responses=failures(COMMON))
async def live() -> dict[str, bool]:
    """The process is up."""
    return {"live": True}


@router.api_route(
    "/health/ready", summary="Is the server ready?", methods=GET, responses=failures((*COMMON, ModelUnavailable))
)
async def ready(request: Request) -> dict[str, bool]:
    """Pictures are being answered, as for /readyz."""
    reasons = services_of(request).readiness.reasons()
    if reasons:
        raise ModelUnavailable(" ".join(reasons))
    return {"ready": True}


@router.api_route(
    "/models/{model}", summary="Describe a model", methods=GET, responses=failures(WITH_MODEL), dependencies=READ
)
@router.api_route(
    "/models/{model}/versions/{version}",
    summary="Describe a version of a model",
    methods=GET,
    responses=failures(WITH_MODEL),
    dependencies=READ,
)
async def metadata(request: Request, model: ModelInPath, version: VersionInPath | None = None) -> dict[str, Any]:
    """The inputs and outputs of a model."""
    catalogue = services_of(request).catalogue
    served = catalogue.find(model, version)
    versions = [other.version for other in catalogue.models if other.name == served.name]
    return {
        "name": served.name,
        "versions": versions,
        "platform": "torchserve",
        # -1 is any size.
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1, 1]}],
        "outputs": [
            {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, _class_count(served)]},
            {"name": CLASS_ID, "datatype": "INT64", "shape": [-1, -1]},
            {"name": LABEL, "datatype": "BYTES", "shape": [-1, -1]},
        ],
    }


@router.api_route(
    "/models/{model}/ready", summary="Is a model ready?", methods=GET, responses=failures(WITH_MODEL), dependencies=READ
)
@router.api_route(
    "/models/{model}/versions/{version}/ready",
    summary="Is a version of a model ready?",
    methods=GET,
    responses=failures(WITH_MODEL),
    dependencies=READ,
)
async def model_ready(request: Request, model: ModelInPath, version: VersionInPath | None = None) -> dict[str, Any]:
    """A worker of the model is READY, and a prediction succeeded lately."""
    services = services_of(request)
    served = services.catalogue.find(model, version)
    if not services.readiness.is_ready(served):
        raise ModelUnavailable(f"{served.name} {served.version} is not ready.")
    return {"name": served.name, "ready": True}


@router.post(
    "/models/{model}/infer",
    summary="Classify pictures",
    responses=failures(WITH_WORK),
    openapi_extra=INFERENCE_BODY,
    dependencies=WORK,
)
@router.post(
    "/models/{model}/versions/{version}/infer",
    summary="Classify pictures with a version of a model",
    responses=failures(WITH_WORK),
    openapi_extra=INFERENCE_BODY,
    dependencies=WORK,
)
async def infer(request: Request, model: ModelInPath, version: VersionInPath | None = None) -> Response:
    """Classify the encoded pictures of the tensor "image": all of them, or the request fails."""
    services = services_of(request)
    pinned = pinned_version(request, version)
    with services.admission:
        served = services.catalogue.find(model, pinned)
        _class_count(served)
        max_bytes = services.settings.protocol_body_bytes
        body = await read_body(
            request,
            max_bytes=max_bytes,
            deadline_s=services.settings.upload_deadline_s,
            limit=f"The request has more than {max_bytes} bytes: send fewer pictures at once.",
            arriving=services.admission.arriving,
        )
        inference = parse_inference_request(body, request.headers.get(HEADER_LENGTH))
        services.guard.charge(request.state.caller, len(inference.pictures) - 1)  # the first one is paid for
        urgency = urgency_of(request)

        async def ask(version: KnownModel, one_try: bool) -> list[Classified]:
            return await _classify_all(request, services, inference, version, urgency, one_try=one_try)

        trial = services.classifier.traffic.trial(served) if pinned is None else None
        if trial is None:
            answers = await ask(served, False)
        else:
            answers = [*await services.classifier.traffic.answer(trial, inference.pictures, urgency, ask)]
            served = answers[0].model
    content, header_length = encode_response(
        inference, [one.answer for one in answers], served=served, class_count=_class_count(served)
    )
    request.state.log.update(model=served.name, version=served.version, pictures=len(inference.pictures))
    if header_length is None:
        return Response(content, media_type="application/json")
    return Response(content, headers={HEADER_LENGTH: str(header_length)}, media_type="application/octet-stream")


async def _classify_all(
    request: Request,
    services: Services,
    inference: InferenceRequest,
    served: KnownModel,
    urgency: Urgency,
    *,
    one_try: bool,
) -> list[Classified]:
    """The answers in the order of the pictures; raises the error of the first picture that has one."""
    places = asyncio.Semaphore(PICTURES_AT_ONCE)
    top_k = needed_top_k(inference, _class_count(served))

    async def classify(picture: bytes) -> Classified | RequestError | ModelGone | WorkerDied:
        async with places:
            try:
                if not picture:
                    raise InvalidImage("The picture is empty: it has no bytes.")
                return await services.classifier.classify(
                    picture,
                    top_k=top_k,
                    request_id=request.state.request_id,
                    model=served.name,
                    version=served.version,
                    urgency=urgency,
                    one_try=one_try,
                )
            except FAILURES as error:
                return error

    answers = []
    for answer in await asyncio.gather(*[classify(picture) for picture in inference.pictures]):
        if isinstance(answer, FAILURES):
            raise answer
        answers.append(answer)
    return answers


def _class_count(served: KnownModel) -> int:
    """The size of the tensor of probabilities."""
    if served.description.class_count is None:
        raise ModelUnavailable(f"{served.name} {served.version} has not reported its number of classes yet.")
    if served.description.class_count > MAX_TOP_K:
        raise InvalidRequest(f"Models of more than {MAX_TOP_K} classes are not served by this protocol; use /classify.")
    return served.description.class_count
