"""What each failure means, and which of them an endpoint has: as /docs and /openapi.json say it."""

from __future__ import annotations

from typing import Any

from marserve.handler.resnet18.errors import (
    ImageTooLarge,
    InvalidImage,
    InvalidParameter,
    InvalidRequest,
    NotExplainable,
    RequestError,
    UnsupportedImage,
)
from marserve.handler.resnet18.requests import HOW_TO_SEND
from marserve.web.errors import (
    ApiKeyRequired,
    DeadlineExceeded,
    FeedbackOff,
    ForeignPage,
    InferenceFailed,
    InternalError,
    ModelUnavailable,
    Overloaded,
    PictureQuarantined,
    RateLimited,
    StorageFull,
    UnknownModel,
    UnsupportedEncoding,
    UploadTimeout,
    WouldBeLate,
)
from marserve.web.fetching import PictureNotFetched
from marserve.web.schemas import ErrorAnswer

Responses = dict[int | str, dict[str, Any]]
Kinds = tuple[type[RequestError], ...]

#: What each failure means, and a message as it is sent.
FAILURES: dict[type[RequestError], tuple[str, str]] = {
    InvalidParameter: (
        "A parameter is unknown, or has an impossible value.",
        "topk is not a parameter here; did you mean top_k? There are: lang, model, top_k, url.",
    ),
    InvalidRequest: ("There is no picture, or what was sent cannot be read.", f"There is no picture: {HOW_TO_SEND}."),
    InvalidImage: ("The picture is empty, truncated or damaged.", "The picture is empty: it has no bytes."),
    PictureNotFetched: ("There is no picture at the address.", str(PictureNotFetched())),
    ApiKeyRequired: (
        "An API key is missing or unknown.",
        "This service needs an API key: send it as X-API-Key or as Authorization: Bearer.",
    ),
    ForeignPage: (
        "A page of another origin sent this.",
        "This was sent by a page of another origin: its origin must be in MARSERVE_CORS_ORIGINS.",
    ),
    UnknownModel: ("No such model is served.", "No such model or version is served; there are: resnet18 1.0."),
    FeedbackOff: (
        "Reports are not taken here.",
        "This service takes no reports of wrong answers: its operator has not set a folder for them.",
    ),
    UploadTimeout: (
        "The body did not arrive in time.",
        "The body did not arrive within 30 s: send it faster, or a smaller one.",
    ),
    ImageTooLarge: (
        "The picture has too many bytes or pixels.",
        "The picture has 60,000,000 pixels, more than the 50,000,000 allowed: send a smaller one.",
    ),
    UnsupportedImage: (
        "This is no picture, or in a format that is not read.",
        "The data looks like text: send a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF picture.",
    ),
    UnsupportedEncoding: (
        "The body is compressed.",
        "Send the body without Content-Encoding: pictures are compressed already.",
    ),
    PictureQuarantined: ("Workers have ended under this picture.", str(PictureQuarantined())),
    RateLimited: ("This caller sends too many pictures a minute.", "At most 60 pictures a minute: try again in 1 s."),
    InternalError: (
        "A bug of this service: its log says more under X-Request-ID.",
        "Something is wrong with this service; its operator finds more under the request's id.",
    ),
    NotExplainable: (
        "The network has no class activation maps.",
        "squeezenet1_0 has no class activation maps.",
    ),
    InferenceFailed: (
        "TorchServe failed on this picture.",
        "The model server's answer cannot be understood: try again.",
    ),
    Overloaded: (
        "There are too many requests at once.",
        "More requests are at work than can be answered soon: try again in a moment.",
    ),
    WouldBeLate: ("What waits would make the answer come too late.", str(WouldBeLate(1))),
    ModelUnavailable: (
        "TorchServe or the model is not ready.",
        "The model server is being started: try again in a few seconds.",
    ),
    DeadlineExceeded: (
        "There was no answer within the deadline.",
        "The model did not answer in time: try again in a few seconds.",
    ),
    StorageFull: (
        "No room is left for reports.",
        "There is no room for more reports: the service's operator can export and delete those that are there.",
    ),
}

#: The failures of every endpoint,
COMMON: Kinds = (InvalidParameter, InternalError)
#: ... of those that need a key where the service has keys,
WITH_KEY: Kinds = (*COMMON, ApiKeyRequired)
#: ... that are about one model,
WITH_MODEL: Kinds = (*WITH_KEY, UnknownModel, ModelUnavailable)
#: ... that read a body and send a picture to TorchServe.
WITH_WORK: Kinds = (
    *WITH_MODEL,
    InvalidRequest,
    InvalidImage,
    UploadTimeout,
    ImageTooLarge,
    UnsupportedImage,
    UnsupportedEncoding,
    PictureQuarantined,
    RateLimited,
    InferenceFailed,
    Overloaded,
    WouldBeLate,
    DeadlineExceeded,
)
#: ... where the picture's address can be sent instead.
WITH_PICTURE: Kinds = (*WITH_WORK, PictureNotFetched, ForeignPage)


def failures(kinds: Kinds) -> Responses:
    """Responses that an endpoint documents: for each status what it means, and each of its kinds as an example."""
    responses: Responses = {}
    for kind in kinds:
        meaning, message = FAILURES[kind]
        response = responses.setdefault(
            kind.status,
            {"model": ErrorAnswer, "description": "", "content": {"application/json": {"examples": {}}}},
        )
        response["description"] = f"{response['description']} {meaning}".strip()
        example = {"code": kind.status, "type": kind.__name__, "message": message, "error": message}
        response["content"]["application/json"]["examples"][kind.__name__] = {"value": example}
    return responses
