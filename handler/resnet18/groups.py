"""Several pictures in one request, and their answers in one reply: by length, so that nothing is copied or parsed.

A group is, for each picture, ``top_k`` and the picture's length in bytes, as two unsigned 32-bit integers in
little-endian order, and the picture itself. Its reply begins with the microseconds that the worker spent on it, one
such integer; then follow, for each picture in its order, HTTP status and length, and the JSON body that a request with
this picture alone would have been answered with. Nothing stands before, between or after.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from .errors import InvalidRequest

Buffer = bytes | bytearray | memoryview

#: The media type of a group.
GROUP = "application/x-picture-group"
#: The media type of its reply.
ANSWERS = "application/x-picture-answers"

#: ``top_k`` or status, and the length of what follows.
_HEAD = struct.Struct("<II")
_MICROSECONDS = struct.Struct("<I")
_MOST_MICROSECONDS = 2**32 - 1


def encode_group(pictures: Iterable[tuple[int, Buffer]]) -> list[Buffer]:
    """The body of a request with ``pictures``, each with its ``top_k``, in pieces to be written one after the other.

    The pictures are among the pieces as they are.
    """
    return [piece for top_k, picture in pictures for piece in (_HEAD.pack(top_k, len(picture)), picture)]


def decode_group(body: Buffer, max_pictures: int) -> list[tuple[int, memoryview]]:
    """Each picture with its ``top_k``, which may have any value; the views share the memory of ``body``.

    Raises InvalidRequest for a body that is no group of 1 to ``max_pictures``.
    """
    pictures: list[tuple[int, memoryview]] = []
    try:
        for picture in _split(memoryview(body), "picture"):
            if len(pictures) == max_pictures:
                raise ValueError(f"it has more than {max_pictures} pictures")
            pictures.append(picture)
        if not pictures:
            raise ValueError("it has no picture")
    except ValueError as exc:
        raise InvalidRequest(
            f"The body is no {GROUP} ({exc}): send top_k and length of each picture, as two unsigned 32-bit integers "
            "in little-endian order, before its bytes."
        ) from exc
    return pictures


def encode_answers(worker_seconds: float, answers: Iterable[tuple[int, bytes]]) -> bytes:
    """The reply to a group: ``answers`` are HTTP status and JSON body of each picture."""
    microseconds = min(max(round(worker_seconds * 1e6), 0), _MOST_MICROSECONDS)
    pieces = [_MICROSECONDS.pack(microseconds)]
    for status, body in answers:
        pieces += (_HEAD.pack(status, len(body)), body)
    return b"".join(pieces)


def decode_answers(body: bytes) -> tuple[float, list[tuple[int, bytes]]]:
    """The seconds that the worker spent, and HTTP status and JSON body of each picture.

    Raises ValueError for a body that is no such reply.
    """
    if len(body) < _MICROSECONDS.size:
        raise ValueError(f"it ends within the worker's time, after {len(body)} bytes")
    (microseconds,) = _MICROSECONDS.unpack_from(body)
    answers = [(status, bytes(answer)) for status, answer in _split(memoryview(body)[_MICROSECONDS.size :], "answer")]
    return microseconds / 1e6, answers


def _split(body: memoryview, what: str) -> Iterator[tuple[int, memoryview]]:
    """The number and the content of each part. Raises ValueError where ``body`` ends within one."""
    at = number = 0
    while at < len(body):
        number += 1
        start = at + _HEAD.size
        if start > len(body):
            raise ValueError(f"it ends within the head of {what} {number}")
        value, length = _HEAD.unpack_from(body, at)
        at = start + length
        if at > len(body):
            raise ValueError(f"{what} {number} should have {length} bytes and has {len(body) - start}")
        yield value, body[start:at]
