"""More than 8 bits a sample become the picture's 8-bit twin, or are refused: never black in silence."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.errors import RequestError
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from tests.cases.depths import DEPTHS, DepthCase, Pixels
from tests.support import CAT
from tests.unit.handler.pictures import SIDE, encode, picture
from tests.unit.handler.test_images_fast import demonstration_classifier

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
    decoder = ImageDecoder(Preprocessing(), LIMITS)
    classifier = demonstration_classifier()

    def classify(contents: list[bytes]) -> list[int]:
        pixels = np.stack([decoder.decode(content).pixels for content in contents])
        with torch.inference_mode():
            return [int(one) for one in classifier(torch.from_numpy(pixels))[0].argmax(dim=1)]

    pixels = {case.name: twin(case, photograph) for case in READABLE}
    found = classify([case.make(pixels[case.name]) for case in READABLE])
    expected = classify([encode(Image.fromarray(case.shows(pixels[case.name])), "PNG") for case in READABLE])

    assert dict(zip(pixels, found, strict=True)) == dict(zip(pixels, expected, strict=True))
