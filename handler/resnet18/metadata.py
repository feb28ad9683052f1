"""Leave out of a picture's file what its pixels do not need: Pillow refuses the whole for texts, profiles and tags that
are damaged or huge, where browsers pass over them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

#: More than any profile of a display takes; what Pillow inflates of one text or profile at most.
MAX_KEPT_BYTES = 1 << 20
#: What a PNG's texts may take before they are left out.
MAX_TEXT_BYTES = 4 * MAX_KEPT_BYTES

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
#: What a PNG's pixels are made of, whose damage is the picture's.
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT"})
#: What changes how they look, by the least bytes that make sense.
_PNG_LOOKS = {b"tRNS": 1, b"eXIf": 8, b"iCCP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"sBIT": 1, b"cICP": 4}
#: By color type: grey and RGB name one transparent color, a palette gives shares.
_PNG_COLOR_TYPE = slice(25, 26)
_PNG_TRANSPARENCY = {b"\0": 2, b"\2": 6}

#: The order in which WebP's specification has them, and the flag that announces each.
_WEBP_FLAGS = {b"ICCP": 0x20, b"ALPH": 0x10, b"VP8 ": 0, b"VP8L": 0, b"EXIF": 0x08}
_WEBP_ANIMATED = 0x02
_WEBP_ALPHA = 0x10

#: What a TIFF's pixels are made of (TIFF 6.0), and what changes how they look.
_TIFF_PIXELS = frozenset(
    (*range(256, 260), 262, 266, 273, 277, 278, 279, 284, 292, 293, *range(317, 326), 332, 338, 339, 347)
) | frozenset((*range(512, 522), 529, 530, 531, 532))
_TIFF_ORIENTATION, _TIFF_PROFILE = 274, 34675
_TIFF_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_ENTRY_BYTES = 12


def repeats_profile(content: bytes) -> bool:
    """Whether a PNG may have several profiles: Pillow inflates each, for half a minute where they fill a file."""
    return content.startswith(_PNG) and content.count(b"iCCP") > 1


def leave_out_metadata(content: bytes) -> bytes | None:
    """``content`` with only what its pixels need and what changes their look, or None where nothing can be left out.

    Nothing is inflated beyond ``MAX_KEPT_BYTES``. Of an animation, only a PNG's default picture remains.
    """
    if content.startswith(_PNG):
        plain = _plain_png(content)
    elif content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        plain = _plain_webp(content)
    elif content.startswith((b"II*\0", b"MM\0*")):
        plain = _plain_tiff(content)
    else:
        return None
    return None if plain == content else plain


def _plain_png(content: bytes) -> bytes | None:
    """``content``'s whole chunks up to its end, or to where it is cut (PNG specification, 5.3)."""
    view = memoryview(content)
    kept = [view[: len(_PNG)]]
    kinds = set()
    position = len(_PNG)
    while position + 12 <= len(content):
        kind = content[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(content[position : position + 4], "big")
        if end > len(content) or kind == b"IEND":
            break
        if kind in _PNG_PIXELS or (kind not in kinds and _changes_look(kind, view[position:end], content)):
            kept.append(view[position:end])
            kinds.add(kind)
        position = end
    return b"".join([*kept, _PNG_END]) if b"IDAT" in kinds else None


def _changes_look(kind: bytes, chunk: memoryview, content: bytes) -> bool:
    """Whether Pillow will take the ``chunk`` of a PNG."""
    length = len(chunk) - 12
    if not _PNG_LOOKS.get(kind, length + 1) <= length <= MAX_KEPT_BYTES:
        return False
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        return False
    if kind == b"tRNS":
        return length >= _PNG_TRANSPARENCY.get(content[_PNG_COLOR_TYPE], 0)
    return kind != b"iCCP" or _inflates(bytes(chunk[8:-4]))


def _inflates(profile: bytes) -> bool:
    _, _, compressed = profile.partition(b"\0")
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(compressed[1:], MAX_KEPT_BYTES)
    except zlib.error:
        return False
    return compressed[:1] == b"\0" and not inflater.unconsumed_tail


def _plain_webp(content: bytes) -> bytes | None:
    """``content``'s still picture in a container of the right length (RFC 9649)."""
    chunks: dict[bytes, bytes] = {}
    for kind, chunk in _webp_chunks(content):
        chunks.setdefault(kind, chunk)
    header = chunks.get(b"VP8X", b"")
    if (header and (len(header) != 10 or header[0] & _WEBP_ANIMATED)) or not (b"VP8 " in chunks or b"VP8L" in chunks):
        return None
    kept = [(kind, chunks[kind]) for kind in _WEBP_FLAGS if kind in chunks]
    if header:
        flags = header[0] & _WEBP_ALPHA
        for kind, _ in kept:
            flags |= _WEBP_FLAGS[kind]
        kept.insert(0, (b"VP8X", bytes([flags]) + header[1:]))
    body = b"".join(struct.pack("<4sI", kind, len(chunk)) + chunk + bytes(len(chunk) % 2) for kind, chunk in kept)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _webp_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All that are whole, whatever length the container claims."""
    position = 12
    while position + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, position)
        position += 8
        if position + length > len(content):
            return
        yield kind, content[position : position + length]
        position += length + length % 2


def _plain_tiff(content: bytes) -> bytes | None:
    """``content`` with only those entries of its first directory that change its pixels, and no further directory."""
    order = "<" if content.startswith(b"II") else ">"
    kept = []
    try:
        (directory,) = struct.unpack_from(f"{order}I", content, 4)
        (entries,) = struct.unpack_from(f"{order}H", content, directory)
        for place in range(directory + 2, directory + 2 + entries * _TIFF_ENTRY_BYTES, _TIFF_ENTRY_BYTES):
            tag, kind, number, offset = struct.unpack_from(f"{order}HHII", content, place)
            length = number * _TIFF_TYPE_BYTES.get(kind, 0)
            sound = length > 0 and (length <= 4 or offset + length <= len(content))
            if tag in _TIFF_PIXELS and not sound:
                return None
            if tag in _TIFF_PIXELS or (sound and (tag == _TIFF_PROFILE or (tag == _TIFF_ORIENTATION and number == 1))):
                kept.append(content[place : place + _TIFF_ENTRY_BYTES])
    except struct.error:
        return None
    room = entries * _TIFF_ENTRY_BYTES + 4
    plain = struct.pack(f"{order}H", len(kept)) + b"".join(kept).ljust(room, b"\0")
    return content[:directory] + plain + content[directory + 2 + room :]
