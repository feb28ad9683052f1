"""What callers send: damaged pictures, JSON, forms, requests of /v2 and groups."""

from __future__ import annotations

import base64
import json
import random
import re
import struct
from functools import cache
from typing import Any

from marserve.handler.resnet18.requests import FORM_URLENCODED
from tests.cases.jpegs import whole_jpegs
from tests.cases.metadata import pictures_with_metadata
from tests.heic import EIGHT_BITS, GREY_TEN_BITS, TEN_BITS, exif, grid, heic
from tests.heic import picture as heic_picture
from tests.mutations import mutate
from tests.reliability.hostile.structures import MAX_BYTES, ODD, damaged
from tests.unit.handler.pictures import samples

#: What stands where a number, a name or a text is expected.
NONSENSE: tuple[Any, ...] = (
    -1, 0, 1, 5, 1001, 10**9, 2**31, 2**63, 2**64, 10**400, -0.0, 1.5, 1e308, float("inf"), float("-inf"), float("nan"),
    None, True, False, "", " ", "5", "-1", "1e309", "NaN", "٥", "５", "0x5", "5\0", "5\r\nX-Injected: yes", "../../etc",
    "\ud800", "\u202e", "x" * 5000, "9" * 5000, [], {}, [[]], [None], {"b64": 1}, {"b64": "!"},
)  # fmt: skip
FILE_NAMES = (
    b'filename="a.jpg"', b'filename="../../a"', b"filename*=UTF-8''%ff", b'filename="\xff\xfe"', b"filename=",
    b'filename="a\r\nX: y"',
)  # fmt: skip
OTHER_BOUNDARIES = ("; boundary=other", "", ";boundary", "; BOUNDARY = xyz")
NAMES = (
    "image", "data", "b64", "image_bytes", "instances", "inputs", "outputs", "top_k", "url", "id", "parameters", "name",
    "datatype", "shape", "file", "note", "", "__proto__", "../x", "\0", "\u212a", "top_k\r\nX: y",
)  # fmt: skip


@cache
def pictures() -> list[bytes]:
    """One of each kind that is read."""
    heics = [
        heic([heic_picture(EIGHT_BITS)]),
        heic([heic_picture(TEN_BITS), exif(6)]),
        heic([heic_picture(GREY_TEN_BITS)]),
        heic([grid(2, 1, [2, 3]), heic_picture(), heic_picture()]),
    ]
    kept = [case.content for case in pictures_with_metadata() if len(case.content) < MAX_BYTES]
    made = [*(sample.content for sample in samples().values()), *whole_jpegs().values(), *kept, *heics]
    # A color profile has the time at which LittleCMS made it, before this mark; an input is to be the same tomorrow.
    return [re.sub(rb".{12}acsp", bytes(12) + b"acsp", content, flags=re.DOTALL) for content in made]


def picture(chance: random.Random) -> bytes:
    """A damaged file of a format that is read."""
    content = damaged(chance.choice(pictures()), pictures(), chance)
    while chance.random() < 0.2:
        content = damaged(content, pictures(), chance)
    return content


def bits_of_json(chance: random.Random, depth: int = 0) -> Any:
    """Anything that JSON can hold, most of it near to what a request is."""
    kind = chance.randrange(8 if depth < 5 else 4)
    if kind < 2:
        return chance.choice(NONSENSE)
    if kind == 2:
        return base64.b64encode(small_picture(chance)).decode()
    if kind == 3:
        return mutate(base64.b64encode(small_picture(chance)[:300]), chance).decode("latin-1")
    if kind < 6:
        return {chance.choice(NAMES): bits_of_json(chance, depth + 1) for _ in range(chance.randrange(5))}
    return [bits_of_json(chance, depth + 1) for _ in range(chance.randrange(5))]


def small_picture(chance: random.Random) -> bytes:
    return chance.choice(pictures())[:3000]


def as_bytes(content: Any, chance: random.Random) -> bytes:
    """JSON as clients of all kinds write it, damaged now and then."""
    text = json.dumps(content, ensure_ascii=chance.random() < 0.5)
    encoding = chance.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32-be", "latin-1"))
    encoded = text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")
    match chance.randrange(8):
        case 0:
            return mutate(encoded, chance)
        case 1:
            return chance.choice((b"[", b'{"a":', b'{"image":[')) * chance.choice((5, 300, 100_000)) + encoded
        case 2:
            return encoded + encoded[: chance.randrange(len(encoded) + 1)]
    return encoded


def json_body(chance: random.Random) -> tuple[str, bytes]:
    """Media type and body for the addresses that take one picture."""
    names: dict[str, Any] = {"image": base64.b64encode(small_picture(chance)).decode(), "top_k": 5}
    for _ in range(chance.randrange(3)):
        names[chance.choice(NAMES)] = bits_of_json(chance)
    content = names if chance.random() < 0.6 else bits_of_json(chance)
    kinds = (
        "application/json",
        "application/vnd.x+json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
        "\xff",
    )
    return chance.choice(kinds), as_bytes(content, chance)


def protocol_body(chance: random.Random) -> tuple[str | None, bytes]:
    """``Inference-Header-Content-Length`` and body for /v2."""
    encoded = [small_picture(chance) for _ in range(chance.choice((1, 1, 2, 33)))]
    binary = b"".join(struct.pack("<I", len(one)) + one for one in encoded)
    tensor: dict[str, Any] = {"name": "image", "datatype": "BYTES", "shape": [len(encoded)]}
    is_binary = chance.random() < 0.5
    if is_binary:
        tensor["parameters"] = {"binary_data_size": len(binary)}
    else:
        tensor["data"] = [base64.b64encode(one).decode() for one in encoded]
    outputs = [
        {"name": chance.choice(("probabilities", "class_id", "label")), "parameters": {"binary_data": True}}
        for _ in range(chance.randrange(4))
    ]
    parameters: dict[str, Any] = {"top_k": 5}
    content: dict[str, Any] = {"id": "1", "inputs": [tensor], "outputs": outputs, "parameters": parameters}
    for _ in range(chance.choice((0, 1, 1, 2))):
        place: dict[str, Any] = chance.choice([content, tensor, parameters, *outputs])
        name = chance.choice(
            [*place, *NAMES, "classification", "binary_data", "binary_data_size", "binary_data_output"]
        )
        if place is not content or name not in ("inputs", "outputs", "parameters") or chance.random() < 0.3:
            place[name] = bits_of_json(chance, 3)
    header = as_bytes(content, chance)
    body = header + (mutate(binary, chance) if chance.random() < 0.3 else binary if is_binary else b"")
    length = chance.choice((str(len(header)),) * 6 + ("9" * 5000, "-1", "٣", str(len(body) + 1), "0", ""))
    return (length if is_binary or chance.random() < 0.1 else None), body


def form_body(chance: random.Random) -> tuple[str, bytes]:
    """Content type and body of a form, or of what is meant to be one."""
    boundary = chance.choice(("xyz", "--", "a" * 70, "a b", 'q"uo', "é", "", "b" * 300))
    end = chance.choice(("\r\n", "\r\n", "\r\n", "\n", "\r")).encode()
    pieces = []
    for _ in range(chance.choice((0, 1, 1, 2, 5, 1100))):
        name = chance.choice((*NAMES, "file", "file")).encode("utf-8", "replace")
        head = b'Content-Disposition: form-data; name="%b"' % name
        if chance.random() < 0.6:
            head += b"; " + chance.choice(FILE_NAMES)
        lines = [head, *chance.sample(
            [b"Content-Type: image/jpeg", b"Content-Type: \xff", b"Content-Transfer-Encoding: base64",
             b"Content-Transfer-Encoding: quoted-printable", b"X: " + b"y" * 9000, b"no colon", b": no name",
             b"Content-Disposition: form-data", *[b"X: y"] * 3], chance.randrange(3))]  # fmt: skip
        content = chance.choice((small_picture(chance), as_bytes(chance.choice(NONSENSE), chance), b"", b"5"))
        pieces.append(end.join([b"--" + boundary.encode(), *lines, b"", content]))
    body = end.join([*pieces, b"--" + boundary.encode() + chance.choice((b"--", b"--", b"--\r\n", b"", b"-"))])
    if chance.random() < 0.4:
        body = mutate(body, chance)
    said = chance.choice((f"; boundary={boundary}", f'; boundary="{boundary}"', *OTHER_BOUNDARIES))
    kind = chance.choice(
        ("multipart/form-data", "multipart/form-data", "multipart/mixed", "multipart/", "image/jpeg", FORM_URLENCODED)
    )
    return kind + said, body


def group(chance: random.Random) -> tuple[dict[str, object], dict[str, str]]:
    """Fields and headers of a request as TorchServe hands it to the handler."""
    members = [(chance.choice((*ODD, 5, 5)), small_picture(chance)) for _ in range(chance.choice((0, 1, 2, 8, 40)))]
    body = b"".join(struct.pack("<II", top_k % 2**32, len(content)) + content for top_k, content in members)
    if chance.random() < 0.6:
        body = mutate(body, chance)
    headers = {
        "content-type": chance.choice(
            ("application/x-picture-group",) * 4 + ("application/x-picture", "text/plain", "")
        ),
        "x-top-k": str(chance.choice(NONSENSE))[:100],
        "explain": chance.choice(("True", "False", "", "yes")),
        "x-class-id": str(chance.choice(NONSENSE))[:100],
    }
    kept = {name: value for name, value in headers.items() if name == "content-type" or chance.random() < 0.2}
    fields: dict[str, object] = {"body": bytearray(body)}
    match chance.randrange(6):
        case 0:
            fields = {chance.choice(NAMES): bytearray(body)}
        case 1:
            fields["body"] = chance.choice((json.loads(json.dumps(bits_of_json(chance))), "text", None))
            kept["content-type"] = "application/json"
    return fields, kept
