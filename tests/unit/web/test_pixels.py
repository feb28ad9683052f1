"""The pixel limit: judged by the header, whatever follows it."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from marserve.handler.resnet18.errors import ImageTooLarge
from marserve.web.protection import check_pixels
from tests.heic import grid, heic, picture
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import StartService

FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"]


def encoded(image_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20)).save(buffer, image_format)
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", FORMATS)
def test_pixels_are_counted_in_every_format(image_format: str) -> None:
    content = encoded(image_format)
    check_pixels(content, 600)
    with pytest.raises(ImageTooLarge, match="600 pixels, more than the 599"):
        check_pixels(content, 599)


def test_pixels_are_counted_in_heic() -> None:
    content = heic([grid(2, 1, [2, 3]), picture(), picture()])
    check_pixels(content, 128 * 64)
    with pytest.raises(ImageTooLarge, match="8,192 pixels"):
        check_pixels(content, 128 * 64 - 1)


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff", encoded("PNG")[:20]])
def test_what_has_no_readable_header_is_left_to_the_handler(content: bytes) -> None:
    check_pixels(content, 1)


def far_behind(segments: int) -> bytes:
    """A JPEG that tells of 65,000 x 65,000 pixels after so many comments."""
    size = struct.pack(">BHHB9x", 8, 65_000, 65_000, 3)
    return b"\xff\xd8" + b"\xff\xfe\0\x02" * segments + b"\xff\xc0\0\x11" + size


def test_a_size_is_looked_for_no_further_than_photographs_have_it() -> None:
    """Each step holds up whoever else is being answered, and a file of 16 MB has room for millions."""
    with pytest.raises(ImageTooLarge):
        check_pixels(far_behind(200), 10**9)
    check_pixels(far_behind(2000), 10**9)
    check_pixels(struct.pack(">I4s4sI", 16, b"ftyp", b"heic", 0) + struct.pack(">I4s", 8, b"free") * 100_000, 1)
    check_pixels(b"P1#" + bytes(10**6), 1)


@pytest.mark.anyio
async def test_a_picture_of_too_many_pixels_never_reaches_torchserve(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    service = await start_service(max_image_pixels=599)
    reply = await service.post("/predict", encoded("PNG"))
    assert (reply.status, reply.json["type"]) == (413, "ImageTooLarge")
    assert torchserve.pictures == []
