"""Every form in which clients send a picture: tables of them, through the whole service; and mutations of all."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import re
import tracemalloc

import pytest
from starlette.requests import Request

from marserve.handler.resnet18.errors import InvalidRequest, RequestError
from marserve.handler.resnet18.requests import BARE_PICTURE
from marserve.web.bodies import read_picture
from marserve.web.oip import parse_inference_request
from marserve.web.routes.inference_protocol import HEADER_LENGTH
from marserve.web.settings import WebSettings
from tests.cases import forms, json_bodies
from tests.cases.forms import PICTURE, Form
from tests.cases.json_bodies import READ_TEXTS, REFUSED_TEXTS, Body, Text
from tests.mutations import mutate
from tests.unit.web.fake_torchserve import WITHOUT_GROUPS, FakeTorchServe
from tests.unit.web.service import Reply, Service, StartService

pytestmark = pytest.mark.anyio

Case = Form | Body
READ: list[Case] = [*forms.READ, *json_bodies.READ]
REFUSED: list[Case] = [*forms.REFUSED, *json_bodies.REFUSED]
MUTATIONS = 40


def name_of(case: Case | Text) -> str:
    return case.name


async def read_or_refuse(
    body: bytes, content_type: bytes, chunk_size: int = 10**6, *more_headers: tuple[bytes, bytes]
) -> tuple[bytes, int] | RequestError:
    starts = iter(range(0, len(body), chunk_size))

    async def receive() -> dict[str, object]:
        start = next(starts, len(body))
        return {
            "type": "http.request",
            "body": body[start : start + chunk_size],
            "more_body": start + chunk_size < len(body),
        }

    request = Request({"type": "http", "headers": [(b"content-type", content_type), *more_headers]}, receive)
    try:
        return (await read_picture(request, WebSettings(), top_k=3))[:2]
    except RequestError as error:
        return error


async def send(service: Service, path: str, body: bytes, content_type: str) -> Reply:
    headers = {"Content-Type": content_type} if content_type else {}
    return await service.post(path, body, headers=headers, skip_auto_headers=["Content-Type"])


@pytest.mark.parametrize("chunk_size", [10**6, 7])
@pytest.mark.parametrize("case", READ, ids=name_of)
async def test_the_picture_is_found_unchanged_in_every_form(case: Case, chunk_size: int) -> None:
    found = await read_or_refuse(case.body, case.content_type.encode(), chunk_size)
    assert found == (case.picture, case.top_k or 3)


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
async def test_what_cannot_be_read_is_refused_with_what_was_found(case: Case) -> None:
    refusal = await read_or_refuse(case.body, case.content_type.encode())
    assert isinstance(refusal, RequestError)
    assert (refusal.status, refusal.kind) == (400, case.error)
    assert case.refusal in str(refusal)


async def test_one_picture_has_one_place_in_the_cache_whatever_form_it_comes_in(
    service: Service, torchserve: FakeTorchServe
) -> None:
    cases = [case for case in READ if case.picture == PICTURE and case.top_k is None]
    replies = [await send(service, "/classify", case.body, case.content_type) for case in cases]
    assert [reply.json["cache"] for reply in replies] == ["miss"] + ["hit"] * (len(cases) - 1)
    assert torchserve.pictures == [PICTURE]


async def test_what_was_found_is_sent_on_as_a_picture_whatever_it_looks_like(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    found = b'{"instances": ["/9j/"]}'
    torchserve.archives["resnet18", "1.0"] = WITHOUT_GROUPS
    service = await start_service()
    await send(service, "/predict", forms.file(b'filename="a.json"', found) + forms.END, forms.MULTIPART)
    assert torchserve.pictures == [found]
    assert torchserve.headers[-1]["Content-Type"] == BARE_PICTURE


async def test_nothing_that_is_refused_reaches_torchserve(service: Service, torchserve: FakeTorchServe) -> None:
    replies = [await send(service, "/explain", case.body, case.content_type) for case in REFUSED]
    assert {reply.status for reply in replies} == {400}
    assert torchserve.pictures == []


@pytest.mark.parametrize("path", ["/classify?top_k=7", "/explain?top_k=7"])
async def test_top_k_of_the_body_comes_before_that_of_the_address(service: Service, path: str) -> None:
    body = json.dumps({"image": base64.b64encode(PICTURE).decode(), "top_k": 2}).encode()
    assert len((await send(service, path, body, "application/json")).json["predictions"]) == 2


async def test_several_instances_are_told_where_they_are_answered() -> None:
    body = json.dumps({"instances": [{"b64": json_bodies.BASE64}] * 3}).encode()
    refusal = await read_or_refuse(body, b"application/json")
    assert isinstance(refusal, InvalidRequest)
    assert "has 3: send each by itself, or all of them as one tensor to /v2/models/{model}/infer" in str(refusal)


def tensor(text: str) -> bytes:
    return json.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]}).encode()


def binary_tensor(element: bytes) -> tuple[bytes, dict[str, str]]:
    content = len(element).to_bytes(4, "little") + element
    parameters = {"binary_data_size": len(content)}
    header = json.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "parameters": parameters}]})
    return header.encode() + content, {HEADER_LENGTH: str(len(header))}


@pytest.mark.parametrize("case", READ_TEXTS, ids=name_of)
def test_v2_takes_the_same_texts_in_json_and_in_binary_tensors(case: Text) -> None:
    body, headers = binary_tensor(case.text.encode())
    assert parse_inference_request(tensor(case.text), None).pictures == [PICTURE]
    assert parse_inference_request(body, headers[HEADER_LENGTH]).pictures == [PICTURE]


@pytest.mark.parametrize("case", REFUSED_TEXTS, ids=name_of)
def test_v2_refuses_the_same_texts(case: Text) -> None:
    with pytest.raises(InvalidRequest, match='Element 0 of "data" ') as refusal:
        parse_inference_request(tensor(case.text), None)
    assert case.refusal in str(refusal.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-be"])
def test_v2_takes_json_in_any_encoding(encoding: str) -> None:
    body = tensor(json_bodies.BASE64).decode().encode(encoding)
    assert parse_inference_request(body, None).pictures == [PICTURE]


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"inputs":' * 100_000], ids=["lists", "objects"])
async def test_deep_json_is_refused_by_v2(service: Service, body: bytes) -> None:
    reply = await service.post("/v2/models/resnet18/infer", body)
    assert (reply.status, reply.json["type"]) == (400, "InvalidRequest")


LARGEST = b"\xff\xd8\xff" + bytes(range(256)) * 2000


@pytest.mark.parametrize("form", ["base64", "lines", "CRLF", "percent-encoded", "base64 part"])
async def test_a_picture_of_exactly_the_limit_is_taken_in_every_encoding(
    start_service: StartService, torchserve: FakeTorchServe, form: str
) -> None:
    service = await start_service(max_image_bytes=len(LARGEST))
    for picture, status in ((LARGEST, 200), (LARGEST + b"\0", 413)):
        text = base64.b64encode(picture).decode()
        lines = base64.encodebytes(picture).decode()
        body, content_type = {
            "base64": (json.dumps({"image": text}).encode(), "application/json"),
            "lines": (json.dumps({"image": lines}).encode(), "application/json"),
            "CRLF": (json.dumps({"image": lines.replace("\n", "\r\n")}).encode(), "application/json"),
            "percent-encoded": (b"data:;base64," + forms.percent_encode(text.encode()), "text/plain"),
            "base64 part": (
                forms.file(b'filename="a"', lines.encode(), b"Content-Transfer-Encoding: base64") + forms.END,
                forms.MULTIPART,
            ),
        }[form]
        reply = await send(service, "/predict", body, content_type)
        assert reply.status == status, reply.body
    assert torchserve.pictures == [LARGEST]


async def test_the_document_has_an_example_in_json_that_works(service: Service) -> None:
    document = (await service.get("/openapi.json")).json
    for path in ("/predict", "/classify", "/explain"):
        content = document["paths"][path]["post"]["requestBody"]["content"]
        reply = await service.post(path, json.dumps(content["application/json"]["example"]).encode())
        assert reply.status == 200, reply.body


@pytest.mark.parametrize("case", [*READ, *REFUSED], ids=name_of)
async def test_mutated_bodies_are_read_or_refused(case: Case) -> None:
    chance = random.Random(case.name)  # noqa: S311 - the same mutations in every run
    for _ in range(MUTATIONS):
        content_type = case.content_type.encode()
        if chance.random() < 0.2:
            content_type = mutate(content_type, chance)
        check(await read_or_refuse(mutate(case.body, chance), content_type))


def check(outcome: tuple[bytes, int] | RequestError) -> None:
    if isinstance(outcome, RequestError):
        # Nothing of the body is repeated: the message goes into logs as well.
        assert re.fullmatch(r"[ -~]+[.]", str(outcome))
    else:
        picture, top_k = outcome
        assert picture
        assert 1 <= top_k <= 1000


@pytest.mark.parametrize("case", [*READ_TEXTS, *REFUSED_TEXTS], ids=name_of)
def test_mutated_tensors_are_read_or_refused(case: Text) -> None:
    chance = random.Random(case.name)  # noqa: S311 - the same mutations in every run
    binary, headers = binary_tensor(case.text.encode())
    bodies: list[tuple[bytes, str | None]] = [(tensor(case.text), None), (binary, headers[HEADER_LENGTH])]
    for _ in range(MUTATIONS):
        for body, header_length in bodies:
            with contextlib.suppress(RequestError):
                assert parse_inference_request(mutate(body, chance), header_length).pictures


@pytest.mark.parametrize("chunk_size", [1, 7, 400, 10**6])
async def test_a_body_in_pieces_is_whole_whatever_its_headers_promise(chunk_size: int) -> None:
    picture = b"\xff\xd8\xff" + bytes(range(256)) * 4
    promises = [(b"content-length", b"%d" % length) for length in (len(picture), 0, 5000)]
    for headers in ([], *([promise] for promise in promises)):
        assert await read_or_refuse(picture, b"image/jpeg", chunk_size, *headers) == (picture, 3)


async def test_a_body_that_is_only_promised_takes_no_memory() -> None:
    """A thousand callers may each promise the largest picture, and send two bytes of it."""
    promise = (b"content-length", b"%d" % WebSettings().max_image_bytes)
    tracemalloc.start()
    try:
        await read_or_refuse(b"\xff\xd8", b"image/jpeg", 1, promise)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1_000_000
