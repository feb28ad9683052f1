"""Pictures in JSON and in text, as clients send them, byte for byte."""

from __future__ import annotations

import base64
import json
from typing import NamedTuple
from urllib.parse import quote, quote_from_bytes

from tests.cases.forms import DATA_URL, PICTURE, TEXT, URL_SAFE, WRAPPED

JSON = "application/json"


class Body(NamedTuple):
    name: str
    body: bytes
    content_type: str = JSON
    #: How many predictions are wanted, where the body says so.
    top_k: int | None = None
    picture: bytes = PICTURE
    #: Of a body that is refused: words of the message, and the error's type.
    refusal: str = ""
    error: str = "InvalidRequest"


class Text(NamedTuple):
    """One string that stands for a picture: in JSON at every level, /v2 included."""

    name: str
    text: str
    #: Of a text that is refused: words of the message.
    refusal: str = ""


BASE64 = TEXT.decode()
#: As an HTML form of the usual kind makes it of the base64 of a picture: + becomes a space.
LATE_SPACE = BASE64 * 40 + " " + BASE64[:40]
WITHOUT_PLUS = BASE64.replace("+", " ")
#: Three more bytes make no padding, one more makes two.
UNPADDED = [base64.b64encode(PICTURE + bytes(more)).decode().rstrip("=") for more in range(3)]


def wrapped(width: int, end: str) -> str:
    return end.join(BASE64[start : start + width] for start in range(0, len(BASE64), width))


READ_TEXTS = [
    Text("base64", BASE64),
    Text("lines of 76", WRAPPED.decode()),
    Text("lines of 64 that end in CRLF", wrapped(64, "\r\n")),
    Text("lines of 70", wrapped(70, "\n")),
    Text("lines joined by spaces", wrapped(76, " ")),
    Text("indented lines", "\n    " + wrapped(60, "\n    ") + "\n"),
    Text("URL-safe", BASE64.replace("+", "-").replace("/", "_")),
    Text("URL-safe without padding", URL_SAFE.decode()),
    Text("without padding", BASE64.rstrip("=")),
    Text("without padding, in lines", WRAPPED.decode().rstrip("=\n")),
    Text("data URL", DATA_URL.decode()),
    Text("data URL of no type", "data:;base64," + BASE64),
    Text("data URL with a charset", "data:image/jpeg;charset=utf-8;base64," + BASE64),
    Text("data URL in capitals", "DATA:IMAGE/JPEG;BASE64," + BASE64),
    Text("data URL, percent-encoded", "data:image/jpeg;base64," + quote(BASE64, safe="")),
    Text("data URL, percent-encoded bytes", "data:image/jpeg," + quote_from_bytes(PICTURE)),
    Text("data URL in lines", "data:image/jpeg;base64,\r\n" + WRAPPED.decode()),
    Text("data URL without padding", "data:image/jpeg;base64," + URL_SAFE.decode()),
]

REFUSED_TEXTS = [
    Text("a character that is none of base64's", BASE64[:40] + "%" + BASE64[41:], "character 41 (U+0025)"),
    Text("a letter with an accent", BASE64[:40] + "é" + BASE64[41:], "character 41 (U+00E9)"),
    Text("cut in the middle of a byte", BASE64[:101], "101 characters"),
    Text("padding in the middle", TEXT.decode() + "=" * (-len(PICTURE) % 3 == 0) + "=" + BASE64, '"="'),
    Text("too little padding", "/9j/4A=", "padding"),
    Text("+ that became spaces", WITHOUT_PLUS, "+"),
    Text("one + that became a space, late", LATE_SPACE, "spaces"),
    Text("Python's text of bytes", str(TEXT), "Python"),
    Text("an address", "https://example.org/cat.jpg", "address"),
    Text("a file's name", "/home/me/cat.jpg", "U+002E"),
    Text("data URL without a comma", "data:image/jpeg;base64" + BASE64, "comma"),
    Text("data URL of an address", "data:image/jpeg;base64,https://example.org", "base64"),
]


def body(content: object) -> bytes:
    return json.dumps(content).encode()


IMAGE = {"image": BASE64}
UTF_8 = body(IMAGE)

READ = [
    *[Body(f'"image": {text.name}', body({"image": text.text})) for text in READ_TEXTS],
    Body('"image" with top_k', body({**IMAGE, "top_k": 2}), top_k=2),
    Body('"image" with top_k as text', body({**IMAGE, "top_k": "2"}), top_k=2),
    Body("one instance", body({"instances": [{"b64": BASE64}], "top_k": 2}), top_k=2),
    Body("instance of KServe", body({"instances": [{"data": BASE64}]})),
    Body("instance of TensorFlow Serving", body({"instances": [{"image_bytes": {"b64": BASE64}}]})),
    Body("instance of KServe with b64", body({"instances": [{"image": {"b64": BASE64}}]})),
    Body("instance that is a string", body({"instances": [BASE64]})),
    Body('"data", TorchServe\'s own name', body({"data": BASE64})),
    Body('"b64"', body({"b64": BASE64})),
    Body('"image" with b64', body({"image": {"b64": BASE64}})),
    Body("a string", body(BASE64)),
    Body("a data URL as a string", body(DATA_URL.decode())),
    Body("pretty", json.dumps(IMAGE, indent=4).encode()),
    # How the JSON is encoded, and what it is called.
    Body("byte-order mark", b"\xef\xbb\xbf" + UTF_8),
    *[Body(encoding, UTF_8.decode().encode(encoding)) for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32")],
    *[
        Body(f"JSON called {content_type or 'nothing'}", UTF_8, content_type)
        for content_type in (
            "application/json; charset=utf-8",
            "application/vnd.api+json",
            "text/json",
            "text/plain",
            "text/plain; charset=utf-8",
            "application/octet-stream",
            "image/jpeg",
            "",
        )
    ],
    Body("JSON with a mark called text", b"\xef\xbb\xbf" + UTF_8, "text/plain"),
    Body("JSON in UTF-16 called bytes", UTF_8.decode().encode("utf-16"), "application/octet-stream"),
    Body("a picture called JSON", PICTURE, JSON),
    Body("a picture called text", PICTURE, "text/plain"),
    # Text that is no JSON.
    *[
        Body(f"{text.name} as the body, called {content_type or 'nothing'}", text.text.encode(), content_type)
        for text in READ_TEXTS
        for content_type in ("text/plain", "", "image/jpeg", JSON)
    ],
]

DEEP = 100_000

REFUSED = [
    *[Body(f'"image": {text.name}', body({"image": text.text}), refusal=text.refusal) for text in REFUSED_TEXTS],
    Body("cut", UTF_8[:-1], refusal="JSON cannot be read"),
    Body("two documents", UTF_8 + UTF_8, refusal="JSON cannot be read"),
    Body("single quotes", b"{'image': 'abcd'}", refusal="JSON cannot be read"),
    Body("bytes that are no UTF-8", b'{"image": "\xff\xfe"}', refusal="JSON cannot be read"),
    Body("half a character of UTF-16", UTF_8.decode().encode("utf-16")[:-1], refusal="JSON cannot be read"),
    Body("deep lists", b"[" * DEEP + b"]" * DEEP, refusal="JSON cannot be read"),
    Body("deep objects", b'{"image":' * DEEP + b"1" + b"}" * DEEP, refusal="JSON cannot be read"),
    Body("deep lists in text", b"[" * DEEP, "text/plain", refusal="JSON cannot be read"),
    Body("a number of 100,000 digits", b'{"top_k": ' + b"1" * DEEP + b', "image": ""}', refusal=""),
    Body("a picture as 16,000 numbers", body({"image": [255] * 16_000}), "text/json", refusal="more than 10000 values"),
    Body("list", body([IMAGE]), refusal="JSON cannot be read"),
    Body("neither", b"{}", refusal='either "image" or "instances"'),
    Body("both", body({**IMAGE, "instances": [IMAGE]}), refusal='either "image" or "instances"'),
    Body("a wrong name of top_k", body({**IMAGE, "topk": 3}), refusal="nothing else"),
    Body("top_k that is no number", body({**IMAGE, "top_k": "x"}), refusal="top_k", error="InvalidParameter"),
    Body("a list of bytes", body({"image": list(PICTURE[:9])}), refusal="must be a string"),
    Body("null", body({"image": None}), refusal="must be a string"),
    Body("empty", body({"image": ""}), refusal="empty", error="InvalidImage"),
    Body("instance of no picture", body({"instances": [{"text": "a cat"}]}), refusal="instance 0"),
    Body("instances that are no list", body({"instances": BASE64}), refusal='"instances"'),
    Body("no instance", body({"instances": []}), refusal='"instances"'),
    Body("truncated base64 as the body", BASE64[:101].encode(), "text/plain", refusal="101 characters"),
    Body("data URL without a comma as the body", b"data:image/jpeg;base64", "text/plain", refusal="comma"),
]
