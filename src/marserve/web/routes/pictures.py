"""A picture in, what is on it out: /predict, /classify, /explain; and /models, which can be named for it."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from marserve.handler.resnet18.errors import InvalidRequest, NotExplainable
from marserve.handler.resnet18.requests import MAX_TOP_K
from marserve.paths import CONFIG
from marserve.web.bodies import Sent, read_picture
from marserve.web.classifier import Classified
from marserve.web.content import Content, respond
from marserve.web.failures import WITH_KEY, WITH_PICTURE, failures
from marserve.web.fetching import MAX_ADDRESS_LENGTH
from marserve.web.heatmap import render_heatmap
from marserve.web.openapi import BINARY, PICTURE_BODY, without_picture
from marserve.web.routes import GET, READ, SEND, WORK, pinned_version, refuse_foreign_pages, services_of, urgency_of
from marserve.web.routes.direct import DirectRoute
from marserve.web.schemas import (
    ClassifiedPicture,
    ExplainedPicture,
    LabelledConfidence,
    ListedLimits,
    ListedModel,
    ModelList,
)
from marserve.web.tracing.context import child

router = APIRouter(tags=["Pictures"], route_class=DirectRoute)

TopK = Annotated[int, Query(ge=1, le=MAX_TOP_K, description="How many classes, the most probable first.")]
ModelName = Annotated[
    str | None,
    Query(max_length=200, description="A name from /models; not given: the default model.", examples=["resnet18"]),
]
Language = Annotated[
    Literal["en", "zh"], Query(description="zh: ImageNet's classes in Chinese; other labels stay as they are.")
]
Address = Annotated[
    str | None,
    Query(
        max_length=MAX_ADDRESS_LENGTH,
        description="Where the picture is, instead of a body; where /models says fetches_urls.",
        examples=["https://example.org/cat.jpg"],
    ),
]
LABELLED_CONFIDENCES = TypeAdapter(list[LabelledConfidence])

#: What every signed 32-bit reader takes; the handler knows how many classes there are.
MAX_CLASS_ID = 99_999_999


@router.api_route(
    "/models",
    summary="List the models",
    methods=GET,
    response_model=ModelList,
    responses=failures(WITH_KEY),
    dependencies=READ,
)
async def models(request: Request) -> Response:
    """The models that are served, and which one answers where none is named."""
    services = services_of(request)
    served = services.catalogue.models
    default = services.catalogue.default()
    listed = [
        ListedModel(
            name=model.name,
            version=model.version,
            versions=[other.version for other in served if other.name == model.name],
            architecture=model.description.architecture,
            class_count=model.description.class_count,
            weights=model.weights,
            precision=model.description.precision,
            picture_formats=list(model.description.picture_formats),
            preprocessing=model.description.preprocessing,
            ready=services.readiness.is_ready(model),
        )
        for model in served
        if model.reported.is_default
    ]
    limits = ListedLimits(
        max_image_bytes=services.settings.max_image_bytes, max_image_pixels=services.settings.max_image_pixels
    )
    content = ModelList(
        name=services.settings.name,
        default=default.name if default else None,
        models=listed,
        limits=limits,
        feedback=services.feedback is not None,
        fetches_urls=services.fetcher is not None,
    )
    return respond(request, Content(content.model_dump_json().encode(), "application/json"))


@router.api_route(
    "/predict",
    summary="Classify a picture: labels and confidence",
    methods=SEND,
    response_model=list[LabelledConfidence],
    responses=failures(WITH_PICTURE),
    openapi_extra=PICTURE_BODY,
    dependencies=WORK,
)
async def predict(
    request: Request, top_k: TopK = 3, model: ModelName = None, lang: Language = "en", url: Address = None
) -> Response:
    """The most probable classes, each with its confidence in percent."""
    classified = await _classify(request, top_k=top_k, model=model, lang=lang, url=url)
    # Said where the labels are random, and left out elsewhere: programs know this list as it always was.
    weights = classified.model.weights if classified.model.weights == "untrained" else None
    content = [
        LabelledConfidence(label=predicted.label, confidence=round(predicted.probability * 100, 2), weights=weights)
        for predicted in classified.answer.predictions
    ]
    return _json(LABELLED_CONFIDENCES.dump_json(content, exclude_none=True), _headers(classified))


@router.api_route(
    "/classify",
    summary="Classify a picture: all that is known",
    methods=SEND,
    response_model=ClassifiedPicture,
    responses=failures(WITH_PICTURE),
    openapi_extra=PICTURE_BODY,
    dependencies=WORK,
)
async def classify(
    request: Request, top_k: TopK = 5, model: ModelName = None, lang: Language = "en", url: Address = None
) -> Response:
    """The most probable classes with everything that is known about them and the model."""
    started = time.perf_counter()
    classified = await _classify(request, top_k=top_k, model=model, lang=lang, url=url)
    return _json(ClassifiedPicture(**_describe(classified, started)).model_dump_json(), _headers(classified))


@router.api_route(
    "/explain",
    summary="Classify a picture, and show where",
    methods=SEND,
    response_model=ExplainedPicture,
    responses={**failures((*WITH_PICTURE, NotExplainable)), 200: {"content": {"image/png": BINARY}}},
    openapi_extra=PICTURE_BODY,
    dependencies=WORK,
)
async def explain(
    request: Request,
    top_k: TopK = 5,
    model: ModelName = None,
    lang: Language = "en",
    url: Address = None,
    format: Annotated[  # noqa: A002 - the parameter's public name
        Literal["json", "png"],
        Query(description="png: the map alone, to lay over the crop that X-Explanation-Crop names."),
    ] = "json",
    class_id: Annotated[
        int | None,
        Query(
            ge=0, le=MAX_CLASS_ID, description="The class to explain; not given: the most probable one.", examples=[281]
        ),
    ] = None,
) -> Response:
    """As /classify, with the class activation map: where in the picture the class was seen."""
    started = time.perf_counter()
    classified = await _classify(request, top_k=top_k, model=model, lang=lang, url=url, explain=True, class_id=class_id)
    explanation = classified.answer.explanation
    assert explanation is not None  # noqa: S101 - the classifier has checked it
    if format == "json":
        content = ExplainedPicture(**_describe(classified, started), explanation=explanation)
        return _json(content.model_dump_json(), _headers(classified))
    # Some milliseconds of work, beside the event loop.
    picture = await asyncio.to_thread(render_heatmap, explanation.map)
    crop = ",".join(f"{side}={share:.6g}" for side, share in sorted(explanation.crop))
    return Response(picture, headers={**_headers(classified), "X-Explanation-Crop": crop}, media_type="image/png")


@router.post(
    "/fetch",
    summary="Fetch a picture from its address",
    response_class=Response,
    responses={**failures(WITH_PICTURE), 200: {"content": {"application/octet-stream": BINARY}}},
    openapi_extra=without_picture(PICTURE_BODY),
    dependencies=WORK,
)
async def fetch(request: Request, url: Address = None) -> Response:
    """The picture at an address, as the page needs it to show what it asks about."""
    with services_of(request).admission:
        sent = await receive_picture(request, MAX_TOP_K, url)
    if sent.address is None:
        raise InvalidRequest("Give the address of a picture as url.")
    # Not by a picture's own type: nothing of another server's is to be shown as a page of this one.
    return Response(sent.picture, media_type="application/octet-stream")


async def receive_picture(request: Request, top_k: int, url: str | None, names: Collection[str] = ()) -> Sent:
    """As ``read_picture``, with the picture fetched where an address was sent. Raises RequestError."""
    services = services_of(request)
    sent = await read_picture(
        request, services.settings, top_k, names=names, address=url, arriving=services.admission.arriving
    )
    if sent.address is None:
        return sent
    if services.fetcher is None:
        raise InvalidRequest("This service fetches nothing from addresses: send the picture itself.")
    refuse_foreign_pages(request)
    with child("fetch"):
        picture = await services.fetcher.fetch(sent.address)
    request.state.log["fetched_from"] = urlsplit(sent.address).hostname
    return sent._replace(picture=picture)


async def _classify(
    request: Request,
    *,
    top_k: int,
    model: str | None,
    lang: str,
    url: str | None,
    explain: bool = False,
    class_id: int | None = None,
) -> Classified:
    services = services_of(request)
    with services.admission:
        sent = await receive_picture(request, top_k, url)
        classified = await services.classifier.classify(
            sent.picture,
            top_k=sent.top_k,
            model=model,
            version=pinned_version(request),
            explain=explain,
            class_id=class_id,
            request_id=request.state.request_id,
            urgency=urgency_of(request),
        )
    request.state.log.update(
        model=classified.model.name,
        version=classified.model.version,
        cache=classified.cache,
        picture_bytes=len(sent.picture),
    )
    return _in_chinese(classified) if lang == "zh" else classified


def _in_chinese(classified: Classified) -> Classified:
    """With other labels, in an answer of its own: others may be waiting for the same one."""
    names = chinese_names()
    predictions = [
        predicted.model_copy(update={"label": names.get(predicted.wnid, predicted.label)})
        for predicted in classified.answer.predictions
    ]
    return replace(classified, answer=classified.answer.model_copy(update={"predictions": predictions}))


@functools.cache
def chinese_names() -> Mapping[str | None, str]:
    """ImageNet's classes by WordNet id."""
    names: dict[str | None, str] = json.loads((CONFIG / "labels.zh.json").read_text(encoding="utf-8"))
    return names


def _describe(classified: Classified, started: float) -> dict[str, Any]:
    return {
        "model": classified.model.name,
        "version": classified.model.version,
        "weights": classified.model.weights,
        "predictions": classified.answer.predictions,
        "cache": classified.cache,
        "time_ms": round((time.perf_counter() - started) * 1000, 2),
    }


def _headers(classified: Classified) -> dict[str, str]:
    headers = {
        "X-Cache": classified.cache,
        "X-Model": classified.model.name,
        "X-Model-Version": classified.model.version,
        "X-Weights": classified.model.weights,
    }
    # Not where it joined another caller's picture.
    if (timing := classified.timing) is not None and timing.pictures:
        headers["Server-Timing"] = timing.as_header()
    return headers


def _json(content: str | bytes, headers: dict[str, str]) -> Response:
    return Response(content, headers=headers, media_type="application/json")
