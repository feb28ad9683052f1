"""/feedback: that an answer was wrong, and what is right; and the classes of a model, to choose from."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Path, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from marserve.errors import MarserveError
from marserve.handler.resnet18.errors import InvalidParameter, InvalidRequest
from marserve.handler.resnet18.requests import MAX_TOP_K
from marserve.system.files import failure_of
from marserve.web.bodies import ADDRESS
from marserve.web.content import Content, respond
from marserve.web.errors import FeedbackOff, Overloaded, StorageFull, problems_of
from marserve.web.failures import WITH_MODEL, WITH_PICTURE, failures
from marserve.web.feedback import Feedback, FeedbackFullError, Report, ReportedClass, picture_path
from marserve.web.models import KnownModel
from marserve.web.openapi import PICTURE_BODY, with_fields
from marserve.web.routes import (
    GET,
    READ,
    SEND,
    WORK,
    check_parameters,
    pinned_version,
    refuse_foreign_pages,
    services_of,
    urgency_of,
)
from marserve.web.routes.pictures import chinese_names, receive_picture
from marserve.web.schemas import ClassList, FeedbackFields, KeptReport, NamedClass, PredictedClass
from marserve.web.upstream.inference import PROBE

router = APIRouter(tags=["Feedback"])
logger = logging.getLogger(__name__)

#: Of an answer that is reported: as many as the page has asked for, so that it is in the cache.
USUAL_TOP_K = 10


@router.api_route(
    "/models/{model}/classes",
    summary="List the classes of a model",
    methods=GET,
    response_model=ClassList,
    responses=failures(WITH_MODEL),
    dependencies=READ,
)
async def classes(request: Request, model: Annotated[str, Path(max_length=200, examples=["resnet18"])]) -> Response:
    """The classes of a model, in the order of their numbers."""
    check_parameters(request.query_params)
    served = services_of(request).catalogue.find(model)
    if _has_many_classes(served):
        raise InvalidRequest(f"Models of more than {MAX_TOP_K} classes do not list them.")
    found = sorted(await _list_classes(request, served), key=lambda named: named.class_id)
    content = ClassList(model=served.name, version=served.version, classes=[_named(one) for one in found])
    return respond(request, Content(content.model_dump_json().encode(), "application/json"))


@router.api_route(
    "/feedback",
    summary="Report a wrong answer",
    methods=SEND,
    status_code=201,
    response_model=KeptReport,
    responses=failures((*WITH_PICTURE, FeedbackOff, StorageFull)),
    openapi_extra=with_fields(PICTURE_BODY, FeedbackFields),
    dependencies=WORK,
)
async def feedback(request: Request, fields: Annotated[FeedbackFields, Query()]) -> Response:
    """Keep that an answer was wrong, and what is right, with the picture, as files of the operator's."""
    check_parameters(request.query_params, FeedbackFields.model_fields)
    services = services_of(request)
    if services.feedback is None:
        raise FeedbackOff("This service takes no reports of wrong answers: its operator has not set a folder for them.")
    refuse_foreign_pages(request)
    with services.admission:
        sent = await receive_picture(request, USUAL_TOP_K, fields.url, FeedbackFields.model_fields.keys() - {ADDRESS})
        said = _combine(fields, sent.fields)
        served = services.catalogue.find(said.model, pinned_version(request))
        # The model's own answer, from the cache where it has just been given; the handler refuses what is no picture.
        many = _has_many_classes(served)
        classified = await services.classifier.classify(
            sent.picture,
            top_k=MAX_TOP_K if many else USUAL_TOP_K,
            model=served.name,
            version=served.version,
            request_id=request.state.request_id,
            urgency=urgency_of(request),
        )
        first, *_ = predictions = classified.answer.predictions
        # Of many classes the right one is among the likelier ones.
        known = predictions if many else await _list_classes(request, classified.model)
        right = None if said.other else _find(known, said.class_id, said.label)
        predicted = first if said.predicted_class_id is None else _find(known, said.predicted_class_id, None)
        if right is not None and right.class_id == predicted.class_id:
            raise InvalidParameter("The right class is the one that was answered: there is nothing wrong to report.")
        sha256 = hashlib.sha256(sent.picture).hexdigest()
        right_class = None if right is None else _reported(right, predictions)
        report = Report(
            id=uuid.uuid4().hex,
            time=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            request_id=request.state.request_id,
            model=classified.model.name,
            version=classified.model.version,
            weights=classified.model.weights,
            predicted=_reported(predicted, predictions),
            right=right_class,
            other=_plain(said.other),
            note=_plain(said.note),
            picture_sha256=sha256,
            picture_bytes=len(sent.picture),
            picture=picture_path(classified.model.name, right_class, sha256, sent.picture),
        )
        await _keep(services.feedback, report, sent.picture, services.metrics.feedback)
    request.state.log.update(model=report.model, version=report.version, report=report.id)
    content = KeptReport(
        id=report.id,
        model=report.model,
        version=report.version,
        predicted=_named(predicted),
        right=None if right is None else _named(right),
    )
    return Response(content.model_dump_json(), 201, media_type="application/json")


async def _keep(folder: Feedback, report: Report, picture: bytes, counter: Any) -> None:
    """Beside the event loop, and to its end where the caller has left."""
    try:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(folder.add, report, picture)
    except FeedbackFullError as exc:
        counter.labels("full").inc()
        logger.error("A report cannot be kept in %s: %s", folder.folder, exc)
        raise StorageFull(
            "There is no room for more reports: the service's operator can export and delete those that are there."
        ) from exc
    except MarserveError as exc:
        raise Overloaded("Reports are just being exported or deleted: try again in a moment.") from exc
    except OSError as exc:
        counter.labels("failed").inc()
        logger.error("A report cannot be kept in %s: %s", folder.folder, failure_of(exc))
        raise Overloaded("The report cannot be kept just now: try again, or tell the service's operator.") from exc
    counter.labels("kept").inc()


async def _list_classes(request: Request, served: KnownModel) -> Sequence[PredictedClass]:
    """All classes of ``served``: as its workers answer any picture, so that they are those of its archive."""
    listed = await services_of(request).classifier.classify(
        PROBE.picture,
        top_k=MAX_TOP_K,
        model=served.name,
        version=served.version,
        request_id=request.state.request_id,
        urgency=urgency_of(request),
    )
    return listed.answer.predictions


def _has_many_classes(served: KnownModel) -> bool:
    return (served.description.class_count or 0) > MAX_TOP_K


def _combine(query: FeedbackFields, body: Mapping[str, str]) -> FeedbackFields:
    """What the body says comes before what the address says. Raises InvalidParameter."""
    try:
        said = FeedbackFields.model_validate(query.model_dump(exclude_none=True) | dict(body))
    except ValidationError as exc:
        raise InvalidParameter(problems_of(exc.errors())) from exc
    given = [value for value in (said.class_id, said.label, said.other) if value not in (None, "")]
    if len(given) != 1:
        raise InvalidParameter(
            "Say what is right with one of class_id, label and other: a class by its number, by its label or WordNet "
            "id, or in your own words what none of the classes is."
        )
    return said


def _find(known: Sequence[PredictedClass], class_id: int | None, label: str | None) -> PredictedClass:
    """The class that is meant. Raises InvalidParameter."""
    if class_id is not None:
        found = [one for one in known if one.class_id == class_id]
    else:
        wanted = (label or "").strip()
        found = [one for one in known if wanted in (one.label, one.wnid, chinese_names().get(one.wnid, one.label))]
        found = found or [one for one in known if one.label.casefold() == wanted.casefold()]
    if len(found) > 1:
        numbers = " and ".join(str(one.class_id) for one in found)
        raise InvalidParameter(f"Several classes have this label: give class_id, which is one of {numbers}.")
    if not found:
        raise InvalidParameter(
            "The model has no such class: /models/{model}/classes lists those that it has. For what is none of them, "
            "give other."
        )
    return found[0]


def _reported(one: PredictedClass, predictions: Sequence[PredictedClass]) -> ReportedClass:
    """With its probability for this picture, where that is known."""
    probability = next((other.probability for other in predictions if other.class_id == one.class_id), None)
    return ReportedClass(one.class_id, one.wnid, one.label, probability)


def _named(one: PredictedClass) -> NamedClass:
    return NamedClass(class_id=one.class_id, wnid=one.wnid, label=one.label)


def _plain(text: str | None) -> str:
    """In one line, without what could steer a terminal that shows it."""
    return "".join(character for character in " ".join((text or "").split()) if character.isprintable())
