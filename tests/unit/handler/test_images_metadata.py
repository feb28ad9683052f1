"""What a picture's pixels do not need cannot make it unreadable, nor cost memory."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import Literal

import numpy as np
import pytest

from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.errors import InvalidImage
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from marserve.handler.resnet18.metadata import leave_out_metadata
from tests.cases.metadata import MetadataCase, pictures_with_metadata, spoil
from tests.unit.handler.pictures import picture, png, png_chunk, samples

CASES = pictures_with_metadata()
SAMPLES = samples()
LIMITS = ImageLimits(max_image_bytes=20_000_000, max_image_pixels=10**6)
PREPROCESSING = Preprocessing(resize_size=64, crop_size=64)


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
