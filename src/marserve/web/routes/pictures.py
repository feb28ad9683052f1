"""A picture in, what is on it out: /predict, /classify, /explain."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from marserve.web.classifier import Classified
from marserve.web.heatmap import render_heatmap
from marserve.web.openapi import PICTURE_BODY, WITH_WORK
from marserve.web.parameters import ModelName, TopK
from marserve.web.protection import require_key_and_rate
from marserve.web.schemas import Classification, ExplainedClassification, LabelledConfidence
from marserve.web.services import services_of
from marserve.web.uploads import read_picture

router = APIRouter(tags=["pictures"], dependencies=[Depends(require_key_and_rate)])


@router.post("/predict", response_model=list[LabelledConfidence], responses=WITH_WORK, openapi_extra=PICTURE_BODY)
async def predict(request: Request, top_k: TopK = 3, model: ModelName = None) -> Response:
    """The most probable classes, each with its confidence in percent."""
    classified = await _classify(request, top_k=top_k, model=model)
    content = [
        {"label": prediction["label"], "confidence": round(prediction["probability"] * 100, 2)}
        for prediction in classified.answer["predictions"]
    ]
    return _answer(content, classified)


@router.post("/classify", response_model=Classification, responses=WITH_WORK, openapi_extra=PICTURE_BODY)
async def classify(request: Request, top_k: TopK = 5, model: ModelName = None) -> Response:
    """The most probable classes with everything that is known about them and the model."""
    started = time.perf_counter()
    classified = await _classify(request, top_k=top_k, model=model)
    return _answer(_describe(classified, started), classified)


@router.post(
    "/explain",
    response_model=ExplainedClassification,
    responses={**WITH_WORK, 200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}},
    openapi_extra=PICTURE_BODY,
)
async def explain(
    request: Request,
    top_k: TopK = 5,
    model: ModelName = None,
    format: Annotated[  # noqa: A002 - the parameter's public name
        Literal["json", "png"],
        Query(description="png: the map alone, to lay over the crop that X-Explanation-Crop tells."),
    ] = "json",
) -> Response:
    """As /classify, with where in the picture the most probable class was seen: its class activation map."""
    started = time.perf_counter()
    classified = await _classify(request, top_k=top_k, model=model, explain=True)
    explanation = classified.answer["explanation"]
    if format == "json":
        return _answer({**_describe(classified, started), "explanation": explanation}, classified)
    # Some milliseconds of work, beside the event loop.
    picture = await asyncio.to_thread(render_heatmap, explanation["map"])
    crop = explanation.get("crop", {})
    headers = {"X-Explanation-Crop": ",".join(f"{side}={crop[side]:.6g}" for side in sorted(crop))}
    return Response(picture, headers={**_headers(classified), **headers}, media_type="image/png")


async def _classify(request: Request, *, top_k: int, model: str | None, explain: bool = False) -> Classified:
    services = services_of(request)
    with services.admission.admit():
        picture = await read_picture(request, services.settings)
        classified = await services.classifier.classify(
            picture, top_k=top_k, model=model, explain=explain, request_id=request.state.request_id
        )
    request.state.log.update(
        model=classified.model.name,
        version=classified.model.version,
        cache=classified.cache,
        picture_bytes=len(picture),
    )
    return classified


def _describe(classified: Classified, started: float) -> dict[str, object]:
    return {
        "model": classified.model.name,
        "version": classified.model.version,
        "weights": classified.model.weights,
        "predictions": classified.answer["predictions"],
        "cache": classified.cache,
        "time_ms": round((time.perf_counter() - started) * 1000, 2),
    }


def _answer(content: object, classified: Classified) -> Response:
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Response(body, headers=_headers(classified), media_type="application/json")


def _headers(classified: Classified) -> dict[str, str]:
    return {
        "X-Cache": classified.cache,
        "X-Model": classified.model.name,
        "X-Model-Version": classified.model.version,
        "X-Weights": classified.model.weights,
    }
