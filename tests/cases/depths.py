"""Pictures of more than 8 bits a sample, or of samples that stand for something else, each with its 8-bit twin."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.unit.handler.pictures import encode, png, png_chunk, tiff

Pixels = NDArray[Any]

_RGB, _CMYK = 2, 5
_SIGNED, _FLOAT = 2, 3
_MAX_SAMPLE_VALUE, _EXTRA_SAMPLES, _S_MAX_SAMPLE_VALUE = 281, 338, 341


class DepthCase(NamedTuple):
    name: str
    #: Turns the twin's pixels, (h, w) where it is ``grey`` and else (h, w, 3), into a file.
    make: Callable[[Pixels], bytes]
    grey: bool = True
    #: What the file shows of the twin's pixels.
    shows: Callable[[Pixels], Pixels] = lambda pixels: pixels
    #: The largest mean difference to that.
    tolerance: float = 0.0
    #: What a refusal says; None where the picture is read.
    refusal: str | None = None


def widened(pixels: Pixels, bits: int, dtype: str = "<u2") -> NDArray[Any]:
    """``pixels`` as numbers from 0 to 2**bits - 1."""
    values: NDArray[Any] = np.rint(pixels * ((2**bits - 1) / 255)).astype(dtype)
    return values


def as_float(pixels: Pixels, **outliers: float) -> NDArray[np.float32]:
    """``pixels`` from 0 to 1, and one pixel with each of ``outliers``."""
    values = (pixels / 255).astype("<f4")
    values.flat[1 : 1 + len(outliers)] = list(outliers.values())
    return values


def packed_12_bits(grey: Pixels) -> Pixels:
    values = widened(grey[:, : grey.shape[1] // 2 * 2], 12).reshape(len(grey), -1, 2)
    first, second = values[..., 0], values[..., 1]
    parts = [first >> 4, (first & 15) << 4 | second >> 8, second & 255]
    return np.stack(parts, axis=-1).reshape(len(grey), -1).astype(np.uint8)


def with_alpha(pixels: Pixels) -> Pixels:
    """``pixels`` and an alpha that hides nothing."""
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def cmyk(pixels: Pixels) -> Pixels:
    """Inks without black, of which Pillow makes the same colors again."""
    return np.dstack([255 - pixels, np.zeros(pixels.shape[:2], np.uint8)])


def sbit(*bits: int) -> bytes:
    return png_chunk(b"sBIT", bytes(bits))


def float_tiff(values: NDArray[Any], **options: Any) -> bytes:
    return tiff(values, sample_format=_FLOAT, **options)


def _few_bits(bits: int) -> list[DepthCase]:
    """``bits`` in a container of 16."""
    return [
        DepthCase(f"PNG grey {bits} in 16", lambda p: png(widened(p, bits))),
        DepthCase(f"PNG grey {bits} in 16 interlaced", lambda p: png(widened(p, bits), interlaced=True)),
        DepthCase(f"PNG grey {bits} in 16 sBIT", lambda p: png(widened(p, bits), before=sbit(bits))),
        DepthCase(f"PNG RGB {bits} in 16", lambda p: png(widened(p, bits)), grey=False),
        DepthCase(f"PNG RGB {bits} in 16 interlaced", lambda p: png(widened(p, bits), interlaced=True), grey=False),
        DepthCase(f"PNG RGBA {bits} in 16", lambda p: png(widened(with_alpha(p), bits)), grey=False),
        DepthCase(f"PNG grey and alpha {bits} in 16", lambda p: png(widened(with_alpha(p), bits))),
        DepthCase(f"TIFF grey {bits} in 16", lambda p: tiff(widened(p, bits))),
        DepthCase(f"TIFF grey {bits} in 16 big-endian", lambda p: tiff(widened(p, bits, ">u2"))),
        DepthCase(f"TIFF grey {bits} in 16 compressed", lambda p: tiff(widened(p, bits), deflate=True)),
        DepthCase(f"TIFF RGB {bits} in 16", lambda p: tiff(widened(p, bits), photometric=_RGB), grey=False),
        DepthCase(
            f"TIFF RGB {bits} in 16 big-endian", lambda p: tiff(widened(p, bits, ">u2"), photometric=_RGB), grey=False
        ),
        DepthCase(
            f"TIFF RGB {bits} in 16 compressed",
            lambda p: tiff(widened(p, bits), photometric=_RGB, deflate=True),
            grey=False,
        ),
        DepthCase(
            f"TIFF RGB {bits} in 16 by planes",
            lambda p: tiff(widened(p, bits), photometric=_RGB, planar=True),
            grey=False,
        ),
        DepthCase(
            f"TIFF RGBA {bits} in 16",
            lambda p: tiff(widened(with_alpha(p), bits), photometric=_RGB, tags=((_EXTRA_SAMPLES, 2),)),
            grey=False,
        ),
        DepthCase(f"TIFF CMYK {bits} in 16", lambda p: tiff(widened(cmyk(p), bits), photometric=_CMYK), grey=False),
        DepthCase(f"TIFF white is 0, {bits} in 16", lambda p: tiff(widened(255 - p, bits), photometric=0)),
        DepthCase(f"TIFF 32-bit {bits}", lambda p: tiff(widened(p, bits, "<u4"))),
        DepthCase(f"TIFF signed 32-bit {bits}", lambda p: tiff(widened(p, bits, "<i4"), sample_format=_SIGNED)),
        DepthCase(f"TIFF float {bits}", lambda p: float_tiff(widened(p, bits, "<f4"))),
    ]


def _signed_16_bits(bits: int) -> DepthCase:
    return DepthCase(f"TIFF signed 16-bit {bits}", lambda p: tiff(widened(p, bits, "<i2"), sample_format=_SIGNED))


def _is_said_to_be(name: str, make: Callable[[Pixels], bytes]) -> DepthCase:
    """A dark picture, which by its values alone would be one of fewer bits."""
    return DepthCase(name, make, shows=lambda p: p >> 2)


DEPTHS = [
    *(case for bits in (8, 10, 12, 14, 16) for case in _few_bits(bits)),
    *(_signed_16_bits(bits) for bits in (8, 10, 12, 14, 15)),
    DepthCase("TIFF signed 8-bit", lambda p: tiff((p >> 1).astype("i1"), sample_format=_SIGNED), tolerance=1),
    DepthCase("TIFF 12 bits packed", lambda p: tiff(packed_12_bits(p), bits=12)),
    DepthCase("TIFF 12 bits packed, compressed", lambda p: tiff(packed_12_bits(p), bits=12, deflate=True)),
    _is_said_to_be("PNG grey 12 in 16, dark, sBIT", lambda p: png(widened(p >> 2, 12), before=sbit(12))),
    _is_said_to_be(
        "TIFF 12 in 16, dark, MaxSampleValue", lambda p: tiff(widened(p >> 2, 12), tags=((_MAX_SAMPLE_VALUE, 4095),))
    ),
    _is_said_to_be(
        "TIFF 12 in 16, dark, SMaxSampleValue", lambda p: tiff(widened(p >> 2, 12), tags=((_S_MAX_SAMPLE_VALUE, 4095),))
    ),
    _is_said_to_be("TIFF 12 bits packed, dark", lambda p: tiff(packed_12_bits(p >> 2), bits=12)),
    # What it says is what any writer says.
    DepthCase(
        "TIFF 12 in 16, MaxSampleValue 65535", lambda p: tiff(widened(p, 12), tags=((_MAX_SAMPLE_VALUE, 65535),))
    ),
    DepthCase("PNG grey 12 in 16, sBIT 16", lambda p: png(widened(p, 12), before=sbit(16))),
    DepthCase("PNG grey 14 in 16, sBIT 10", lambda p: png(widened(p, 14), before=sbit(10))),
    DepthCase("PNG grey 12 in 16, sBIT without bits", lambda p: png(widened(p, 12), before=sbit())),
    # As the PNG specification has it: 12 bits that fill 16.
    DepthCase("PNG grey 12 to 16, sBIT", lambda p: png(widened(p, 12) << 4, before=sbit(12))),
    # Dark pictures, of 8 bits that fill 16.
    DepthCase("PNG grey 8 to 16, dark", lambda p: png((p >> 3) * np.uint16(257)), shows=lambda p: p >> 3),
    DepthCase("PNG RGB 8 to 16, dark", lambda p: png((p >> 3) * np.uint16(257)), grey=False, shows=lambda p: p >> 3),
    DepthCase("TIFF 8 to 16 by zeros, dark", lambda p: tiff((p >> 3) * np.uint16(256)), shows=lambda p: p >> 3),
    DepthCase(
        "PNG RGBA 12 in 16 beside alpha of 16",
        lambda p: png(np.dstack([widened(p, 12), np.full(p.shape[:2], 65535, "<u2")])),
        grey=False,
    ),
    DepthCase(
        "PNG mask of 0 and 1", lambda p: png((p > 127).astype(np.uint16)), shows=lambda p: (p > 127) * np.uint8(255)
    ),
    DepthCase("PNG black", lambda p: png(p.astype(np.uint16) * 0), shows=np.zeros_like),
    DepthCase(
        "PNG grey 12 in 16, a level transparent",
        lambda p: png(widened(p, 12), before=png_chunk(b"tRNS", struct.pack(">H", int(widened(p, 12)[-1, -1])))),
        shows=lambda p: np.where(p == p[-1, -1], 255, p).astype(np.uint8),
    ),
    DepthCase(
        "PNG RGB 12 in 16, a color transparent",
        lambda p: png(widened(p, 12), before=png_chunk(b"tRNS", struct.pack(">3H", *widened(p, 12)[-1, -1].tolist()))),
        grey=False,
        shows=lambda p: np.where((p == p[-1, -1]).all(-1, keepdims=True), 255, p).astype(np.uint8),
    ),
    DepthCase("TIFF white is 0, 16 bits compressed", lambda p: tiff(widened(255 - p, 16), photometric=0, deflate=True)),
    DepthCase("TIFF white is 0, float", lambda p: float_tiff(as_float(255 - p), photometric=0)),
    DepthCase("TIFF 32 bits that are used", lambda p: tiff(widened(p, 32, "<u4"))),
    DepthCase("TIFF signed 32 bits that are used", lambda p: tiff(widened(p, 31, "<i4"), sample_format=_SIGNED)),
    DepthCase("TIFF float 0 to 1", lambda p: float_tiff(as_float(p))),
    DepthCase("TIFF float -1 to 1", lambda p: float_tiff(as_float(p) * 2 - 1), tolerance=6),
    DepthCase("TIFF float, sharpened", lambda p: float_tiff(as_float(p, below=-0.2, above=1.2)), tolerance=1),
    DepthCase("TIFF float, highlights", lambda p: float_tiff(as_float(p, lamp=30.0, sun=4000.0)), tolerance=1),
    DepthCase("TIFF float, no data", lambda p: float_tiff(as_float(p, nothing=-9999.0)), tolerance=1),
    DepthCase("TIFF float, 255 sharpened", lambda p: float_tiff(as_float(p, below=-0.2, above=1.2) * 255), tolerance=1),
    DepthCase("TIFF float, not a number", lambda p: float_tiff(as_float(p, gap=np.nan)), tolerance=1),
    DepthCase("TIFF float, infinities", lambda p: float_tiff(as_float(p, below=-np.inf, above=np.inf)), tolerance=1),
    DepthCase(
        "TIFF float, mostly not a number",
        lambda p: float_tiff(np.where(p < 200, np.nan, p).astype("<f4")),
        refusal="no numbers",
    ),
    DepthCase("TIFF float 64-bit", lambda p: float_tiff(as_float(p).astype("<f8")), refusal="save the picture"),
    DepthCase("TIFF float 16-bit", lambda p: float_tiff(as_float(p).astype("<f2")), refusal="save the picture"),
    DepthCase(
        "TIFF float RGB", lambda p: float_tiff(as_float(p), photometric=_RGB), grey=False, refusal="save the picture"
    ),
    DepthCase(
        "TIFF RGB 12 in 16 by planes, compressed",
        lambda p: tiff(widened(p, 12), photometric=_RGB, planar=True, deflate=True),
        grey=False,
        refusal="few bits of its 16",
    ),
    DepthCase(
        "TIFF RGB 12 in 16, alpha multiplied in",
        lambda p: tiff(widened(with_alpha(p), 12), photometric=_RGB, tags=((_EXTRA_SAMPLES, 1),)),
        grey=False,
        refusal="few bits of its 16",
    ),
    DepthCase(
        "TIFF RGB 16 by planes, compressed",
        lambda p: tiff(widened(p, 16), photometric=_RGB, planar=True, deflate=True),
        grey=False,
    ),
    DepthCase("TIFF RGB 8 by planes", lambda p: tiff(p, photometric=_RGB, planar=True), grey=False),
    DepthCase("TIFF YCbCr", lambda p: encode(Image.fromarray(p).convert("YCbCr"), "TIFF"), grey=False, tolerance=2),
    DepthCase("TIFF LAB", lambda p: encode(Image.fromarray(p).convert("LAB"), "TIFF"), grey=False, tolerance=3),
    DepthCase("TIFF CMYK", lambda p: tiff(cmyk(p), photometric=_CMYK), grey=False),
    DepthCase("PNM", lambda p: encode(Image.fromarray(p), "PPM"), refusal="send a JPEG"),
]
