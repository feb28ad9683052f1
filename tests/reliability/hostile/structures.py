"""Damage that knows formats: parts are moved, doubled, left out, given impossible numbers; checksums are made right."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise

from tests.mutations import mutate

#: Numbers at which parsers go wrong.
ODD = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
MAX_BYTES = 400_000

Parts = list[bytes]


def damaged(content: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """``content`` with damage of some kind; ``others`` are pictures that a part may be taken from."""
    kind = chance.randrange(10)
    if kind < 3:
        return mutate(content, chance)
    if kind == 3:
        return content[: chance.randrange(len(content) + 1)]
    if kind == 4:  # a polyglot, or what is appended to a picture
        return content + chance.choice(others)
    if kind == 5:
        other = chance.choice(others)
        place, where = chance.randrange(len(content) + 1), chance.randrange(len(other) + 1)
        return content[:place] + other[where : where + 4096] + content[place:]
    take_apart, put_together = _structure_of(content)
    parts = take_apart(content)
    for _ in range(chance.choice((1, 1, 2, 5))):
        parts = _changed(parts, take_apart(chance.choice(others)), chance)
    return put_together(parts)[:MAX_BYTES]


def _changed(parts: Parts, others: Parts, chance: random.Random) -> Parts:
    if not parts:
        return others
    place = chance.randrange(len(parts))
    match chance.randrange(7):
        case 0:
            return parts[:place] + parts[place + 1 :]
        case 1:
            return parts[:place] + [parts[place]] * chance.choice((2, 3, 50)) + parts[place + 1 :]
        case 2:
            other = chance.randrange(len(parts))
            parts[place], parts[other] = parts[other], parts[place]
        case 3:
            parts.insert(place, chance.choice(others or [b""]))
        case 4:
            parts[place] = mutate(parts[place], chance)
        case _:
            parts[place] = _with_odd_number(parts[place], chance)
    return parts


def _with_odd_number(part: bytes, chance: random.Random) -> bytes:
    size, order = chance.choice((1, 2, 4)), chance.choice("<>")
    if len(part) < size:
        return part
    place = chance.randrange(min(len(part) - size, 64) + 1)
    number = chance.choice(ODD) % (1 << 8 * size)
    return part[:place] + struct.pack(f"{order}{'_BH_I'[size]}", number) + part[place + size :]


Structure = tuple[Callable[[bytes], Parts], Callable[[Parts], bytes]]


def _structure_of(content: bytes) -> Structure:
    if content.startswith(b"\x89PNG"):
        return _png_chunks, _as_png
    if content.startswith(b"\xff\xd8"):
        return _jpeg_segments, b"".join
    if content.startswith(b"RIFF"):
        return _riff_chunks, _as_riff
    if content[4:8] == b"ftyp":
        return _boxes, b"".join
    return _pieces, b"".join


def _png_chunks(content: bytes) -> Parts:
    """Kind and content of each."""
    parts, at = [], 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        parts.append(content[at + 4 : at + 8 + length])
        at += 12 + length
    return parts


def _as_png(parts: Parts) -> bytes:
    chunks = (struct.pack(">I", max(len(part) - 4, 0)) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _jpeg_segments(content: bytes) -> Parts:
    """Each from its marker to the next; data of a scan belong to it."""
    starts = [at for at in range(len(content) - 1) if content[at] == 0xFF and content[at + 1] not in (0, 0xFF)]
    return [content[start:end] for start, end in pairwise([*starts, len(content)])]


def _riff_chunks(content: bytes) -> Parts:
    """Kind and content of each."""
    parts, at = [], 12
    while at + 8 <= len(content):
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        parts.append(content[at : at + 4] + content[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    return parts


def _as_riff(parts: Parts) -> bytes:
    chunks = (
        part[:4].ljust(4) + struct.pack("<I", len(part[4:])) + part[4:] + bytes(len(part[4:]) % 2) for part in parts
    )
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _boxes(content: bytes) -> Parts:
    """Top boxes; the one that describes the picture is cut in pieces, as its boxes are in one another."""
    parts, at = [], 0
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big") or len(content) - at
        box = content[at : at + max(size, 8)]
        parts += _pieces(box) if box[4:8] == b"meta" else [box]
        at += max(size, 8)
    return parts


def _pieces(content: bytes) -> Parts:
    """Of a format without parts that are easily told apart: the first ones small, as headers are."""
    sizes = [4, 4, 2, *[12] * 20, 256, 4096]
    parts, at = [], 0
    for size in sizes:
        parts.append(content[at : at + size])
        at += size
    return [part for part in [*parts, content[at:]] if part]
