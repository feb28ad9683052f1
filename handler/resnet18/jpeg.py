"""Read the pixels of a JPEG, and notice where some are missing: Pillow alone fills those with grey, in silence.

libjpeg decodes what is there and warns. Pillow drops its warnings; simplejpeg, the same libjpeg-turbo to the bit, gives
the first. Scans that are missing altogether are no fault to libjpeg: the headers of those that are there tell.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from .errors import InvalidImage, UnsupportedImage

#: A progressive JPEG has about 10 scans. Nothing else bounds them, and one of 80 bytes costs a pass over all pixels.
MAX_JPEG_SCANS = 100
#: Where a picture has more, it is decoded to four bytes a pixel, which Pillow takes as they are. Of smaller ones it is
#: faster to copy three bytes a pixel than to resize the fourth.
MAX_COPIED_PIXELS = 8_000_000
END_OF_IMAGE = b"\xff\xd9"

#: Within compressed data, FF is followed by 00 or is a restart marker (D0 to D7).
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_END, _START_OF_SCAN = 0xD9, 0xDA
_WITHOUT_LENGTH = frozenset({0x01, 0xD8})
#: All that begin a frame; those of them that are progressive.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
#: One bit for each of a block's 64 coefficients.
_ALL_COEFFICIENTS = (1 << 64) - 1
#: libjpeg's warnings of pixels that it made up. The others tell of oddities that change none.
_MADE_UP = re.compile(
    r"premature end of data segment|bad Huffman code|bad arithmetic code|instead of RST|Inconsistent progression"
)
_DECODED_AS = {"L": ("GRAY", 1), "RGB": ("RGB", 3), "RGBX": ("RGBX", 4), "CMYK": ("CMYK", 4)}


class Scans(NamedTuple):
    """What the headers of a JPEG's scans tell."""

    number: int
    #: Whether they bring every coefficient of every component to its last bit.
    complete: bool
    #: Whether an end marker follows them.
    ended: bool


def load_jpeg(image: Image.Image, content: bytes, *, scaled: bool, as_array: bool) -> Image.Image | NDArray[np.uint8]:
    """The pixels of ``image``, which Pillow has opened from ``content``: RGB, RGBX, L or CMYK, with its ``info``.

    ``scaled`` says that ``image.draft`` has chosen a smaller size; ``as_array`` asks for RGB as (height, width, 3) and
    L as (height, width), which needs no copy, where simplejpeg reads the picture. Only the end marker may be missing.
    Raises InvalidImage where pixels are missing, UnsupportedImage where there are too many scans, or what Pillow
    raises.
    """
    scans = read_scans(content)
    if scans.number > MAX_JPEG_SCANS:
        raise UnsupportedImage(f"The JPEG has more than {MAX_JPEG_SCANS} scans: save it as a baseline JPEG.")
    if not scans.complete:
        raise _cut_short()
    try:
        return _decode(image, content if scans.ended else content + END_OF_IMAGE, scaled=scaled, as_array=as_array)
    except ValueError as exc:
        if not scans.ended or _MADE_UP.search(str(exc)):
            raise _cut_short() from exc
    # Rare kinds that simplejpeg does not read, and harmless oddities.
    image.load()
    return image


def _decode(image: Image.Image, content: bytes, *, scaled: bool, as_array: bool) -> Image.Image | NDArray[np.uint8]:
    """Raises ValueError with the first thing that libjpeg warns of."""
    width, height = image.size
    mode = image.mode
    as_array = as_array and mode in ("RGB", "L")
    if mode == "RGB" and not as_array and width * height > MAX_COPIED_PIXELS:
        mode = "RGBX"
    colorspace, channels = _DECODED_AS[mode]
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
        content,
        colorspace,
        min_width=width if scaled else 0,
        min_height=height if scaled else 0,
        # Of the size that was checked: what libjpeg takes for the size may differ in a forged file.
        buffer=np.empty((height, width, channels), np.uint8),
    )
    if pixels.shape != (height, width, channels):
        raise ValueError(f"simplejpeg decoded {pixels.shape}")
    if as_array:
        return pixels if channels == 3 else pixels[..., 0]
    # As Adobe stores CMYK, and Pillow takes all of it.
    loaded = Image.frombuffer(mode, image.size, pixels, "raw", "CMYK;I" if mode == "CMYK" else mode, 0, 1)
    loaded.info = image.info
    return loaded


def read_scans(content: bytes) -> Scans:
    """Read the headers of ``content``'s scans, of which a usual JPEG has one (ITU-T T.81, B.2)."""
    number = position = 0
    progressive = False
    missing: dict[int, int] = {}
    while (marker := _MARKER.search(content, position)) and number <= MAX_JPEG_SCANS:
        kind, position = content[marker.end() - 1], marker.end()
        if kind == _END:
            return Scans(number, not any(missing.values()), ended=True)
        if kind in _WITHOUT_LENGTH:
            continue
        start, position = position + 2, position + max(int.from_bytes(content[position : position + 2], "big"), 2)
        if kind in _START_OF_FRAME:
            progressive = kind in _PROGRESSIVE
            missing = dict.fromkeys(content[start:position][6::3], _ALL_COEFFICIENTS)
        elif kind == _START_OF_SCAN and start < position:
            number += 1
            components, (first, last, bits) = content[start + 1 : position - 3 : 2], content[position - 3 : position]
            sent = _ALL_COEFFICIENTS
            if progressive:
                # The lower half of ``bits`` says how many bits of these coefficients are still to come.
                sent = 0 if bits & 0xF else (2 << last) - (1 << first)
            for component in components:
                missing[component] = missing.get(component, 0) & ~sent
            if not progressive and number == 1 and not any(missing.values()):
                # The usual JPEG: its compressed data need not be searched, only its end.
                return Scans(number, complete=True, ended=content.rfind(END_OF_IMAGE, position) >= 0)
    return Scans(number, bool(number) and not any(missing.values()), ended=False)


def _cut_short() -> InvalidImage:
    return InvalidImage(
        "The JPEG is cut short or damaged: a part of its pixels is missing. Send it again, or save it anew."
    )
