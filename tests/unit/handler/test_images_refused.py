"""What cannot or must not be decoded is refused with a reason, before it costs anything."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFile

from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.errors import (
    ConfigurationError,
    ImageTooLarge,
    InvalidImage,
    RequestError,
    UnsupportedImage,
)
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from marserve.handler.resnet18.jpeg import MAX_JPEG_SCANS
from tests.cases.foreign_formats import FOREIGN, READABLE_TIFFS, Foreign
from tests.unit.handler.pictures import encode, picture, png_chunk, samples, tiff

SAMPLES = samples()
LIMITS = ImageLimits(max_image_bytes=1_000_000, max_image_pixels=50_000_000)
PREPROCESSING = Preprocessing(resize_size=40, crop_size=32)
PRIVATE = "the body of a private letter"
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"


def refusal(content: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        ImageDecoder(PREPROCESSING, LIMITS).decode(content)
    assert PRIVATE not in str(caught.value)
    assert "0x" not in str(caught.value)  # Pillow's messages show where an object lies in memory
    return caught.value


@pytest.mark.parametrize("case", FOREIGN, ids=lambda case: case.name)
def test_what_is_no_readable_picture_is_named_with_what_to_do(case: Foreign) -> None:
    error = refusal(case.content)

    assert isinstance(error, UnsupportedImage)
    assert f"looks like {case.found}" in str(error)
    assert case.advice in str(error)
    assert READABLE in str(error)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (PRIVATE.encode(), "text"),
        ("Geheim: schöner Brief".encode(), "text"),
        (b"BMW is no picture", "text"),
        (b"the wide road", "text"),
        (b"MMORPG", "text"),
        (b'{"image": "aGVsbG8="}', "JSON"),
        (b"\xef\xbb\xbf  [1, 2]", "JSON"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
    ],
)
def test_what_is_no_picture_is_named(content: bytes, what: str) -> None:
    error = refusal(content)

    assert isinstance(error, UnsupportedImage)
    assert f"looks like {what}: send a " in str(error)
    assert READABLE in str(error)


@pytest.mark.parametrize(("name", "content"), READABLE_TIFFS)
def test_a_tiff_that_is_no_raw_picture_is_read(name: str, content: bytes) -> None:
    assert ImageDecoder(PREPROCESSING, LIMITS).decode(content).pixels[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("cut", [5, 8, 9, 12, 40])
def test_a_tiff_that_ends_in_its_tags_is_damaged(cut: int) -> None:
    assert type(refusal(SAMPLES["tiff"].content[:8] + bytes([255]) * cut)) is InvalidImage


@pytest.mark.parametrize(
    "content",
    [bytes(1000), b"\x00", b"\xff\xd8", encode(picture(16, 16), "PPM"), encode(picture(16, 16), "TGA")],
    ids=["zeros", "one byte", "two bytes", "PPM", "TGA"],
)
def test_other_bytes_are_unsupported_and_what_is_read_is_listed(content: bytes) -> None:
    error = refusal(content)

    assert isinstance(error, UnsupportedImage)
    assert READABLE in str(error)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_what_only_begins_like_a_picture_is_invalid(name: str) -> None:
    content = SAMPLES[name.lower()].content[:20] + PRIVATE.encode()

    error = refusal(content)

    assert type(error) is InvalidImage
    assert f"begins like a {name} picture" in str(error)


@pytest.mark.parametrize("content", [b"", bytearray(), memoryview(b"")])
def test_an_empty_picture_is_invalid(content: bytes) -> None:
    with pytest.raises(InvalidImage, match="empty"):
        ImageDecoder(PREPROCESSING, LIMITS).decode(content)


def test_a_picture_of_too_many_bytes_is_refused_with_the_limit_and_its_size() -> None:
    content = SAMPLES["png"].content
    decoder = ImageDecoder(Preprocessing(), ImageLimits(len(content) - 1, 10**6))

    with pytest.raises(ImageTooLarge, match=f"{len(content):,} bytes.*{len(content) - 1:,}"):
        decoder.decode(content)
    ImageDecoder(Preprocessing(), ImageLimits(len(content), 10**6)).decode(content)


@pytest.mark.parametrize(
    "name", ["jpeg", "mpo", "png", "webp", "webp animated", "gif", "bmp", "tiff", "tiff lzw", "avif"]
)
def test_one_pixel_more_than_allowed_is_refused_before_decoding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = SAMPLES[name].content
    pixels = 64 * 64
    ImageDecoder(Preprocessing(), ImageLimits(10**6, pixels)).decode(content)
    refuse_to_decode(monkeypatch)

    with pytest.raises(ImageTooLarge, match=f"{pixels:,} pixels.*{pixels - 1:,}"):
        ImageDecoder(Preprocessing(), ImageLimits(10**6, pixels - 1)).decode(content)


def png_bomb(side: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")


def gif_bomb(side: int) -> bytes:
    # "Restore to background" makes Pillow fill a picture of this size as soon as it opens the file.
    control = b"!\xf9\x04" + bytes([2 << 2, 0, 0, 0]) + b"\x00"
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
        + control
        + b","
        + struct.pack("<HHHHB", 0, 0, side, side, 0)
        + b"\x08\x00;"
    )


def webp_bomb(side: int) -> bytes:
    canvas = (side - 1).to_bytes(3, "little") * 2
    chunks = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\x00\x00\x00" + canvas
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def tiff_bomb(side: int) -> bytes:
    content = tiff(np.zeros((1, 1), np.uint8))
    for tag in (256, 257):
        entry = struct.pack("<HHI", tag, 4, 1)
        content = content.replace(entry + struct.pack("<I", 1), entry + struct.pack("<I", side))
    return content


def jpeg_bomb(side: int) -> bytes:
    content = encode(picture(8, 8), "JPEG")
    return content.replace(struct.pack(">HH", 8, 8), struct.pack(">HH", side, side))


def bmp_bomb(side: int) -> bytes:
    content = encode(picture(8, 8), "BMP")
    return content.replace(struct.pack("<II", 8, 8), struct.pack("<II", side, side))


@pytest.mark.parametrize(
    ("make", "side"),
    [
        *((make, side) for make in (png_bomb, tiff_bomb, jpeg_bomb, bmp_bomb) for side in (8_000, 50_000)),
        # Up to twice the limit, Pillow reserves memory before it can be asked for the size.
        *((make, 50_000) for make in (gif_bomb, webp_bomb)),
    ],
)
def test_a_decompression_bomb_costs_nothing(
    make: Callable[[int], bytes], side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = make(side)
    refuse_to_decode(monkeypatch)

    error = refusal(content)

    assert isinstance(error, ImageTooLarge)
    assert f"{side * side:,} pixels" in str(error)
    assert "50,000,000" in str(error)


def test_a_progressive_jpeg_of_endless_scans_is_refused() -> None:
    content = SAMPLES["jpeg progressive"].content
    last_scan = content[content.rindex(b"\xff\xda") : -2]
    ImageDecoder(PREPROCESSING, LIMITS).decode(content)

    error = refusal(content[:-2] + last_scan * MAX_JPEG_SCANS + content[-2:])

    assert isinstance(error, UnsupportedImage)
    assert "scans" in str(error)


def test_a_run_length_encoded_bmp_is_refused() -> None:
    content = bytearray(SAMPLES["bmp palette"].content)
    content[30:34] = struct.pack("<I", 1)

    error = refusal(bytes(content))

    assert isinstance(error, UnsupportedImage)
    assert "Run-length" in str(error)


def test_a_palette_that_is_missing_is_invalid() -> None:
    content = SAMPLES["png palette"].content
    start = content.index(b"PLTE") - 4
    end = start + 12 + struct.unpack(">I", content[start : start + 4])[0]

    assert "palette" in str(refusal(content[:start] + content[end:]))


def test_values_that_are_no_numbers_are_invalid() -> None:
    pixels = np.full((64, 64), np.inf, dtype="<f4")

    assert isinstance(refusal(tiff(pixels, sample_format=3)), InvalidImage)


def test_a_lack_of_memory_is_not_taken_for_a_damaged_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_decode(monkeypatch, MemoryError())

    with pytest.raises(MemoryError):
        ImageDecoder(PREPROCESSING, LIMITS).decode(SAMPLES["png"].content)


def test_a_crop_larger_than_the_resized_picture_stops_start_up() -> None:
    with pytest.raises(ConfigurationError, match=r"resize_size = 223.*crop_size = 224.*224 or more"):
        ImageDecoder(Preprocessing(resize_size=223, crop_size=224), LIMITS)


def refuse_to_decode(monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> None:
    def load(image: Image.Image) -> None:
        raise error or AssertionError("Pixels were decoded")

    def fill(*arguments: object, **options: object) -> None:
        raise error or AssertionError("Memory for pixels was filled")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    monkeypatch.setattr("PIL.Image.core.fill", fill)
    monkeypatch.setattr("simplejpeg.decode_jpeg", fill)
