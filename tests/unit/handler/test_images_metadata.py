"""What a picture's pixels do not need cannot make it unreadable, nor cost memory."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import Literal

import numpy as np
import pytest
from PIL import PngImagePlugin

from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.errors import InvalidImage
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from marserve.handler.resnet18.metadata import leave_out_metadata
from tests.cases.colors import P3, iccp, rgb_profile
from tests.cases.jpegs import segment
from tests.cases.metadata import MetadataCase, pictures_with_metadata, spoil
from tests.unit.handler.pictures import picture, png, png_chunk, samples

CASES = pictures_with_metadata()
SAMPLES = samples()
LIMITS = ImageLimits(max_image_bytes=20_000_000, max_image_pixels=10**6)
PREPROCESSING = Preprocessing(resize_size=64, crop_size=64)


def with_segments(number: int) -> bytes:
    jpeg = SAMPLES["jpeg"].content
    return jpeg[:2] + segment(0xFE, b"") * number + jpeg[2:]


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_metadata_makes_no_picture_unreadable(case: MetadataCase, mode: Literal["fast", "exact"]) -> None:
    decoder = ImageDecoder(PREPROCESSING, LIMITS, mode)

    if case.like is None:
        with pytest.raises(InvalidImage, match="cut short"):
            decoder.decode(case.content)
    else:
        assert np.array_equal(decoder.decode(case.content).pixels, decoder.decode(case.like).pixels)


@pytest.mark.parametrize("name", [name for name in SAMPLES if "animated" not in name])
def test_a_picture_without_its_metadata_shows_the_same(name: str) -> None:
    content = SAMPLES[name].content
    decoder = ImageDecoder(PREPROCESSING, LIMITS)

    plain = leave_out_metadata(content)

    if plain is not None:
        assert np.array_equal(decoder.decode(plain).pixels, decoder.decode(content).pixels)
        assert leave_out_metadata(plain) is None


def test_compressed_texts_take_no_memory() -> None:
    bomb = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 20))) * 500
    huge = png_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(100 << 20)))
    pixels = np.asarray(picture(64, 64))
    decoder = ImageDecoder(PREPROCESSING, LIMITS)

    tracemalloc.start()
    try:
        for content in (png(pixels, before=bomb), png(pixels, before=spoil(bomb) + huge), png(pixels, after=bomb)):
            decoder.decode(content)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 30_000_000


def test_of_many_profiles_the_first_is_read_and_no_other_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute for a file full of them."""
    inflated: list[bytes] = []
    inflate = PngImagePlugin._safe_zlib_decompress

    def count(content: bytes) -> bytes:
        inflated.append(content)
        return inflate(content)

    profile, other = iccp(rgb_profile(P3)), iccp(bytes(1 << 20))
    pixels = np.asarray(picture(64, 64))
    decoder = ImageDecoder(PREPROCESSING, ImageLimits(10**7, 10**6))
    one = decoder.decode(png(pixels, before=profile)).pixels
    monkeypatch.setattr(PngImagePlugin, "_safe_zlib_decompress", count)

    many = decoder.decode(png(pixels, before=profile + 100 * other)).pixels

    assert np.array_equal(many, one)
    assert len(inflated) == 1


@pytest.mark.parametrize(
    ("content", "is_read"),
    [
        pytest.param(png(np.asarray(picture(64, 64)), before=png_chunk(b"abCd", b"") * 30_000), True, id="PNG"),
        pytest.param(with_segments(30_000), False, id="JPEG"),
        pytest.param(with_segments(250), True, id="JPEG, as many as the largest profile and thumbnails need"),
    ],
)
def test_a_header_of_endless_parts_is_left_out_or_refused(content: bytes, is_read: bool) -> None:
    """Pillow takes seconds to read millions of them."""
    decoder = ImageDecoder(PREPROCESSING, ImageLimits(10**7, 10**6))
    if is_read:
        decoder.decode(content)
    else:
        with pytest.raises(InvalidImage, match="cannot be read"):
            decoder.decode(content)
