"""Whatever damage a picture has, it is either read or refused as the caller's error; and never read by half."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
import pytest

from resnet18.description import Preprocessing
from resnet18.errors import InvalidImage, RequestError
from resnet18.images import ImageDecoder, ImageLimits
from tests.unit.resnet18.pictures import exif, picture, png, png_chunk, samples

SAMPLES = samples()
CONTENTS = {name: sample.content for name, sample in SAMPLES.items()}
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
    whole = decoder.decode(content)
    refused = 0

    for length in [*np.linspace(1, len(content) - 1, CUTS, dtype=int), len(content) - 4]:
        try:
            decoded = decoder.decode(content[:length])
        except RequestError:  # noqa: PERF203 - each length by itself
            refused += 1
        else:
            assert np.array_equal(decoded, whole), length
    assert refused >= CUTS // 3  # animations and pages are long after their first picture is complete


@pytest.mark.parametrize("name", ["jpeg", "jpeg progressive", "png", "webp", "gif", "bmp", "tiff", "tiff lzw", "avif"])
def test_half_a_picture_is_invalid(name: str, decoder: ImageDecoder) -> None:
    content = CONTENTS[name]

    with pytest.raises(InvalidImage, match="cut short"):
        decoder.decode(content[: len(content) // 2])


@pytest.mark.parametrize("name", CONTENTS)
def test_mutated_pictures_are_read_or_refused(name: str, decoder: ImageDecoder) -> None:
    chance = random.Random(name)  # noqa: S311 - the same mutations in every run
    refused = sum(not is_read(mutate(CONTENTS[name], chance), decoder) for _ in range(MUTATIONS))

    assert refused > 0


def test_mutated_metadata_with_right_checksums_is_read_or_refused(decoder: ImageDecoder) -> None:
    # PNG's checksums keep the mutations above from ever reaching EXIF, transparency and texts.
    chance = random.Random(0)  # noqa: S311
    pixels = np.asarray(picture(40, 40))
    chunks = {
        b"eXIf": exif(6)[6:],
        b"tRNS": bytes(6),
        b"tEXt": b"Raw profile type exif\0\nexif\n  26\n" + exif(6).hex().encode(),
        b"zTXt": b"exif\0\0" + zlib.compress(exif(6)),
        b"iTXt": b'XML:com.adobe.xmp\0\0\0\0\0tiff:Orientation="6"',
        b"iCCP": b"profile\0\0" + zlib.compress(bytes(100)),
        b"acTL": struct.pack(">II", 1, 0),
    }
    read = 0
    for kind, content in chunks.items():
        for _ in range(MUTATIONS):
            chunk = png_chunk(kind, mutate(content, chance))
            read += is_read(png(pixels, before=chunk), decoder)
            read += is_read(png(pixels, after=chunk), decoder)

    assert read > MUTATIONS


def is_read(content: bytes, decoder: ImageDecoder) -> bool:
    """Any error that is not the caller's goes through, and fails the test."""
    try:
        decoded = decoder.decode(content)
    except RequestError:
        return False
    assert decoded.shape == (32, 32, 3)
    return True


def mutate(content: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, removed, put in or cut off; half of the time near the beginning, where headers are."""
    mutated = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        end = min(len(mutated), chance.choice((200, len(content))))
        if end == 0:
            break
        place = chance.randrange(end)
        match chance.randrange(6):
            case 0:
                mutated[place] ^= 1 << chance.randrange(8)
            case 1:
                mutated[place] = chance.choice((0, 1, 127, 128, 255))
            case 2:
                mutated[place : place + 4] = chance.randbytes(4)
            case 3:
                del mutated[place : place + chance.randrange(1, 9)]
            case 4:
                mutated[place:place] = chance.randbytes(chance.randrange(1, 5))
            case 5:
                mutated[place : place + 4] = b"\xff\xff\xff\x7f"
    return bytes(mutated)
