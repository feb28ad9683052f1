"""Forms as clients send them, byte for byte."""

from __future__ import annotations

import base64
import binascii
import gzip
from typing import NamedTuple

#: Begins like a JPEG, and holds what might end a part, or be taken for an encoding.
PICTURE = (
    b'\xff\xd8\xff\xe0\x00\x10JFIF\x00 \r\n--edg\r\n\n--edg\n\r\n--\r\n\\"%3D=3D' + bytes(range(256)) * 3 + b"\xff\xfe"
)
#: Of a format that nothing here knows.
RARE = b"\x01\x02 a picture"
TEXT = base64.b64encode(PICTURE)
URL_SAFE = base64.urlsafe_b64encode(PICTURE).rstrip(b"=")
WRAPPED = base64.encodebytes(PICTURE)
DATA_URL = b"data:image/jpeg;base64," + TEXT
QUOTED_PRINTABLE = binascii.b2a_qp(PICTURE, istext=False).replace(b"-", b"=2D")
MULTIPART = "multipart/form-data; boundary=edge"
URL_ENCODED = "application/x-www-form-urlencoded"


class Form(NamedTuple):
    name: str
    body: bytes
    content_type: str = MULTIPART
    #: How many predictions are wanted, where the form says so.
    top_k: int | None = None
    picture: bytes = PICTURE
    #: Of a form that is refused: words of the message, and the error's type.
    refusal: str = ""
    error: str = "InvalidRequest"


def percent_encode(text: bytes) -> bytes:
    return text.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D")


def part(content: bytes, *headers: bytes, end: bytes = b"\r\n") -> bytes:
    return b"--edge" + end + b"".join(header + end for header in headers) + end + content + end


def field(name: bytes, content: bytes, *headers: bytes) -> bytes:
    return part(content, b'Content-Disposition: form-data; name="' + name + b'"', *headers)


def file(parameters: bytes, content: bytes = PICTURE, *headers: bytes) -> bytes:
    return part(content, b'Content-Disposition: form-data; name="file"; ' + parameters, *headers)


END = b"--edge--\r\n"
FILE = file(b'filename="cat.jpg"')
JPEG = b"Content-Type: image/jpeg"
BINARY = b"Content-Type: application/octet-stream"
FIELDS = b"".join(field(b"tag%d" % number, b"value %d" % number) for number in range(40))
LONG_FIELD = field(b"metadata", b'{"make": "a camera"}' * 20_000)

READ = [
    Form("file", FILE + END),
    # Beside the file.
    Form("40 text fields before the file", FIELDS + FILE + END),
    Form("40 text fields after the file", FILE + FIELDS + END),
    Form("400 kB of text beside the file", LONG_FIELD + FILE + END),
    Form("a JSON file beside the picture", file(b'filename="a.json"', b'{"a": 1}') + FILE + END),
    Form("a data URL beside the file", field(b"thumbnail", DATA_URL) + FILE + END),
    Form(
        "a data URL beside a file of an unknown kind",
        file(b'filename="cat.jxl"', RARE) + field(b"a", DATA_URL) + END,
        picture=RARE,
    ),
    Form(
        "a data URL beside an input in which nothing was chosen",
        file(b'filename=""', b"") + field(b"a", DATA_URL) + END,
    ),
    Form("a file input in which nothing was chosen", file(b'filename=""', b"") + FILE + END),
    Form("top_k", field(b"top_k", b"2") + FILE + END, top_k=2),
    Form("top_k with spaces, after the file", FILE + field(b"top_k", b" 2 ") + END, top_k=2),
    # Without a file name.
    Form("lone field", field(b"anything", PICTURE) + END),
    Form("field beside top_k", field(b"anything", PICTURE) + field(b"top_k", b"2") + END, top_k=2),
    Form("field beside a text field", field(b"comment", b"a cat") + field(b"anything", PICTURE) + END),
    Form("typed field beside text fields", FIELDS + field(b"anything", RARE, JPEG) + END, picture=RARE),
    Form("binary field beside text fields", FIELDS + field(b"anything", RARE, BINARY) + END, picture=RARE),
    Form("field of a usual name beside text fields", FIELDS + field(b"image", RARE) + END, picture=RARE),
    Form("picture among typed fields", field(b"a", b"1", BINARY) + field(b"b", PICTURE, BINARY) + END),
    Form("data URL in a field", field(b"image", DATA_URL) + END),
    Form("data URL in a field beside others", FIELDS + field(b"canvas", DATA_URL) + END),
    Form("base64 in a field", field(b"image", TEXT) + END),
    Form("wrapped base64 in a field", field(b"image", WRAPPED) + END),
    Form("URL-safe base64 in a field", field(b"image", URL_SAFE) + field(b"a", b"b") + END),
    # File names.
    Form("only filename*", field(b"comment", b"a cat") + file(b"filename*=UTF-8''%e7%8c%ab.jpg") + END),
    Form(
        "filename* in parts", field(b"comment", b"a cat") + file(b"filename*0*=UTF-8''%e7; filename*1*=%8c.jpg") + END
    ),
    Form("filename and filename*", file("filename=\"猫.jpg\"; filename*=UTF-8''%e7%8c%ab.jpg".encode()) + END),
    *[
        Form(
            f"file name in {encoding}", field(b"comment", b"a cat") + file(f'filename="{name}"'.encode(encoding)) + END
        )
        for encoding, name in {
            "UTF-8": "猫.jpg",
            "GBK": "猫.jpg",
            "Big5": "貓.jpg",
            "Shift-JIS": "表ソ能.jpg",
            "Latin-1": "Kätzchen.jpg",
            "KOI8-R": "кот.jpg",
        }.items()
    ],
    Form(
        "Shift-JIS name that ends in a backslash", field(b"a", b"b") + file('filename="表"'.encode("shift-jis")) + END
    ),
    Form(
        "... and a filename* after it",
        field(b"a", b"b") + file("filename=\"表\"; filename*=UTF-8''%e8%a1%a8".encode("shift-jis")) + END,
    ),
    Form(
        "field name in GBK",
        part(PICTURE, 'Content-Disposition: form-data; name="图"; filename="a"'.encode("gbk")) + END,
    ),
    Form("path of Windows", file(rb'filename="C:\pictures\new\cat.jpg"') + END),
    Form("quotes, backslashes and semicolons in the name", file(rb'filename="a \"cat\"; big\\.jpg;"') + END),
    Form("name without quotes", field(b"a", b"b") + file(b"filename=cat.jpg") + END),
    Form("name without quotes, with spaces", field(b"a", b"b") + file("filename=猫 2.jpg".encode()) + END),
    Form("name of 3,000 bytes", file(b'filename="' + b"x" * 3000 + b'.jpg"') + END),
    # How a part is encoded.
    Form("base64 part", file(b'filename="a"', WRAPPED, JPEG, b"Content-Transfer-Encoding: base64") + END),
    Form("base64 part in one line", file(b'filename="a"', TEXT, b"content-transfer-encoding: BASE64") + END),
    Form(
        "quoted-printable part",
        file(b'filename="a"', QUOTED_PRINTABLE, b"Content-Transfer-Encoding: quoted-printable") + END,
    ),
    Form("binary part", file(b'filename="a"', PICTURE, BINARY, b"Content-Transfer-Encoding: binary") + END),
    Form("base64 of a text field", field(b"a", b"YQ==", b"Content-Transfer-Encoding: base64") + FILE + END),
    Form("many part headers", file(b'filename="a"', PICTURE, *[b"X-Header-%d: value" % n for n in range(15)]) + END),
    # Boundaries and lines.
    Form("quoted boundary", FILE + END, 'multipart/form-data; boundary="edge"'),
    Form("quoted boundary among parameters", FILE + END, 'Multipart/Form-Data; charset=utf-8; BOUNDARY="edge"; a=b'),
    Form(
        "boundary of Java",
        FILE.replace(b"--edge\r", b"------=_Part_1:2\r") + b"------=_Part_1:2--\r\n",
        "multipart/form-data; boundary=----=_Part_1:2",
    ),
    Form("boundary that the type does not name", FILE + END, "multipart/form-data"),
    Form("boundary that is another than the type names", FILE + END, "multipart/form-data; boundary=corner"),
    Form("form that is called JSON", FILE + END, "application/json"),
    Form("form of no type", FILE + END, "application/octet-stream"),
    Form("preamble", b"This is a form.\r\n" + FILE + END),
    Form("epilogue", FILE + END + b"This was a form.\r\n"),
    Form("no line end after the last boundary", FILE + b"--edge--"),
    Form(
        "lines that end in LF",
        part(b"a cat", b'Content-Disposition: form-data; name="comment"', end=b"\n")
        + part(PICTURE, b'Content-Disposition: form-data; name="file"; filename="cat.jpg"', JPEG, end=b"\n")
        + b"--edge--\n",
    ),
    # Not multipart.
    Form("URL-encoded base64", b"image=" + percent_encode(TEXT), URL_ENCODED),
    Form("base64 of curl -d, its + not encoded", b"top_k=2&image=" + TEXT, URL_ENCODED, top_k=2),
    Form("URL-encoded base64 in lines", b"image=" + percent_encode(WRAPPED).replace(b"\n", b"%0A"), URL_ENCODED),
    Form("URL-encoded base64, its lines joined", b"image=" + percent_encode(WRAPPED).replace(b"\n", b"+"), URL_ENCODED),
    Form("URL-encoded data URL", b"a=1&image=data%3Aimage%2Fjpeg%3Bbase64%2C" + TEXT + b"&b=", URL_ENCODED),
    Form("picture of curl --data-binary", PICTURE, URL_ENCODED),
    Form("base64 of curl -d", TEXT, URL_ENCODED),
    Form("data URL of curl -d", DATA_URL, URL_ENCODED),
    Form("JSON of curl -d", b'{"top_k": 2, "image": "' + TEXT + b'"}', URL_ENCODED, top_k=2),
]

REFUSED = [
    Form("no part", END, refusal="no picture"),
    Form("nothing chosen", file(b'filename=""', b"") + END, refusal="no picture"),
    Form("nothing chosen, beside a text", field(b"a", b"b") + file(b'filename=""', b"") + END, refusal="no picture"),
    Form("top_k alone", field(b"top_k", b"2") + END, refusal="no picture"),
    Form("empty file", file(b'filename="a"', b"") + END, refusal="empty", error="InvalidImage"),
    Form("text fields alone", FIELDS + END, refusal="40 fields besides top_k, and none is known as a picture"),
    Form("two files", FILE + field(b"a", b"b") + FILE + END, refusal="2 fields besides top_k that may be the picture"),
    Form(
        "two fields",
        field(b"image", PICTURE, JPEG) + field(b"a", b"b") + field(b"mask", PICTURE, BINARY) + END,
        refusal="2 fields besides top_k that may be the picture",
    ),
    Form(
        "a file of a kind that is unknown, with a small picture",
        file(b'filename="cat.jxl"', RARE, b"Content-Type: image/jxl") + file(b'filename="small.jpg"') + END,
        refusal="2 fields besides top_k that may be the picture",
    ),
    Form("top_k that is no number", field(b"top_k", b"x") + FILE + END, refusal="top_k", error="InvalidParameter"),
    Form("1,500 fields", field(b"a", b"b") * 1500 + FILE + END, refusal="1000"),
    Form("cut in the picture", FILE[:-30], refusal="ends before its last boundary"),
    Form("cut before the last boundary", FILE, refusal="ends before its last boundary"),
    Form("cut in a header", FILE + b"--edge\r\nContent-Dispo", refusal="ends before its last boundary"),
    Form(
        "the boundary of another form, after a preamble",
        b"A form:\r\n" + FILE + END,
        "multipart/form-data; boundary=corner",
        refusal="boundary",
    ),
    Form("no boundary at all", PICTURE, "multipart/form-data", refusal="boundary"),
    Form(
        "base64 part that is none",
        file(b'filename="a"', PICTURE, b"Content-Transfer-Encoding: base64") + END,
        refusal="not valid base64",
    ),
    Form(
        "base64 part that is cut",
        file(b'filename="a"', TEXT[:101], b"Content-Transfer-Encoding: base64") + END,
        refusal="101 characters",
    ),
    Form(
        "compressed part",
        file(b'filename="a"', gzip.compress(PICTURE), b"Content-Transfer-Encoding: gzip") + END,
        refusal="Content-Transfer-Encoding",
    ),
    Form("no disposition", part(PICTURE, JPEG) + END, refusal="Content-Disposition"),
    Form("URL-encoded text", b"file=abc&a=b", URL_ENCODED, refusal="in which a picture is lost"),
    Form(
        "picture of curl -d",
        PICTURE.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b""),
        URL_ENCODED,
        refusal="in which a picture is lost",
    ),
]
