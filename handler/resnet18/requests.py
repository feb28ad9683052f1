"""What a caller sent, in every form of the contract, becomes pictures and ``top_k``."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .errors import InvalidParameter, InvalidRequest, RequestError

Encoded = bytes | bytearray

#: The largest ``top_k``: the number of ImageNet's classes.
MAX_TOP_K = 1000
TOP_K_HEADER = "x-top-k"
TOP_K_FIELD = "top_k"
#: How TorchServe marks what came by ``/explanations/``.
EXPLAIN_HEADER = "explain"
#: The name under which TorchServe passes a request body that is no form.
BODY = "body"
FORM_URLENCODED = "application/x-www-form-urlencoded"
JSON = "application/json"

HOW_TO_SEND = (
    "send the picture as the request body with its Content-Type (curl -T cat.jpg), as a multipart file "
    '(curl -F file=@cat.jpg), or as JSON with base64 ({"image": "..."})'
)


@dataclass(frozen=True)
class PictureRequest:
    """One HTTP request. A picture that could not even be read from the request stands as its error."""

    pictures: list[Encoded | RequestError]
    top_k: int
    #: True for JSON ``instances``, which is answered by a list.
    is_list: bool = False
    #: The caller also wants to know why: a class activation map for each picture's top class.
    explain: bool = False


def parse_request(
    fields: Mapping[str, object], headers: Mapping[str, str], *, default_top_k: int, max_images: int
) -> PictureRequest:
    """Read one request.

    ``fields`` is TorchServe's dict: ``body`` for a raw or JSON body, else one entry for each multipart part.
    ``headers`` have lower-case names. Raises InvalidRequest or InvalidParameter.
    """
    top_k = _read_top_k(headers.get(TOP_K_HEADER, default_top_k))
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == FORM_URLENCODED:
        raise InvalidRequest(f"The body was sent as {FORM_URLENCODED}, in which a picture is lost: {HOW_TO_SEND}.")
    body = fields.get(BODY)
    if BODY not in fields or content_type.startswith("multipart/"):
        request = _parse_form(fields, top_k)
    elif content_type == JSON or isinstance(body, dict | list):
        request = _parse_json(body, top_k, max_images)
    else:
        request = PictureRequest([_as_bytes(body)], top_k)
    return replace(request, explain=headers.get(EXPLAIN_HEADER) == "True")


def _parse_form(fields: Mapping[str, object], top_k: int) -> PictureRequest:
    parts = dict(fields)
    if TOP_K_FIELD in parts:
        top_k = _read_top_k(parts.pop(TOP_K_FIELD))
    if len(parts) != 1:
        found = "no picture" if not parts else f"{len(parts)} fields besides {TOP_K_FIELD}"
        raise InvalidRequest(f"The form has {found} where one picture is expected: {HOW_TO_SEND}.")
    return PictureRequest([_as_bytes(*parts.values())], top_k)


def _parse_json(body: object, top_k: int, max_images: int) -> PictureRequest:
    if not isinstance(body, dict):  # TorchServe hands over bytes where it could not decode the JSON
        raise InvalidRequest(
            'The JSON cannot be read: send {"image": "<base64>"} or {"instances": [{"b64": "<base64>"}]}.'
        )
    unknown = body.keys() - {"image", "instances", TOP_K_FIELD}
    if unknown or ("image" in body) == ("instances" in body):
        raise InvalidRequest('The JSON must have either "image" or "instances", optionally "top_k", and nothing else.')
    if TOP_K_FIELD in body:
        top_k = _read_top_k(body[TOP_K_FIELD])
    if "image" in body:
        return PictureRequest([_decode_base64(body["image"], '"image"')], top_k)
    instances = body["instances"]
    if not isinstance(instances, list) or not 1 <= len(instances) <= max_images:
        raise InvalidRequest(f'"instances" must be a list of 1 to {max_images} objects such as {{"b64": "<base64>"}}.')
    return PictureRequest([_read_instance(instance, i) for i, instance in enumerate(instances)], top_k, is_list=True)


def _read_instance(instance: object, index: int) -> Encoded | RequestError:
    where = f'"b64" of instance {index}'
    try:
        return _decode_base64(instance.get("b64") if isinstance(instance, dict) else None, where)
    except RequestError as error:
        return error


def _decode_base64(text: object, where: str) -> bytes:
    if not isinstance(text, str):
        raise InvalidRequest(f"{where} must be a string: the picture in base64.")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        # Command-line tools wrap base64 into lines, which strict decoding refuses.
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as exc:
        raise InvalidRequest(f"{where} is not valid base64: encode the picture file's bytes in base64.") from exc


def _read_top_k(value: object) -> int:
    if isinstance(value, bytes | bytearray):
        value = value.decode("ascii", errors="replace")
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_TOP_K:
        # Nothing of the value is repeated: the message goes into logs as well.
        raise InvalidParameter(f"top_k must be a whole number from 1 to {MAX_TOP_K}.")
    return value


def _as_bytes(value: object) -> Encoded:
    """Undo TorchServe's decoding of ``text/*``: the bytes are judged by what they are, not by what they are called."""
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, bytes | bytearray):
        return value
    raise InvalidRequest(f"The picture was sent as JSON inside a form: {HOW_TO_SEND}.")
