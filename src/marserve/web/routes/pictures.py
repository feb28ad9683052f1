"""A picture in, what is on it out: /predict, /classify, /explain; and /models, which can be named for it."""

from __future__ import annotations

import asyncio
import difflib
import functools
import io
import json
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from marserve.handler.resnet18.errors import InvalidParameter, InvalidRequest, NotExplainable
from marserve.handler.resnet18.requests import MAX_TOP_K
from marserve.paths import CONFIG
from marserve.web.bodies import Sent, read_picture
from marserve.web.classifier import Classified
from marserve.web.content import Content, respond
from marserve.web.fetching import MAX_ADDRESS_LENGTH
from marserve.web.openapi import BINARY, PICTURE_BODY, WITH_KEY, WITH_PICTURE, failures, without_picture
from marserve.web.routes import GET, READ, SEND, WORK, refuse_foreign_pages, services_of
from marserve.web.schemas import (
    ClassifiedPicture,
    ExplainedPicture,
    LabelledConfidence,
    ListedLimits,
    ListedModel,
    ModelList,
)

router = APIRouter(tags=["Pictures"])

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
#: Characters of an unknown parameter's name in an error.
MAX_SHOWN_NAME = 40
#: Pixels of each side of a heat map: what the network saw.
HEATMAP_SIDE = 224
#: Opacity (0 to 255) where the map is 1; where it is 0 the picture is transparent.
MAX_ALPHA = 200
#: From weak to strong: blue, cyan, yellow, red.
STOPS = ((40, 60, 220), (30, 190, 220), (250, 220, 60), (230, 40, 30))


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
    check_parameters(request)
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
    picture = await asyncio.to_thread(_render_heatmap, explanation.map)
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
    check_parameters(request)
    with services_of(request).admission.admit():
        sent = await receive_picture(request, MAX_TOP_K, url)
    if sent.address is None:
        raise InvalidRequest("Give the address of a picture as url.")
    # Not by a picture's own type: nothing of another server's is to be shown as a page of this one.
    return Response(sent.picture, media_type="application/octet-stream")


async def receive_picture(request: Request, top_k: int, url: str | None, names: Collection[str] = ()) -> Sent:
    """As ``read_picture``, with the picture fetched where an address was sent. Raises RequestError."""
    services = services_of(request)
    sent = await read_picture(request, services.settings, top_k, names=names, address=url)
    if sent.address is None:
        return sent
    if services.fetcher is None:
        raise InvalidRequest("This service fetches nothing from addresses: send the picture itself.")
    refuse_foreign_pages(request)
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
    check_parameters(request)
    services = services_of(request)
    with services.admission.admit():
        sent = await receive_picture(request, top_k, url)
        classified = await services.classifier.classify(
            sent.picture,
            top_k=sent.top_k,
            model=model,
            explain=explain,
            class_id=class_id,
            request_id=request.state.request_id,
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


def check_parameters(request: Request, known: Collection[str] = ()) -> None:
    """Raise InvalidParameter for a parameter that the address does not have, such as ``topk``, or that is given twice.

    ``known`` are the parameters where the endpoint's signature does not name each of them.

    Only here, where the answer would quietly be another one than was meant. Elsewhere such parameters are ignored:
    with files and pages ``?v=2`` gets around caches, a monitor that is refused is blind, and clients of /v2 write
    parameters for gateways in between.
    """
    if not request.scope["query_string"]:
        return
    known = sorted(known or (field.alias for field in request.scope["route"].dependant.query_params))
    for name, count in Counter(name for name, _ in request.query_params.multi_items()).items():
        if count > 1:
            raise InvalidParameter(f"{name[:MAX_SHOWN_NAME]} is given {count} times: give it once.")
        if name not in known:
            near = difflib.get_close_matches(name.lower().replace("-", "_"), known, 1)
            meant = f"; did you mean {near[0]}?" if near else "."
            there_are = f"There are: {', '.join(known)}." if known else "There are none."
            raise InvalidParameter(f"{name[:MAX_SHOWN_NAME]} is not a parameter here{meant} {there_are}")


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
    return {
        "X-Cache": classified.cache,
        "X-Model": classified.model.name,
        "X-Model-Version": classified.model.version,
        "X-Weights": classified.model.weights,
    }


def _json(content: str | bytes, headers: dict[str, str]) -> Response:
    return Response(content, headers=headers, media_type="application/json")


def _render_heatmap(strengths: Sequence[Sequence[float]]) -> bytes:
    """A PNG to lay over the crop, RGBA, from rows of values 0 to 1, interpolated bilinearly between cell centres."""
    from PIL import Image  # not at start-up: the service decodes no picture, and few want this one

    cells = Image.new("F", (len(strengths[0]), len(strengths)))
    cells.putdata([min(max(value, 0.0), 1.0) * 255 for row in strengths for value in row])
    # Half a step, because the conversion to bytes cuts off.
    levels = (
        cells.resize((HEATMAP_SIDE, HEATMAP_SIDE), Image.Resampling.BILINEAR)
        .point(lambda level: level * 1 + 0.5)
        .convert("L")
    )
    bands = [levels.point(table) for table in zip(*map(_color, range(256)), strict=True)]
    stream = io.BytesIO()
    Image.merge("RGBA", bands).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _color(level: int) -> list[int]:
    """Red, green, blue and opacity of a ``level`` of 0 to 255."""
    position = level / 255 * (len(STOPS) - 1)
    lower = min(int(position), len(STOPS) - 2)
    share = position - lower
    color = [round(a + (b - a) * share) for a, b in zip(STOPS[lower], STOPS[lower + 1], strict=True)]
    return [*color, round(MAX_ALPHA * level / 255)]
