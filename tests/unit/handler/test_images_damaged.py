"""Whatever damage a picture has, it is either read or refused as the caller's error; and never read by half."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.errors import InvalidImage, RequestError
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from tests.cases.jpegs import in_separate_scans
from tests.cases.metadata import pictures_with_metadata
from tests.mutations import mutate
from tests.unit.handler.pictures import encode, exif, picture, png, png_chunk, samples

SAMPLES = samples()
CONTENTS = {name: sample.content for name, sample in SAMPLES.items()} | {
    # What is read at a second attempt, or in another way.
    "jpeg without its end": SAMPLES["jpeg"].content[:-2],
    "jpeg progressive without its end": SAMPLES["jpeg progressive"].content[:-2],
    "jpeg with restart markers": encode(picture(64, 64), "JPEG", restart_marker_blocks=3),
    "jpeg in separate scans": in_separate_scans(picture(64, 64)),
    **{
        case.name: case.content
        for case in pictures_with_metadata()
        if case.name
        in (
            "PNG, huge profile before",
            "PNG, a wrong checksum and transparency",
            "PNG, a wrong checksum and EXIF before it",
            "WebP lossless, claims nothing",
            "WebP with alpha, claims more",
            "TIFF, its description lies outside",
        )
    },
}
METADATA = {
    b"eXIf": exif(6)[6:],
    b"tRNS": bytes(6),
    b"tEXt": b"Raw profile type exif\0\nexif\n  26\n" + exif(6).hex().encode(),
    b"zTXt": b"exif\0\0" + zlib.compress(exif(6)),
    b"iTXt": b'XML:com.adobe.xmp\0\0\0\0\0tiff:Orientation="6"',
    b"iCCP": b"profile\0\0" + zlib.compress(bytes(100)),
    b"acTL": struct.pack(">II", 1, 0),
}
MUTATIONS = 150
CUTS = 40


@pytest.fixture
def decoder() -> ImageDecoder:
    return ImageDecoder(Preprocessing(resize_size=40, crop_size=32), ImageLimits(10**6, 10**6))


@pytest.mark.parametrize("name", CONTENTS)
def test_a_picture_that_is_cut_short_is_refused_unless_all_its_pixels_are_there(
    name: str, decoder: ImageDecoder
) -> None:
    content = CONTENTS[name]
    whole = decoder.decode(content).pixels

    lengths = [*np.linspace(1, len(content) - 1, CUTS, dtype=int), len(content) - 4]
    results = [decode_if_readable(content[:length], decoder) for length in lengths]

    assert all(np.array_equal(result, whole) for result in results if result is not None)
    # Animations and files of several pages go on long after their first picture is complete.
    assert sum(result is None for result in results) >= CUTS // 3


@pytest.mark.parametrize("name", ["jpeg", "jpeg progressive", "png", "webp", "gif", "bmp", "tiff", "tiff lzw", "avif"])
def test_half_a_picture_is_invalid(name: str, decoder: ImageDecoder) -> None:
    content = CONTENTS[name]

    with pytest.raises(InvalidImage, match="cut short"):
        decoder.decode(content[: len(content) // 2])


@pytest.mark.parametrize("name", CONTENTS)
def test_mutated_pictures_are_read_or_refused(name: str, decoder: ImageDecoder) -> None:
    chance = random.Random(name)  # noqa: S311 - the same mutations in every run

    results = [decode_if_readable(mutate(CONTENTS[name], chance), decoder) for _ in range(MUTATIONS)]

    assert any(result is None for result in results)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("kind", METADATA)
def test_mutated_metadata_with_right_checksums_is_read_or_refused(
    kind: bytes, place: str, decoder: ImageDecoder
) -> None:
    # PNG's checksums keep the mutations above from ever reaching EXIF, transparency and texts.
    chance = random.Random(kind)  # noqa: S311 - the same mutations in every run
    pixels = np.asarray(picture(40, 40))
    chunks: list[Any] = [{place: png_chunk(kind, mutate(METADATA[kind], chance))} for _ in range(MUTATIONS)]

    results = [decode_if_readable(png(pixels, **chunk), decoder) for chunk in chunks]

    assert any(result is not None for result in results)


def test_more_transparency_than_a_palette_has_colors_is_ignored(decoder: ImageDecoder) -> None:
    content = CONTENTS["png palette"]
    start = content.index(b"IDAT") - 4

    decoded = decoder.decode(content[:start] + png_chunk(b"tRNS", bytes(300)) + content[start:]).pixels

    assert np.array_equal(decoded, decoder.decode(content).pixels)


def decode_if_readable(content: bytes, decoder: ImageDecoder) -> NDArray[np.uint8] | None:
    """The picture, or None where it is refused. Any error that is not the caller's goes through, and fails the test."""
    try:
        return decoder.decode(content).pixels
    except RequestError:
        return None
