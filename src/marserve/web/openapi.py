"""What /docs and /openapi.json say beyond the endpoints' own signatures."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from marserve.web.schemas import Error

DESCRIPTION = """Send a picture, read what is on it.

    curl -F file=@examples/cat.jpg http://127.0.0.1:5000/predict
    curl -T examples/cat.jpg "http://127.0.0.1:5000/classify?top_k=3" -X POST

Every failure is `{"code", "type", "message"}`; 429 and 503 have a `Retry-After`. Every answer has an `X-Request-ID`.
"""

#: Responses of every endpoint.
COMMON: dict[int | str, dict[str, Any]] = {400: {"model": Error, "description": "A parameter has an impossible value."}}
#: ... that needs a key where the service asks for one.
WITH_KEY = {**COMMON, 401: {"model": Error, "description": "An API key is missing or unknown."}}
#: ... that reads a body and asks TorchServe.
WITH_WORK = {
    **WITH_KEY,
    400: {"model": Error, "description": "No picture, a damaged one, or a parameter with an impossible value."},
    404: {"model": Error, "description": "No such model is served."},
    408: {"model": Error, "description": "The body did not arrive in time."},
    413: {"model": Error, "description": "Too many bytes or pixels."},
    415: {"model": Error, "description": "Not a picture format that is read here."},
    429: {"model": Error, "description": "This caller asks too often."},
    500: {"model": Error, "description": "A bug; the log tells more under X-Request-ID."},
    502: {"model": Error, "description": "TorchServe failed on this picture."},
    503: {"model": Error, "description": "Overloaded, or TorchServe is being started."},
    504: {"model": Error, "description": "No answer within the deadline."},
}

_BYTES = {"schema": {"type": "string", "format": "binary"}}
#: The body of /predict, /classify and /explain.
PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "image/jpeg": _BYTES,
            "image/png": _BYTES,
            "application/octet-stream": _BYTES,
        },
    }
}


def use_own_errors(app: FastAPI) -> None:
    """Leave FastAPI's 422 out of the document: what it stands for is answered with 400 in our own shape."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        for schema in ("HTTPValidationError", "ValidationError"):
            document.get("components", {}).get("schemas", {}).pop(schema, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
