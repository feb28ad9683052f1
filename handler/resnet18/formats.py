"""Which picture formats are read, and why other bytes are not."""

from __future__ import annotations

import codecs
import re

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
_BINARY_FORMATS = (
    (re.compile(rb"%PDF-"), "a PDF document"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive"),
    (re.compile(rb"\x1f\x8b"), "a gzip archive"),
    (re.compile(rb"8BPS"), "a Photoshop document"),
    (re.compile(rb"\x00\x00\x01\x00"), "an icon (ICO)"),
    (re.compile(rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"), "a JPEG 2000 picture"),
    (re.compile(rb"\x00\x00\x00\x0cJXL |\xff\x0a"), "a JPEG XL picture"),
    (re.compile(rb"(?s).{4}ftyp(hei|hev|mif1|msf1)"), "a HEIC picture"),
    (re.compile(rb"(?s).{4}ftyp(?!avi[fs])"), "a video"),
)
_TEXT_FORMATS = (
    (re.compile(r"(?is)\s*((<\?xml|<!--|<!doctype svg).*)?<svg\b"), "an SVG drawing"),
    (re.compile(r"(?i)\s*(<!doctype html|<html|<head|<body)"), "an HTML page"),
    (re.compile(r"\s*[{\[]"), "JSON"),
)


def explain_refusal(data: bytes) -> RequestError:
    """The error for ``data`` that Pillow could not read.

    InvalidImage where it begins like a picture that should be readable, else UnsupportedImage, which says what it is.
    """
    prefix = data[:_PREFIX_BYTES]
    kind = next((name for pattern, name in _BINARY_FORMATS if pattern.match(prefix)), None)
    text = _as_text(prefix)
    if kind is None:
        readable = _find_readable_format(prefix)
        # Two letters are all that begins a BMP picture, and a word may begin with them as well.
        if readable is not None and not (readable == "BMP" and text):
            return InvalidImage(
                f"The data begins like a {readable} picture but cannot be read: it is damaged, cut short or of a rare "
                "kind. Send it again, or save the picture as JPEG or PNG first."
            )
        if text:
            kind = next((name for pattern, name in _TEXT_FORMATS if pattern.match(text)), "text")
    found = "The data is in no picture format that is read here" if kind is None else f"The data looks like {kind}"
    return UnsupportedImage(f"{found}: {WHAT_TO_SEND}.")


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
