"""The parts of a multipart form that is all there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from multipart import MultipartError, MultipartSegment, PushMultipartParser  # type: ignore[import-untyped]

from marserve.handler.resnet18.encodings import Encoded, decode_transfer
from marserve.handler.resnet18.errors import InvalidRequest
from marserve.handler.resnet18.requests import HOW_TO_SEND, Part

#: More than any page has.
MAX_FORM_PARTS = 1000
#: Some clients describe a part at length.
MAX_PART_HEADERS = 32
#: Such as filename*=UTF-8''%e7%8c%ab.jpg, and names without quotes, which the parser passes over.
FILE_NAME = re.compile(r"(?i);\s*filename(?:\*\d+)?\*?\s*=")
#: The head of a form's part as nearly all clients write it.
USUAL_HEAD = re.compile(
    rb'Content-Disposition: form-data; name="([\w.-]+)"(?:; filename="([\w .-]*)")?\r\n'
    rb"(?:Content-Type: ([\w.+-]+/[\w.+-]+)\r\n)?\r\n"
)


def read_form(form: Encoded, boundary: bytes) -> Iterable[Part]:
    """Raises InvalidRequest where ``form`` is not, to its end, a form with this ``boundary``."""
    if not boundary.strip():
        raise InvalidRequest("The form's Content-Type names no boundary: leave that header to your client.")
    lone = lone_part(form, boundary)
    return [lone] if lone else split_form(form, boundary)


def lone_part(form: Encoded, boundary: bytes) -> Part | None:
    """The only part of a form as nearly all clients send it; None for all others, which the parser reads."""
    delimiter = b"\r\n--" + boundary
    head = USUAL_HEAD.match(form, len(delimiter)) if form.startswith(delimiter[2:] + b"\r\n") else None
    if head is None:
        return None
    end = form.find(delimiter, head.end())
    after = end + len(delimiter)
    if end < 0 or form[after : after + 5] not in (b"--", b"--\r\n"):
        return None
    file_name = None if head[2] is None else head[2].decode()
    return Part(
        head[1].decode(), bytes(memoryview(form)[head.end() : end]), file_name, (head[3] or b"").decode().lower()
    )


def split_form(form: Encoded, boundary: bytes) -> Iterator[Part]:
    """All parts. Raises as ``read_form`` does."""
    if form.startswith(b"--" + boundary + b"\n"):
        form = _with_crlf(form, b"--" + boundary)
    parser = PushMultipartParser(
        boundary,
        max_header_count=MAX_PART_HEADERS,
        header_charset="latin-1",  # takes any bytes: file names come in the encoding of the caller's system
    )
    segment: MultipartSegment | None = None
    content: list[bytes] = []
    count = 0
    try:
        for event in parser.parse(form):  # at once: it stitches pieces together again and again
            if isinstance(event, MultipartSegment):
                segment, content = event, []
                count += 1
                if count > MAX_FORM_PARTS:
                    raise InvalidRequest(f"The form has more than {MAX_FORM_PARTS} fields: send fewer.")
            elif event:
                content.append(event)
            else:
                yield _read_part(segment, b"".join(content))
    except MultipartError as exc:
        raise InvalidRequest(f"The form cannot be read ({exc}): {HOW_TO_SEND}.") from exc
    try:
        parser.close()
    except MultipartError as exc:
        found = "ends before its last boundary, so it was cut off" if segment else "lacks its Content-Type's boundary"
        raise InvalidRequest(f"The form {found}: send it again, or the picture alone as the body.") from exc


def _read_part(segment: MultipartSegment, content: bytes) -> Part:
    file_name = segment.filename
    if file_name is None and FILE_NAME.search(segment.header("Content-Disposition")):
        file_name = "a file"
    encoding = segment.header("Content-Transfer-Encoding", "")
    return Part(segment.name, decode_transfer(content, encoding), file_name, segment.content_type or "")


def _with_crlf(form: Encoded, delimiter: bytes) -> bytes:
    """``form``, whose lines end in LF alone, as scripts write them, with those line ends that the standard wants."""
    parts = []
    for part in (b"\n" + form).split(b"\n" + delimiter, MAX_FORM_PARTS + 1):
        head, blank, content = part.partition(b"\n\n")
        parts.append(head.replace(b"\n", b"\r\n") + blank.replace(b"\n", b"\r\n") + content)
    return (b"\r\n" + delimiter).join(parts)
