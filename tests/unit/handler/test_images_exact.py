"""``exact`` is torchvision's documented transform, to the bit."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from marserve.handler.resnet18.resizing import MAX_ASPECT_RATIO
from tests.support import CAT, PHOTOS
from tests.unit.handler.pictures import encode, picture, png

LIMITS = ImageLimits(max_image_bytes=10_000_000, max_image_pixels=10_000_000)
PREPROCESSINGS = [
    Preprocessing(),
    Preprocessing(interpolation="bicubic"),
    Preprocessing(resize_size=342, crop_size=299, interpolation="bilinear"),
    Preprocessing(resize_size=320, crop_size=299, interpolation="bicubic"),
    Preprocessing(resize_size=232, crop_size=224),
    Preprocessing(resize_size=224, crop_size=224, interpolation="bicubic"),
]
SIZES = [
    (500, 375),
    (375, 500),
    (333, 500),
    (640, 427),
    (451, 300),
    (1023, 767),
    (256, 256),
    (257, 256),
    (224, 224),
    (255, 341),
    (97, 61),
    (31, 640),
    (2, 3),
    (1, 1),
    (1, 40),
    (1900, 1001),
]


def torchvision_transform(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    transform = Compose(
        [
            Resize(preprocessing.resize_size, InterpolationMode(preprocessing.interpolation)),
            CenterCrop(preprocessing.crop_size),
        ]
    )
    return np.asarray(transform(image))


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS, ids=lambda value: "-".join(map(str, dict(value).values())))
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))
def test_exact_equals_torchvision_to_the_bit(size: tuple[int, int], preprocessing: Preprocessing) -> None:
    image = picture(*size)

    decoded = ImageDecoder(preprocessing, LIMITS, "exact").decode(encode(image, "BMP")).pixels

    assert np.array_equal(decoded, torchvision_transform(image, preprocessing))


def test_exact_equals_torchvision_to_the_bit_on_many_random_sizes() -> None:
    random = np.random.default_rng(0)
    decoder = ImageDecoder(Preprocessing(resize_size=73, crop_size=64), LIMITS, "exact")

    for _ in range(200):
        image = picture(*random.integers(20, 400, size=2))
        expected = torchvision_transform(image, Preprocessing(resize_size=73, crop_size=64))
        assert np.array_equal(decoder.decode(encode(image, "BMP")).pixels, expected), image.size


def test_exact_equals_torchvision_on_greyscale() -> None:
    image = picture(333, 251).convert("L")

    decoded = ImageDecoder(Preprocessing(), LIMITS, "exact").decode(encode(image, "PNG")).pixels

    assert np.array_equal(decoded, torchvision_transform(image.convert("RGB"), Preprocessing()))


def test_exact_equals_torchvision_on_the_example_photograph() -> None:
    decoded = ImageDecoder(Preprocessing(), LIMITS, "exact").decode(CAT.read_bytes()).pixels

    assert np.array_equal(decoded, torchvision_transform(Image.open(CAT).convert("RGB"), Preprocessing()))


@pytest.mark.needs("photographs")
def test_exact_equals_torchvision_on_photographs() -> None:
    decoder = ImageDecoder(Preprocessing(), LIMITS, "exact")

    for photo in sorted(PHOTOS.glob("*.JPEG")):
        expected = torchvision_transform(Image.open(photo).convert("RGB"), Preprocessing())
        assert np.array_equal(decoder.decode(photo.read_bytes()).pixels, expected), photo.name


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(3, 400), (2000, 7)], ids=["tall", "wide"])
def test_beyond_the_aspect_ratio_that_is_resized_whole_only_rounding_differs(
    size: tuple[int, int], interpolation: Literal["bilinear", "bicubic"], mode: Literal["fast", "exact"]
) -> None:
    assert max(size) > MAX_ASPECT_RATIO * min(size)
    preprocessing = Preprocessing(resize_size=64, crop_size=56, interpolation=interpolation)
    image = picture(*size)

    decoded = ImageDecoder(preprocessing, LIMITS, mode).decode(encode(image, "BMP")).pixels

    difference = np.abs(decoded.astype(int) - torchvision_transform(image, preprocessing))
    assert difference.max() <= 1


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("vertical", [True, False])
@pytest.mark.parametrize(("shorter", "longer"), [(1, 60_000), (3, 2_000_000)])
def test_a_line_of_pixels_is_cropped_without_resizing_all_of_it(
    shorter: int, longer: int, vertical: bool, mode: Literal["fast", "exact"]
) -> None:
    # Resized whole, these would have 4 and 44 thousand million pixels. Their middle is small enough for a reference.
    middle = np.random.default_rng(0).integers(0, 256, (60 * shorter, shorter), dtype=np.uint8)
    line = np.zeros((longer, shorter), np.uint8)
    start = (longer - len(middle)) // 2
    line[start : start + len(middle)] = middle
    pixels, expected = (line, middle) if vertical else (line.T, middle.T)
    decoder = ImageDecoder(Preprocessing(), LIMITS, mode)

    difference = np.abs(decoder.decode(png(pixels)).pixels.astype(int) - decoder.decode(png(expected)).pixels)

    assert difference.max() <= 2
