"""Writes PNG pictures: a format that needs no more than zlib."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Bit depth 8, colour type 6 (RGBA), and the only compression, filter and interlace methods that matter here.
RGBA_8 = bytes([8, 6, 0, 0, 0])


def encode_png(width: int, height: int, pixels: bytes) -> bytes:
    """``pixels``: rows from top to bottom, four bytes R, G, B, A a pixel. (PNG specification, sections 5 and 11.)"""
    stride = 4 * width
    # Filter type 0 (none) before each row.
    rows = b"".join(b"\0" + pixels[start : start + stride] for start in range(0, stride * height, stride))
    header = struct.pack(">II", width, height) + RGBA_8
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 1)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
