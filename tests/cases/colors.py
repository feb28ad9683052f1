"""Pictures whose colors are not those of sRGB, each with its twin in sRGB, and profiles that are of no use."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.unit.handler.pictures import encode, png, png_chunk

Pixels = NDArray[np.uint8]
Tags = Sequence[tuple[bytes, bytes]]

#: The x and y of white, red, green and blue.
SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
DISPLAY_P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
ADOBE_RGB = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
PROPHOTO = (0.3457, 0.3585, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)
#: Bradford's adaptation, as published by Bruce Lindbloom.
_D65_TO_D50 = np.array(
    [[1.0478112, 0.0228866, -0.0501270], [0.0295424, 0.9904844, -0.0170491], [-0.0092345, 0.0150436, 0.7521316]]
)


class Space(NamedTuple):
    chromaticity: tuple[float, ...]
    #: The exponent of its curve; None: the curve of sRGB.
    exponent: float | None


def to_xyz(chromaticity: Sequence[float]) -> NDArray[np.float64]:
    """The matrix from linear RGB to XYZ as profiles have it, for D50."""
    points = np.array(chromaticity).reshape(4, 2)
    columns = np.stack([points[:, 0], points[:, 1], 1 - points.sum(1)]) / points[:, 1]
    matrix: NDArray[np.float64] = columns[:, 1:] * np.linalg.solve(columns[:, 1:], columns[:, 0])
    return matrix if points[0, 0] > 0.33 else _D65_TO_D50 @ matrix


def decode_curve(values: NDArray[np.float64], exponent: float | None) -> NDArray[np.float64]:
    if exponent is not None:
        return values**exponent
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encode_curve(values: NDArray[np.float64], exponent: float | None) -> NDArray[np.float64]:
    if exponent is not None:
        return values ** (1 / exponent)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


def from_srgb(pixels: Pixels, space: Space) -> Pixels:
    """The same colors as numbers of ``space``."""
    linear = decode_curve(pixels / 255, None)
    if pixels.ndim == 3:
        linear = linear @ np.linalg.solve(to_xyz(space.chromaticity), to_xyz(SRGB)).T
    return np.rint(encode_curve(linear.clip(0, 1), space.exponent) * 255).astype(np.uint8)


def icc(tags: Tags, space: bytes = b"RGB ", kind: bytes = b"mntr", connection: bytes = b"XYZ ") -> bytes:
    """An ICC profile of version 2 (ICC.1:2001-04)."""
    position = 128 + 4 + 12 * len(tags)
    table, content = b"", b""
    for name, data in tags:
        table += struct.pack(">4sII", name, position + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI4s4s4s12x4s28x", position + len(content), 0x02100000, kind, space, connection, b"acsp")
    white = struct.pack(">3i", 63190, 65536, 54061)
    return header + white + bytes(48) + struct.pack(">I", len(tags)) + table + content


def curve(exponent: float | None) -> bytes:
    if exponent is not None:
        return struct.pack(">4s4xIH", b"curv", 1, round(exponent * 256))
    table = np.rint(decode_curve(np.linspace(0, 1, 1024), None) * 65535).astype(">u2")
    return struct.pack(">4s4xI", b"curv", len(table)) + table.tobytes()


def rgb_profile(space: Space) -> bytes:
    colorants = np.rint(to_xyz(space.chromaticity).T * 65536).astype(int)
    return icc(
        [
            *(
                (name, struct.pack(">4s4x3i", b"XYZ ", *row))
                for name, row in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)
            ),
            *((name, curve(space.exponent)) for name in (b"rTRC", b"gTRC", b"bTRC")),
        ]
    )


def grey_profile(exponent: float) -> bytes:
    return icc([(b"kTRC", curve(exponent))], space=b"GRAY")


def cmyk_profile(grid: int = 17) -> bytes:
    """A press whose inks are darker than the numbers say: L* falls with the square of the inks' sum."""
    axes = np.meshgrid(*[np.linspace(0, 1, grid)] * 4, indexing="ij")
    light = (1 - np.minimum(sum(axes) / 4, 1)) ** 2
    lab = np.stack([light * 65280, np.full_like(light, 32768), np.full_like(light, 32768)], axis=-1)
    ramp = struct.pack(">2H", 0, 65535)
    table = struct.pack(">4s4xBBBx9iHH", b"mft2", 4, 3, grid, 65536, 0, 0, 0, 65536, 0, 0, 0, 65536, 2, 2)
    return icc(
        [(b"A2B0", table + ramp * 4 + np.rint(lab).astype(">u2").tobytes() + ramp * 3)], b"CMYK", b"prtr", b"Lab "
    )


def gama(value: float) -> bytes:
    return png_chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def chrm(chromaticity: Sequence[float]) -> bytes:
    return png_chunk(b"cHRM", struct.pack(">8I", *(round(one * 100_000) for one in chromaticity)))


def iccp(profile: bytes) -> bytes:
    return png_chunk(b"iCCP", b"a profile\0\0" + zlib.compress(profile))


def inks(grey: Pixels) -> Image.Image:
    """What ``cmyk_profile`` shows as ``grey``."""
    luminance = decode_curve(grey / 255, None)
    lightness = np.where(luminance > 216 / 24389, np.cbrt(luminance) * 1.16 - 0.16, luminance * 24389 / 2700)
    share = np.rint((1 - np.sqrt(lightness)) * 255).astype(np.uint8)
    return Image.merge("CMYK", [Image.fromarray(share)] * 4)


class ColorCase(NamedTuple):
    name: str
    #: A file that shows the twin's pixels: (h, w) where it is ``grey``, else (h, w, 3).
    make: Callable[[Pixels], bytes]
    grey: bool = False
    #: The largest mean difference to the twin, in levels.
    tolerance: float = 1.0


P3 = Space(DISPLAY_P3, None)
ADOBE = Space(ADOBE_RGB, 563 / 256)
WIDE = Space(PROPHOTO, 1.8)
LINEAR = Space(SRGB, 1.0)


def _saved(space: Space, file_format: str, **options: Any) -> Callable[[Pixels], bytes]:
    return lambda p: encode(
        Image.fromarray(from_srgb(p, space)), file_format, icc_profile=rgb_profile(space), **options
    )


COLORS = [
    ColorCase("JPEG Display P3", _saved(P3, "JPEG", quality=98, subsampling=0), tolerance=2),
    ColorCase("JPEG Adobe RGB", _saved(ADOBE, "JPEG", quality=98, subsampling=0), tolerance=2),
    ColorCase("PNG Display P3", _saved(P3, "PNG")),
    ColorCase("PNG Adobe RGB", _saved(ADOBE, "PNG")),
    ColorCase("PNG ProPhoto", _saved(WIDE, "PNG"), tolerance=2),
    ColorCase("PNG linear", _saved(LINEAR, "PNG"), tolerance=2),
    ColorCase("WebP Display P3", _saved(P3, "WEBP", lossless=True)),
    ColorCase("TIFF Display P3", _saved(P3, "TIFF")),
    ColorCase("AVIF Display P3", _saved(P3, "AVIF", quality=98), tolerance=3),
    ColorCase(
        "PNG 16 bits Display P3",
        lambda p: png(
            from_srgb(p, P3) * np.uint16(257),
            before=iccp(rgb_profile(P3)),
        ),
    ),
    ColorCase(
        "PNG grey of exponent 1",
        lambda p: encode(Image.fromarray(from_srgb(p, LINEAR)), "PNG", icc_profile=grey_profile(1.0)),
        grey=True,
        tolerance=2,
    ),
    ColorCase(
        "PNG grey with the profile of RGB",
        lambda p: encode(Image.fromarray(from_srgb(p, ADOBE)), "PNG", icc_profile=rgb_profile(ADOBE)),
        grey=True,
    ),
    ColorCase("PNG linear by gAMA", lambda p: png(from_srgb(p, LINEAR), before=gama(1.0)), tolerance=2),
    ColorCase("PNG linear grey by gAMA", lambda p: png(from_srgb(p, LINEAR), before=gama(1.0)), grey=True, tolerance=2),
    ColorCase(
        "PNG Adobe RGB by gAMA and cHRM",
        lambda p: png(from_srgb(p, ADOBE), before=gama(256 / 563) + chrm(ADOBE_RGB)),
    ),
    ColorCase("JPEG of a press", lambda p: encode(inks(p), "JPEG", quality=98, icc_profile=cmyk_profile()), True, 4),
    ColorCase("TIFF of a press", lambda p: encode(inks(p), "TIFF", icc_profile=cmyk_profile()), True, 4),
]


def _with(profile: bytes, file_format: str = "PNG") -> Callable[[Pixels], bytes]:
    return lambda p: encode(Image.fromarray(p), file_format, icc_profile=profile)


_P3_PROFILE = rgb_profile(P3)
_TRC = [(name, curve(2.2)) for name in (b"rTRC", b"gTRC", b"bTRC")]
#: What changes no pixel: it means sRGB, or is of no use.
UNCHANGED = [
    ColorCase("sRGB by LittleCMS", _with(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())),
    ColorCase("sRGB by hand", _with(rgb_profile(Space(SRGB, None)))),
    ColorCase("cut short", _with(_P3_PROFILE[:300])),
    ColorCase("its header alone", _with(_P3_PROFILE[:128])),
    ColorCase("one byte", _with(b"\0")),
    ColorCase("noise", _with(np.random.default_rng(0).bytes(2000))),
    ColorCase("noise behind a header", _with(_P3_PROFILE[:132] + np.random.default_rng(0).bytes(2000))),
    ColorCase("no signature", _with(_P3_PROFILE.replace(b"acsp", b"acs "))),
    ColorCase("no tags", _with(icc([]))),
    ColorCase("curves without colorants", _with(icc(_TRC))),
    ColorCase("a thousand million tags", _with(_P3_PROFILE[:128] + struct.pack(">I", 10**9) + _P3_PROFILE[132:])),
    ColorCase("tags beyond the end", _with(_P3_PROFILE[:136] + b"\xff\xff\xff\xf0" + _P3_PROFILE[140:])),
    ColorCase(
        "a curve of 4 thousand million points",
        _with(_P3_PROFILE.replace(b"curv\0\0\0\0\0\0\4\0", b"curv\0\0\0\0\xff\xff\xff\xff")),
    ),
    ColorCase("steps without end", _with(icc([(b"D2B0", b"mpet" + bytes(60)), (b"kTRC", curve(1.0))]))),
    ColorCase("huge", _with(_P3_PROFILE + bytes(4_000_000), "WEBP"), tolerance=3),
    ColorCase("a link of devices", _with(_P3_PROFILE.replace(b"mntr", b"link"))),
    ColorCase("names of colors", _with(_P3_PROFILE.replace(b"mntr", b"nmcl"))),
    ColorCase("of greyscale on color", _with(grey_profile(1.0))),
    ColorCase("of a press on color", _with(cmyk_profile())),
    ColorCase("of a press on greyscale", _with(cmyk_profile()), grey=True),
    ColorCase("Lab on color", _with(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())),
    ColorCase(
        "of color on inks", lambda p: encode(Image.fromarray(p).convert("CMYK"), "TIFF", icc_profile=_P3_PROFILE)
    ),
    ColorCase("a text that is called so", lambda p: png(p, before=png_chunk(b"tEXt", b"icc_profile\0P3"))),
    ColorCase("gAMA of sRGB", lambda p: png(p, before=gama(0.45455))),
    ColorCase("gAMA and cHRM of sRGB", lambda p: png(p, before=gama(0.45455) + chrm(SRGB))),
    ColorCase("gAMA beside sRGB", lambda p: png(p, before=png_chunk(b"sRGB", b"\0") + gama(1.0))),
    ColorCase("gAMA beside a profile", lambda p: png(p, before=gama(1.0) + iccp(rgb_profile(Space(SRGB, None))))),
    ColorCase("gAMA of 0", lambda p: png(p, before=gama(0))),
    ColorCase("gAMA of 40000", lambda p: png(p, before=gama(40_000))),
    ColorCase("cHRM alone", lambda p: png(p, before=chrm(DISPLAY_P3))),
    ColorCase("cHRM of nothing", lambda p: png(p, before=gama(1.0) + chrm([0] * 8))),
    ColorCase("cHRM of one point", lambda p: png(p, before=gama(1.0) + chrm([0.3] * 8))),
    ColorCase("texts that are called gamma", lambda p: png(p, before=png_chunk(b"tEXt", b"gamma\0001.0"))),
]
