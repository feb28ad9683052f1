"""What /docs and /openapi.json say beyond the endpoints' own signatures."""

from __future__ import annotations

import base64
import copy
import warnings
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from pydantic import BaseModel

from marserve.handler.resnet18.errors import (
    ImageTooLarge,
    InvalidParameter,
    InvalidRequest,
    RequestError,
    UnsupportedImage,
)
from marserve.handler.resnet18.requests import MAX_TOP_K
from marserve.web.errors import (
    ApiKeyRequired,
    DeadlineExceeded,
    InferenceFailed,
    InternalError,
    ModelUnavailable,
    Overloaded,
    RateLimited,
    UnknownModel,
    UploadTimeout,
)
from marserve.web.readiness import PROBE_PICTURE
from marserve.web.schemas import ErrorAnswer

#: ``{base}`` is the address under which the document was fetched, so that its examples can be copied.
DESCRIPTION = """Send a picture, read what is on it. [The page]({base}) does it by hand.

    curl -F file=@examples/cat.jpg {base}predict
    curl -T examples/cat.jpg "{base}classify?top_k=3"

Every failure is `{{"code", "type", "message", "error"}}`, `error` being the message again; 429 and 503 have a
`Retry-After`. Every answer has an `X-Request-ID`.
"""

Responses = dict[int | str, dict[str, Any]]


def failures(reasons: dict[type[RequestError], str]) -> Responses:
    """Responses that an endpoint documents, each with an error of its status as the example."""
    return {
        kind.status: {
            "model": ErrorAnswer,
            "description": reason,
            "content": {
                "application/json": {
                    "example": {"code": kind.status, "type": kind.__name__, "message": reason, "error": reason}
                }
            },
        }
        for kind, reason in reasons.items()
    }


#: Responses of every endpoint.
COMMON = failures({InvalidParameter: "A parameter has an impossible value."})
#: ... that needs a key where the service has keys.
WITH_KEY = {**COMMON, **failures({ApiKeyRequired: "An API key is missing or unknown."})}
#: ... that is about one model.
WITH_MODEL = {
    **WITH_KEY,
    **failures({UnknownModel: "No such model is served.", ModelUnavailable: "TorchServe or the model is not ready."}),
}
#: ... that reads a body and sends a picture to TorchServe.
WITH_WORK = {
    **WITH_MODEL,
    **failures(
        {
            InvalidRequest: "No picture, a damaged one, or a parameter with an impossible value.",
            UploadTimeout: "The body did not arrive in time.",
            ImageTooLarge: "Too many bytes or pixels.",
            UnsupportedImage: "Not a picture format that is read here.",
            RateLimited: "This caller sends too much.",
            InternalError: "A bug; the log says more under X-Request-ID.",
            InferenceFailed: "TorchServe failed on this picture.",
            Overloaded: "Overloaded, or TorchServe is being started.",
            DeadlineExceeded: "No answer within the deadline.",
        }
    ),
}

BINARY = {"schema": {"type": "string", "format": "binary"}}
TOP_K = {"type": "integer", "minimum": 1, "maximum": MAX_TOP_K}
#: A grey square, in base64 as JSON needs it.
EXAMPLE_PICTURE = base64.b64encode(PROBE_PICTURE).decode()
#: The body of /predict, /classify and /explain.
PICTURE_BODY: dict[str, Any] = {
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
    }
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


def build_document(app: FastAPI, base: str) -> dict[str, Any]:
    """The OpenAPI document of ``app`` as it is served under ``base``."""
    with warnings.catch_warnings():
        # FastAPI gives all methods of a route one id; each gets its own below.
        warnings.filterwarnings("ignore", "Duplicate Operation ID")
        document = copy.deepcopy(app.openapi())
    document["info"]["description"] = DESCRIPTION.format(base=base)
    # Without scheme and host, which are those of the document itself.
    document["servers"] = [{"url": urlsplit(base).path.rstrip("/") or "/"}]
    for path, operations in document["paths"].items():
        operations.pop("head", None)  # is as GET, by the definition of HTTP
        document["paths"][path] = dict(sorted(operations.items()))
        for method, operation in operations.items():
            operation["operationId"] = f"{operation['operationId'].rpartition('_')[0]}_{method}"
            # FastAPI makes the summary of the function's name.
            operation["summary"] = operation["description"].partition(":")[0].partition(". ")[0].rstrip(".")
            # What FastAPI answers with 422 is answered with 400 here, in our own shape.
            operation["responses"].pop("422", None)
    for schema in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(schema, None)
    return document
