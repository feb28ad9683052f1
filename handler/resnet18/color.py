"""A picture's colors become sRGB, which networks are trained on: by its ICC profile, or by a PNG's gAMA and cHRM.

The crop alone is converted. A profile that is damaged, or of another color space than the picture, is ignored, as
browsers do.
"""

from __future__ import annotations

import io
import logging
import struct
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms, features

logger = logging.getLogger(__name__)

#: Profiles of presses have up to 2.7 MB, of cameras and screens less than 100 kB.
MAX_PROFILE_BYTES = 4_000_000
#: Profiles whose conversions are kept: of cameras, telephones and programs there are few. That of a press takes 2 MB.
MAX_CONVERSIONS = 32
#: Where no color of a regular grid changes by more levels, the profile is one of the many that mean sRGB.
_MOST_THAT_NOBODY_SEES = 2
_PROBE_STEP = 17
#: A profile's header (ICC.1:2022, 7.2): where these four letters are.
_HEADER_BYTES, _CLASS, _SPACE, _CONNECTION, _SIGNATURE = 128, 12, 16, 20, 36
#: Scanners, displays, printers and color spaces; others have no pixels.
_CLASSES = (b"scnr", b"mntr", b"prtr", b"spac")
#: The color spaces of profiles, and the mode of pictures that they are applied to.
_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_MOST_TAGS = 100
#: Tags of floating-point transforms, which may have any number of steps.
_UNBOUNDED_TAGS = (b"D2B0", b"D2B1", b"D2B2", b"D2B3")
#: The x and y of white, red, green and blue.
_SRGB_CHROMATICITY = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_SRGB_GAMMA = 1 / 2.2
_SAME_CHROMATICITY, _SAME_GAMMA = 0.01, 0.02
#: What a file's numbers must be to be meant: linear light is 1, the steepest curve of a system was 2.8.
_LEAST_GAMMA, _MOST_GAMMA, _LEAST_Y = 0.1, 2.0, 0.001
#: White of profiles, and the Bradford matrix, by which colors are adapted to it (ICC.1:2022, annex E).
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


class Conversions:
    """The conversions of profiles that were met last, None for those that are of no use. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: OrderedDict[bytes, ImageCms.ImageCmsTransform | None] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, profile: bytes) -> ImageCms.ImageCmsTransform | None:
        digest = sha256(profile).digest()
        with self._lock:
            if digest in self._found:
                self._found.move_to_end(digest)
                return self._found[digest]
        # Not under the lock: to build the conversion of a press takes 50 ms.
        conversion = build_conversion(profile)
        with self._lock:
            self._found[digest] = conversion
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        return conversion

    def __len__(self) -> int:
        return len(self._found)

    def clear(self) -> None:
        with self._lock:
            self._found.clear()


conversions = Conversions(MAX_CONVERSIONS)


def find_conversion(info: Mapping[Any, Any], mode: str) -> ImageCms.ImageCmsTransform | None:
    """What turns a picture in ``mode`` (RGB, RGBX, L or CMYK) into sRGB; None where it is that, or says nothing.

    ``info`` is what Pillow found in its file.
    """
    profile = info.get("icc_profile") or _describe_png(info)
    if not isinstance(profile, bytes) or len(profile) > MAX_PROFILE_BYTES or not has_color_management():
        return None
    # Greyscale with the profile of a camera is usual.
    fitting = (
        ("L", "RGB", "RGBX") if profile[_SPACE : _SPACE + 4] == b"RGB " else (_MODES.get(profile[_SPACE : _SPACE + 4]),)
    )
    return conversions.find(profile) if mode in fitting else None


def convert(image: Image.Image, conversion: ImageCms.ImageCmsTransform) -> Image.Image:
    """``image`` in sRGB, mode RGB. Thread-safe."""
    if image.mode == "L" and conversion.input_mode == "RGB":
        image = image.convert("RGB")
    return conversion.apply(image)


@cache
def has_color_management() -> bool:
    if features.check("littlecms2"):
        return True
    logger.warning("Pillow was built without LittleCMS: the color profiles of pictures are ignored.")
    return False


def build_conversion(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """The conversion to sRGB, or None where there is nothing to convert, or no way to."""
    if not _is_usable(profile):
        return None
    mode = _MODES[profile[_SPACE : _SPACE + 4]]
    try:
        conversion = ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            # One of its own, since building a conversion and saving a profile write into it.
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            # Without the cache of the last pixel, several threads may use one conversion.
            flags=ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (OSError, ValueError):
        return None
    return conversion if mode == "CMYK" or _changes_colors(conversion) else None


def _is_usable(profile: bytes) -> bool:
    """Whether the header and the table of tags tell of a profile of pixels that is converted in few steps."""
    if len(profile) < _HEADER_BYTES + 4 or profile[_SIGNATURE : _SIGNATURE + 4] != b"acsp":
        return False
    count = int.from_bytes(profile[_HEADER_BYTES : _HEADER_BYTES + 4], "big")
    tags = profile[_HEADER_BYTES + 4 : _HEADER_BYTES + 4 + 12 * min(count, _MOST_TAGS)]
    return (
        profile[_CLASS : _CLASS + 4] in _CLASSES
        and profile[_SPACE : _SPACE + 4] in _MODES
        and profile[_CONNECTION : _CONNECTION + 4] in (b"XYZ ", b"Lab ")
        and count <= _MOST_TAGS
        and not any(tags[start : start + 4] in _UNBOUNDED_TAGS for start in range(0, len(tags), 12))
    )


def _changes_colors(conversion: ImageCms.ImageCmsTransform) -> bool:
    levels = np.arange(0, 256, _PROBE_STEP, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(len(levels), -1, 3)
    greys = np.arange(256, dtype=np.uint8)[None]
    probes = (
        [Image.fromarray(greys)] if conversion.input_mode == "L" else [Image.fromarray(grid), Image.fromarray(greys)]
    )
    changes = [ImageChops.difference(convert(probe, conversion), probe.convert("RGB")) for probe in probes]
    extrema = [band.getextrema() for change in changes for band in change.split()]
    return max(int(cast("tuple[float, float]", one)[1]) for one in extrema) > _MOST_THAT_NOBODY_SEES


def _describe_png(info: Mapping[Any, Any]) -> bytes | None:
    """A profile of what a PNG's gAMA and cHRM say, as browsers read them; None where that is sRGB or makes no sense."""
    gamma, chromaticity = info.get("gamma"), info.get("chromaticity", _SRGB_CHROMATICITY)
    # Texts of any name stand in the same place.
    if "srgb" in info or not isinstance(gamma, float) or not isinstance(chromaticity, tuple):
        return None
    if not _LEAST_GAMMA <= gamma <= _MOST_GAMMA or len(chromaticity) != len(_SRGB_CHROMATICITY):
        return None
    is_srgb = all(
        abs(one - other) < _SAME_CHROMATICITY for one, other in zip(chromaticity, _SRGB_CHROMATICITY, strict=True)
    )
    if is_srgb and abs(gamma - _SRGB_GAMMA) < _SAME_GAMMA:
        return None
    return make_profile(chromaticity, 1 / gamma)


def make_profile(chromaticity: Sequence[float], curve: float | NDArray[np.float64]) -> bytes | None:
    """An ICC profile (version 2) of a display, by the x and y of its white, red, green and blue, and its curve.

    ``curve`` is an exponent, or the light (0 to 1) of an even number of samples from 0 to 1. None where these are no
    colors.
    """
    xy = np.array(chromaticity, dtype=np.float64).reshape(4, 2)
    if not ((xy >= 0).all() and (xy[:, 1] > _LEAST_Y).all() and (xy <= 1).all()):
        return None
    white, *primaries = np.column_stack([xy[:, 0], xy[:, 1], 1 - xy.sum(axis=1)]) / xy[:, 1:]
    try:
        columns = np.transpose(primaries) * np.linalg.solve(np.transpose(primaries), white)
        adaptation = np.linalg.solve(_BRADFORD, np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white)) @ _BRADFORD)
    except np.linalg.LinAlgError:
        return None
    colorants = np.rint((adaptation @ columns).T * 2**16)
    if not (np.abs(colorants) < 2**31).all():
        return None
    if isinstance(curve, float):
        encoded = struct.pack(">4s4xIHxx", b"curv", 1, round(curve * 2**8))
    else:
        encoded = struct.pack(">4s4xI", b"curv", len(curve)) + np.rint(curve * 65535).astype(">u2").tobytes()
    tags = [
        *(
            (name, b"XYZ " + struct.pack(">4x3i", *map(int, row)))
            for name, row in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True)
        ),
        *((name, encoded) for name in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    table, content = b"", b""
    start = _HEADER_BYTES + 4 + 12 * len(tags)
    for name, data in tags:
        table += struct.pack(">4sII", name, start + len(content), len(data))
        content += data
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x",
        start + len(content),
        0x02400000,
        b"mntr",
        b"RGB ",
        b"XYZ ",
        b"acsp",
        *map(int, _D50 * 2**16),
    )
    return header + struct.pack(">I", len(tags)) + table + content
