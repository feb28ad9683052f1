"""What a caller sent, in every form of the contract, becomes pictures and ``top_k``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from .encodings import (
    Encoded,
    begins_like_json,
    begins_like_picture,
    begins_like_text,
    decode_base64,
    from_text,
    read_json,
    with_plus_signs,
)
from .errors import InvalidParameter, InvalidRequest, RequestError
from .groups import Buffer, decode_group

#: The largest ``top_k``: the number of ImageNet's classes.
MAX_TOP_K = 1000
TOP_K_HEADER = "x-top-k"
TOP_K_FIELD = "top_k"
#: Which class is to be explained.
CLASS_ID_HEADER = "x-class-id"
#: How TorchServe marks what came by ``/explanations/``.
EXPLAIN_HEADER = "explain"
#: The name under which TorchServe passes a request body that is no form.
BODY = "body"
FORM_URLENCODED = "application/x-www-form-urlencoded"
JSON = "application/json"
#: Of a body that is a picture and nothing else, whatever it looks like: what the web service found in a request.
BARE_PICTURE = "application/x-picture"
#: How a form begins. Its type may say something else, or name no boundary: people set that header by hand.
FORM_BEGINS = re.compile(rb"(?i)\s*--([^\r\n]{1,200})\r?\nContent-Disposition: *form-data")

#: Where JSON has a picture: our name, that of TorchServe's and KServe's own examples, and TensorFlow Serving's two.
PICTURE_KEYS = ("image", "data", "b64", "image_bytes")
INSTANCES = "instances"

HOW_TO_SEND = (
    "send the picture as the request body with its Content-Type (curl -T cat.jpg), as a multipart file "
    '(curl -F file=@cat.jpg), or as JSON with base64 ({"image": "..."})'
)


@dataclass(frozen=True)
class PictureRequest:
    """One HTTP request. A picture that could not even be read from the request stands as its error."""

    pictures: list[Buffer | RequestError]
    top_k: int
    #: True for JSON ``instances``, which is answered by a list.
    is_list: bool = False
    #: The caller also wants to know why: a class activation map for each picture.
    explain: bool = False
    #: Of this class; None: of each picture's top class.
    class_id: int | None = None


class Part(NamedTuple):
    """One field of a form."""

    name: str
    content: Encoded
    #: None: it is no file. Empty: the file input of a page, in which nothing was chosen.
    file_name: str | None = None
    content_type: str = ""


#: What tells a picture from a form's other parts, surest first.
MARKS_OF_A_PICTURE: tuple[Callable[[Part], bool], ...] = (
    lambda part: (
        begins_like_picture(part.content) or begins_like_text(part.content) or part.content_type.startswith("image/")
    ),
    lambda part: part.content_type == "application/octet-stream",
    lambda part: part.name.lower() in {"file", "image", "picture", "photo", "img", "upload", "data", BODY},
)


def parse_request(
    fields: Mapping[str, object],
    headers: Mapping[str, str],
    field_types: Mapping[str, str] | None = None,
    *,
    default_top_k: int,
    max_images: int,
) -> PictureRequest:
    """Read one request.

    ``fields`` is TorchServe's dict: ``body`` for a raw or JSON body, else one entry for each multipart part.
    ``headers`` have lower-case names; ``field_types`` are the media types of those parts that are files.
    Raises InvalidRequest or InvalidParameter.
    """
    top_k = _read_top_k(headers.get(TOP_K_HEADER, default_top_k))
    media_type = media_type_of(headers)
    body = fields.get(BODY)
    if media_type == FORM_URLENCODED:
        request = parse_urlencoded(_parts(fields, {}), top_k)
    elif media_type == BARE_PICTURE:
        request = PictureRequest([_as_bytes(body)], top_k)
    elif len(fields) == 1 and isinstance(body, bytes | bytearray) and FORM_BEGINS.match(body):
        raise InvalidRequest("The form's Content-Type is wrong or names no boundary: leave that header to your client.")
    elif BODY not in fields or media_type.startswith("multipart/"):
        request = parse_form(_parts(fields, field_types or {}), top_k)
    elif isinstance(body, bytes | bytearray) or (isinstance(body, str) and media_type != JSON):
        # TorchServe hands over JSON as it came where it has another type, or could not be decoded.
        request = parse_body(_as_bytes(body), top_k, max_images, declared_json=is_json(media_type))
    else:
        request = parse_json(body, top_k, max_images)
    if headers.get(EXPLAIN_HEADER) != "True":
        return request
    return replace(request, explain=True, class_id=_read_class_id(headers.get(CLASS_ID_HEADER)))


def parse_group(
    fields: Mapping[str, object], headers: Mapping[str, str], *, max_images: int
) -> list[PictureRequest | RequestError]:
    """Read a request of the media type ``GROUP``: as many requests as it has pictures. Raises InvalidRequest."""
    if headers.get(EXPLAIN_HEADER) == "True":
        raise InvalidRequest("Pictures of a group are not explained: send each in a request of its own.")
    body = _as_bytes(fields.get(BODY, b""))
    return [_read_member(top_k, picture) for top_k, picture in decode_group(body, max_images)]


def _read_member(top_k: int, picture: memoryview) -> PictureRequest | RequestError:
    try:
        return PictureRequest([picture], _read_top_k(top_k))
    except InvalidParameter as error:
        return error.alone()


def media_type_of(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def is_json(media_type: str) -> bool:
    return media_type.endswith(("/json", "+json"))


def parse_body(data: Encoded, top_k: int, max_images: int, *, declared_json: bool) -> PictureRequest:
    """A body that is no form: by its bytes a picture, JSON, or a picture as text. Raises as ``parse_request`` does."""
    if begins_like_json(data, declared=declared_json):
        return parse_json(read_json(data), top_k, max_images)
    return PictureRequest([from_text(data, "The body")], top_k)


def parse_json(content: object, top_k: int, max_images: int) -> PictureRequest:
    if isinstance(content, str):
        return PictureRequest([decode_base64(content, "The JSON's string")], top_k)
    if not isinstance(content, dict):
        raise InvalidRequest(
            'The JSON cannot be read as a request: send {"image": "<base64>"} or {"instances": [{"b64": "<base64>"}]}.'
        )
    keys = content.keys() - {TOP_K_FIELD}
    if len(keys) != 1 or not keys <= {*PICTURE_KEYS, INSTANCES}:
        raise InvalidRequest('The JSON must have either "image" or "instances", optionally "top_k", and nothing else.')
    if TOP_K_FIELD in content:
        top_k = _read_top_k(content[TOP_K_FIELD])
    (key,) = keys
    if key != INSTANCES:
        return PictureRequest([_read_picture(content[key], f'"{key}"')], top_k)
    instances = content[INSTANCES]
    if not isinstance(instances, list) or not 1 <= len(instances) <= max_images:
        raise InvalidRequest(f'"instances" must be a list of 1 to {max_images} objects such as {{"b64": "<base64>"}}.')
    return PictureRequest([_read_instance(instance, i) for i, instance in enumerate(instances)], top_k, is_list=True)


def _read_instance(instance: object, index: int) -> Encoded | RequestError:
    values = [instance[key] for key in PICTURE_KEYS if key in instance] if isinstance(instance, dict) else []
    try:
        return _read_picture(values[0] if len(values) == 1 else instance, f"The picture of instance {index}")
    except RequestError as error:
        return error.alone()


def _read_picture(value: object, where: str) -> Encoded:
    """A picture's value in JSON: base64, or, as TensorFlow Serving has it, an object around that."""
    text = value["b64"] if isinstance(value, dict) and value.keys() == {"b64"} else value
    if not isinstance(text, str):
        raise InvalidRequest(f"{where} must be a string: the picture in base64.")
    return decode_base64(text, where)


def parse_form(parts: Iterable[Part], top_k: int) -> PictureRequest:
    """The one picture among ``parts``, and ``top_k`` unless one of them is that. Raises as ``parse_request`` does."""
    candidates = []
    for part in parts:
        if part.name == TOP_K_FIELD and part.file_name is None:
            top_k = _read_top_k(part.content)
        else:
            candidates.append(part)
    return PictureRequest([from_text(_choose(candidates).content, "The form's field")], top_k)


def parse_urlencoded(parts: Sequence[Part], top_k: int) -> PictureRequest:
    """As ``parse_form``, where only text comes through: a picture in base64 or as a data URL."""
    parts = [part._replace(content=with_plus_signs(part.content)) for part in parts]
    if not any(begins_like_text(part.content) for part in parts):
        raise InvalidRequest(f"The body was sent as {FORM_URLENCODED}, in which a picture is lost: {HOW_TO_SEND}.")
    return parse_form(parts, top_k)


def _choose(parts: Sequence[Part]) -> Part:
    """The part with the picture: a file before a field, among several the one that is known as a picture."""
    files = [part for part in parts if part.file_name is not None]
    chosen = [part for part in files if part.file_name or part.content]
    if len(chosen) == 1:
        return chosen[0]
    pool = chosen or [part for part in parts if part.file_name is None]
    only_sure = bool(files) and not chosen  # a page whose file input was left empty
    marked = [list(filter(is_picture, pool)) for is_picture in MARKS_OF_A_PICTURE[: 1 if only_sure else None]]
    known = next(filter(None, marked), [])
    if len(known or pool) == 1 and (known or not only_sure):
        return (known or pool)[0]
    if known or (pool and not only_sure):
        found = f"{len(known or pool)} fields besides {TOP_K_FIELD}"
        found += " that may be the picture" if known else ", and none is known as a picture"
    else:
        found = "no picture" if parts else "no picture, or was cut off before its last boundary"
    raise InvalidRequest(f"The form has {found}: {HOW_TO_SEND}.")


def _read_top_k(value: object) -> int:
    if isinstance(value, bytes | bytearray):
        value = value.decode("ascii", errors="replace")
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_TOP_K:
        # Nothing of the value is repeated: the message goes into logs as well.
        raise InvalidParameter(f"top_k must be a whole number from 1 to {MAX_TOP_K}.")
    return value


def _read_class_id(value: str | None) -> int | None:
    if value is None:
        return None
    if not (value.strip().isdecimal() and len(value) < 10):
        raise InvalidParameter("class_id must be a whole number from 0.")
    return int(value)


def _parts(fields: Mapping[str, object], types: Mapping[str, str]) -> list[Part]:
    """TorchServe's fields. It keeps no file names, but only files have a type; JSON among them it has decoded."""
    parts = [
        Part(name, _as_bytes(value), "a file" if name in types else None, types.get(name, ""))
        for name, value in fields.items()
        if not isinstance(value, dict | list)
    ]
    if fields and not parts:
        raise InvalidRequest(f"The picture was sent as JSON inside a form: {HOW_TO_SEND}.")
    return parts


def _as_bytes(value: object) -> Encoded:
    """Undo TorchServe's decoding of ``text/*``: the bytes are judged by what they are, not by what they are called."""
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, bytes | bytearray):
        return value
    raise InvalidRequest(f"The form has no picture: {HOW_TO_SEND}.")
