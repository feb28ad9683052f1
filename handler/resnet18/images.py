"""Decode one picture, given as the bytes of a file in any readable format, to what the network takes.

A picture of any mode that Pillow reads becomes 8-bit RGB or greyscale, transparency on white.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import AvifImagePlugin, Image, PngImagePlugin

from .color import convert, find_conversion
from .depth import Bands, load, narrow
from .description import Preprocessing
from .errors import ImageTooLarge, InvalidImage, UnsupportedImage
from .formats import FORMATS, UNREADABLE, WHAT_TO_SEND, explain_refusal, is_raw
from .heif import MAX_CODED_SHARE, count_pixels, decode_heif, is_heif, load_decoder
from .jpeg import load_jpeg
from .metadata import MAX_TEXT_BYTES, leave_out_metadata, repeats_profile
from .resizing import CropRegion, CropResizer, Picture, Pixels, Size, read_orientation, turn_upright

Encoded = bytes | bytearray | memoryview

#: JPEGs are decoded at 1/2, 1/4 or 1/8 of their size where the shorter side then still has this many times
#: ``resize_size``: the more is left to resize, the less it shows that a scaled decode filters otherwise. Photographs
#: with detail in every pixel differ from ``exact`` by 2.4 levels on average with 1, by 1.0 with 1.5 and by 0.65 with 2,
#: while a JPEG of 12 megapixels takes 12 % less time with 1 than with 2.
SCALED_DECODE_MARGIN = 2
#: Pillow's names of JPEGs, and of those with further pictures behind the first.
JPEG_FORMATS = frozenset({"JPEG", "MPO"})
#: Steps in which Pillow reads a header. A JPEG takes three for each segment, of which the longest profile needs 60;
#: millions of empty ones take seconds.
MAX_HEADER_READS = 20_000
#: BMP's numbers of its compressions RLE8 and RLE4.
_RUN_LENGTH_COMPRESSIONS = frozenset({1, 2})
#: Pillow cannot convert premultiplied alpha but to the same without.
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}
_PALETTE_SIZE = 256


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before any pixel is decoded. Pixels are those of the picture as it is stored."""

    max_image_bytes: int
    max_image_pixels: int


class DecodedImage(NamedTuple):
    """What the network takes of a picture, and where in the upright picture that lies."""

    #: RGB, (crop_size, crop_size, 3), C-contiguous.
    pixels: Pixels
    crop: CropRegion


class _Stream(io.BytesIO):
    """A picture's file. Raises ValueError where its header goes on and on."""

    reads_left: float = MAX_HEADER_READS

    def read(self, size: int | None = -1) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise ValueError("the header has too many parts")
        return super().read(size)


class ImageDecoder:
    """Turns encoded pictures into the network's input. Thread-safe, and the heavy parts release the GIL."""

    def __init__(
        self, preprocessing: Preprocessing, limits: ImageLimits, mode: Literal["fast", "exact"] = "fast"
    ) -> None:
        """``exact`` is torchvision's preset transform to the bit, which knows no color profiles; ``fast`` computes the
        crop alone, of JPEGs from a decode at a fitting scale, and converts it to sRGB by the picture's profile.

        Raises ConfigurationError where the crop would be larger than the resized picture.
        """
        self._resizer = CropResizer(preprocessing)
        self._limits = limits
        self._exact = mode == "exact"
        self._scaled_decode_size = (SCALED_DECODE_MARGIN * preprocessing.resize_size,) * 2
        # Pillow warns about odd metadata, of which a server can make nothing. Once for the process, because
        # `warnings.catch_warnings` around each picture would not be safe in threads.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        # Of a PNG with more texts they are left out; Pillow would inflate 64 MB of them first.
        PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT_BYTES
        # The plugin would start one thread for each core and picture; pictures are decoded in parallel already.
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1

    def decode(self, data: Encoded) -> DecodedImage:
        """Raises InvalidImage, UnsupportedImage or ImageTooLarge."""
        if not data:
            raise InvalidImage(f"The picture is empty: {WHAT_TO_SEND}.")
        if len(data) > self._limits.max_image_bytes:
            raise ImageTooLarge(
                f"The picture has {len(data):,} bytes, more than the {self._limits.max_image_bytes:,} that are "
                "allowed: send a smaller one."
            )
        content = bytes(data)
        if repeats_profile(content):
            content = leave_out_metadata(content) or content
        try:
            image = self._open(content)
            size = image.size  # as stored: a scaled decode changes it
            scaled = None if self._exact else image.draft(None, self._scaled_decode_size)
            lower: Bands = ()
            loaded: Picture
            if image.format in JPEG_FORMATS:
                loaded = load_jpeg(image, content, scaled=image.size != size, as_array=not self._exact)
            else:
                lower = load(image, lambda: self._open(content))
                loaded = image
        except UNREADABLE as exc:
            plain = leave_out_metadata(content)
            if plain is None:
                raise explain_refusal(content) from exc
            return self.decode(plain)
        orientation = read_orientation(image)
        picture = narrow(loaded, lower, content) if isinstance(loaded, Image.Image) else loaded
        if self._exact and isinstance(picture, Image.Image):
            crop = self._resizer.resize_whole(turn_upright(to_rgb_or_grey(picture), orientation))
            pixels = np.array(crop if crop.mode == "RGB" else crop.convert("RGB"))
        else:
            # What the stored size covers of ``image``: less than its last column or row where a scaled decode does not
            # come out even.
            extent = scaled[1][2:] if scaled else size
            pixels = self._crop(picture, image.info, size, extent, orientation)
        return DecodedImage(pixels, self._resizer.locate_crop(size, orientation))

    def _crop(
        self, picture: Picture, info: Mapping[Any, Any], size: Size, extent: tuple[float, float], orientation: int
    ) -> Pixels:
        """The crop alone, upright, as RGB; ``info`` is what Pillow found in the file."""
        if isinstance(picture, Image.Image):
            picture = picture if picture.mode == "CMYK" else to_rgb_or_grey(picture)
            mode = "RGB" if picture.mode == "RGBX" else picture.mode
        else:
            mode = "L" if picture.ndim == 2 else "RGB"
        conversion = find_conversion(info, mode)
        if mode == "CMYK" and conversion is None and isinstance(picture, Image.Image):
            picture = to_rgb_or_grey(picture)
        crop = np.array(self._resizer.resize_crop(picture, size, extent, orientation), order="C")
        if conversion is not None:
            crop = np.array(convert(Image.frombuffer(mode, crop.shape[1::-1], crop, "raw", mode, 0, 1), conversion))
        return crop if crop.ndim == 3 else np.repeat(crop[:, :, np.newaxis], 3, axis=2)

    def _open(self, content: bytes) -> Image.Image:
        """Read the header, and refuse what must not be decoded."""
        if is_heif(content):
            return self._open_heif(content)
        # Only Pillow can check before WebP and GIF pictures take memory; it refuses at twice this number. A setting of
        # the process, so set each time.
        Image.MAX_IMAGE_PIXELS = self._limits.max_image_pixels
        try:
            stream = _Stream(content)
            image = Image.open(stream, formats=FORMATS)
            stream.reads_left = math.inf
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
            found = re.search(r"\d+", str(exc))  # "Image size (2500000000 pixels) exceeds ..."
            raise self._too_many_pixels(int(found[0]) if found else None) from exc
        if image.width * image.height > self._limits.max_image_pixels:
            raise self._too_many_pixels(image.width * image.height)
        if image.format == "TIFF" and is_raw(content):
            raise explain_refusal(content)
        if image.format == "BMP" and image.info["compression"] in _RUN_LENGTH_COMPRESSIONS:
            # Pillow decodes these in Python, pixel by pixel: 30 kB that stand for 50 million pixels take 4 seconds.
            raise UnsupportedImage("Run-length encoded BMP pictures are not read: save it as PNG.")
        return image

    def _open_heif(self, content: bytes) -> Image.Image:
        load_decoder()  # who has none is told so, whatever the file holds
        stored, coded = count_pixels(content)
        most = self._limits.max_image_pixels
        if stored > most or coded > most * MAX_CODED_SHARE:
            raise self._too_many_pixels(stored if stored > most else coded)
        return decode_heif(content)

    def _too_many_pixels(self, found: int | None) -> ImageTooLarge:
        pixels = "too many pixels" if found is None else f"{found:,} pixels"
        return ImageTooLarge(
            f"The picture has {pixels}, more than the {self._limits.max_image_pixels:,} that are allowed: send a "
            "smaller one."
        )


def to_rgb_or_grey(image: Image.Image) -> Image.Image:
    """``image`` in mode RGB, RGBX or L: greyscale stays so, since one channel is resized in a third of the time."""
    transparency = image.info.get("transparency")
    # Pillow keeps a PNG's texts, of any name, where it keeps its transparency, which may be longer than a palette.
    if isinstance(transparency, str) or (isinstance(transparency, bytes) and len(transparency) > _PALETTE_SIZE):
        del image.info["transparency"]
    if image.mode == "P" and image.palette is None:
        raise InvalidImage("The picture's palette is missing, so its colors are lost: save it again.")
    if image.mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[image.mode])
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if image.mode in ("RGB", "RGBX", "L"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")
