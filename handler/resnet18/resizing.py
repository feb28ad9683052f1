"""A decoded picture becomes the network's crop: turned upright, the shorter side to ``resize_size``, then the centre.

The rules for sizes and offsets are those of torchvision's presets (``Resize`` and ``CenterCrop``). Which way up
a picture is meant to be seen stands in its EXIF: cameras store it as the sensor lies.
"""

from __future__ import annotations

import logging
import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from .description import Preprocessing
from .errors import ConfigurationError

try:
    import cykooz_resizer as vectors
except ImportError:  # there is no wheel for every platform
    vectors = None

logger = logging.getLogger(__name__)

Size = tuple[int, int]
Box = tuple[float, float, float, float]
#: Whole columns and rows: left, top, right, bottom.
Region = tuple[int, int, int, int]
#: (height, width, channels), of grey (height, width).
Pixels = NDArray[np.uint8]
Picture = Image.Image | Pixels

#: Of a longer (or wider) picture only the crop is computed in any case: a line of 60,000 pixels would be resized to
#: 256 x 15 million. There Pillow's boxes, in single precision, would be too coarse as well.
MAX_ASPECT_RATIO = 64

#: Of a part with more pixels, Pillow computes the crop: it needs no copies of them. JPEGs, decoded at a fitting scale,
#: have fewer.
MAX_COPIED_PIXELS = 4_000_000
#: What is left of a crop's side so that the sum is within the picture in spite of rounding, in pixels.
_ROUNDING = 1e-9
#: Pillow's bicubic filter is the one of Catmull and Rom.
_FILTERS = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "catmull_rom"}

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
    """Resizes pictures and takes their centre, of ``crop_size`` squared. Thread-safe."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        if preprocessing.resize_size < preprocessing.crop_size:
            raise ConfigurationError(
                f"resize_size = {preprocessing.resize_size} is smaller than crop_size = {preprocessing.crop_size}, so "
                f"the crop would reach beyond the picture: set resize_size to {preprocessing.crop_size} or more."
            )
        self._resize_size = preprocessing.resize_size
        self._crop_size = preprocessing.crop_size
        self._resample = Image.Resampling[preprocessing.interpolation.upper()]
        if vectors is None:
            logger.info("Pillow resizes pictures: cykooz-resizer, which takes a third of the time, is not installed.")

    def locate_crop(self, size: Size, orientation: int) -> CropRegion:
        """The crop of a picture stored with ``size`` (width, height)."""
        width, height, left, top = self._place(size[::-1] if orientation in AXES_SWAPPED else size)
        right, bottom = left + self._crop_size, top + self._crop_size
        return CropRegion(left / width, top / height, right / width, bottom / height)

    def resize_whole(self, image: Image.Image) -> Image.Image:
        """Resize all of ``image`` and cut the crop out: what torchvision does, to the bit.

        Beyond ``MAX_ASPECT_RATIO`` the crop alone is computed, which differs by rounding.
        """
        width, height, left, top = self._place(image.size)
        if max(width, height) > MAX_ASPECT_RATIO * self._resize_size:
            return self._resize(image, *self._find_crop(image.size, image.size, image.size, UPRIGHT))
        resized = image.resize((width, height), self._resample)
        return resized.crop((left, top, left + self._crop_size, top + self._crop_size))

    def resize_crop(
        self, picture: Picture, size: Size, extent: tuple[float, float], orientation: int = UPRIGHT
    ) -> Pixels:
        """Compute the crop alone, and turn it upright: (crop_size, crop_size, channels), of grey no third axis.

        ``picture`` is grey, RGB, RGBX or CMYK, 8 bits a sample; ``size`` is the stored picture's (width, height);
        ``extent`` is what that covers of ``picture``, which may have been decoded at a smaller scale.
        """
        shape = picture.size if isinstance(picture, Image.Image) else picture.shape[1::-1]
        box, reach = self._find_crop(shape, size, extent, orientation)
        if vectors is not None and (reach[2] - reach[0]) * (reach[3] - reach[1]) <= MAX_COPIED_PIXELS:
            crop = self._resize_by_vectors(picture, box, reach)
        else:
            image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
            resized = self._resize(image, box, reach)
            crop = np.asarray(resized.convert("RGB") if resized.mode == "RGBX" else resized)
        if orientation in X_REVERSED:
            crop = crop[:, ::-1]
        if orientation in Y_REVERSED:
            crop = crop[::-1]
        return crop.swapaxes(0, 1) if orientation in AXES_SWAPPED else crop

    def _place(self, size: Size) -> tuple[int, int, int, int]:
        """Width and height of the resized picture, and the crop's left and top in it."""
        shorter, longer = sorted(size)
        resized = int(self._resize_size * longer / shorter)
        width, height = (self._resize_size, resized) if size[0] <= size[1] else (resized, self._resize_size)
        return width, height, round((width - self._crop_size) / 2), round((height - self._crop_size) / 2)

    def _find_crop(self, shape: Size, size: Size, extent: tuple[float, float], orientation: int) -> tuple[Box, Region]:
        """Where the crop lies in a picture of ``shape`` (width, height), and what it is computed from."""
        width, height, left, top = self._place(size)
        # The offsets are meant in the upright picture, where an odd margin is not the same at both ends.
        if orientation in X_REVERSED:
            left = width - self._crop_size - left
        if orientation in Y_REVERSED:
            top = height - self._crop_size - top
        x_scale, y_scale = extent[0] / width, extent[1] / height
        box = (left * x_scale, top * y_scale, (left + self._crop_size) * x_scale, (top + self._crop_size) * y_scale)
        # No filter here reaches further than bicubic's 2 resized pixels, or 2 stored ones where it enlarges.
        margin = 2 * max(x_scale, y_scale, 1) + 1
        return box, (
            max(0, math.floor(box[0] - margin)),
            max(0, math.floor(box[1] - margin)),
            min(shape[0], math.ceil(box[2] + margin)),
            min(shape[1], math.ceil(box[3] + margin)),
        )

    def _resize(self, image: Image.Image, box: Box, reach: Region) -> Image.Image:
        if max(image.size) > MAX_ASPECT_RATIO * min(image.size):
            image = image.crop(reach)
            box = (box[0] - reach[0], box[1] - reach[1], box[2] - reach[0], box[3] - reach[1])
        return image.resize((self._crop_size, self._crop_size), self._resample, box)

    def _resize_by_vectors(self, picture: Picture, box: Box, reach: Region) -> Pixels:
        """What ``_resize`` computes, but for rounding, with the processor's vector instructions."""
        left, top, right, bottom = reach
        if isinstance(picture, Image.Image):
            mode = "RGB" if picture.mode == "RGBX" else picture.mode
            channels, content = len(mode), picture.crop(reach).tobytes("raw", mode)
        else:
            channels, content = 1 if picture.ndim == 2 else picture.shape[2], picture[top:bottom, left:right].tobytes()
        width, height, side = right - left, bottom - top, self._crop_size
        kind = vectors.PixelType["U8" if channels == 1 else f"U8x{channels}"]
        algorithm = vectors.ResizeAlg.convolution(vectors.FilterType[_FILTERS[self._resample]])
        # One of its own for each crop, since it has a lock and costs nothing. Given both axes at once it would begin
        # with the vertical one, where Pillow begins with the other: a fifth of all samples would be rounded otherwise.
        resizer = vectors.Resizer()
        part = vectors.ImageData(width, height, kind, content)
        rows = vectors.ImageData(side, height, kind)
        crop = vectors.ImageData(side, side, kind)
        x, y = box[0] - left, box[1] - top
        for source, target, crop_box in (
            (part, rows, vectors.CropBox(x, 0, _within(x, box[2] - left, width), height)),
            (rows, crop, vectors.CropBox(0, y, side, _within(y, box[3] - top, height))),
        ):
            resizer.resize(source, target, vectors.ResizeOptions(algorithm, use_alpha=False, crop_box=crop_box))
        return np.frombuffer(crop.get_buffer(), np.uint8).reshape(
            (side, side, channels) if channels > 1 else (side, side)
        )


def _within(start: float, end: float, most: int) -> float:
    """The length from ``start`` to ``end``, no more than ``most`` when both are added again."""
    length = min(end, most) - start
    return length if start + length <= most else length - _ROUNDING


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
