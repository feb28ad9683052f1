"""JPEGs as cameras, downloads and old programs leave them: each is answered like a whole one, or refused."""

from __future__ import annotations

import struct
from typing import NamedTuple

from PIL import Image

from tests.unit.handler.pictures import encode, exif, inverted_ycck_jpeg, picture

END = b"\xff\xd9"
START_OF_SCAN = b"\xff\xda"
#: The words of the refusal where pixels are missing.
CUT_SHORT = "cut short"


class JpegCase(NamedTuple):
    name: str
    content: bytes
    #: The JPEG that it is answered like, to the bit; None where it is refused.
    like: bytes | None
    refusal: str = CUT_SHORT


def whole_jpegs() -> dict[str, bytes]:
    rgb = picture(64, 64)
    grey = rgb.convert("L")
    return {
        "4:2:0": encode(rgb, "JPEG", quality=90),
        "4:2:2": encode(rgb, "JPEG", quality=90, subsampling="4:2:2"),
        "4:1:1": encode(rgb, "JPEG", quality=90, subsampling="4:1:1"),
        "4:4:4": encode(rgb, "JPEG", quality=90, subsampling="4:4:4"),
        "progressive": encode(rgb, "JPEG", quality=90, progressive=True),
        "progressive 4:4:4": encode(rgb, "JPEG", quality=90, subsampling="4:4:4", progressive=True),
        "grey": encode(grey, "JPEG", quality=90),
        "grey progressive": encode(grey, "JPEG", quality=90, progressive=True),
        "RGB": encode(rgb, "JPEG", quality=90, keep_rgb=True),
        "CMYK": encode(rgb.convert("CMYK"), "JPEG", quality=90),
        "CMYK progressive": encode(rgb.convert("CMYK"), "JPEG", quality=90, progressive=True),
        "inverted YCCK": inverted_ycck_jpeg(rgb),
        "restart markers": encode(rgb, "JPEG", quality=90, restart_marker_blocks=2),
        "restart markers progressive": encode(rgb, "JPEG", quality=90, restart_marker_rows=1, progressive=True),
        "odd size": encode(picture(61, 47), "JPEG", quality=90),
        "odd size progressive": encode(picture(61, 47), "JPEG", quality=90, progressive=True),
        "turned": encode(picture(61, 47), "JPEG", quality=90, exif=exif(6)),
        "scaled decode": encode(picture(330, 200), "JPEG", quality=90),
        "scaled decode progressive": encode(picture(330, 200), "JPEG", quality=90, progressive=True),
        "a scan for each component": in_separate_scans(rgb),
        "a thumbnail within": with_segment(encode(rgb, "JPEG", quality=90), 0xE1, encode(grey, "JPEG")),
        "a thumbnail within, progressive": with_segment(
            encode(rgb, "JPEG", quality=90, progressive=True), 0xE1, encode(grey, "JPEG", progressive=True)
        ),
    }


def jpegs() -> list[JpegCase]:
    whole = whole_jpegs()
    baseline, progressive = whole["4:2:0"], whole["progressive"]
    return [
        *(case for name, content in whole.items() for case in cut_short(name, content)),
        JpegCase("a pixel, without its end", encode(picture(1, 1), "JPEG")[:-2], encode(picture(1, 1), "JPEG")),
        JpegCase("zeros up to its length", baseline[: len(baseline) // 2].ljust(len(baseline), b"\0"), None),
        JpegCase("bytes lost", lose_middle(baseline), None),
        JpegCase("bytes lost, progressive", lose_middle(progressive), None),
        JpegCase("an interval lost", lose_interval(whole["restart markers"]), None),
        JpegCase("bytes after the end", baseline + b"made by a camera" * 9, baseline),
        JpegCase("bytes before the end", baseline[:-2] + bytes(300) + END, baseline),
        JpegCase("bytes before the end, progressive", progressive[:-2] + bytes(300) + END, progressive),
        JpegCase("padding before the end", baseline[:-2] + b"\xff" * 9 + END, baseline),
        JpegCase("padding before a segment", baseline[:2] + b"\xff" * 9 + baseline[2:], baseline),
        JpegCase("an unknown version of JFIF", baseline.replace(b"JFIF\0\1\1", b"JFIF\0\0\0"), baseline),
        JpegCase(
            "markers in a comment between scans",
            insert(progressive, START_OF_SCAN, segment(0xFE, START_OF_SCAN + END + START_OF_SCAN), after=True),
            progressive,
        ),
        JpegCase("a sampling of 4 by 2", resample(whole["4:4:4"], 0x42), resample(whole["4:4:4"], 0x42)),
        JpegCase("12 bits", baseline.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), None, "cannot be read"),
        JpegCase("no scan", baseline[: baseline.index(START_OF_SCAN)] + END, None),
    ]


def cut_short(name: str, content: bytes) -> list[JpegCase]:
    """``content`` without its end, which is answered, and cut in and between its scans, which is refused."""
    start = content.rindex(b"\xff\xc4") if "thumbnail" in name else content.index(START_OF_SCAN)
    scans = find_all(content, START_OF_SCAN, start)
    places = {f"at {quarter}/4": start + (len(content) - start) * quarter // 4 for quarter in (1, 2, 3)}
    places |= {"by a byte": len(content) - 3}
    places |= {f"after {number} scans": place for number, place in enumerate(scans) if number}
    return [
        JpegCase(f"{name}, whole", content, content),
        JpegCase(f"{name}, without its end", content[:-2], content),
        JpegCase(f"{name}, with half its end", content[:-1], content),
        *(JpegCase(f"{name}, cut {place}", content[:length], None) for place, length in places.items()),
        *(JpegCase(f"{name}, cut {place} and ended", content[:length] + END, None) for place, length in places.items()),
    ]


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    return jpeg[:2] + segment(marker, content) + jpeg[2:]


def find_all(content: bytes, wanted: bytes, start: int) -> list[int]:
    return [place for place in range(start, len(content)) if content.startswith(wanted, place)]


def insert(content: bytes, before: bytes, inserted: bytes, *, after: bool) -> bytes:
    place = content.rindex(before) if after else content.index(before)
    return content[:place] + inserted + content[place:]


def lose_middle(content: bytes) -> bytes:
    return content[: len(content) // 2] + content[len(content) * 3 // 4 :]


def lose_interval(content: bytes) -> bytes:
    start, end = content.index(b"\xff\xd2"), content.index(b"\xff\xd3")
    return content[:start] + content[end:]


def resample(jpeg: bytes, sampling: int) -> bytes:
    """``jpeg`` with another sampling of its first component: the pixels are wrong, but all there."""
    place = jpeg.index(b"\xff\xc0") + 11
    return jpeg[:place] + bytes([sampling]) + jpeg[place + 1 :]


def in_separate_scans(image: Image.Image) -> bytes:
    """A baseline JPEG that brings one component after the other, as old programs save them."""
    planes = [encode(plane, "JPEG", quality=90) for plane in image.convert("YCbCr").split()]
    frame, scan = planes[0].index(b"\xff\xc0"), planes[0].index(START_OF_SCAN)
    components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    header = segment(0xC0, struct.pack(">BHHB", 8, image.height, image.width, 3) + components)
    tables = planes[0][frame + 13 : scan]
    scans = (
        segment(0xDA, bytes([1, number, 0, 0, 63, 0])) + plane[scan + 10 : -2] for number, plane in enumerate(planes, 1)
    )
    return planes[0][:frame] + header + tables + b"".join(scans) + END
