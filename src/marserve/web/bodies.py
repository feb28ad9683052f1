"""The picture in a request: a form's, JSON's, or the body itself; read within limits of bytes and of time."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import NamedTuple

import anyio
from starlette.requests import Request

from marserve.handler.resnet18.encodings import (
    Encoded,
    begins_like_json,
    begins_like_picture,
    begins_like_text,
    decode_percent,
    read_json,
)
from marserve.handler.resnet18.errors import (
    ImageTooLarge,
    InvalidImage,
    InvalidParameter,
    InvalidRequest,
    RequestError,
)
from marserve.handler.resnet18.requests import (
    FORM_BEGINS,
    FORM_URLENCODED,
    HOW_TO_SEND,
    INSTANCES,
    PICTURE_KEYS,
    Part,
    PictureRequest,
    is_json,
    parse_body,
    parse_form,
    parse_json,
    parse_urlencoded,
)
from marserve.web.errors import UnsupportedEncoding, UploadTimeout
from marserve.web.forms import MAX_FORM_PARTS, read_form
from marserve.web.settings import WebSettings

#: The name of a picture's address in forms, JSON and query strings.
ADDRESS = "url"
BEGINS_LIKE_ADDRESS = re.compile(rb"(?i)\s*https?://")

BOUNDARY = re.compile(r'(?i);\s*boundary\s*=\s*(?:"([^"\r\n]*)"|([^;\r\n]*))')


#: What is entered while a body arrives, and counts its bytes.
Arriving = Callable[[], AbstractContextManager[Callable[[int], None]]]


def uncounted() -> AbstractContextManager[Callable[[int], None]]:
    return nullcontext(lambda _: None)


class Sent(NamedTuple):
    """What a request carries."""

    picture: bytes
    #: How many classes are wanted.
    top_k: int
    #: What a form or JSON says besides, of the names that were looked for.
    fields: Mapping[str, str]
    #: Where the picture is, if it was not sent: it is empty then.
    address: str | None = None


async def read_picture(
    request: Request,
    settings: WebSettings,
    top_k: int,
    *,
    names: Collection[str] = (),
    address: str | None = None,
    arriving: Arriving = uncounted,
) -> Sent:
    """The one picture in ``request``, in any form, with ``top_k`` unless a form or JSON says another number, and with
    those fields of a form or JSON that are called one of ``names``. What the bytes are is for the handler to judge.

    ``address`` is where the picture is instead, if the request's address says so; a form or JSON may say it as ``url``.

    Raises InvalidRequest, InvalidParameter, InvalidImage, or an error of ``read_body``, which ``arriving`` is for.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    limit = f"The picture has more than {settings.max_image_bytes} bytes: send a smaller one."
    body = await read_body(
        request,
        max_bytes=settings.max_image_bytes if media_type.startswith("image/") else settings.picture_body_bytes,
        deadline_s=settings.upload_deadline_s,
        limit=limit,
        arriving=arriving,
    )
    if address is not None:
        if body:
            raise InvalidRequest("Give either the picture or its address, not both.")
        return Sent(b"", top_k, {}, address)
    fields = _Fields(names)
    found = _parse(body, content_type, media_type, top_k, fields)
    if fields.address is not None:
        return Sent(b"", found.top_k, fields.found, fields.address)
    picture = found.pictures[0]
    if isinstance(picture, RequestError):
        raise picture
    if not picture:
        raise InvalidImage("The picture is empty: it has no bytes.")
    if len(picture) > settings.max_image_bytes:
        raise ImageTooLarge(limit)
    return Sent(bytes(picture), found.top_k, fields.found)


class _Fields:
    """What a body says besides its picture."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self.found: dict[str, str] = {}
        #: Where the picture is; then an empty one stands in its place.
        self.address: str | None = None

    def take_parts(self, parts: Iterable[Part]) -> list[Part]:
        """The other parts of a form. Raises InvalidParameter."""
        others = []
        for part in parts:
            if part.name in self._names and part.file_name is None:
                self._add(part.name, part.content)
            else:
                others.append(part)
        # Forms have other fields of this name: it counts only where nothing else can be the picture.
        addresses = [part for part in others if part.name == ADDRESS and BEGINS_LIKE_ADDRESS.match(part.content)]
        if len(addresses) == 1 and not any(map(_may_be_picture, others)):
            self.address = addresses[0].content.decode("latin-1").strip()
            others.append(Part("file", b"", "a picture elsewhere"))
        return others

    def take_keys(self, content: object) -> object:
        """JSON without these keys. Raises InvalidParameter."""
        if not isinstance(content, dict):
            return content
        for name in content.keys() & set(self._names):
            self._add(name, content[name])
        others = {key: value for key, value in content.items() if key not in self._names}
        if ADDRESS in others and not others.keys() & {*PICTURE_KEYS, INSTANCES}:
            address = others.pop(ADDRESS)
            if not isinstance(address, str):
                raise InvalidParameter(f"{ADDRESS} must be text.")
            self.address = address.strip()
            others[PICTURE_KEYS[0]] = ""
        return others

    def _add(self, name: str, value: object) -> None:
        if isinstance(value, bytes | bytearray):
            try:
                value = value.decode()
            except UnicodeDecodeError as exc:
                raise InvalidParameter(f"{name} must be text in UTF-8.") from exc
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise InvalidParameter(f"{name} must be text or a number.")
        if value not in (None, ""):  # as a page sends a field that was left empty
            self.found[name] = str(value)


def _may_be_picture(part: Part) -> bool:
    if part.file_name is not None:
        return bool(part.file_name or part.content)
    return begins_like_picture(part.content) or begins_like_text(part.content)


def _parse(body: Encoded, content_type: str, media_type: str, top_k: int, fields: _Fields) -> PictureRequest:
    if not body:
        raise InvalidRequest(f"There is no picture: {HOW_TO_SEND}.")
    is_form = media_type.startswith("multipart/")
    if begins_like_picture(body) and not is_form and media_type != FORM_URLENCODED:
        return PictureRequest([body], top_k)
    begins = FORM_BEGINS.match(body)
    if begins or is_form:
        named = BOUNDARY.search(content_type)
        boundary = (named[1] or named[2] or "").strip().encode("latin-1") if named else b""
        if begins and not (boundary and begins[1].startswith(boundary)):
            boundary = begins[1]
        return parse_form(fields.take_parts(read_form(body, boundary)), top_k)
    declared_json = is_json(media_type)
    if begins_like_json(body, declared=declared_json):
        return parse_json(fields.take_keys(_of_one_picture(read_json(body))), top_k, max_images=1)
    # curl's --data-binary sends a file as it is, but -d without zero bytes and line ends.
    is_whole = (begins_like_picture(body) and b"\0" in body) or begins_like_text(body)
    if media_type == FORM_URLENCODED and not is_whole:
        pairs = [field.partition(b"=") for field in body.replace(b"+", b" ").split(b"&", MAX_FORM_PARTS)]
        parts = [Part(decode_percent(name).decode("latin-1"), decode_percent(value)) for name, _, value in pairs]
        parts = fields.take_parts(parts)
        return (parse_urlencoded if fields.address is None else parse_form)(parts, top_k)
    return parse_body(body, top_k, max_images=1, declared_json=declared_json)


def _of_one_picture(content: object) -> object:
    """``content``, unless another address answers such JSON. Raises InvalidRequest."""
    if isinstance(content, dict) and "inputs" in content:
        raise InvalidRequest('"inputs" are of the Open Inference Protocol: send this to /v2/models/{model}/infer.')
    instances = content.get(INSTANCES, [None]) if isinstance(content, dict) else [None]
    if not isinstance(instances, list) or len(instances) != 1:
        found = f"has {len(instances)}" if isinstance(instances, list) else "is none"
        raise InvalidRequest(
            f'"instances" must be a list of one picture here, and {found}: send each by itself, or all of them as one '
            "tensor to /v2/models/{model}/infer."
        )
    return content


async def read_body(
    request: Request, *, max_bytes: int, deadline_s: float, limit: str, arriving: Arriving = uncounted
) -> Encoded:
    """The whole body, counted as it arrives, whatever the headers promise. One that arrives in one piece is not copied.

    ``limit`` says what ``max_bytes`` means to the caller. ``arriving`` is entered where it is not all there yet.

    Raises ImageTooLarge as soon as it is known to be too large, UploadTimeout, UnsupportedEncoding, or Overloaded.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedEncoding("Send the body without Content-Encoding: pictures are compressed already.")
    # Python converts no more than 4300 digits, and the parser has seen to it that these make a number.
    if int(request.headers.get("content-length", "").lstrip("0") or 0) > max_bytes:
        raise ImageTooLarge(limit)
    body: Encoded = b""
    has_arrived = getattr(request.state, "has_arrived", bool)
    try:
        with ExitStack() as waiting:
            count = None if has_arrived() else waiting.enter_context(arriving())
            if count is not None:
                waiting.enter_context(anyio.fail_after(deadline_s))
            async for chunk in request.stream():
                if count is not None:
                    count(len(chunk))
                if len(body) + len(chunk) > max_bytes:
                    raise ImageTooLarge(limit)
                if not body:
                    body = chunk
                elif chunk:
                    # It grows with what has arrived, and never to what is only promised: that costs its sender nothing.
                    if isinstance(body, bytes):
                        body = bytearray(body)
                    body += chunk
    except TimeoutError as exc:
        raise UploadTimeout(
            f"The body did not arrive within {deadline_s:g} s: send it faster, or a smaller one."
        ) from exc
    return body
