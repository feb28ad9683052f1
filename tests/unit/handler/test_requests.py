import base64
from typing import Any

import pytest

from marserve.handler.resnet18.errors import InvalidParameter, InvalidRequest, RequestError
from marserve.handler.resnet18.requests import PictureRequest, parse_request

PICTURE = b"\xff\xd8\xff picture"
BASE64 = base64.b64encode(PICTURE).decode()
IMAGE = {"content-type": "image/jpeg"}
FORM = {"content-type": "multipart/form-data; boundary=x"}
JSON = {"content-type": "application/json; charset=utf-8"}


def parse(fields: dict[str, Any], headers: dict[str, str]) -> PictureRequest:
    return parse_request(fields, headers, default_top_k=5, max_images=2)


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        pytest.param({"body": PICTURE}, IMAGE, id="raw body"),
        pytest.param({"body": bytearray(PICTURE)}, {}, id="raw body of no type"),
        pytest.param({"file": PICTURE}, FORM, id="multipart file"),
        pytest.param({"any name": bytearray(PICTURE)}, FORM, id="multipart file under any name"),
        pytest.param({"body": PICTURE}, FORM, id="multipart file named body"),
        pytest.param({"body": {"image": BASE64}}, JSON, id="JSON"),
        pytest.param({"body": {"image": f"data:image/jpeg;base64,{BASE64}"}}, JSON, id="JSON with a data URL"),
        pytest.param({"body": {"image": f"{BASE64[:4]}\n{BASE64[4:]}\n"}}, JSON, id="JSON with wrapped base64"),
    ],
)
def test_every_form_of_the_contract_gives_the_picture(fields: dict[str, Any], headers: dict[str, str]) -> None:
    assert parse(fields, headers) == PictureRequest([PICTURE], top_k=5)


def test_text_is_passed_on_to_be_judged_as_a_picture() -> None:
    assert parse({"body": "plain text"}, {"content-type": "text/plain"}).pictures == [b"plain text"]


def test_instances_are_answered_as_a_list_and_fail_one_by_one() -> None:
    request = parse({"body": {"instances": [{"b64": BASE64}, {"b64": "?"}]}}, JSON)
    assert request.is_list
    good, bad = request.pictures
    assert good == PICTURE
    assert isinstance(bad, RequestError)
    assert "instance 1" in str(bad)


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"body": PICTURE}, {"x-top-k": "3"}),
        ({"file": PICTURE, "top_k": bytearray(b"3")}, FORM),
        ({"file": PICTURE, "top_k": "3"}, FORM | {"x-top-k": "7"}),
        ({"body": {"image": BASE64, "top_k": 3}}, JSON),
        ({"body": {"instances": [{"b64": BASE64}], "top_k": 3}}, JSON | {"x-top-k": "7"}),
    ],
)
def test_top_k_comes_from_body_before_header(fields: dict[str, Any], headers: dict[str, str]) -> None:
    assert parse(fields, headers).top_k == 3


@pytest.mark.parametrize("value", ["0", "1001", "-1", "3.5", "", "three", "9" * 5000, "٣٣٣٣٣", "1e2"])
def test_an_impossible_top_k_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(InvalidParameter) as failure:
        parse({"body": PICTURE}, {"x-top-k": value})
    assert str(failure.value) == "top_k must be a whole number from 1 to 1000."


@pytest.mark.parametrize("value", [0, 1001, 3.0, True, None, [3], b"\xff"])
def test_an_impossible_top_k_in_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidParameter):
        parse({"body": {"image": BASE64, "top_k": value}}, JSON)


@pytest.mark.parametrize(
    ("fields", "headers", "message"),
    [
        ({}, FORM, "no picture"),
        ({"top_k": b"3"}, FORM, "no picture"),
        ({"a": PICTURE, "b": PICTURE}, FORM, "2 fields besides top_k"),
        ({"file": {"image": BASE64}}, FORM, "JSON inside a form"),
        ({"a": "1"}, {"content-type": "application/x-www-form-urlencoded"}, "in which a picture is lost"),
        ({}, {}, "no picture"),
        ({"body": bytearray(b'{"image"')}, JSON, "JSON cannot be read"),
        ({"body": []}, JSON, "JSON cannot be read"),
        ({"body": {}}, JSON, 'either "image" or "instances"'),
        ({"body": {"image": BASE64, "instances": []}}, JSON, 'either "image" or "instances"'),
        ({"body": {"image": BASE64, "topk": 3}}, JSON, "nothing else"),
        ({"body": {"image": None}}, JSON, "must be a string"),
        ({"body": {"image": "a"}}, JSON, "not valid base64"),
        ({"body": {"image": "Ünïcode"}}, JSON, "not valid base64"),
        ({"body": {"instances": []}}, JSON, "1 to 2"),
        ({"body": {"instances": [{"b64": BASE64}] * 3}}, JSON, "1 to 2"),
        ({"body": {"instances": BASE64}}, JSON, "1 to 2"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_what_to_do(
    fields: dict[str, Any], headers: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse(fields, headers)


@pytest.mark.parametrize(
    ("headers", "explain"), [({}, False), ({"explain": "True"}, True), ({"explain": "yes"}, False)]
)
def test_an_explanation_is_given_where_torchserve_marks_the_request(headers: dict[str, str], explain: bool) -> None:
    assert parse({"body": PICTURE}, headers).explain is explain
