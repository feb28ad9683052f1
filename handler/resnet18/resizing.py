"""A decoded picture becomes the network's crop: turned upright, the shorter side to ``resize_size``, then the centre.

The rules for sizes and offsets are those of torchvision's presets (``Resize`` and ``CenterCrop``). Which way up
a picture is meant to be seen stands in its EXIF: cameras store it as the sensor lies.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from PIL import ExifTags, Image, TiffImagePlugin

from .description import Preprocessing
from .errors import ConfigurationError

Size = tuple[int, int]
Box = tuple[float, float, float, float]

#: Of a longer (or wider) picture only the crop is computed in any case: a line of 60,000 pixels would be resized to
#: 256 x 15 million. There Pillow's boxes, in single precision, would be too coarse as well.
MAX_ASPECT_RATIO = 64

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


@dataclass(frozen=True)
class CropRegion:
    """The part of an upright picture that is the crop, in shares (0 to 1) of the picture's width and height."""

    left: float
    top: float
    right: float
    bottom: float


class CropResizer:
    """Resizes pictures and takes their centre, of ``crop_size`` squared."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        if preprocessing.resize_size < preprocessing.crop_size:
            raise ConfigurationError(
                f"resize_size = {preprocessing.resize_size} is smaller than crop_size = {preprocessing.crop_size}, so "
                f"the crop would reach beyond the picture: set resize_size to {preprocessing.crop_size} or more."
            )
        self._resize_size = preprocessing.resize_size
        self._crop_size = preprocessing.crop_size
        self._resample = Image.Resampling[preprocessing.interpolation.upper()]

    def locate_crop(self, size: Size, orientation: int) -> CropRegion:
        """The crop of a picture stored with ``size`` (width, height)."""
        width, height, left, top = self._place(size[::-1] if orientation in AXES_SWAPPED else size)
        right, bottom = left + self._crop_size, top + self._crop_size
        return CropRegion(left / width, top / height, right / width, bottom / height)

    def resize_whole(self, image: Image.Image) -> Image.Image:
        """Resize all of ``image`` and cut the crop out: what torchvision does, to the bit.

        Beyond ``MAX_ASPECT_RATIO`` it is ``resize_crop``, which differs by rounding.
        """
        width, height, left, top = self._place(image.size)
        if max(width, height) > MAX_ASPECT_RATIO * self._resize_size:
            return self.resize_crop(image, image.size, image.size)
        resized = image.resize((width, height), self._resample)
        return resized.crop((left, top, left + self._crop_size, top + self._crop_size))

    def resize_crop(
        self, image: Image.Image, size: Size, extent: tuple[float, float], orientation: int = UPRIGHT
    ) -> Image.Image:
        """Compute the crop alone, and turn it upright.

        ``size`` is the stored picture's (width, height); ``extent`` is what that covers of ``image``, which may have
        been decoded at a smaller scale.
        """
        width, height, left, top = self._place(size)
        # The offsets are meant in the upright picture, where an odd margin is not the same at both ends.
        if orientation in X_REVERSED:
            left = width - self._crop_size - left
        if orientation in Y_REVERSED:
            top = height - self._crop_size - top
        x_scale, y_scale = extent[0] / width, extent[1] / height
        box = (
            left * x_scale,
            top * y_scale,
            (left + self._crop_size) * x_scale,
            (top + self._crop_size) * y_scale,
        )
        if max(width, height) > MAX_ASPECT_RATIO * self._resize_size:
            image, box = self._cut_around(image, box, max(x_scale, y_scale))
        crop = image.resize((self._crop_size, self._crop_size), self._resample, box)
        return turn_upright(crop, orientation)

    def _place(self, size: Size) -> tuple[int, int, int, int]:
        """Width and height of the resized picture, and the crop's left and top in it."""
        shorter, longer = sorted(size)
        resized = int(self._resize_size * longer / shorter)
        width, height = (self._resize_size, resized) if size[0] <= size[1] else (resized, self._resize_size)
        return width, height, round((width - self._crop_size) / 2), round((height - self._crop_size) / 2)

    def _cut_around(self, image: Image.Image, box: Box, scale: float) -> tuple[Image.Image, Box]:
        """The part of ``image`` that the pixels of ``box`` are computed from, and ``box`` within it."""
        # No filter here reaches further than bicubic's 2 resized pixels, or 2 stored ones where it enlarges.
        margin = 2 * max(scale, 1) + 1
        left, top = max(0, math.floor(box[0] - margin)), max(0, math.floor(box[1] - margin))
        right, bottom = min(image.width, math.ceil(box[2] + margin)), min(image.height, math.ceil(box[3] + margin))
        part = image.crop((left, top, right, bottom))
        return part, (box[0] - left, box[1] - top, box[2] - left, box[3] - top)


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
