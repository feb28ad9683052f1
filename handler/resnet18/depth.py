"""Samples of more than 8 bits become 8: by the range that the file says, else by the range that its values are in.

Containers are wider than what is in them: of 12 bits stored as 16, the upper byte is nearly black. Pillow keeps the
upper byte of wide color, and knows no range for greyscale.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFile, TiffImagePlugin

from .errors import InvalidImage

#: What is put into 16 bits: masks, bytes, and the numbers of cameras and scanners.
_USUAL_BITS = (1, 8, 10, 12, 14, 16)
#: Upper bytes below this leave the two highest of 16 bits unused.
_FEW_BITS_BELOW = 64
#: What stands for white in floating point and in integers of 32 bits.
_USUAL_MAXIMA = tuple(2**bits - 1 for bits in (*_USUAL_BITS, 24, 31, 32))
#: The share of pixels that may lie outside of their range at each end: highlights, and what sharpening adds.
_OUTLIERS = 0.01
#: How far outliers lie below a range and above it, as shares of it. Above 1, highlights have no end.
_MOST_BELOW, _MOST_ABOVE = 0.05, 0.5
#: A picture that stays below this share of a range was not meant to be in it.
_LEAST_REACHED = 1 / 16
#: Outliers are looked for among this many pixels: to sort all of them takes seconds.
_MOST_SORTED = 1_000_000
#: TIFF's tags and their values (TIFF 6.0, sections 8 and 19).
_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE_VALUE, _PLANAR = 258, 262, 281, 284
_SAMPLE_FORMAT, _S_MAX_SAMPLE_VALUE = 339, 341
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PLANES, _UNSIGNED, _SIGNED = 0, 1, 2, 1, 2
_PNG_SIGNATURE_BYTES = 8
#: How Pillow calls 16 bits of which it keeps the upper byte, and 16 of which that is the lower one.
_LOWER_BYTES = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B" if sys.byteorder == "little" else ";16L"}

Bands = Sequence[Image.Image]


def load(image: Image.Image, reopen: Callable[[], Image.Image]) -> Bands:
    """Load ``image``; the bands of the lower bytes of its color where those matter and ``image`` has the upper ones.

    ``reopen`` opens the same file anew. Raises InvalidImage, and what Pillow raises for damaged files.
    """
    rawmode = ""
    if isinstance(image, ImageFile.ImageFile) and image.tile:
        _mend_wide_planes(image)
        rawmode = _rawmode(image.tile[0])
    image.load()
    if image.mode not in ("RGB", "RGBA", "CMYK") or not rawmode.endswith(tuple(_LOWER_BYTES)):
        return ()
    upper = image.split()
    # Alpha that is multiplied in was divided out again, which only leaves alpha itself as it was.
    if not _use_few_bits(upper[3:] if rawmode.startswith("RGBa") else _without_alpha(image.mode, upper)):
        return ()
    return _load_lower_bytes(reopen())


def narrow(image: Image.Image, lower: Bands, content: bytes) -> Image.Image:
    """The loaded ``image`` in a mode of at most 8 bits a sample. ``lower`` is what ``load`` answered of ``content``.

    Raises InvalidImage.
    """
    if image.mode.startswith("I;16"):
        return _narrow_grey(image, content)
    if image.mode in ("I", "F") or _tag(image, _SAMPLE_FORMAT, _UNSIGNED) == _SIGNED:
        return _scale(image)
    return _narrow_color(image, lower, content)


def _narrow_grey(image: Image.Image, content: bytes) -> Image.Image:
    grey: NDArray[np.uint16] = np.asarray(image)
    narrowed = Image.fromarray((grey >> 8).astype(np.uint8))
    if _use_few_bits([narrowed]):
        lower = Image.fromarray((grey & 0xFF).astype(np.uint8))
        narrowed = _join(narrowed, lower, _used_bits([narrowed], [lower], _declared_bits(image, content)))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        narrowed.paste(255, mask=Image.fromarray(grey == transparent))
    return _as_black_is_zero(narrowed, image)


def _narrow_color(image: Image.Image, lower: Bands, content: bytes) -> Image.Image:
    transparent = image.info.get("transparency")
    bits = 16
    if lower:
        upper = image.split()
        colors = _without_alpha(image.mode, upper)
        bits = _used_bits(colors, _without_alpha(image.mode, lower), _declared_bits(image, content))
        # Alpha may use all bits where colors do not.
        depths = [
            bits if index < len(colors) or _largest([band]) < 2 ** max(bits - 8, 0) else 16
            for index, band in enumerate(upper)
        ]
        image = Image.merge(image.mode, [_join(*bands) for bands in zip(upper, lower, depths, strict=True)])
    if isinstance(transparent, tuple) and (lower or max(transparent) > 255):
        # A color of 16 bits, of which Pillow would take the lower byte.
        image.info["transparency"] = tuple(value >> max(bits - 8, 0) for value in transparent)
    return image


def _without_alpha(mode: str, bands: Bands) -> Bands:
    return bands[:3] if mode == "RGBA" else bands


def _use_few_bits(upper: Bands) -> bool:
    """Whether the two highest bits of all samples, of which these are the ``upper`` bytes, are 0."""
    return _largest(upper) < _FEW_BITS_BELOW


def _used_bits(upper: Bands, lower: Bands, declared: int) -> int:
    largest = 256 * _largest(upper) + (255 if _largest(upper) else _largest(lower))
    if declared and largest < 2**declared:
        return declared
    # Bytes that were multiplied by 256 or 257 are a dark picture.
    differences = [ImageChops.difference(*bands) for bands in zip(upper, lower, strict=True)]
    if _largest(lower) == 0 or _largest(differences) == 0:
        return 16
    return next(bits for bits in _USUAL_BITS if largest < 2**bits)


def _join(upper: Image.Image, lower: Image.Image, bits: int) -> Image.Image:
    """The upper 8 of ``bits``."""
    if bits == 16:
        return upper
    if bits == 1:
        return lower.point(lambda value: 255 * value)
    lowest = lower.point([value >> (bits - 8) for value in range(256)])
    return ImageChops.add(upper.point([min(value << (16 - bits), 255) for value in range(256)]), lowest)


def _scale(image: Image.Image) -> Image.Image:
    """Signed integers, those of 32 bits, and floating point, which have no fixed range."""
    values: NDArray[Any] = np.asarray(image)
    maxima = _USUAL_MAXIMA
    if image.mode != "F":
        bits = _tag(image, _BITS_PER_SAMPLE, 32)
        if _tag(image, _SAMPLE_FORMAT, _UNSIGNED) == _SIGNED:
            largest = 2 ** (bits - 1) - 1
            maxima = (*(maximum for maximum in maxima if maximum < largest), largest)
            values = values.view(np.int8) if bits == 8 else values
        elif bits == 32:
            values = values.view(np.uint32)  # Pillow reads them as signed
    is_finite = np.isfinite(values)
    finite = values.reshape(-1) if is_finite.all() else values[is_finite]
    if 2 * finite.size < values.size:
        raise InvalidImage("Most of the picture's values are no numbers: save it with 8 or 16 bits a channel.")
    low, high = _find_range(finite, maxima)
    if finite.size < values.size:
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    scale = 255 / (high - low) if high > low else 0.0
    # Half a step, because the conversion to bytes cuts off.
    grey = Image.fromarray(values.astype(np.float32)).point(lambda value: value * scale + (0.5 - low * scale))
    return _as_black_is_zero(grey.convert("L"), image)


def _find_range(values: NDArray[Any], maxima: Sequence[int]) -> tuple[float, float]:
    """What stands for black and for white: 0 and the first of ``maxima`` that fits, else where most values lie."""
    floating = values.dtype.kind == "f"
    some = values[:: max(1, values.size // _MOST_SORTED)].astype(np.float64)
    low, high = map(float, np.quantile(some, (_OUTLIERS, 1 - _OUTLIERS)))
    smallest, largest = float(values.min()), float(values.max())
    if floating and low < -_MOST_BELOW and low >= -1 and high <= 1 and max(-smallest, largest) <= 1 + _MOST_ABOVE:
        return -1, 1
    for maximum in maxima:
        fits = low >= -_MOST_BELOW * maximum and high <= maximum
        if maximum == 1 and floating:
            outliers_fit = reached = True
        else:
            outliers_fit = smallest >= -_MOST_ABOVE * maximum and largest <= (1 + _MOST_ABOVE * floating) * maximum
            reached = (high if floating else largest) >= _LEAST_REACHED * maximum
        if fits and outliers_fit and reached:
            return 0, maximum
    return (low, high) if high > low else (smallest, largest)


def _as_black_is_zero(grey: Image.Image, image: Image.Image) -> Image.Image:
    """``grey``, which was read of ``image`` as it is stored."""
    return ImageChops.invert(grey) if _tag(image, _PHOTOMETRIC, _BLACK_IS_ZERO) == _WHITE_IS_ZERO else grey


def _declared_bits(image: Image.Image, content: bytes) -> int:
    """How many bits of a sample the file says are used; 0 where it says nothing that could be wrong without it."""
    if image.format == "PNG":
        return _read_significant_bits(content)
    bits = _tag(image, _BITS_PER_SAMPLE, 16)
    if 8 <= bits < 16:
        return bits
    # The first is meant for statistics, and often the largest value that occurs.
    largest = max(_tag(image, tag, 0) for tag in (_MAX_SAMPLE_VALUE, _S_MAX_SAMPLE_VALUE))
    return max(largest.bit_length(), 8) if 1 < largest < 2**16 - 1 else 0


def _read_significant_bits(content: bytes) -> int:
    """The first channel's of a PNG's chunk sBIT, which stands before palette and pixels; 0 where there is none."""
    position = _PNG_SIGNATURE_BYTES
    while (kind := content[position + 4 : position + 8]) not in (b"", b"IDAT"):
        if kind == b"sBIT":
            bits = int.from_bytes(content[position + 8 : position + 9], "big")
            return bits if 8 <= bits < 16 else 0
        position += 12 + int.from_bytes(content[position : position + 4], "big")
    return 0


def _tag(image: Image.Image, tag: int, missing: int) -> int:
    """The first value of a TIFF's ``tag``; ``missing`` where that is no whole number, and of other formats."""
    value = image.tag_v2.get(tag) if isinstance(image, TiffImagePlugin.TiffImageFile) else None
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else missing


def _largest(bands: Bands) -> int:
    return max((int(cast("tuple[float, float]", band.getextrema())[1]) for band in bands), default=0)


def _mend_wide_planes(image: ImageFile.ImageFile) -> None:
    """Pillow takes uncompressed planes of 16 bits for planes of 8."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _tag(image, _BITS_PER_SAMPLE, 1) == 16:
        order = "B" if image.tag_v2.prefix == b"MM" else "L"
        _rename(
            image, lambda rawmode: f"{rawmode};16{order}" if len(rawmode) == 1 and rawmode in "RGBACMYK" else rawmode
        )


def _load_lower_bytes(image: Image.Image) -> Bands:
    """The bands of an ``image`` of 16 bits that was not loaded yet, of which Pillow would keep the upper bytes."""
    assert isinstance(image, ImageFile.ImageFile)  # noqa: S101 - its like had raw modes
    _mend_wide_planes(image)
    rawmode = _rawmode(image.tile[0])
    if rawmode == "LA;16B":  # there is no counterpart, but four bytes a pixel
        _rename(image, lambda _: "RGBA")
        image.load()
        _, grey, _, alpha = image.split()
        return grey, grey, grey, alpha
    if rawmode.startswith("RGBa") or (image.tile[0].codec_name == "libtiff" and _tag(image, _PLANAR, 1) == _PLANES):
        # Multiplied with alpha, or read plane by plane in libtiff's own byte order.
        raise InvalidImage("The picture uses few bits of its 16: save it as PNG, or with 8 bits a channel.")
    _rename(image, lambda rawmode: rawmode[:-4] + _LOWER_BYTES[rawmode[-4:]])
    image.load()
    return image.split()


def _rawmode(tile: ImageFile._Tile) -> str:
    rawmode = tile.args[0] if isinstance(tile.args, tuple) else tile.args
    return rawmode if isinstance(rawmode, str) else ""


def _rename(image: ImageFile.ImageFile, change: Callable[[str], str]) -> None:
    """Let Pillow read the samples of ``image`` as if its raw modes were others."""
    image.tile = [
        tile._replace(
            args=(change(_rawmode(tile)), *tile.args[1:]) if isinstance(tile.args, tuple) else change(_rawmode(tile))
        )
        for tile in image.tile
    ]
