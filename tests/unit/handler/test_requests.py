import base64
import contextlib
import json
import random
from typing import Any

import pytest

from marserve.handler.resnet18.errors import InvalidParameter, InvalidRequest, RequestError
from marserve.handler.resnet18.groups import encode_group
from marserve.handler.resnet18.requests import BARE_PICTURE, PictureRequest, parse_group, parse_request
from tests.cases import forms, json_bodies
from tests.cases.json_bodies import Body
from tests.mutations import mutate
from tests.unit.handler.pictures import samples

PICTURE = b"\xff\xd8\xff picture >>> \xfb\xef\xbe"
BASE64 = base64.b64encode(PICTURE).decode()
IMAGE = {"content-type": "image/jpeg"}
FORM = {"content-type": "multipart/form-data; boundary=x"}
JSON = {"content-type": "application/json; charset=utf-8"}


#: What TorchServe knows of files in a form, and of nothing else there.
FILE_TYPES = {"file": "image/jpeg", "photo": "image/jpeg", "notes": "text/plain", "upload": "application/octet-stream"}
SAMPLES = samples()
TAGS = {f"tag{number}": bytearray(b"a cat") for number in range(40)}
MUTATIONS = 40


def parse(fields: dict[str, Any], headers: dict[str, str]) -> PictureRequest:
    types = {name: kind for name, kind in FILE_TYPES.items() if name in fields}
    return parse_request(fields, headers, types, default_top_k=5, max_images=2)


def as_torchserve_hands_it_over(body: bytes, content_type: str) -> dict[str, Any]:
    """See ts/protocol/otf_message_handler.py."""
    media_type = content_type.partition(";")[0]
    with contextlib.suppress(ValueError, RecursionError):
        if media_type == "application/json":
            return {"body": json.loads(body.decode())}
        if media_type.startswith("text"):
            return {"body": body.decode()}
    return {"body": bytearray(body)}


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


@pytest.mark.parametrize("case", json_bodies.READ, ids=lambda case: case.name)
def test_every_text_gives_the_picture(case: Body) -> None:
    request = parse(as_torchserve_hands_it_over(case.body, case.content_type), {"content-type": case.content_type})
    assert (request.pictures, request.top_k) == ([case.picture], case.top_k or 5)


@pytest.mark.parametrize("case", json_bodies.REFUSED, ids=lambda case: case.name)
def test_text_that_holds_no_picture_is_refused_with_what_was_found(case: Body) -> None:
    fields = as_torchserve_hands_it_over(case.body, case.content_type)
    try:
        (found,) = parse(fields, {"content-type": case.content_type}).pictures
    except RequestError as error:
        found = error
    if case.error == "InvalidImage":
        assert found == b""  # which the decoder refuses
    else:
        assert isinstance(found, RequestError)
        assert found.kind == case.error
        assert case.refusal in str(found)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({**TAGS, "file": PICTURE}, id="file beside 40 text fields"),
        pytest.param({**TAGS, "file": b"damaged"}, id="damaged file beside 40 text fields"),
        pytest.param({**TAGS, "anything": PICTURE}, id="field beside 40 text fields"),
        pytest.param({**TAGS, "image": b"rare"}, id="field of a usual name beside 40 text fields"),
        pytest.param({"notes": "a cat", "file": PICTURE}, id="file beside a text file"),
        pytest.param({"notes": "a cat", "photo": b"damaged"}, id="damaged file beside a text file"),
        pytest.param({"notes": "a cat", "upload": b"rare"}, id="binary file beside a text file"),
        pytest.param({"meta": {"a": 1}, "file": PICTURE}, id="file beside a JSON file"),
        pytest.param({"thumbnail": forms.DATA_URL, "file": PICTURE}, id="file beside a data URL"),
        pytest.param({**TAGS, "canvas": bytearray(b"data:;base64," + BASE64.encode())}, id="data URL"),
        pytest.param({"image": BASE64}, id="base64"),
        pytest.param({"body": bytearray(BASE64.encode()), "a": b"b"}, id="base64 named body"),
    ],
)
def test_the_picture_is_found_among_the_fields_of_a_form(fields: dict[str, Any]) -> None:
    (picture,) = parse(fields, FORM).pictures
    assert picture in (PICTURE, b"damaged", b"rare")


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_that_is_read_is_known_by_its_bytes_and_by_its_base64(name: str) -> None:
    content = SAMPLES[name].content
    assert parse({**TAGS, "anything": content}, FORM).pictures == [content]
    assert parse({**TAGS, "anything": base64.urlsafe_b64encode(content)}, FORM).pictures == [content]


@pytest.mark.parametrize("text", [BASE64, BASE64.replace("+", " "), f"data:image/jpeg;base64,{BASE64}"])
def test_base64_comes_through_a_urlencoded_form_even_where_its_plus_signs_do_not(text: str) -> None:
    fields = {"image": bytearray(text.encode()), "top_k": bytearray(b"2")}
    assert parse(fields, {"content-type": "application/x-www-form-urlencoded"}) == PictureRequest([PICTURE], top_k=2)


@pytest.mark.parametrize("case", [*json_bodies.READ, *json_bodies.REFUSED], ids=lambda case: case.name)
def test_mutated_bodies_are_read_or_refused(case: Body) -> None:
    chance = random.Random(case.name)  # noqa: S311 - the same mutations in every run
    for _ in range(MUTATIONS):
        fields = as_torchserve_hands_it_over(mutate(case.body, chance), case.content_type)
        with contextlib.suppress(RequestError):
            assert parse(fields, {"content-type": case.content_type}).pictures


def test_text_is_passed_on_to_be_judged_as_a_picture() -> None:
    assert parse({"body": "plain text"}, {"content-type": "text/plain"}).pictures == [b"plain text"]


@pytest.mark.parametrize("body", [b'{"instances": ["/9j/"]}', forms.DATA_URL, forms.TEXT, forms.FILE + forms.END])
def test_what_the_web_service_found_is_not_searched_again(body: bytes) -> None:
    assert parse({"body": bytearray(body)}, {"content-type": BARE_PICTURE}) == PictureRequest([body], top_k=5)


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
        ({"a": b"1", "b": b"2"}, FORM, "2 fields besides top_k, and none is known as a picture"),
        ({"file": b"damaged", "photo": b"damaged"}, FORM, "2 fields besides top_k that may be the picture"),
        ({"image": "\N{REPLACEMENT CHARACTER}PNG\r\n"}, FORM, "read as text, which destroys a picture"),
        ({"body": forms.FILE + forms.END}, FORM, "names no boundary"),
        ({"body": bytearray(forms.FILE + forms.END)}, JSON, "Content-Type is wrong"),
        ({"body": 7}, JSON, "JSON cannot be read"),
        ({"body": None}, JSON, "JSON cannot be read"),
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


@pytest.mark.parametrize(
    ("headers", "class_id"),
    [({"explain": "True"}, None), ({"explain": "True", "x-class-id": "7"}, 7), ({"x-class-id": "7"}, None)],
)
def test_the_class_to_explain_comes_in_a_header(headers: dict[str, str], class_id: int | None) -> None:
    assert parse({"body": PICTURE}, headers).class_id == class_id


@pytest.mark.parametrize("value", ["-1", "x", "", "1.5", "1" * 10])
def test_an_impossible_class_to_explain_is_refused(value: str) -> None:
    with pytest.raises(InvalidParameter, match="class_id"):
        parse({"body": PICTURE}, {"explain": "True", "x-class-id": value})


def test_each_picture_of_a_group_is_a_request_of_its_own() -> None:
    """Whatever its bytes look like, as where the web service sends it by itself."""
    body = bytearray(
        b"".join(encode_group([(3, PICTURE), (0, PICTURE), (1000, BASE64.encode()), (1001, b""), (5, b"")]))
    )
    items = parse_group({"body": body}, {}, max_images=5)
    assert [item if isinstance(item, PictureRequest) else item.kind for item in items] == [
        PictureRequest([memoryview(PICTURE)], top_k=3),
        "InvalidParameter",
        PictureRequest([memoryview(BASE64.encode())], top_k=1000),
        "InvalidParameter",
        PictureRequest([memoryview(b"")], top_k=5),
    ]


@pytest.mark.parametrize(
    ("fields", "headers", "fault"),
    [
        ({}, {}, "it has no picture"),
        ({"body": bytearray(b"".join(encode_group([(5, PICTURE)] * 3)))}, {}, "it has more than 2 pictures"),
        ({"body": bytearray(b"".join(encode_group([(5, PICTURE)])))}, {"explain": "True"}, "not explained"),
    ],
)
def test_a_group_that_is_none_is_refused(fields: dict[str, Any], headers: dict[str, str], fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        parse_group(fields, headers, max_images=2)
