"""Files that are no readable pictures: what each is called in its refusal, and what to do with it."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image, TiffImagePlugin


class Foreign(NamedTuple):
    name: str
    content: bytes
    #: In the refusal, after "looks like".
    found: str
    advice: str


def ftyp(brand: bytes, *compatible: bytes) -> bytes:
    body = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return (4 + len(body)).to_bytes(4, "big") + body + bytes(100)


def preview(**tags: object) -> bytes:
    """A TIFF file that Pillow reads, with tags (``t254=1``) that say that it is something else."""
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in tags.items():
        number = int(name[1:])
        directory[number] = value
        directory.tagtype[number] = 1 if isinstance(value, bytes) else 4
    stream = io.BytesIO()
    Image.new("RGB", (160, 120), "red").save(stream, "TIFF", tiffinfo=directory)
    return stream.getvalue()


CR2 = b"II*\0\x10\0\0\0CR\2\0" + bytes(100)
FOREIGN = (
    Foreign("DNG", preview(t254=1, t330=8, t50706=b"\1\4\0\0"), "a camera's raw picture", "export it as JPEG"),
    Foreign("DNG, its picture first", preview(t50706=b"\1\4\0\0"), "a camera's raw picture", "export it as JPEG"),
    Foreign("NEF, ARW", preview(t254=1, t330=8), "a camera's raw picture", "export it as JPEG"),
    Foreign("CR2", CR2, "a camera's raw picture", "export it as JPEG"),
    Foreign("CR3", ftyp(b"crx ", b"crx ", b"isom"), "a camera's raw picture", "export it as JPEG"),
    Foreign("RAF", b"FUJIFILMCCD-RAW 0201" + bytes(100), "a camera's raw picture", "export it as JPEG"),
    Foreign("ORF", b"IIRO\x08\0\0\0" + bytes(100), "a camera's raw picture", "export it as JPEG"),
    Foreign("RW2", b"IIU\0\x08\0\0\0" + bytes(100), "a camera's raw picture", "export it as JPEG"),
    Foreign("PSD", b"8BPS\x00\x01" + bytes(40), "a Photoshop document", "export it as JPEG"),
    Foreign("XCF", b"gimp xcf v011\0" + bytes(40), "a GIMP document", "export it as JPEG"),
    Foreign("JPEG XL", b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(40), "a JPEG XL picture", "export it as JPEG"),
    Foreign("JPEG XL, bare", b"\xff\x0a" + bytes(40), "a JPEG XL picture", "export it as JPEG"),
    Foreign("JPEG 2000", b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(40), "a JPEG 2000 picture", "export it as JPEG"),
    Foreign("JPEG XR", b"II\xbc\x01" + bytes(40), "a JPEG XR picture", "export it as JPEG"),
    Foreign("OpenEXR", b"\x76\x2f\x31\x01" + bytes(40), "an OpenEXR picture", "export it as JPEG"),
    Foreign("Radiance", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n", "a Radiance HDR picture", "export it as JPEG"),
    Foreign("DICOM", bytes(128) + b"DICM" + bytes(40), "a DICOM file", "as PNG"),
    Foreign("FITS", b"SIMPLE  =                    T" + b" " * 50, "a FITS file", "as PNG"),
    Foreign("ICO", b"\0\0\1\0\1\0" + bytes(40), "an icon", "as PNG"),
    Foreign(
        "SVG",
        b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
        "an SVG drawing",
        "as PNG",
    ),
    Foreign("SVG, bare", b"<svg viewBox='0 0 1 1'></svg>", "an SVG drawing", "as PNG"),
    Foreign("PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(40), "a PDF document", "save its page as a picture"),
    Foreign("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript document", "save its page as a picture"),
    Foreign("MP4", ftyp(b"isom", b"mp42"), "a video", "save one frame"),
    Foreign("a live photo's film", ftyp(b"qt  ", b"qt  "), "a video", "save one frame"),
    Foreign("3GP", ftyp(b"3gp4", b"isom"), "a video", "save one frame"),
    Foreign("old QuickTime", b"\0\0\0\x08wide\0\0\x10\0mdat" + bytes(40), "a video", "save one frame"),
    Foreign("WebM", b"\x1a\x45\xdf\xa3" + bytes(40), "a video", "save one frame"),
    Foreign("AVI", b"RIFF\x10\0\0\0AVI LIST" + bytes(40), "a video", "save one frame"),
    Foreign("MPEG", b"\0\0\1\xba\x44" + bytes(40), "a video", "save one frame"),
    Foreign("MPEG stream", (b"\x47" + bytes(187)) * 3, "a video", "save one frame"),
    Foreign("ZIP", b"PK\x03\x04\x14\x00" + bytes(40), "a ZIP archive", "send the pictures in it"),
    Foreign("gzip", b"\x1f\x8b\x08\x00" + bytes(40), "a gzip archive", "send what is in it"),
    Foreign("7z", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(40), "a 7-Zip archive", "send the pictures in it"),
    Foreign("ICNS", b"icns\0\0\1\0" + bytes(40), "an icon", "as PNG"),
    Foreign("DDS", b"DDS \x7c\0\0\0" + bytes(40), "a texture", "as PNG"),
    Foreign("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file", "as PNG"),
    Foreign("RAR", b"Rar!\x1a\x07\x01\x00" + bytes(40), "a RAR archive", "send the pictures in it"),
)
#: TIFF files that look a little like raw pictures, and are what they show.
READABLE_TIFFS = (("a page of a facsimile", preview(t254=2)), ("small, but alone", preview(t254=1)))
