"""``fast`` stays close to ``exact``, in pixels and in what the network answers."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from tests.support import CAT, PHOTOS
from tests.unit.handler.demonstration import first_classes
from tests.unit.handler.pictures import encode, picture

LIMITS = ImageLimits(max_image_bytes=10_000_000, max_image_pixels=50_000_000)


def difference(content: bytes, preprocessing: Preprocessing) -> NDArray[np.int_]:
    fast = ImageDecoder(preprocessing, LIMITS, "fast").decode(content).pixels
    exact = ImageDecoder(preprocessing, LIMITS, "exact").decode(content).pixels
    return np.abs(fast.astype(int) - exact)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(500, 375), (341, 512), (256, 256), (97, 61), (1, 1), (31, 640)])
def test_without_a_scaled_decode_only_rounding_differs(
    size: tuple[int, int], file_format: str, interpolation: Literal["bilinear", "bicubic"]
) -> None:
    content = encode(picture(*size), file_format)

    assert difference(content, Preprocessing(interpolation=interpolation)).max() <= 1


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}])
@pytest.mark.parametrize("resize_size", [112, 64, 40, 24])
def test_a_scaled_decode_stays_close_to_the_whole_one(resize_size: int, options: dict[str, int]) -> None:
    # A photograph of 451 x 300, at scales from 1 to 1/4 and with sides that no scale divides.
    content = encode(Image.open(CAT), "JPEG", quality=90, **options)

    differences = difference(content, Preprocessing(resize_size=resize_size, crop_size=resize_size - 8))

    assert differences.mean() < 0.75
    assert differences.max() <= 8


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_scaled_decode_knows_greyscale_and_cmyk(mode: str) -> None:
    content = encode(picture(1201, 803).convert(mode), "JPEG", quality=90)

    assert difference(content, Preprocessing(resize_size=64, crop_size=56)).max() <= 3


@pytest.mark.needs("photographs")
def test_fast_costs_no_accuracy_on_photographs() -> None:
    photos = sorted(PHOTOS.glob("*.JPEG"))
    classes = np.array([int(photo.name[:4]) for photo in photos])
    contents = [photo.read_bytes() for photo in photos]

    fast, exact = (first_classes(contents, mode) for mode in ("fast", "exact"))

    assert abs((fast == classes).mean() - (exact == classes).mean()) <= 0.003
    assert (fast == exact).mean() >= 0.99
