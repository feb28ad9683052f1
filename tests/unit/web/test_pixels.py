"""The pixel limit: judged by the header, whatever follows it."""

from __future__ import annotations

import io

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


@pytest.mark.anyio
async def test_a_picture_of_too_many_pixels_never_reaches_torchserve(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    service = await start_service(max_image_pixels=599)
    reply = await service.post("/predict", encoded("PNG"))
    assert (reply.status, reply.json["type"]) == (413, "ImageTooLarge")
    assert torchserve.pictures == []
