"""A JPEG is answered where all its pixels are there, and only then."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from PIL import Image

from marserve.handler.resnet18 import jpeg
from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.errors import InvalidImage, RequestError
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from tests.cases.jpegs import END, START_OF_SCAN, JpegCase, jpegs, whole_jpegs
from tests.unit.handler.pictures import encode, picture

CASES = jpegs()
LIMITS = ImageLimits(10**6, 10**6)
PREPROCESSING = Preprocessing(resize_size=40, crop_size=40)


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_jpeg_is_answered_where_all_its_pixels_are_there(case: JpegCase, mode: Literal["fast", "exact"]) -> None:
    decoder = ImageDecoder(PREPROCESSING, LIMITS, mode)

    if case.like is None:
        with pytest.raises(InvalidImage, match=case.refusal):
            decoder.decode(case.content)
    else:
        assert np.array_equal(decoder.decode(case.content).pixels, decoder.decode(case.like).pixels)


@pytest.mark.parametrize("end", [b"", END], ids=["cut", "cut and ended"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_a_jpeg_cut_anywhere_is_answered_only_where_no_more_than_its_end_is_missing(
    options: dict[str, bool], end: bytes
) -> None:
    content = encode(picture(40, 40), "JPEG", quality=80, **options)
    decoder = ImageDecoder(PREPROCESSING, LIMITS)
    whole = decoder.decode(content).pixels

    for length in range(content.index(START_OF_SCAN), len(content) - 2):
        with pytest.raises(RequestError):
            decoder.decode(content[:length] + end)
    for length in (len(content) - 2, len(content) - 1):
        assert np.array_equal(decoder.decode(content[:length] + end).pixels, whole)


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("content", whole_jpegs().values(), ids=whole_jpegs())
def test_pixels_are_those_of_pillow(
    content: bytes, mode: Literal["fast", "exact"], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = ImageDecoder(PREPROCESSING, LIMITS, mode).decode(content).pixels
    monkeypatch.setattr(jpeg, "MAX_COPIED_PIXELS", 0)
    without_copy = ImageDecoder(PREPROCESSING, LIMITS, mode).decode(content).pixels
    monkeypatch.setattr(jpeg, "_decode", refuse)
    expected = ImageDecoder(PREPROCESSING, LIMITS, mode).decode(content).pixels

    assert np.array_equal(decoded, expected)
    assert np.array_equal(without_copy, expected)


def refuse(*arguments: object, **options: object) -> Image.Image:
    raise ValueError
