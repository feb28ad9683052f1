"""HEIC files: what each is read as, or the words that it is refused with."""

from __future__ import annotations

from typing import NamedTuple

from PIL import ImageCms

from marserve.handler.resnet18.errors import ImageTooLarge, InvalidImage, RequestError, UnsupportedImage
from tests.heic import (
    EIGHT_BITS,
    FIELDS,
    GREY,
    GREY_TEN_BITS,
    MIRROR_COLUMNS,
    ROTATE_LEFT,
    TEN_BITS,
    Coded,
    Item,
    auxiliary,
    box,
    exif,
    grid,
    heic,
    ispe,
    picture,
)

Color = tuple[int, int, int]
RED, GREEN, BLUE, YELLOW = FIELDS
PLAIN = heic([picture()])
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
#: What the tests' decoder takes at most.
MAX_PIXELS = 40_000


class Readable(NamedTuple):
    name: str
    content: bytes
    #: From the top left, row by row.
    fields: tuple[Color, Color, Color, Color] = FIELDS


class Refused(NamedTuple):
    name: str
    content: bytes
    error: type[RequestError]
    words: str


def _grey(red: int, green: int, blue: int) -> Color:
    level = round(0.299 * red + 0.587 * green + 0.114 * blue)
    return level, level, level


def _claims(width: int, height: int) -> Item:
    return Item(b"hvc1", EIGHT_BITS.data, [box(b"hvcC", EIGHT_BITS.configuration), ispe(width, height)])


GREY_FIELDS = (_grey(*RED), _grey(*GREEN), _grey(*BLUE), _grey(*YELLOW))
#: Grey of 8 bits, of which the decoder's configuration (byte 17) says that it has 11.
CLAIMS_ELEVEN_BITS = Coded(GREY.configuration[:17] + b"\xab" + GREY.configuration[18:], GREY.data)
READABLE = (
    Readable("plain", PLAIN),
    Readable("ten bits", heic([picture(TEN_BITS)], brands=[b"heix", b"mif1"])),
    Readable("greyscale", heic([picture(GREY)]), GREY_FIELDS),
    Readable("greyscale of ten bits", heic([picture(GREY_TEN_BITS)]), GREY_FIELDS),
    Readable("HEIF, whatever the coding", heic([picture()], brands=[b"mif1", b"heic", b"miaf"])),
    Readable("a burst's brand", heic([picture()], brands=[b"msf1", b"mif1", b"hevc"])),
    Readable("turned", heic([picture(EIGHT_BITS, box(b"irot", ROTATE_LEFT))]), (GREEN, YELLOW, RED, BLUE)),
    Readable("mirrored", heic([picture(EIGHT_BITS, box(b"imir", MIRROR_COLUMNS))]), (GREEN, RED, YELLOW, BLUE)),
    # As iPhones do it; turned by both, the picture would lie on its side.
    Readable(
        "turned, and EXIF says so, too",
        heic([picture(EIGHT_BITS, box(b"irot", ROTATE_LEFT)), exif(8)]),
        (GREEN, YELLOW, RED, BLUE),
    ),
    Readable("EXIF alone turns nothing", heic([picture(), exif(6)])),
    Readable("a grid", heic([grid(1, 1, [2], box(b"irot", ROTATE_LEFT)), picture()]), (GREEN, YELLOW, RED, BLUE)),
    Readable("not the first is the primary one", heic([picture(GREY), picture(GREY), picture()], primary=3)),
    Readable("a thumbnail", heic([picture(), picture(GREY, references=[(b"thmb", [1])])])),
    Readable("a depth map", heic([picture(), auxiliary(b"urn:mpeg:hevc:2015:auxid:2")])),
    Readable("Apple's gain map", heic([picture(), auxiliary(b"urn:com:apple:photo:2020:aux:hdrgainmap")])),
    Readable(
        "ISO's gain map",
        heic(
            [picture(), picture(GREY), Item(b"tmap", bytes(62), [ispe()], [(b"dimg", [1, 2])])],
            brands=[b"heic", b"mif1", b"heic", b"tmap"],
        ),
    ),
    Readable("an ICC profile", heic([picture(EIGHT_BITS, box(b"colr", b"prof", PROFILE))])),
    Readable("a live photo's film", heic([picture()], after=box(b"moov", box(b"mvhd", bytes(100))))),
    Readable("a maker's own data at the end", heic([picture()], after=b"SEFT and whatever else")),
)
REFUSED = (
    Refused("cut in its boxes", PLAIN[:200], InvalidImage, "cut short"),
    Refused("cut in its data", PLAIN[:-20], InvalidImage, "cannot be decoded"),
    Refused("damaged data", PLAIN[:-60] + bytes(60), InvalidImage, "cannot be decoded"),
    Refused("no picture", heic([exif(1)]), InvalidImage, "cannot be read"),
    Refused("no primary picture", heic([picture()], primary=2), InvalidImage, "cannot be read"),
    Refused("no size", heic([Item(b"hvc1", EIGHT_BITS.data)]), InvalidImage, "cannot be read"),
    Refused("a grid without tiles", heic([grid(1, 1, [])]), InvalidImage, "cannot be decoded"),
    Refused("two of what may be there once", PLAIN + PLAIN[PLAIN.index(b"meta") - 4 :], InvalidImage, "cannot be read"),
    Refused("an endless list", heic([picture()] + [exif(1)] * 2100), InvalidImage, "cannot be read"),
    Refused("another size than it says", heic([_claims(32, 32)]), InvalidImage, "cannot be decoded"),
    # Written beyond the end of memory by pi-heif-decoder 1.7.0.post4.
    Refused("another bit depth than it says", heic([picture(CLAIMS_ELEVEN_BITS)]), InvalidImage, "cannot be decoded"),
    Refused("a film", box(b"ftyp", b"msf1", bytes(4), b"hevc") + box(b"moov", bytes(100)), UnsupportedImage, "video"),
    Refused(
        "other coding", heic([picture(), Item(b"unci", bytes(9), [ispe()])]), UnsupportedImage, "export it as JPEG"
    ),
    Refused("an overlay", heic([Item(b"iovl", bytes(9), [ispe()]), picture()]), UnsupportedImage, "export it as JPEG"),
    Refused("a link", heic([Item(b"iden", b"", [ispe()], [(b"dimg", [2])]), picture()]), UnsupportedImage, "export it"),
    Refused(
        "turned many times", heic([picture(EIGHT_BITS, *[box(b"irot", ROTATE_LEFT)] * 200)]), UnsupportedImage, "export"
    ),
    Refused("too many pixels", heic([_claims(20_000, 20_000)]), ImageTooLarge, "400,000,000 pixels.*40,000"),
    Refused("too many beside the primary one", heic([picture(), _claims(300, 300)]), ImageTooLarge, "90,000 pixels"),
    Refused("two sizes", heic([picture(EIGHT_BITS, ispe(20_000, 20_000))]), ImageTooLarge, "400,000,000 pixels"),
    # Each tile is small, and so is what is shown of them.
    Refused("too many tiles", heic([grid(1, 1, [2] * 100), picture()]), ImageTooLarge, "409,600 pixels"),
)
