"""Pictures with damaged or huge texts, profiles and tags: answered where their pixels are whole, as browsers do."""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.unit.handler.pictures import encode, exif, picture, png, png_chunk

SIDE = 64
#: Larger than what Pillow inflates of one chunk.
HUGE = zlib.compress(bytes(3 << 20))
PROFILE = b"profile\0\0" + zlib.compress(bytes(100))


class MetadataCase(NamedTuple):
    name: str
    content: bytes
    #: The picture that it is answered like, to the bit; None where it is refused.
    like: bytes | None


def pictures_with_metadata() -> list[MetadataCase]:
    return [*_pngs(), *_webps(), *_tiffs()]


def _pngs() -> list[MetadataCase]:
    rgb = picture(SIDE, SIDE)
    pixels = np.asarray(rgb)
    plain = png(pixels)
    turned = png(pixels, before=png_chunk(b"eXIf", exif(6)[6:]))
    transparent = png_chunk(b"tRNS", struct.pack(">3H", *pixels[-1, -1].tolist()))
    text = png_chunk(b"tEXt", b"prompt\0" + b"a cat" * 99)
    palette = encode(rgb.quantize(64), "PNG")
    data = plain.index(b"IDAT") + 4
    huge = {
        "compressed text": png_chunk(b"zTXt", b"k\0\0" + HUGE),
        "international text": png_chunk(b"iTXt", b"k\0\1\0\0\0" + HUGE),
        "profile": png_chunk(b"iCCP", b"k\0\0" + HUGE),
        "texts": png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 20))) * 70,
        "plain text": png_chunk(b"tEXt", b"k\0" + bytes(5 << 20)),
    }
    sound = {
        b"tEXt": b"k\0v",
        b"zTXt": b"k\0\0" + zlib.compress(b"v"),
        b"iTXt": b"k\0\0\0\0\0v",
        b"gAMA": bytes(4),
        b"cHRM": bytes(32),
        b"sRGB": b"\0",
        b"iCCP": PROFILE,
        b"tRNS": bytes(6),
        b"pHYs": bytes(9),
        b"tIME": bytes(7),
        b"prVt": b"of an editor",
    }
    malformed = [
        *((kind, b"") for kind in (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tRNS", b"iCCP", b"acTL", b"fcTL", b"fdAT")),
        (b"iCCP", b"no end of its name"),
        (b"iCCP", b"name\0\7other compression"),
        (b"zTXt", b"name\0\7other compression"),
        (b"fcTL", bytes(26)),
        (b"\0\0\0\0", b""),
        (b"a-b!", b"of no letters"),
    ]
    return [
        *(
            MetadataCase(f"PNG, huge {name} {where}", _around(pixels, where, chunk), plain)
            for name, chunk in huge.items()
            for where in ("before", "after")
        ),
        *(
            MetadataCase(
                f"PNG, wrong checksum of {kind.decode()}", png(pixels, before=spoil(png_chunk(kind, chunk))), plain
            )
            for kind, chunk in sound.items()
        ),
        *(
            MetadataCase(
                f"PNG, {kind!r} holds {chunk!r} {where}", _around(pixels, where, png_chunk(kind, chunk)), plain
            )
            for kind, chunk in malformed
            for where in ("before", "after")
        ),
        *(
            MetadataCase(f"PNG, {name} and EXIF {place}", png(pixels, before=before, after=after), turned)
            for name, chunk in (*huge.items(), ("a wrong checksum", spoil(text)))
            for place, before, after in (
                ("before it", png_chunk(b"eXIf", exif(6)[6:]) + chunk, b""),
                ("after it", chunk + png_chunk(b"eXIf", exif(6)[6:]), b""),
                ("after the pixels", chunk, png_chunk(b"eXIf", exif(6)[6:])),
            )
        ),
        MetadataCase(
            "PNG, a wrong checksum and transparency",
            png(pixels, before=spoil(text) + transparent),
            png(pixels, before=transparent),
        ),
        MetadataCase(
            "PNG, EXIF of a wrong checksum", png(pixels, before=spoil(png_chunk(b"eXIf", exif(6)[6:]))), plain
        ),
        MetadataCase("PNG, cut in a text after the pixels", png(pixels, after=text)[:-200], plain),
        MetadataCase("PNG, a text between its data", split_data(plain, text), plain),
        MetadataCase("PNG, bytes after its end", plain + bytes(999), plain),
        MetadataCase("PNG, without its end", plain[:-12], plain),
        MetadataCase("PNG, cut in its data", plain[: len(plain) // 2], None),
        MetadataCase(
            "PNG, cut in its data behind a wrong checksum", png(pixels, before=spoil(text))[: len(plain)], None
        ),
        MetadataCase("PNG, cut in its second data", split_data(plain, b"")[:-200], None),
        MetadataCase("PNG, cut in a text before the pixels", png(pixels, before=text)[:300], None),
        MetadataCase("PNG, wrong data", plain[: data + 99] + b"?" + plain[data + 100 :], None),
        MetadataCase("PNG, wrong checksum of IHDR", plain[:29] + b"?" + plain[30:], None),
        MetadataCase("PNG, wrong checksum of PLTE", spoil(palette, palette.index(b"PLTE") + 4 + 64 * 3), None),
        MetadataCase(
            "PNG, wrong text in front of wrong IHDR", plain[:29] + b"?" + plain[30:33] + spoil(text) + plain[33:], None
        ),
    ]


def _around(pixels: NDArray[np.uint8], where: str, chunk: bytes) -> bytes:
    return png(pixels, before=chunk) if where == "before" else png(pixels, after=chunk)


def _webps() -> list[MetadataCase]:
    rgb = picture(SIDE, SIDE)
    translucent = rgb.copy()
    translucent.putalpha(rgb.convert("L"))
    plain = encode(rgb, "WEBP", lossless=True)
    alpha = encode(translucent, "WEBP", quality=90)
    turned = encode(rgb, "WEBP", lossless=True, exif=exif(6))
    described = encode(rgb, "WEBP", lossless=True, exif=exif(6) + bytes(500), xmp=b"<x/>" * 99)
    cases = {"lossless": plain, "with alpha": alpha, "with EXIF": turned}
    lengths = {"nothing": 0, "less": 50, "more": 10**6, "all": 2**32 - 1}
    return [
        *(
            MetadataCase(f"WebP {name}, claims {claim}", content[:4] + struct.pack("<I", length) + content[8:], content)
            for name, content in cases.items()
            for claim, length in lengths.items()
        ),
        MetadataCase("WebP, cut in XMP", described[:-100], turned),
        MetadataCase("WebP, cut in EXIF", described[: described.index(b"EXIF") + 99], plain),
        MetadataCase(
            "WebP, without its last byte of padding", encode(rgb, "WEBP", lossless=True, xmp=b"odd")[:-1], plain
        ),
        *(MetadataCase(f"WebP {name}, half", content[: len(content) // 2], None) for name, content in cases.items()),
        MetadataCase("WebP, cut in its last pixels", plain[:-9], None),
        MetadataCase(
            "WebP, an animation cut in its first picture",
            encode(rgb, "WEBP", save_all=True, append_images=[Image.new("RGB", rgb.size)])[:900],
            None,
        ),
    ]


def _tiffs() -> list[MetadataCase]:
    rgb = picture(SIDE, SIDE)
    options = {"compression": "tiff_lzw", "description": "of a scanner", "software": "its program"}
    whole = encode(rgb, "TIFF", **options)
    far = struct.pack("<I", 10**8)
    return [
        MetadataCase("TIFF, its description lies outside", spoil_tag(whole, 270, offset=far), whole),
        MetadataCase("TIFF, its software lies outside", spoil_tag(whole, 305, offset=far), whole),
        MetadataCase("TIFF, its description is endless", spoil_tag(whole, 270, number=b"\xff\xff\xff\x0f"), whole),
        MetadataCase("TIFF, its strips lie outside", spoil_tag(whole, 273, offset=far), None),
        MetadataCase("TIFF, its bits lie outside", spoil_tag(whole, 258, offset=far), None),
        MetadataCase(
            "TIFF, its description lies outside, half", spoil_tag(whole, 270, offset=far)[: len(whole) // 2], None
        ),
    ]


def spoil(content: bytes, place: int = -1) -> bytes:
    spoiled = bytearray(content)
    spoiled[place] ^= 1
    return bytes(spoiled)


def split_data(content: bytes, between: bytes) -> bytes:
    start = content.index(b"IDAT") - 4
    data = content[start + 8 : -16]
    halves = png_chunk(b"IDAT", data[:500]), png_chunk(b"IDAT", data[500:])
    return content[:start] + halves[0] + between + halves[1] + content[-12:]


def spoil_tag(content: bytes, tag: int, *, number: bytes | None = None, offset: bytes | None = None) -> bytes:
    directory = int.from_bytes(content[4:8], "little")
    place = content.index(struct.pack("<H", tag), directory)
    entry = (
        content[place : place + 4]
        + (number or content[place + 4 : place + 8])
        + (offset or content[place + 8 : place + 12])
    )
    return content[:place] + entry + content[place + 12 :]
