"""What /docs and /openapi.json say beyond the endpoints' own signatures."""

from __future__ import annotations

import base64
import copy
import functools
import json
import re
import warnings
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from fastapi import FastAPI
from pydantic import BaseModel

from marserve.handler.resnet18.errors import (
    ImageTooLarge,
    InvalidImage,
    InvalidParameter,
    InvalidRequest,
    NotExplainable,
    RequestError,
    UnsupportedImage,
)
from marserve.handler.resnet18.requests import HOW_TO_SEND, MAX_TOP_K
from marserve.web.content import read_template
from marserve.web.dispatch.urgency import PARAMETERS
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
from marserve.web.upstream.inference import PROBE

Responses = dict[int | str, dict[str, Any]]
Language = Literal["en", "zh"]
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


BINARY = {"schema": {"type": "string", "format": "binary"}}
TOP_K = {"type": "integer", "minimum": 1, "maximum": MAX_TOP_K}
#: A grey square, in base64 as JSON needs it.
EXAMPLE_PICTURE = base64.b64encode(PROBE.picture).decode()
VERSION_HEADER = "X-Model-Version"
#: Of every address that classifies.
PINNED_VERSION: list[dict[str, Any]] = [
    {
        "name": VERSION_HEADER,
        "in": "header",
        "description": "The version that is to answer; not given: the default one, or one on trial.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 50},
        "example": "1.0",
    }
]
#: The body of /predict, /classify and /explain, and which version answers it.
PICTURE_BODY: dict[str, Any] = {
    "parameters": PINNED_VERSION,
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": BINARY["schema"], "top_k": TOP_K},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {"type": "string", "description": "The picture in base64, or as a data URL."},
                        "top_k": TOP_K,
                    },
                },
                "example": {"image": EXAMPLE_PICTURE, "top_k": 3},
            },
            "image/jpeg": BINARY,
            "image/png": BINARY,
            "application/octet-stream": BINARY,
        },
    },
}


def with_fields(body: dict[str, Any], fields: type[BaseModel]) -> dict[str, Any]:
    """``body``, whose form and JSON may have these fields besides the picture."""
    body = copy.deepcopy(body)
    properties = fields.model_json_schema()["properties"]
    for media_type in ("multipart/form-data", "application/json"):
        schema = body["requestBody"]["content"][media_type]["schema"]
        schema["properties"].pop("top_k")
        schema["properties"].update(properties)
    example = {name: field.examples[0] for name, field in fields.model_fields.items() if field.examples}
    kept = {name: example[name] for name in ("label", "model")}
    body["requestBody"]["content"]["application/json"]["example"] = {"image": EXAMPLE_PICTURE, **kept}
    return body


def without_picture(body: dict[str, Any]) -> dict[str, Any]:
    """``body``, in whose place the picture's address may be sent, too."""
    addresses = {"schema": {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}}
    content = dict.fromkeys(("application/x-www-form-urlencoded", "application/json"), addresses)
    return {"requestBody": {**body["requestBody"], "required": False, "content": content}}


TAGS = {
    "Pictures": "A picture in, labels out.",
    "Feedback": "What was wrong, and what is right.",
    "Operation": "For load balancers, orchestrators and monitoring.",
    "Open Inference Protocol v2": "For the clients of Triton and KServe.",
}


def build_document(app: FastAPI, base: str, language: Language = "en") -> dict[str, Any]:
    """The OpenAPI document of ``app`` as it is served under ``base``, so that its examples can be copied."""
    with warnings.catch_warnings():
        # FastAPI gives all methods of a route one id; each gets its own below.
        warnings.filterwarnings("ignore", "Duplicate Operation ID")
        document = copy.deepcopy(app.openapi())
    if language == "zh":
        document["info"]["title"] = f"{app.state.name}：图像分类"
    description = read_template("api.zh.md" if language == "zh" else "api.md")
    document["info"]["description"] = description.replace("{base}", base)
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    # Without scheme and host, which are those of the document itself.
    document["servers"] = [{"url": urlsplit(base).path.rstrip("/") or "/"}]
    for path, operations in document["paths"].items():
        operations.pop("head", None)  # is as GET, by the definition of HTTP
        document["paths"][path] = dict(sorted(operations.items()))
        for method, operation in operations.items():
            operation["operationId"] = f"{operation['operationId'].rpartition('_')[0]}_{method}"
            # What FastAPI answers with 422 is answered with 400 here, in our own shape.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
            if str(DeadlineExceeded.status) in operation["responses"]:
                operation.setdefault("parameters", []).extend(copy.deepcopy(PARAMETERS))
    for schema in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(schema, None)
    if app.state.asks_for_keys:
        _ask_for_keys(document)
    return _translate(document, _chinese_texts()) if language == "zh" else document


def _ask_for_keys(document: dict[str, Any]) -> None:
    """Say where the key goes, so that the form of /docs can send it."""
    schemes = {
        "Key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "Bearer": {"type": "http", "scheme": "bearer"},
    }
    document["components"]["securitySchemes"] = schemes
    for operations in document["paths"].values():
        for operation in operations.values():
            if "401" in operation["responses"]:
                operation["security"] = [{name: []} for name in schemes]


#: Between two sentences, which is kept.
SENTENCES = re.compile(r"(?<=\.)( )(?=[A-Z])")
#: Keys of the document whose values people read.
READ_BY_PEOPLE = {"description", "summary"}
#: Keys below which there is nothing to translate.
EXAMPLES = {"example", "examples"}


def _translate(part: Any, texts: Mapping[str, str], key: str = "") -> Any:
    """``part`` of the document with the ``texts`` that people read; what has none stays as it is."""
    if isinstance(part, dict):
        return {name: value if name in EXAMPLES else _translate(value, texts, name) for name, value in part.items()}
    if isinstance(part, list):
        return [_translate(value, texts, key) for value in part]
    if not isinstance(part, str):
        return part
    if key in READ_BY_PEOPLE:
        # A status has several meanings, one after the other.
        return texts.get(part) or "".join(texts.get(sentence, sentence) for sentence in SENTENCES.split(part))
    return texts.get(part, part) if key in {"tags", "name"} else part


@functools.cache
def _chinese_texts() -> Mapping[str, str]:
    texts: dict[str, str] = json.loads(read_template("api.zh.json"))
    return texts
