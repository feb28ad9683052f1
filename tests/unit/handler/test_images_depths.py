"""More than 8 bits a sample become the picture's 8-bit twin, or are refused: never black in silence."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from PIL import Image

from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.errors import RequestError
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from tests.cases.depths import DEPTHS, DepthCase, Pixels
from tests.support import CAT
from tests.unit.handler.demonstration import first_classes
from tests.unit.handler.pictures import SIDE, encode, picture

LIMITS = ImageLimits(max_image_bytes=10_000_000, max_image_pixels=1_000_000)
#: Nothing is left to resize or cut off, so that what was decoded can be seen.
WHOLE = Preprocessing(resize_size=SIDE, crop_size=SIDE)
READABLE = [case for case in DEPTHS if case.refusal is None]


def twin(case: DepthCase, image: Image.Image) -> Pixels:
    return np.asarray(image.convert("L") if case.grey else image)


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("case", DEPTHS, ids=lambda case: case.name)
def test_a_wide_picture_is_its_twin_or_refused(case: DepthCase, mode: Literal["fast", "exact"]) -> None:
    pixels = twin(case, picture(SIDE, SIDE))
    decoder = ImageDecoder(WHOLE, LIMITS, mode)
    content = case.make(pixels)

    if case.refusal is not None:
        with pytest.raises(RequestError, match=case.refusal):
            decoder.decode(content)
        return
    expected = Image.fromarray(case.shows(pixels)).convert("RGB")
    assert np.abs(decoder.decode(content).pixels.astype(int) - np.asarray(expected)).mean() <= case.tolerance


def test_the_network_gives_wide_pictures_the_label_of_their_twins() -> None:
    photograph = Image.open(CAT)
    pixels = {case.name: twin(case, photograph) for case in READABLE}
    found = first_classes([case.make(pixels[case.name]) for case in READABLE])
    expected = first_classes([encode(Image.fromarray(case.shows(pixels[case.name])), "PNG") for case in READABLE])

    assert dict(zip(pixels, found, strict=True)) == dict(zip(pixels, expected, strict=True))
