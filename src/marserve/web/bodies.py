"""The picture in a request: a multipart form's file, or the body itself; read within limits of bytes and of time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)
from starlette.requests import Request

from marserve.handler.resnet18.errors import ImageTooLarge, InvalidImage, InvalidRequest, UnsupportedImage
from marserve.web.errors import UnsupportedEncoding, UploadTimeout
from marserve.web.settings import WebSettings

#: Bytes of a form besides its picture: boundaries, part headers, small fields.
FORM_OVERHEAD_BYTES = 65_536
MAX_FORM_PARTS = 16

HOW_TO_SEND = "send the picture as a multipart file (curl -F file=@cat.jpg) or as the request body (curl -T cat.jpg)"


async def read_picture(request: Request, settings: WebSettings) -> bytes:
    """The bytes of the one picture in ``request``; what they are is for the handler to judge.

    Raises InvalidRequest, InvalidImage, or an error of ``stream_body``.
    """
    media_type, options = parse_options_header(request.headers.get("content-type", ""))
    if media_type == "application/x-www-form-urlencoded":
        raise InvalidRequest(f"The body was sent as {media_type}, in which a picture is lost: {HOW_TO_SEND}.")
    is_form = media_type == "multipart/form-data"
    chunks = stream_body(
        request,
        max_bytes=settings.max_image_bytes + (FORM_OVERHEAD_BYTES if is_form else 0),
        deadline_s=settings.upload_deadline_s,
        limit=f"The picture has more than {settings.max_image_bytes} bytes: send a smaller one.",
    )
    if not is_form:
        picture = b"".join([chunk async for chunk in chunks])
        if not picture:
            raise InvalidRequest(f"There is no picture: {HOW_TO_SEND}.")
        if media_type == "application/json" and picture.lstrip()[:1] in (b"{", b"["):
            raise UnsupportedImage(f"JSON is taken at /v2/models/{{model}}/infer; here {HOW_TO_SEND}.")
        return picture
    return await _read_form(chunks, options.get("boundary", ""))


async def _read_form(chunks: AsyncIterator[bytes], boundary: str) -> bytes:
    """The one file, whatever its field is called; a lone field without a file name counts as one."""
    parts: list[tuple[str | None, list[bytes]]] = []  # file name and content
    try:
        parser = PushMultipartParser(boundary, max_segment_count=MAX_FORM_PARTS)
        async for chunk in chunks:
            for event in parser.parse(chunk):
                if isinstance(event, MultipartSegment):
                    parts.append((event.filename, []))
                elif event:
                    parts[-1][1].append(event)
        parser.close()
    except MultipartError as exc:
        raise InvalidRequest(f"The form cannot be read ({exc}): {HOW_TO_SEND}.") from exc
    files = [part for part in parts if part[0] is not None] or (parts if len(parts) == 1 else [])
    # A browser sends an empty name and no content for a file input in which nothing was chosen.
    pictures = [content for name, content in files if name != "" or content]
    if len(pictures) != 1:
        found = "no picture" if not pictures else f"{len(pictures)} files where one is expected"
        raise InvalidRequest(f"The form has {found}: {HOW_TO_SEND}.")
    picture = b"".join(pictures[0])
    if not picture:
        raise InvalidImage("The picture is empty: it has no bytes.")
    return picture


async def stream_body(request: Request, *, max_bytes: int, deadline_s: float, limit: str) -> AsyncIterator[bytes]:
    """The chunks of the body, counted as they arrive, whatever the headers promise.

    ``limit`` says what ``max_bytes`` means to the caller.

    Raises ImageTooLarge as soon as it is known to be too large, UploadTimeout, or UnsupportedEncoding.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedEncoding("Send the body without Content-Encoding: pictures are compressed already.")
    promised = request.headers.get("content-length", "")
    if promised.isdecimal() and int(promised) > max_bytes:
        raise ImageTooLarge(limit)
    received = 0
    chunks = request.stream()
    give_up = anyio.current_time() + deadline_s
    while True:
        try:
            with anyio.fail_after(give_up - anyio.current_time()):
                chunk = await anext(chunks, None)
        except TimeoutError as exc:
            raise UploadTimeout(
                f"The body did not arrive within {deadline_s:g} s: send it faster, or a smaller one."
            ) from exc
        if chunk is None:
            return
        received += len(chunk)
        if received > max_bytes:
            raise ImageTooLarge(limit)
        if chunk:
            yield chunk
