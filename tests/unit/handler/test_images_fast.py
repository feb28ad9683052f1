"""``fast`` stays close to ``exact``, in pixels and in what the network answers."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from marserve.handler.resnet18 import resizing
from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from tests.support import CAT, PHOTOS
from tests.unit.handler.demonstration import first_classes
from tests.unit.handler.pictures import encode, exif, picture

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


@pytest.mark.needs("cykooz-resizer")
@pytest.mark.parametrize("turn", [1, 6, 7])
@pytest.mark.parametrize("size", [(260, 195), (97, 61), (1, 1), (31, 640)])
@pytest.mark.parametrize(
    ("mode", "file_format"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("RGBX", "TIFF")],
)
def test_either_way_to_resize_differs_from_exact_by_rounding(
    mode: str, file_format: str, size: tuple[int, int], turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encode(picture(*size).convert(mode), file_format, exif=exif(turn))
    preprocessing = Preprocessing(resize_size=73, crop_size=64)

    with_vectors = difference(content, preprocessing)
    monkeypatch.setattr(resizing, "vectors", None)
    with_pillow = difference(content, preprocessing)

    assert with_vectors.max() <= 1
    assert with_pillow.max() <= 1


@pytest.mark.needs("cykooz-resizer")
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_vector_instructions_round_as_exact_does(interpolation: Literal["bilinear", "bicubic"]) -> None:
    # One sample in 300, since their coefficients have 15 or 16 bits and Pillow's 22.
    for size in ((500, 375), (375, 500), (333, 500), (97, 61)):
        differences = difference(encode(picture(*size), "PNG"), Preprocessing(interpolation=interpolation))
        assert differences.mean() <= 0.005, size


@pytest.mark.needs("cykooz-resizer")
def test_vector_instructions_resize_pictures_of_any_size() -> None:
    random = np.random.default_rng(0)

    for _ in range(300):
        width, height, crop_size, margin = (int(number) for number in random.integers((1, 1, 1, 0), (300, 300, 99, 20)))
        preprocessing = Preprocessing(resize_size=crop_size + margin, crop_size=crop_size)
        content = encode(picture(width, height), "BMP")
        # Of tall pictures Pillow may resize the columns first.
        assert difference(content, preprocessing).max() <= 2, (width, height, preprocessing)


@pytest.mark.needs("cykooz-resizer")
def test_large_parts_of_pictures_are_resized_without_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [encode(picture(150, 100).convert(mode), "JPEG") for mode in ("RGB", "L", "CMYK")]
    decoder = ImageDecoder(Preprocessing(resize_size=40, crop_size=32), LIMITS)
    copied = [decoder.decode(content).pixels.astype(int) for content in contents]

    monkeypatch.setattr(resizing, "MAX_COPIED_PIXELS", 0)

    for content, expected in zip(contents, copied, strict=True):
        assert np.abs(decoder.decode(content).pixels - expected).max() <= 1


def test_threads_resize_side_by_side() -> None:
    contents = [encode(picture(width, 90), "JPEG") for width in range(60, 220, 5)]
    decoder = ImageDecoder(Preprocessing(resize_size=40, crop_size=32), LIMITS)
    alone = [decoder.decode(content).pixels for content in contents]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda content: decoder.decode(content).pixels, contents * 4))

    assert all(np.array_equal(one, other) for one, other in zip(together, alone * 4, strict=True))


def test_the_log_says_that_pillow_resizes(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "vectors", None)

    with caplog.at_level(logging.INFO):
        ImageDecoder(Preprocessing(), LIMITS)

    assert "cykooz-resizer" in caplog.text


@pytest.mark.needs("photographs")
def test_fast_costs_no_accuracy_on_photographs() -> None:
    photos = sorted(PHOTOS.glob("*.JPEG"))
    classes = np.array([int(photo.name[:4]) for photo in photos] * 2)
    contents = [photo.read_bytes() for photo in photos]
    # And mirrored: of 200 pictures, one would be more than the 0.3 points that are allowed.
    contents += [encode(ImageOps.mirror(Image.open(photo)), "JPEG", quality=95) for photo in photos]

    fast, exact = (first_classes(contents, mode) for mode in ("fast", "exact"))

    assert abs((fast == classes).mean() - (exact == classes).mean()) <= 0.003
    assert (fast == exact).mean() >= 0.99
