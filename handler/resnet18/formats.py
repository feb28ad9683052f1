"""Which picture formats are read, and why other bytes are not."""

from __future__ import annotations

import codecs
import re
import struct
from typing import Literal, NamedTuple

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from .errors import InvalidImage, RequestError, UnsupportedImage
from .heif import find_decoder

#: Pillow's names of the formats that are read, likeliest first. The plugins are imported above because Pillow loads
#: every plugin it has when it meets the name of one that is not loaded.
FORMATS = (
    JpegImagePlugin.JpegImageFile.format,
    PngImagePlugin.PngImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    GifImagePlugin.GifImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    TiffImagePlugin.TiffImageFile.format,
    AvifImagePlugin.AvifImageFile.format,
)
#: All that Pillow raised while it opened and loaded some five million damaged files of these formats: each plugin
#: passes on what its decoder or Python itself finds wrong.
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, IndexError, RuntimeError, OverflowError)
WHAT_TO_SEND = "send a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF picture"

#: Enough to tell what something is: an SVG drawing may begin with a long XML prologue.
_PREFIX_BYTES = 1024
_EXPORT = "export it as JPEG"
_ONE_FRAME = "save one frame of it as JPEG"


class _Foreign(NamedTuple):
    """What is not read, by how it begins."""

    pattern: re.Pattern[bytes]
    name: str
    advice: str


def _foreign(pattern: bytes, name: str, advice: str) -> _Foreign:
    return _Foreign(re.compile(pattern, re.DOTALL), name, advice)


_BINARY_FORMATS = (
    _foreign(rb"%PDF-", "a PDF document", "save its page as a picture"),
    _foreign(rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript document", "save its page as a picture"),
    _foreign(rb"PK\x03\x04", "a ZIP archive", "send the pictures in it"),
    _foreign(rb"\x1f\x8b", "a gzip archive", "send what is in it"),
    _foreign(rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "send the pictures in it"),
    _foreign(rb"Rar!\x1a\x07", "a RAR archive", "send the pictures in it"),
    _foreign(rb"8BP[SB]", "a Photoshop document", _EXPORT),
    _foreign(rb"gimp xcf", "a GIMP document", _EXPORT),
    _foreign(rb"\x00\x00\x01\x00", "an icon (ICO)", "save it as PNG"),
    _foreign(rb"icns\x00", "an icon (ICNS)", "save it as PNG"),
    _foreign(rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 picture", _EXPORT),
    _foreign(rb"\x00\x00\x00\x0cJXL |\xff\x0a", "a JPEG XL picture", _EXPORT),
    _foreign(rb"II\xbc\x01", "a JPEG XR picture", _EXPORT),
    _foreign(rb"\x76\x2f\x31\x01", "an OpenEXR picture", _EXPORT),
    _foreign(rb"#\?RADIANCE|#\?RGBE", "a Radiance HDR picture", _EXPORT),
    _foreign(rb"DDS \x7c", "a texture (DDS)", "save it as PNG"),
    _foreign(rb".{128}DICM", "a DICOM file", "export its picture as PNG"),
    _foreign(rb"SIMPLE  =", "a FITS file", "export its picture as PNG"),
    _foreign(rb"\x89HDF", "an HDF5 file", "export its picture as PNG"),
    # Of Canon, Fujifilm, Olympus, Panasonic, Sigma; most others are TIFF files, which `_is_raw` knows.
    _foreign(rb".{4}ftypcrx |FUJIFILMCCD-RAW|IIR[OS]\x08|MMOR\x00|IIU\x00|FOVb", "a camera's raw picture", _EXPORT),
    _foreign(rb".{4}ftyp(?!avi[fs]|mif[12]|msf1|miaf)", "a video", _ONE_FRAME),
    # QuickTime before it had names, Matroska and WebM, AVI, Windows Media, Flash, MPEG program and transport streams.
    _foreign(
        rb"\x00.{3}(moov|mdat|wide)|\x1a\x45\xdf\xa3|RIFF.{4}AVI |\x30\x26\xb2\x75|FLV\x01|\x00\x00\x01[\xba\xb3]"
        rb"|(\x47.{187}){2}\x47",
        "a video",
        _ONE_FRAME,
    ),
)
_TEXT_FORMATS = (
    (re.compile(r"(?is)\s*((<\?xml|<!--|<!doctype svg).*)?<svg\b"), "an SVG drawing: save it as PNG;"),
    (re.compile(r"(?i)\s*(<!doctype html|<html|<head|<body)"), "an HTML page:"),
    (re.compile(r"\s*[{\[]"), "JSON:"),
)
#: TIFF's tags (TIFF/EP, DNG 1.7): that this is the small one of several pictures, where these are, how colors are kept.
_SUBFILE_TYPE, _REDUCED, _SUB_PICTURES, _PHOTOMETRIC, _DNG_VERSION = 254, 1, 330, 262, 50706
#: Of a sensor: a mosaic, or linear.
_RAW_PHOTOMETRICS = frozenset({32803, 34892})
_SHORT = 3


def readable_formats() -> list[str]:
    """Their names, HEIC where it can be decoded here."""
    return [*FORMATS, *(["HEIC"] if find_decoder() else [])]


def explain_refusal(data: bytes) -> RequestError:
    """The error for ``data`` that Pillow could not read.

    InvalidImage where it begins like a picture that should be readable, else UnsupportedImage, which says what it is.
    """
    prefix = data[:_PREFIX_BYTES]
    if is_raw(data):
        return UnsupportedImage(f"The data looks like a camera's raw picture: {_EXPORT}; {WHAT_TO_SEND}.")
    foreign = next((foreign for foreign in _BINARY_FORMATS if foreign.pattern.match(prefix)), None)
    if foreign is not None:
        return UnsupportedImage(f"The data looks like {foreign.name}: {foreign.advice}; {WHAT_TO_SEND}.")
    text = _as_text(prefix)
    readable = _find_readable_format(prefix)
    # Two letters are all that begins a BMP picture, and a word may begin with them as well.
    if readable is not None and not (readable == "BMP" and text):
        return InvalidImage(
            f"The data begins like a {readable} picture but cannot be read: it is damaged, cut short or of a rare "
            "kind. Send it again, or save the picture as JPEG or PNG first."
        )
    if text:
        kind = next((name for pattern, name in _TEXT_FORMATS if pattern.match(text)), "text:")
        return UnsupportedImage(f"The data looks like {kind} {WHAT_TO_SEND}.")
    return UnsupportedImage(f"The data is in no picture format that is read here: {WHAT_TO_SEND}.")


def is_raw(data: bytes) -> bool:
    """Whether ``data`` is a TIFF file that keeps a camera's raw picture.

    What Pillow would read of it is a preview, often of 160 x 120 pixels, or nothing.
    """
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return False
    if data[8:10] == b"CR":  # Canon's own mark
        return True
    tags = _first_tags(data, "<" if data[:1] == b"I" else ">")
    return (
        _DNG_VERSION in tags
        or tags.get(_PHOTOMETRIC) in _RAW_PHOTOMETRICS
        or (bool(tags.get(_SUBFILE_TYPE, 0) & _REDUCED) and _SUB_PICTURES in tags)
    )


def _first_tags(data: bytes, order: Literal["<", ">"]) -> dict[int, int]:
    """The first picture's tags in a TIFF file, with what stands in their entries."""
    (start,) = struct.unpack(f"{order}I", data[4:8].ljust(4, b"\0"))
    (count,) = struct.unpack(f"{order}H", data[start : start + 2].ljust(2, b"\0"))
    entries = data[start + 2 : start + 2 + 12 * count]
    tags = {}
    for entry in struct.iter_unpack(f"{order}HHIHH", entries[: len(entries) // 12 * 12]):
        tag, kind, _, first, second = entry
        tags[tag] = first if kind == _SHORT else (first << 16 | second if order == ">" else second << 16 | first)
    return tags


def _find_readable_format(prefix: bytes) -> str | None:
    for name in FORMATS:
        _, accepts = Image.OPEN[name]
        if accepts is not None and accepts(prefix):
            return name
    return None


def _as_text(prefix: bytes) -> str | None:
    try:
        # Incremental, since the prefix may end within a character.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(prefix)
    except UnicodeDecodeError:
        return None
    return text if all(character.isprintable() or character.isspace() for character in text) else None
