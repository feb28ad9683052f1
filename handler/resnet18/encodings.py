"""How a picture travels inside text: in base64, data URLs and JSON; and what bytes look like."""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re

from pydantic_core import from_json

from .errors import InvalidRequest

Encoded = bytes | bytearray

#: What files of the formats that are read begin with, and of HEIC, whose refusal says so. Two letters are all that
#: begins a BMP picture, but its header has a zero byte, which no text has.
_PICTURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF.{4}WEBP|BM.{0,9}\0|(?:II|MM)(?:[*+]\0|\0[*+])"
    rb"|.{4}ftyp(?:avi[fs]|hei|hev|mif|msf1|miaf)",
    re.DOTALL,
)
#: Of base64, so much as becomes the bytes that ``_PICTURE`` looks at.
_BASE64_PREFIX = re.compile(rb"[A-Za-z0-9+/_-]{16}")
_DATA_URL = re.compile(rb"(?i)data:(?:[\w.+-]+/|[;,])")
#: After a byte-order mark, in one, two or four bytes a character. A list alone could be many a text.
_JSON = re.compile(rb"(?:\xef\xbb\xbf|[\xff\xfe\0]{2,4})?[\s\0]{0,1000}(?:\{|\[[\s\0]{0,1000}[\[{\"])")
_DECLARED_JSON = re.compile(rb"(?:\xef\xbb\xbf|[\xff\xfe\0]{2,4})?[\s\0]{0,1000}[{\[\"]")
#: What the first byte of a JPEG or PNG picture becomes where somebody decodes it as UTF-8.
_UNDECODABLE = "\N{REPLACEMENT CHARACTER}".encode()

#: 20 MB of small values would take half a gigabyte of memory, and 32 pictures are as many strings.
_MAX_JSON_COMMAS = 10_000

_WHITESPACE = b" \t\n\v\f\r"
#: URL-safe base64 has another 63rd and 64th character.
_STANDARD = bytes.maketrans(b"-_", b"+/")
_PERCENT_AS_QUOTED = bytes.maketrans(b"%", b"=")
_GAP = re.compile(rb"\s+")
#: Encoders write 64 or 76 characters a line.
_SHORTEST_LINE = 16
_FOREIGN = re.compile(r"[^A-Za-z0-9+/_=\s-]")
#: Of a text, enough to tell what it is.
_SAMPLE_LENGTH = 4096


def begins_like_picture(data: Encoded) -> bool:
    return _PICTURE.match(data) is not None


def begins_like_json(data: Encoded, *, declared: bool) -> bool:
    """Whether ``data`` is to be read as JSON; a string counts only where the sender ``declared`` it as JSON."""
    return not begins_like_picture(data) and (_DECLARED_JSON if declared else _JSON).match(data) is not None


def read_json(data: Encoded) -> object:
    """JSON in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark. Raises InvalidRequest."""
    if data.count(b",") > _MAX_JSON_COMMAS:
        raise InvalidRequest(
            f"The JSON cannot be read: it has more than {_MAX_JSON_COMMAS} values. A picture is one string, in base64."
        )
    encoding = json.detect_encoding(data)
    try:
        # Decoded by this parser, UTF-8 costs a tenth of what it costs json; and nesting has a limit.
        return from_json(data if encoding == "utf-8" else data.decode(encoding))
    except UnicodeDecodeError as exc:
        raise InvalidRequest(f"The JSON cannot be read: it is no {encoding.upper()}.") from exc
    except ValueError as exc:
        raise InvalidRequest(f"The JSON cannot be read: {exc}.") from exc


def begins_like_text(data: Encoded) -> bool:
    """Whether ``data`` begins like a picture as text: a data URL, or a picture in base64."""
    text = data[:_SAMPLE_LENGTH].removeprefix(codecs.BOM_UTF8).lstrip()
    if _DATA_URL.match(text):
        return True
    prefix = _BASE64_PREFIX.match(text)
    return prefix is not None and begins_like_picture(base64.b64decode(prefix[0].translate(_STANDARD)))


def from_text(data: Encoded, where: str) -> Encoded:
    """The bytes of a picture that ``data`` has as text; ``data`` itself where it is none.

    Raises InvalidRequest where what begins so goes on otherwise.
    """
    if begins_like_picture(data):
        return data
    if data.startswith(_UNDECODABLE):
        raise InvalidRequest(f"{where} was read as text, which destroys a picture: send the file's bytes as they are.")
    return decode_base64(data.removeprefix(codecs.BOM_UTF8), where) if begins_like_text(data) else data


def decode_base64(text: str | Encoded, where: str) -> Encoded:
    """A picture in base64, or in a data URL of any kind; ``where`` names it in errors.

    Line breaks, the URL-safe alphabet and missing padding are all right, anything else is not. Raises InvalidRequest.
    """
    if isinstance(text, str):
        try:
            data: Encoded = text.encode("ascii").strip()
        except UnicodeEncodeError as exc:
            raise _not_base64(where, text) from exc
    else:
        data = text.strip()
    if _DATA_URL.match(data):
        kind, comma, data = data.partition(b",")
        if not comma:
            raise InvalidRequest(f"{where} is a data URL without a comma before its content.")
        data = decode_percent(data)
        if not kind.rstrip().lower().endswith(b";base64"):
            return data
        data = data.strip()
    has_spaces = b" " in data
    if has_spaces and not _is_in_lines(data):
        raise _not_base64(where, data.decode("latin-1"))
    compact = data
    if any(byte in data for byte in _WHITESPACE + b"-_"):
        compact = data.translate(_STANDARD, _WHITESPACE)
    missing = -len(compact) % 4
    if missing and not has_spaces and not compact.endswith(b"="):
        compact = compact + b"=" * missing
    try:
        return base64.b64decode(compact, validate=True)
    except ValueError as exc:
        raise _not_base64(where, data.decode("latin-1")) from exc


def decode_percent(data: Encoded) -> Encoded:
    """Undo percent-encoding. (``urllib.parse`` takes 200 bytes of memory for each byte that comes out.)"""
    if b"%" not in data:
        return data
    return binascii.a2b_qp(data.replace(b"=", b"%3D").translate(_PERCENT_AS_QUOTED))


def with_plus_signs(text: Encoded) -> Encoded:
    """base64 out of a URL-encoded form, which makes spaces of plus signs that its sender did not encode."""
    has_lines = len(_GAP.findall(text[:_SAMPLE_LENGTH])) > 1 and _is_in_lines(text.strip())
    return text if has_lines else text.replace(b" ", b"+")


def decode_transfer(data: Encoded, encoding: str) -> Encoded:
    """Undo the Content-Transfer-Encoding of a form's part. Raises InvalidRequest."""
    match encoding.strip().lower():
        case "" | "7bit" | "8bit" | "binary" | "identity":
            return data
        case "base64":
            return decode_base64(data, "A part of the form")
        case "quoted-printable":
            return binascii.a2b_qp(data)
    raise InvalidRequest(
        "A part of the form has a Content-Transfer-Encoding other than binary, base64 and quoted-printable: send the "
        "picture as it is."
    )


def _is_in_lines(data: Encoded) -> bool:
    """Whether white space parts ``data`` into lines of one length, as encoders do, the last one at most as long."""
    length, end = None, 0
    for gap in _GAP.finditer(data):
        if length is None:
            length = gap.start()
        if gap.start() - end != length or length < _SHORTEST_LINE:
            return False
        end = gap.end()
    return length is None or len(data) - end <= length


def _not_base64(where: str, text: str) -> InvalidRequest:
    """What is wrong with ``text``, without any of it."""
    foreign = _FOREIGN.search(text)
    count = len(text) - sum(text.count(chr(byte)) for byte in _WHITESPACE)
    if text[:2] in ("b'", 'b"'):
        found = 'it is Python\'s text of a bytes object; send base64.b64encode(picture).decode("ascii")'
    elif "://" in text[:10]:
        found = "it is an address, which is not fetched here; send the picture file's bytes in base64"
    elif foreign is not None:
        found = f"character {foreign.start() + 1} (U+{ord(foreign[0]):04X}) is none of base64's"
    elif " " in text.strip():
        found = 'it has spaces, perhaps of "+" in a form; percent-encode the base64, or send it as JSON'
    elif "=" in text.rstrip("=" + _WHITESPACE.decode()):
        found = '"=" stands before its end'
    elif (count - text.count("=")) % 4 == 1:
        found = f"its {count} characters end in the middle of a byte; it was cut off"
    else:
        found = f'the padding ("=") does not fit its {count} characters'
    return InvalidRequest(f"{where} is not valid base64: {found}.")
