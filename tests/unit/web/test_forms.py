"""A form of one part is read without the parser, and as the parser would."""

from __future__ import annotations

import random

import pytest

from marserve.handler.resnet18.errors import InvalidRequest
from marserve.handler.resnet18.requests import Part
from marserve.web.forms import lone_part, split_form
from tests.cases.forms import PICTURE
from tests.mutations import mutate

HEADS = [
    b'Content-Disposition: form-data; name="file"; filename="cat.jpg"\r\nContent-Type: image/jpeg\r\n',
    b'Content-Disposition: form-data; name="image"; filename="a cat.jpg"\r\n',
    b'Content-Disposition: form-data; name="image"; filename=""\r\nContent-Type: application/octet-stream\r\n',
    b'Content-Disposition: form-data; name="top_k"\r\n',
    b'Content-Disposition: form-data; name="x-y.z"\r\nContent-Type: Text/PLAIN\r\n',
]
UNUSUAL_HEADS = [
    b'Content-Disposition: form-data; name="file"; filename="c:\\\\cat.jpg"\r\n',
    b"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''%e7%8c%ab.jpg\r\n",
    b'Content-Type: image/jpeg\r\nContent-Disposition: form-data; name="file"; filename="cat.jpg"\r\n',
    b'Content-Disposition: form-data; name="file"\r\nContent-Transfer-Encoding: base64\r\n',
    b'Content-Disposition: form-data; name="file"; filename="cat.jpg"\r\nContent-Type: image/jpeg; q=1\r\n',
    b"",
]
CONTENTS = [PICTURE, b"", b"\r\n", b"\r\n--", b"5", b"\r\n--b", b"--bound\r\n", PICTURE + b"\r\n--boun\r\n" + PICTURE]


def split(form: bytes, boundary: bytes) -> list[Part] | str:
    try:
        return list(split_form(form, boundary))
    except InvalidRequest as error:
        return str(error)


def test_alone_part_is_what_the_parser_finds() -> None:
    chance = random.Random(11)  # noqa: S311 - no secret
    found = 0
    for _ in range(20_000):
        boundary = chance.choice((b"bound", b"b", b"--b", b"----WebKitFormBoundary7MA4YWxkTrZu0gW"))
        parts = [
            b"--%b\r\n%b\r\n%b\r\n" % (boundary, chance.choice(HEADS + UNUSUAL_HEADS), chance.choice(CONTENTS))
            for _ in range(chance.choice((1, 1, 1, 2)))
        ]
        form = b"".join(parts) + b"--" + boundary + chance.choice((b"--", b"--\r\n", b"--\r\nepilogue", b"", b"-"))
        form = mutate(form, chance) if chance.random() < 0.5 else form
        lone = lone_part(form, boundary)
        if lone is not None:
            found += 1
            assert split(form, boundary) == [lone], form
    assert found > 1_000


@pytest.mark.parametrize("head", HEADS)
def test_alone_part_needs_no_parser(head: bytes) -> None:
    form = b"--bound\r\n%b\r\n%b\r\n--bound--\r\n" % (head, PICTURE)
    lone = lone_part(form, b"bound")
    assert lone is not None
    assert lone.content == PICTURE
