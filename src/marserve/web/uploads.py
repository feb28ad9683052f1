"""The picture in a request: a multipart form's file, or the body itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)
from starlette.requests import Request

from marserve.web.bodies import stream_body
from marserve.web.errors import InvalidImage, InvalidRequest
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
        return picture
    form = _Form(options.get("boundary", ""))
    async for chunk in chunks:
        form.feed(chunk)
    return form.picture()


@dataclass
class _Part:
    segment: MultipartSegment
    chunks: list[bytes] = field(default_factory=list)


class _Form:
    """A multipart form as it arrives."""

    def __init__(self, boundary: str) -> None:
        self._parts: list[_Part] = []
        try:
            self._parser = PushMultipartParser(boundary, max_segment_count=MAX_FORM_PARTS)
        except MultipartError as exc:
            raise _unreadable(exc) from exc

    def feed(self, chunk: bytes) -> None:
        """Read on. Raises InvalidRequest."""
        try:
            for event in self._parser.parse(chunk):
                if isinstance(event, MultipartSegment):
                    self._parts.append(_Part(event))
                elif event:
                    self._parts[-1].chunks.append(event)
        except MultipartError as exc:
            raise _unreadable(exc) from exc

    def picture(self) -> bytes:
        """The one file, whatever its field is called; a lone field without a file name counts as one."""
        try:
            self._parser.close()
        except MultipartError as exc:
            raise _unreadable(exc) from exc
        files = [part for part in self._parts if part.segment.filename is not None]
        if not files and len(self._parts) == 1:
            files = self._parts
        # What a browser sends for a file input in which nothing was chosen.
        files = [part for part in files if part.segment.filename != "" or part.chunks]
        if len(files) != 1:
            found = "no picture" if not files else f"{len(files)} files where one is expected"
            raise InvalidRequest(f"The form has {found}: {HOW_TO_SEND}.")
        picture = b"".join(files[0].chunks)
        if not picture:
            raise InvalidImage("The picture is empty: it has no bytes.")
        return picture


def _unreadable(failure: MultipartError) -> InvalidRequest:
    return InvalidRequest(f"The form cannot be read ({failure}): {HOW_TO_SEND}.")
