"""A color profile is followed, as browsers do; one that is of no use changes nothing and costs little."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest
from PIL import Image, features

from marserve.handler.resnet18 import color
from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from tests.cases.colors import ADOBE, COLORS, LINEAR, P3, UNCHANGED, ColorCase, from_srgb, rgb_profile
from tests.support import CAT
from tests.unit.handler.demonstration import first_classes
from tests.unit.handler.pictures import SIDE, encode, picture

LIMITS = ImageLimits(max_image_bytes=10_000_000, max_image_pixels=1_000_000)
#: Nothing is left to resize or cut off, so that what was decoded can be seen.
WHOLE = Preprocessing(resize_size=SIDE, crop_size=SIDE)


def twin(case: ColorCase, image: Image.Image) -> Image.Image:
    return image.convert("L") if case.grey else image


@pytest.mark.parametrize("case", COLORS, ids=lambda case: case.name)
def test_colors_are_those_that_the_profile_means(case: ColorCase) -> None:
    expected = twin(case, picture(SIDE, SIDE))
    content = case.make(np.asarray(expected))

    decoded = ImageDecoder(WHOLE, LIMITS).decode(content).pixels

    difference = np.abs(decoded.astype(int) - np.asarray(expected.convert("RGB"))).mean()
    stored = ImageDecoder(WHOLE, LIMITS, "exact").decode(content).pixels
    assert difference <= case.tolerance < np.abs(stored.astype(int) - np.asarray(expected.convert("RGB"))).mean()


@pytest.mark.parametrize("case", UNCHANGED, ids=lambda case: case.name)
def test_what_means_srgb_or_nothing_changes_no_pixel(case: ColorCase) -> None:
    content = case.make(np.asarray(twin(case, picture(SIDE, SIDE))))

    decoded = ImageDecoder(WHOLE, LIMITS).decode(content).pixels

    assert np.array_equal(decoded, ImageDecoder(WHOLE, LIMITS, "exact").decode(content).pixels)


def test_the_network_gives_pictures_of_other_colors_the_label_of_their_twins() -> None:
    twins = [twin(case, Image.open(CAT)) for case in COLORS]

    found = first_classes([case.make(np.asarray(one)) for case, one in zip(COLORS, twins, strict=True)])
    assert np.array_equal(found, first_classes([encode(one, "PNG") for one in twins]))


def test_a_scaled_decode_is_converted_too() -> None:
    photograph = Image.open(CAT)
    converted = Image.fromarray(from_srgb(np.asarray(photograph), ADOBE))
    content = encode(converted, "JPEG", quality=98, subsampling=0, icc_profile=rgb_profile(ADOBE))
    decoder = ImageDecoder(Preprocessing(resize_size=40, crop_size=32), LIMITS)

    expected = decoder.decode(encode(photograph, "JPEG", quality=98, subsampling=0)).pixels

    assert np.abs(decoder.decode(content).pixels.astype(int) - expected).mean() < 2


def test_one_conversion_serves_several_threads() -> None:
    contents = [case.make(np.asarray(twin(case, picture(SIDE, SIDE)))) for case in COLORS] * 8
    decoder = ImageDecoder(WHOLE, LIMITS)
    expected = [decoder.decode(content).pixels for content in contents]
    color.conversions.clear()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda content: decoder.decode(content).pixels, contents))

    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_profile_is_read_once_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    built = mock.Mock(wraps=color.build_conversion)
    monkeypatch.setattr(color, "build_conversion", built)
    color.conversions.clear()
    decoder = ImageDecoder(WHOLE, LIMITS)
    pixels = np.asarray(picture(SIDE, SIDE))

    for number in range(2 * color.MAX_CONVERSIONS):
        profile = rgb_profile(P3) + bytes(number)
        content = encode(Image.fromarray(pixels), "PNG", icc_profile=profile)
        decoder.decode(content)
        decoder.decode(content)

    assert built.call_count == 2 * color.MAX_CONVERSIONS
    assert len(color.conversions) == color.MAX_CONVERSIONS


def test_mutated_profiles_are_answered() -> None:
    random = np.random.default_rng(0)
    decoder = ImageDecoder(WHOLE, LIMITS)
    profiles = [rgb_profile(P3), rgb_profile(LINEAR)]

    for number in range(300):
        profile = np.frombuffer(profiles[number % 2], np.uint8).copy()
        where = random.integers(0, len(profile), random.integers(1, 6))
        profile[where] = random.integers(0, 256, len(where))
        content = encode(picture(SIDE, SIDE), "PNG", icc_profile=profile.tobytes())
        assert decoder.decode(content).pixels.shape == (SIDE, SIDE, 3)


def test_without_littlecms_profiles_are_ignored_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(features, "check", lambda _: False)
    color.has_color_management.cache_clear()
    case = next(case for case in COLORS if case.name == "PNG Display P3")
    content = case.make(np.asarray(picture(SIDE, SIDE)))
    decoder = ImageDecoder(WHOLE, LIMITS)

    with caplog.at_level(logging.WARNING):
        first, second = decoder.decode(content).pixels, decoder.decode(content).pixels
    color.has_color_management.cache_clear()

    assert np.array_equal(first, ImageDecoder(WHOLE, LIMITS, "exact").decode(content).pixels)
    assert np.array_equal(first, second)
    assert [record.message for record in caplog.records] == [
        "Pillow was built without LittleCMS: the color profiles of pictures are ignored."
    ]
