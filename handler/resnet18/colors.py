"""A picture of any mode that Pillow reads becomes 8-bit RGB or greyscale, transparency on white."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from PIL import Image

from .errors import InvalidImage

#: Pillow cannot convert premultiplied alpha but to the same without.
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_PALETTE_SIZE = 256
#: The ranges that pictures of wide or floating-point numbers are stored in; others are stretched.
_USUAL_MAXIMA = (1, 255, 65535)


def to_rgb_or_grey(image: Image.Image) -> Image.Image:
    """``image`` in mode RGB or L: greyscale stays so, since one channel is resized in a third of the time."""
    if _is_no_transparency(image.info.get("transparency")):
        del image.info["transparency"]
    if image.mode == "P" and image.palette is None:
        raise InvalidImage("The picture's palette is missing, so its colors are lost: save it again.")
    if image.mode.startswith("I;16"):
        return _narrow(image)
    if image.mode in ("I", "F"):
        return _scale(image)
    if image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if image.mode in ("RGB", "L"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _is_no_transparency(value: object) -> bool:
    """Pillow keeps a PNG's texts, of any name, where it keeps its transparency, which may be longer than a palette."""
    return isinstance(value, str) or (isinstance(value, bytes) and len(value) > _PALETTE_SIZE)


def _narrow(image: Image.Image) -> Image.Image:
    """16-bit greyscale: the upper byte, as Pillow takes it of 16-bit RGB. (Its own conversion clips at 255.)"""
    grey = np.asarray(image)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey = np.where(grey == transparent, 65535, grey)
    return Image.fromarray((grey >> 8).astype(np.uint8))


def _scale(image: Image.Image) -> Image.Image:
    """32-bit integers and floating point, which have no fixed range."""
    low, high = cast("tuple[float, float]", image.getextrema())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InvalidImage("The picture holds values that are no numbers: save it with 8 or 16 bits a channel.")
    usual = next((maximum for maximum in _USUAL_MAXIMA if low >= 0 and high <= maximum), None)
    if usual is not None:
        low, high = 0, usual
    scale = 255 / (high - low) if high > low else 0.0
    # Half a step, because the conversion to bytes cuts off.
    return image.convert("F").point(lambda value: value * scale + (0.5 - low * scale)).convert("L")
