"""Which way up a picture is meant to be seen: cameras store it as the sensor lies and note the turn in EXIF."""

from __future__ import annotations

import struct

from PIL import ExifTags, Image, TiffImagePlugin

UPRIGHT = 1
#: What Pillow raises for damaged EXIF and XMP, found in the same way as ``formats.UNREADABLE``.
UNREADABLE_EXIF = (SyntaxError, ValueError, TypeError, struct.error)
#: How a stored picture is turned upright, by EXIF orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Orientations whose stored x or y axis runs backwards in the upright picture, and those that swap the two axes.
X_REVERSED = frozenset({2, 3, 7, 8})
Y_REVERSED = frozenset({3, 4, 6, 7})
AXES_SWAPPED = frozenset({5, 6, 7, 8})


def read_orientation(image: Image.Image) -> int:
    """The EXIF orientation (1 to 8) of a loaded ``image``; 1 where it has none that makes sense."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return UPRIGHT  # Pillow turns these itself
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except UNREADABLE_EXIF:
        return UPRIGHT  # as browsers do: the pixels are whole
    return orientation if orientation in TURNS else UPRIGHT


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """``image`` itself where it is upright already, else a turned copy."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image
