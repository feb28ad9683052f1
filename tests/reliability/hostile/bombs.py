"""Small files that become large pictures: as large as is allowed, or larger and silent about it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from tests.cases.jpegs import segment
from tests.unit.handler.pictures import encode, picture, png_chunk

#: 49 million pixels: nearly as many as are allowed.
SIDE = 7000
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _flat(mode: str, **options: Any) -> Callable[[], bytes]:
    file_format = options.pop("file_format")
    return lambda: encode(Image.new(mode, (SIDE, SIDE)), file_format, **options)


def _png(bits: int, color_type: int, channels: int, *, interlaced: int = 0, side: int = SIDE) -> bytes:
    packer, packed = zlib.compressobj(9), io.BytesIO()
    left = side * ((side * channels * bits + 7) // 8 + 8)
    while left > 0:
        packed.write(packer.compress(bytes(min(left, 1 << 20))))
        left -= 1 << 20
    packed.write(packer.flush())
    header = struct.pack(">IIBBBBB", side, side, bits, color_type, 0, 0, interlaced)
    chunks = png_chunk(b"IHDR", header), png_chunk(b"IDAT", packed.getvalue()), png_chunk(b"IEND", b"")
    return SIGNATURE + b"".join(chunks)


def _liar(file_format: str, mark: bytes, offset: int, size: bytes) -> bytes:
    """A large picture that says it is small."""
    content = bytearray(
        encode(Image.new("RGB", (SIDE, SIDE)), file_format, **({"speed": 10} if file_format == "AVIF" else {}))
    )
    place = content.index(mark) + offset
    content[place : place + len(size)] = size
    return bytes(content)


def _jpeg_of_scans() -> bytes:
    content = encode(Image.new("RGB", (SIDE, SIDE)), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * 85 + content[-2:]


def _png_of_profiles() -> bytes:
    content = encode(picture(64, 64), "PNG")
    return content[:33] + png_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(1 << 20), 9)) * 12_000 + content[33:]


def _jpeg_of_segments() -> bytes:
    content = encode(picture(64, 64), "JPEG")
    return content[:2] + segment(0xFE, b"") * 3_000_000 + content[2:]


BOMBS: Mapping[str, Callable[[], bytes]] = {
    "PNG, 16 bits a channel": lambda: _png(16, 6, 4),
    "PNG, interlaced": lambda: _png(8, 6, 4, interlaced=1),
    "PNG, far too large": lambda: _png(1, 0, 1, side=60_000),
    "PNG of profiles": _png_of_profiles,
    "JPEG": _flat("RGB", file_format="JPEG"),
    "JPEG of many scans": _jpeg_of_scans,
    "JPEG of empty segments": _jpeg_of_segments,
    "WebP": _flat("RGBA", file_format="WEBP", lossless=True),
    "GIF": _flat("P", file_format="GIF"),
    "TIFF": _flat("RGBA", file_format="TIFF", compression="tiff_adobe_deflate"),
    "TIFF, floating point": _flat("F", file_format="TIFF", compression="tiff_adobe_deflate"),
    "TIFF, fax": _flat("1", file_format="TIFF", compression="group4"),
    "AVIF": _flat("RGB", file_format="AVIF", speed=10),
    "AVIF that says it is small": lambda: _liar("AVIF", b"ispe", 8, struct.pack(">II", 64, 64)),
    "BMP that says it is large": lambda: _liar("GIF", b"GIF8", 6, b"\xff\xff\xff\xff"),
}
