"""HEIC files put together box by box (ISO/IEC 23008-12), so that each case has what it needs and nothing else.

The coded picture is four fields of 32 x 32 pixels, red and green above blue and yellow. libheif 1.15's
``heif-enc -q 80`` and, for the other kinds, pillow-heif 1.8.1 wrote it once, so that the tests need no encoder.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass

SIDE = 64
#: Red, green, blue, yellow: the fields' colors from the top left, row by row.
FIELDS = ((220, 40, 40), (40, 180, 60), (50, 70, 210), (230, 220, 60))
ROTATE_LEFT, MIRROR_COLUMNS = b"\x01", b"\x01"


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full_box(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def ispe(width: int = SIDE, height: int = SIDE) -> bytes:
    return full_box(b"ispe", struct.pack(">II", width, height))


@dataclass(frozen=True)
class Coded:
    """A picture in HEVC: its decoder's configuration, and its data."""

    configuration: bytes
    data: bytes

    @property
    def properties(self) -> list[bytes]:
        return [box(b"hvcC", self.configuration), ispe()]


def _coded(configuration: str, data: str) -> Coded:
    return Coded(base64.b85decode(configuration), base64.b85decode(data))


EIGHT_BITS = _coded(
    "0RwOV00000000009`FGC{rLC*01pEo0096PKmiN^|NjGU00093kN^M!000939=ZZRApijYD?$MQ18@KU0|1Z!00RI30{|YNAb|yz>PacCZUh7"
    "j2mk;B00;m80{{p>A^-sZ2SfqEa<C#m",
    "0000yC;_ho_(3vh+yAVO|NrYmeV6w4h8OOB39<k2C4c|NrZZ2!nIEHm!q^}G8p7?2-}cRw|Mu8N|K3OV",
)
TEN_BITS = _coded(
    "0R#vD005o1000009`FGC{rdU<01pFT0096OKmiN^|NjIC00093owxu10{{RXx&lC90096gLID8;2mk;B0G+r100RI39-ttB1lew+lA7k=A)vs3"
    "000bt00093gkk^z00%??!E&%7Km",
    "0000yC;_ho_(3vh+yAVO|NrZq-Iw<NSQqYo78d{UC4c|ONV8ABmw%&v#k?Q?9D$$9|HwOk|HMJoKT;-O",
)
GREY = _coded(
    "0R#vD005u(000009`FGC{P_3)01pFT0096OKmiN^|NjIC00093pZEX(0{{RXx&lC90096dLID8;2mk;B0H62(00RI39>9VG7F($#rn#^n0009"
    "6AOHXZ03l)k0RRU?0l{*xB0v",
    "0000RC;_es@MJueZ~QRA=X3B)NHYHA29KNm*|N9",
)
GREY_TEN_BITS = _coded(
    "0R#vD005o%000009`FGC{QCL;01pFT0096OKmiN^|NjIC00093o%jF%0{{RXx&lC90096eLID8;2mk;B0G;>%00RI39>9VG6J@%RN^6?}0009"
    "3G5`Pr00IzV00968L;=Baup&S",
    "0000RC;_es@MJueZ~P}i=X3B)NHYHA6xvt%T=`%",
)


@dataclass(frozen=True)
class Item:
    """One of the things in a file; its number is its place in the list, from 1."""

    kind: bytes
    data: bytes
    properties: Sequence[bytes] = ()
    #: How it refers to others: the reference's kind, and their numbers.
    references: Sequence[tuple[bytes, Sequence[int]]] = ()


def picture(coded: Coded = EIGHT_BITS, *more: bytes, references: Sequence[tuple[bytes, Sequence[int]]] = ()) -> Item:
    return Item(b"hvc1", coded.data, [*coded.properties, *more], references)


def grid(columns: int, rows: int, tiles: Sequence[int], *more: bytes, size: tuple[int, int] | None = None) -> Item:
    width, height = size or (columns * SIDE, rows * SIDE)
    data = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    return Item(b"grid", data, [ispe(width, height), *more], [(b"dimg", tiles)])


def exif(orientation: int) -> Item:
    tags = struct.pack(">2sHIHHHIHxxI", b"MM", 42, 8, 1, 274, 3, 1, orientation, 0)
    return Item(b"Exif", struct.pack(">I", 6) + b"Exif\0\0" + tags, references=[(b"cdsc", [1])])


def auxiliary(kind: bytes) -> Item:
    """A grey picture that belongs to the first item."""
    return picture(GREY, full_box(b"auxC", kind, b"\0"), references=[(b"auxl", [1])])


def heic(
    items: Sequence[Item],
    *,
    primary: int = 1,
    brands: Sequence[bytes] = (b"heic", b"mif1", b"heic"),
    after: bytes = b"",
) -> bytes:
    """The file: ``brands`` are the major one and the compatible ones, ``after`` follows the data."""
    begin = box(b"ftyp", brands[0], bytes(4), *brands[1:])
    # The size of the boxes before the data does not depend on where the data lies.
    start = len(begin) + len(_meta(items, primary, 0)) + 8
    return begin + _meta(items, primary, start) + box(b"mdat", *(item.data for item in items)) + after


def _meta(items: Sequence[Item], primary: int, start: int) -> bytes:
    entries: list[bytes] = []
    infos: list[bytes] = []
    references: list[bytes] = []
    boxes: list[bytes] = []
    associations: list[bytes] = []
    for number, item in enumerate(items, start=1):
        entries.append(struct.pack(">HHHII", number, 0, 1, start, len(item.data)))
        start += len(item.data)
        infos.append(full_box(b"infe", struct.pack(">HH", number, 0), item.kind, b"\0", version=2))
        references += [box(kind, struct.pack(f">HH{len(to)}H", number, len(to), *to)) for kind, to in item.references]
        indices = range(len(boxes) + 1, len(boxes) + 1 + len(item.properties))
        boxes += item.properties
        # Sixteen bits each, the first of which says that the property is essential.
        associations.append(struct.pack(f">HB{len(indices)}H", number, len(indices), *(0x8000 | i for i in indices)))
    return full_box(
        b"meta",
        full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
        full_box(b"pitm", struct.pack(">H", primary)),
        full_box(b"iinf", struct.pack(">H", len(items)), *infos),
        full_box(b"iref", *references),
        box(b"iprp", box(b"ipco", *boxes), full_box(b"ipma", struct.pack(">I", len(items)), *associations, flags=1)),
        full_box(b"iloc", b"\x44\x00", struct.pack(">H", len(items)), *entries),
    )
