"""Pictures that a camera stored lying on a side are turned upright, in every format that can say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from tests.unit.handler.pictures import encode, exif, picture, png, png_chunk, tiff

Pixels = NDArray[np.uint8]
Mode = Literal["fast", "exact"]

LIMITS = ImageLimits(max_image_bytes=10_000_000, max_image_pixels=10_000_000)
#: 83 x 60 resized to 55 x 40 leaves 23 pixels beside the crop: an odd number, so that both ends are not alike.
PREPROCESSING = Preprocessing(resize_size=40, crop_size=32)
UPRIGHT = np.asarray(picture(83, 60))
#: How EXIF 2.32 (tag 274) says that the upright picture is stored: where its first row and first column went.
STORED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda upright: np.rot90(upright, -1),
}
LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True}}


def store(orientation: int, upright: Pixels = UPRIGHT) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))


def decode(content: bytes, mode: Mode) -> NDArray[np.int_]:
    return ImageDecoder(PREPROCESSING, LIMITS, mode).decode(content).pixels.astype(int)


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_turned_picture_is_seen_as_its_upright_self(orientation: int, file_format: str, mode: Mode) -> None:
    stored = store(orientation)
    if file_format == "TIFF":
        content = tiff(np.asarray(stored), photometric=2, orientation=orientation)
    else:
        content = encode(stored, file_format, exif=exif(orientation), **LOSSLESS[file_format])

    difference = np.abs(decode(content, mode) - decode(encode(Image.fromarray(UPRIGHT), "PNG"), mode))

    # Resizing before or after a turn rounds differently; exact turns first.
    assert difference.max() <= (1 if mode == "fast" else 0)


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("file_format", ["JPEG", "MPO", "AVIF"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_turned_photograph_is_seen_as_its_upright_self(orientation: int, file_format: str, mode: Mode) -> None:
    # Large enough for a scaled decode, in sizes that leave a part of the last block.
    upright = np.asarray(picture(701, 503))
    options: dict[str, Any] = {"quality": 95, "exif": exif(orientation)}
    if file_format == "MPO":
        options |= {"save_all": True, "append_images": [Image.new("RGB", (9, 9))]}

    decoded = decode(encode(store(orientation, upright), file_format, **options), mode)
    expected = decode(encode(Image.fromarray(upright), "PNG"), "exact")

    # A shift by one pixel, or a wrong turn, would show in far more than this.
    assert np.abs(decoded - expected).mean() < 1


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_an_orientation_behind_the_pixels_counts(mode: Mode) -> None:
    turned = png(np.asarray(store(6)), after=png_chunk(b"eXIf", exif(6)[6:]))

    assert np.abs(decode(turned, mode) - decode(png(UPRIGHT), mode)).max() <= 1


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"eXIf", b""),
        png_chunk(b"eXIf", b"MM\x00*"),
        png_chunk(b"eXIf", b"no EXIF at all"),
        png_chunk(b"eXIf", exif(9)[6:]),
        png_chunk(b"eXIf", exif(6)[6:-8]),
        png_chunk(b"tEXt", b"Raw profile type exif\x00\nexif\n4\nno hexadecimals"),
        png_chunk(b"zTXt", b"exif\x00\x00x\x9c\x03\x00\x00\x00\x00\x01"),
        png_chunk(b"tEXt", b"xmp\x00tiff:Orientation"),
    ],
    ids=[
        "empty",
        "no directory",
        "other bytes",
        "no such turn",
        "cut short",
        "odd text",
        "text for EXIF",
        "text for XMP",
    ],
)
def test_damaged_metadata_leaves_the_picture_as_it_is_stored(chunk: bytes) -> None:
    assert np.array_equal(decode(png(UPRIGHT, before=chunk), "exact"), decode(png(UPRIGHT), "exact"))


@pytest.mark.parametrize(
    ("orientation", "size", "expected"),
    [
        # Resized to 80 x 40, the crop is the middle 32 of both.
        (1, (200, 100), (24 / 80, 4 / 40, 56 / 80, 36 / 40)),
        (1, (100, 200), (4 / 40, 24 / 80, 36 / 40, 56 / 80)),
        (6, (200, 100), (4 / 40, 24 / 80, 36 / 40, 56 / 80)),
    ],
)
@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_the_crop_is_located_in_the_upright_picture(
    orientation: int, size: tuple[int, int], expected: tuple[float, ...], mode: Mode
) -> None:
    content = encode(picture(*size), "JPEG", exif=exif(orientation))

    region = ImageDecoder(PREPROCESSING, LIMITS, mode).decode(content).crop

    assert (region.left, region.top, region.right, region.bottom) == pytest.approx(expected)
