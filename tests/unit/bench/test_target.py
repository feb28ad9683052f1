"""A picture arrives whole in every form that a recipe takes."""

from __future__ import annotations

import base64
import json

import pytest

from bench.target import BodyFormat

PICTURE = bytes(range(256)) * 5


def test_raw_body_is_the_picture() -> None:
    assert BodyFormat().encode(PICTURE) == (PICTURE, {"Content-Type": "image/jpeg"})


def test_form_has_the_picture_under_its_field() -> None:
    body, headers = BodyFormat("multipart", "image").encode(PICTURE)
    boundary = headers["Content-Type"].partition("boundary=")[2].encode()
    head, content = body.split(b"\r\n\r\n", 1)
    assert b'name="image"' in head
    assert content == PICTURE + b"\r\n--" + boundary + b"--\r\n"


@pytest.mark.parametrize(
    ("form", "key"),
    [(BodyFormat("base64-json", "image"), "image"), (BodyFormat("json", template='{"b64": "{base64}"}'), "b64")],
)
def test_json_has_the_picture_in_base64(form: BodyFormat, key: str) -> None:
    body, headers = form.encode(PICTURE)
    assert base64.b64decode(json.loads(body)[key]) == PICTURE
    assert headers == {"Content-Type": "application/json"}


@pytest.mark.parametrize("size", [0, 9, 100_000])
def test_v2_request_has_one_head_for_pictures_of_all_sizes(size: int) -> None:
    picture = b"x" * size
    body, headers = BodyFormat("v2-binary", "image", shape=(1, 1)).encode(picture)
    length = int(headers["Inference-Header-Content-Length"])
    assert headers == BodyFormat("v2-binary", "image", shape=(1, 1)).encode(PICTURE)[1]
    (tensor,) = json.loads(body[:length])["inputs"]
    assert tensor["parameters"]["binary_data_size"] == len(body) - length
    assert (tensor["name"], tensor["shape"]) == ("image", [1, 1])
    assert body[length + 4 :] == picture
    assert int.from_bytes(body[length : length + 4], "little") == size
