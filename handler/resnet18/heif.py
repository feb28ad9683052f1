"""HEIC pictures, every iPhone's own format (HEIF, ISO/IEC 23008-12, with HEVC), where a decoder of them is installed.

The decoder is C++ that strangers' bytes reach, and most of what was wrong with it so far lay in parts that no camera
uses. So a file's boxes are read here first: what is no plain photograph, or has too many pixels, never reaches it.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from .color import make_profile
from .errors import HOW_TO_READ_HEIC, InvalidImage, UnsupportedImage

#: Modules with one interface, the preferred one first, and their distributions. The second is the first without GPL
#: parts; it is no extra because its newest version, 1.7.0.post4, is too old.
DECODERS = {"pillow_heif": "pillow-heif", "pi_heif": "pi-heif-decoder"}
#: The first version of both with libheif 1.23.6. Before, a file whose two notes of its bit depth differ was written
#: beyond the end of memory, and with libheif before 1.23.4, every pi-heif's, pictures can run code.
OLDEST_DECODER = (1, 8, 1)

#: Names in the file type box: of pictures in HEVC, of HEIF whatever its coding, and of AV1.
_HEVC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF_BRANDS = frozenset({b"mif1", b"mif2", b"miaf", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
#: The file type box has some 10 brands.
_MAX_FTYP_BYTES = 1024
#: What files of cameras and phones hold: pictures in HEVC, grids of them, the recipe of a gain map, metadata.
_KNOWN_ITEMS = frozenset({b"hvc1", b"grid", b"tmap", b"Exif", b"mime", b"uri "})
_UNIQUE = frozenset({b"ftyp", b"meta", b"pitm", b"iinf", b"iref", b"iprp", b"ipco", b"iloc"})
#: Turned, mirrored, cut: each may be done once to a picture.
_TRANSFORMATIONS = frozenset({b"irot", b"imir", b"clap"})
#: Boxes in one box. A photograph of 48 megapixels consists of some 200 items, and libheif takes 1000.
_MAX_BOXES = 2000
#: Entries of all lists in a file; each item has some five.
_MAX_ENTRIES = 10_000
#: The tiles of a grid reach over its edges, so they have more pixels than it, but never twice as many in a photograph.
MAX_CODED_SHARE = 2
#: H.273's numbers: BT.709 and sRGB, or not specified; the curve of HDR10.
_SRGB_PRIMARIES, _PQ = frozenset({0, 1, 2}), 16
#: The brightest that PQ can say, and what it calls white (ITU-R BT.2408).
_PQ_PEAK_NITS, _PQ_WHITE_NITS = 10_000, 203
_CURVE_SAMPLES = 1024
_ADVICE = "send it again, or open it where it was made and export it as JPEG"


class HeifPixels(NamedTuple):
    """The pixels of the picture as it is stored, and the most that one picture in the file, or its tiles, have."""

    stored: int
    coded: int


def is_heif(content: bytes) -> bool:
    """Whether ``content`` begins like HEIF; AVIF is HEIF, too, but Pillow reads it."""
    if content[4:8] != b"ftyp":
        return False
    major = content[8:12]
    end = min(int.from_bytes(content[:4], "big"), _MAX_FTYP_BYTES)
    compatible = {content[start : start + 4] for start in range(16, end, 4)}
    return major in _HEVC_BRANDS or (major in _HEIF_BRANDS and compatible.isdisjoint(_AVIF_BRANDS))


def find_decoder() -> str | None:
    """The module that decodes HEIC pictures, which is not imported."""
    from importlib import metadata  # not before it is needed: 10 ms

    for module, distribution in DECODERS.items():
        try:
            version = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
        if tuple(map(int, re.findall(r"\d+", version)[:3])) >= OLDEST_DECODER:
            return module
    return None


@cache
def load_decoder() -> Any:
    """Raises UnsupportedImage where there is none."""
    name = find_decoder()
    if name is None:
        raise UnsupportedImage(
            "The data looks like a HEIC picture, which this server lacks the decoder for: export it as JPEG. Whoever "
            f"runs the server can add it: {HOW_TO_READ_HEIC}."
        )
    decoder = importlib.import_module(name)
    options = decoder.options
    # One thread a picture, since pictures are decoded in parallel already; and only the primary picture is needed.
    options.DECODE_THREADS = 1
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    return decoder


def count_pixels(content: bytes) -> HeifPixels:
    """Raises InvalidImage, or UnsupportedImage for what no camera writes."""
    try:
        return _Items(content).count_pixels()
    except (ValueError, KeyError, IndexError) as exc:
        raise InvalidImage(
            f"The data begins like a HEIC picture but cannot be read: it is damaged or cut short: {_ADVICE}."
        ) from exc


def decode_heif(content: bytes) -> Image.Image:
    """The primary picture, upright, with 8 bits a channel; its ``info`` has a color profile, if any, and nothing else.

    Raises InvalidImage, or UnsupportedImage where no decoder is installed.
    """
    decoder = load_decoder()
    try:
        file = decoder.open_heif(_without_tracks(content), remove_stride=False)
        picture = file[file.primary_index]
        size = picture.size
        image: Image.Image = picture.to_pillow()
    except (OSError, SyntaxError, ValueError, RuntimeError, EOFError, IndexError) as exc:
        raise InvalidImage(f"The HEIC picture cannot be decoded: it is damaged or of a rare kind: {_ADVICE}.") from exc
    if image.size != size:
        raise InvalidImage(f"The HEIC picture has another size than its file says: {_ADVICE}.")
    if image.mode == "I;16":  # grey of more than 8 bits, stretched to 16
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    # No EXIF or XMP data: what they say of the picture's orientation was done by the decoder.
    profile = picture.info.get("icc_profile") or _describe_nclx(picture.info.get("nclx_profile"))
    image.info = {"icc_profile": profile} if profile else {}
    return image


def _describe_nclx(nclx: Mapping[str, float] | None) -> bytes | None:
    """A profile of the color space that is given by numbers (ITU-T H.273); None where it is sRGB or not known."""
    if nclx is None:
        return None
    is_pq = nclx["transfer_characteristics"] == _PQ
    if nclx["color_primaries"] in _SRGB_PRIMARIES and not is_pq:
        return None
    chromaticity = [nclx[f"color_primary_{name}_{axis}"] for name in ("white", "red", "green", "blue") for axis in "xy"]
    signal = np.linspace(0, 1, _CURVE_SAMPLES)
    if is_pq:  # SMPTE ST 2084; brighter than white is white
        root = signal ** (32 / 2523)
        light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (16384 / 2610)
        light = np.minimum(light * _PQ_PEAK_NITS / _PQ_WHITE_NITS, 1)
    else:  # sRGB's, which all that is no HDR differs little from; HLG is made to look right with such a curve
        light = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    return make_profile(chromaticity, light)


class _Box(NamedTuple):
    """Where a box begins, and where its content begins and ends."""

    kind: bytes
    start: int
    content: int
    end: int


def _boxes(content: bytes, start: int, end: int) -> Iterator[_Box]:
    """The boxes side by side from ``start`` to ``end``. Raises ValueError where one reaches further."""
    for _ in range(_MAX_BOXES):
        if start == end:
            return
        reader = _Reader(content, start, end)
        size, kind = reader.number(4), reader.bytes(4)
        if size == 1:
            size = reader.number(8)
        stop = start + size if size else end
        if not reader.position <= stop <= end:
            raise ValueError(f"a box of {size} bytes")
        yield _Box(kind, start, reader.position, stop)
        start = stop
    raise ValueError("too many boxes")


def _top_boxes(content: bytes) -> Iterator[_Box]:
    """Those of the file, up to what is no box: some cameras write data of their own at the end."""
    try:
        yield from _boxes(content, 0, len(content))
    except ValueError:
        return


def _without_tracks(content: bytes) -> bytes:
    """The moving pictures beside the still one become free space, so that the decoder does not read them."""
    for box in _top_boxes(content):
        if box.kind == b"moov":
            content = content[: box.start + 4] + b"free" + content[box.start + 8 :]
    return content


class _Reader:
    """Reads big-endian numbers from a box. Raises ValueError at its end."""

    def __init__(self, content: bytes, position: int, end: int) -> None:
        self._content = content
        self.position = position
        self.end = end

    def bytes(self, size: int) -> bytes:
        if self.position + size > self.end:
            raise ValueError("a box ends early")
        self.position += size
        return self._content[self.position - size : self.position]

    def number(self, size: int) -> int:
        return int.from_bytes(self.bytes(size), "big")


class _Items:
    """The items of a file (ISO/IEC 14496-12, 8.11, and 23008-12, 9): pictures, tiles, metadata."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._entries = 0
        top = _only(_top_boxes(content))
        if b"meta" not in top and b"moov" in top:
            raise UnsupportedImage("The HEIC file is a video and has no still picture: send one of its pictures.")
        meta = _only(_boxes(content, top[b"meta"].content + 4, top[b"meta"].end))
        properties = list(_boxes(content, meta[b"iprp"].content, meta[b"iprp"].end))
        reader, version, _ = self._open(meta[b"pitm"])
        self._primary = reader.number(4 if version else 2)
        self._kinds = dict(self._read_kinds(meta[b"iinf"]))
        #: Of each item that is put together from others: their numbers.
        self._parts: dict[int, list[int]] = defaultdict(list)
        if b"iref" in meta:
            self._read_parts(meta[b"iref"])
        container = _only(properties)[b"ipco"]
        #: Of each item.
        self._properties: dict[int, list[_Box]] = defaultdict(list)
        for box in properties:
            if box.kind == b"ipma":
                self._read_properties(box, list(_boxes(content, container.content, container.end)))

    def count_pixels(self) -> HeifPixels:
        if not set(self._kinds.values()) <= _KNOWN_ITEMS or any(
            count > 1
            for boxes in self._properties.values()
            for kind, count in Counter(box.kind for box in boxes).items()
            if kind in _TRANSFORMATIONS
        ):
            raise UnsupportedImage(f"The HEIC file holds more than photographs, which is not read here: {_ADVICE}.")
        pictures = {item: self._pixels(item) for item, kind in self._kinds.items() if kind in (b"hvc1", b"grid")}
        tiles = (
            sum(self._pixels(part) for part in self._parts[item])
            for item, kind in self._kinds.items()
            if kind == b"grid"
        )
        return HeifPixels(pictures[self._primary], max(*pictures.values(), *tiles, 0))

    def _pixels(self, item: int) -> int:
        sizes = [self._open(box)[0] for box in self._properties[item] if box.kind == b"ispe"]
        return max(reader.number(4) * reader.number(4) for reader in sizes)

    def _open(self, box: _Box) -> tuple[_Reader, int, int]:
        """The content of a box that begins with its version and flags, with these."""
        reader = _Reader(self._content, box.content, box.end)
        return reader, reader.number(1), reader.number(3)

    def _count(self, reader: _Reader, size: int) -> range:
        """The entries of a list, which begins with their number."""
        found = reader.number(size)
        self._entries += found
        if self._entries > _MAX_ENTRIES:
            raise ValueError("too many entries")
        return range(found)

    def _read_kinds(self, box: _Box) -> Iterator[tuple[int, bytes]]:
        reader, version, _ = self._open(box)
        reader.number(4 if version else 2)
        for entry in _boxes(self._content, reader.position, box.end):
            reader, version, _ = self._open(entry)
            item = reader.number(2 if version < 3 else 4)
            reader.number(2)
            yield item, reader.bytes(4) if version > 1 else b""

    def _read_parts(self, box: _Box) -> None:
        reader, version, _ = self._open(box)
        width = 4 if version else 2
        for entry in _boxes(self._content, reader.position, box.end):
            if entry.kind == b"dimg":
                reader = _Reader(self._content, entry.content, entry.end)
                self._parts[reader.number(width)] += [reader.number(width) for _ in self._count(reader, 2)]

    def _read_properties(self, box: _Box, properties: list[_Box]) -> None:
        reader, version, flags = self._open(box)
        for _ in self._count(reader, 4):
            item = reader.number(4 if version else 2)
            for _ in self._count(reader, 1):
                index = reader.number(2) & 0x7FFF if flags & 1 else reader.number(1) & 0x7F
                if index:  # 0: none
                    self._properties[item].append(properties[index - 1])


def _only(boxes: Iterable[_Box]) -> dict[bytes, _Box]:
    """``boxes`` by their kind. Raises ValueError where there are two of one that may be there once."""
    found: dict[bytes, _Box] = {}
    for box in boxes:
        if box.kind in found and box.kind in _UNIQUE:
            raise ValueError("a box is there twice")
        found[box.kind] = box
    return found
