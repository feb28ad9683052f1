"""HEIC pictures: read upright and in their colors; what the decoder must not see is refused before."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import numpy as np
import pytest

from marserve.handler.resnet18 import heif
from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.errors import ImageTooLarge, RequestError, UnsupportedImage
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from tests.cases.colors import P3, rgb_profile
from tests.cases.heic import MAX_PIXELS, PLAIN, PROFILE, READABLE, REFUSED, Readable, Refused
from tests.heic import EIGHT_BITS, GREY, SIDE, TEN_BITS, Coded, auxiliary, box, exif, grid, heic, picture
from tests.unit.handler.pictures import samples

MUTATIONS = 300
needs_decoder = pytest.mark.needs("heif")


@pytest.fixture
def decoder() -> ImageDecoder:
    preprocessing = Preprocessing(resize_size=SIDE, crop_size=SIDE)
    return ImageDecoder(preprocessing, ImageLimits(10**6, MAX_PIXELS), "exact")


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    heif.load_decoder.cache_clear()
    monkeypatch.setattr(heif, "DECODERS", {})
    yield
    heif.load_decoder.cache_clear()


def fields(pixels: np.ndarray[Any, Any]) -> list[list[int]]:
    """The mean color of the middle of each quarter, from the top left, row by row."""
    quarter, margin = SIDE // 2, 6
    middles = [
        pixels[y + margin : y + quarter - margin, x + margin : x + quarter - margin]
        for y in (0, quarter)
        for x in (0, quarter)
    ]
    return [middle.mean(axis=(0, 1)).tolist() for middle in middles]


@needs_decoder
@pytest.mark.parametrize("case", READABLE, ids=lambda case: case.name)
def test_a_picture_is_read_upright_and_in_its_colors(case: Readable, decoder: ImageDecoder) -> None:
    assert np.allclose(fields(decoder.decode(case.content).pixels), case.fields, atol=4)


@needs_decoder
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_what_is_not_read_is_refused_with_what_was_found(case: Refused, decoder: ImageDecoder) -> None:
    with pytest.raises(case.error, match=case.words):
        decoder.decode(case.content)


@needs_decoder
def test_fast_and_exact_preprocessing_agree() -> None:
    limits = ImageLimits(10**6, MAX_PIXELS)
    turned = heic([grid(2, 1, [2, 3], box(b"irot", b"\1")), picture(), picture()])
    preprocessing = Preprocessing(resize_size=40, crop_size=32)

    exact = ImageDecoder(preprocessing, limits, "exact").decode(turned)
    fast = ImageDecoder(preprocessing, limits, "fast").decode(turned)

    assert exact.crop == fast.crop
    assert np.abs(exact.pixels.astype(int) - fast.pixels).max() <= 1


@needs_decoder
def test_an_alpha_channel_is_laid_on_white(decoder: ImageDecoder) -> None:
    opaque = decoder.decode(PLAIN).pixels
    blended = decoder.decode(heic([picture(), auxiliary(b"urn:mpeg:hevc:2015:auxid:1")])).pixels

    alpha = np.array([94, 124, 80, 205])[:, None] / 255
    assert np.allclose(fields(blended), np.array(fields(opaque)) * alpha + 255 * (1 - alpha), atol=4)


@needs_decoder
def test_the_icc_profile_is_handed_over_and_nothing_that_could_turn_the_picture_again() -> None:
    content = heic([picture(EIGHT_BITS, box(b"colr", b"prof", PROFILE)), exif(6)])

    assert heif.decode_heif(content).info == {"icc_profile": PROFILE}
    assert heif.decode_heif(PLAIN).info == {}


def nclx(primaries: int, transfer: int) -> bytes:
    return box(b"colr", b"nclx", struct.pack(">HHHB", primaries, transfer, 6, 0x80))


@needs_decoder
@pytest.mark.parametrize("coded", [EIGHT_BITS, TEN_BITS, GREY], ids=["8 bits", "10 bits", "grey"])
def test_display_p3_by_its_numbers_is_the_same_as_by_its_profile(coded: Coded) -> None:
    decoder = ImageDecoder(Preprocessing(resize_size=SIDE, crop_size=SIDE), ImageLimits(10**6, MAX_PIXELS))

    plain = fields(decoder.decode(heic([picture(coded)])).pixels)
    by_numbers = fields(decoder.decode(heic([picture(coded, nclx(12, 13))])).pixels)
    by_profile = fields(decoder.decode(heic([picture(coded, box(b"colr", b"prof", rgb_profile(P3)))])).pixels)

    assert np.allclose(by_numbers, by_profile, atol=3)
    assert np.allclose(by_numbers, plain, atol=4) == (coded is GREY)  # P3 changes no grey
    assert heif.decode_heif(heic([picture(coded, nclx(1, 13))])).info == {}


@needs_decoder
def test_high_dynamic_range_is_not_shown_as_fog() -> None:
    decoder = ImageDecoder(Preprocessing(resize_size=SIDE, crop_size=SIDE), ImageLimits(10**6, MAX_PIXELS))

    grey = fields(decoder.decode(heic([picture(GREY, nclx(9, 16))])).pixels)

    # By ITU-R BT.2408, 38 % is 26 nits, an eighth of white (58 %): in sRGB 0.39.
    assert np.allclose(grey[0], 255 * 0.39, atol=6)
    assert np.allclose(grey[3], 255, atol=1)


@needs_decoder
@pytest.mark.parametrize("case", [case for case in REFUSED if case.error is ImageTooLarge], ids=lambda case: case.name)
def test_pixels_are_counted_before_the_decoder_sees_the_file(
    case: Refused, decoder: ImageDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_heif(*_: object, **__: object) -> None:
        raise AssertionError("The decoder was given the file")

    monkeypatch.setattr(heif.load_decoder(), "open_heif", open_heif)
    with pytest.raises(ImageTooLarge):
        decoder.decode(case.content)


@needs_decoder
def test_a_picture_takes_one_thread() -> None:
    assert heif.load_decoder().options.DECODE_THREADS == 1


@needs_decoder
def test_mutated_files_are_read_or_refused(decoder: ImageDecoder) -> None:
    chance = random.Random(0)  # noqa: S311 - the same mutations in every run
    tiles = [grid(2, 1, [2, 3], box(b"irot", b"\1")), picture(), picture()]
    whole = heic([*tiles, auxiliary(b"urn:mpeg:hevc:2015:auxid:1"), exif(6)])
    refused = 0
    for _ in range(MUTATIONS):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.choice((0, 1, 255, chance.randrange(256)))
        try:
            decoder.decode(content)
        except RequestError:
            refused += 1
    assert 0 < refused < MUTATIONS


@pytest.mark.parametrize("content", [PLAIN, PLAIN[:40], heic([exif(1)])], ids=["whole", "cut", "no picture"])
def test_without_a_decoder_the_refusal_says_how_to_get_it(
    content: bytes, decoder: ImageDecoder, no_decoder: None
) -> None:
    with pytest.raises(UnsupportedImage) as caught:
        decoder.decode(content)
    assert 'pip install "marserve[heif]"' in str(caught.value)
    assert "./scripts/marserve setup heif" in str(caught.value)
    assert "export it as JPEG" in str(caught.value)


@pytest.mark.parametrize(
    ("installed", "module"),
    [
        ({}, None),
        ({"pi-heif": "1.4.0"}, None),
        ({"pi-heif-decoder": "1.7.0.post4"}, None),
        ({"pillow-heif": "1.8.0"}, None),
        ({"pillow-heif": "1.8.1"}, "pillow_heif"),
        ({"pillow-heif": "1.8.0", "pi-heif-decoder": "1.8.1.post1"}, "pi_heif"),
        ({"pillow-heif": "2.0", "pi-heif-decoder": "1.10.0"}, "pillow_heif"),
    ],
)
def test_a_decoder_with_known_holes_is_not_used(
    installed: dict[str, str], module: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(metadata, "version", version)
    assert heif.find_decoder() == module


def test_avif_is_left_to_pillow(decoder: ImageDecoder) -> None:
    avif = samples()["avif"].content
    assert not heif.is_heif(avif)
    # The container's brand in the first place, as some encoders write it.
    assert not heif.is_heif(avif.replace(b"ftypavif", b"ftypmif1", 1))
    assert decoder.decode(avif.replace(b"ftypavif", b"ftypmif1", 1)).pixels.shape == (SIDE, SIDE, 3)
