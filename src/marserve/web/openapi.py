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

from marserve.handler.resnet18.requests import MAX_TOP_K
from marserve.web.content import read_template
from marserve.web.dispatch.urgency import PARAMETERS
from marserve.web.errors import DeadlineExceeded
from marserve.web.upstream.inference import PROBE

Language = Literal["en", "zh"]

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
