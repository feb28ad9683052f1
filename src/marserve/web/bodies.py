"""Reads request bodies within limits: of bytes while they arrive, whatever the headers promise, and of time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from starlette.requests import Request

from marserve.web.errors import ImageTooLarge, UnsupportedEncoding, UploadTimeout


async def stream_body(request: Request, *, max_bytes: int, deadline_s: float, limit: str) -> AsyncIterator[bytes]:
    """The chunks of the body. ``limit`` says what ``max_bytes`` means to the caller.

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
