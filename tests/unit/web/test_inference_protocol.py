"""/v2 with Triton's own client, and what that client cannot say."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest
import tritonclient.http as triton
from aiohttp import web
from numpy.typing import NDArray

from marserve import __version__
from tests.unit.web.fake_torchserve import FakeTorchServe, predictions_for
from tests.unit.web.service import Service, StartService

pytestmark = pytest.mark.anyio

Result = TypeVar("Result")

PICTURES = [b"\xff\xd8first", b"\x89PNG\x00second", b"third"]


async def with_client(service: Service, use: Callable[[Any], Result]) -> Result:
    """``use`` a client in a thread of its own: it blocks."""

    def call() -> Result:
        with triton.InferenceServerClient(service.url.removeprefix("http://")) as client:
            return use(client)

    return await asyncio.to_thread(call)


def image_input(pictures: list[bytes], *, binary: bool = True, column: bool = True) -> Any:
    elements = pictures if binary else [base64.b64encode(picture) for picture in pictures]
    tensor: NDArray[np.object_] = np.array(elements, dtype=np.object_)
    if column:
        tensor = tensor[:, None]
    made = triton.InferInput("image", list(tensor.shape), "BYTES")
    made.set_data_from_numpy(tensor, binary_data=binary)
    return made


async def test_server_and_model_describe_themselves(service: Service) -> None:
    def ask(client: Any) -> list[Any]:
        return [
            client.is_server_live(),
            client.is_server_ready(),
            client.is_model_ready("resnet18"),
            client.is_model_ready("resnet18", "1.0"),
            client.is_model_ready("nope"),
            client.get_server_metadata(),
            client.get_model_metadata("resnet18"),
            client.get_model_metadata("resnet18", "1.0")["name"],
        ]

    assert await with_client(service, ask) == [
        True,
        True,
        True,
        True,
        False,
        {"name": "marserve", "version": __version__, "extensions": ["binary_tensor_data", "classification"]},
        {
            "name": "resnet18",
            "versions": ["1.0"],
            "platform": "torchserve",
            "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1, 1]}],
            "outputs": [
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
                {"name": "class_id", "datatype": "INT64", "shape": [-1, -1]},
                {"name": "label", "datatype": "BYTES", "shape": [-1, -1]},
            ],
        },
        "resnet18",
    ]


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("column", [True, False])
@pytest.mark.parametrize("binary_output", [True, False, None])
async def test_tensors_are_in_the_order_of_the_pictures(
    service: Service, binary_input: bool, column: bool, binary_output: bool | None
) -> None:
    names = ["label", "class_id", "probabilities"]
    outputs = None
    if binary_output is not None:
        outputs = [triton.InferRequestedOutput(name, binary_data=binary_output) for name in names]
    result = await with_client(
        service,
        lambda client: client.infer(
            "resnet18",
            [image_input(PICTURES, binary=binary_input, column=column)],
            outputs=outputs,
            request_id="7",
            parameters={"top_k": 2},
        ),
    )
    expected = [predictions_for(picture, 10) for picture in PICTURES]
    labels = result.as_numpy("label")
    assert [[_text(element) for element in row] for row in labels] == [
        [entry["label"] for entry in entries[:2]] for entries in expected
    ]
    ids = result.as_numpy("class_id")
    assert ids.tolist() == [[entry["class_id"] for entry in entries[:2]] for entries in expected]
    probabilities = result.as_numpy("probabilities")
    assert (probabilities.shape, probabilities.dtype) == ((3, 10), np.float32)
    for row, entries in zip(probabilities, expected, strict=True):
        assert {rank: float(value) for rank, value in enumerate(row)} == {
            entry["class_id"]: entry["probability"] for entry in entries
        }
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("7", "resnet18", "1.0")


def _text(element: bytes | str) -> str:
    return element.decode() if isinstance(element, bytes) else element


async def test_classification_extension_answers_the_most_probable_classes(
    service: Service, torchserve: FakeTorchServe
) -> None:
    output = triton.InferRequestedOutput("probabilities", class_count=3)
    result = await with_client(
        service, lambda client: client.infer("resnet18", [image_input(PICTURES[:1])], outputs=[output])
    )
    assert [_text(element) for element in result.as_numpy("probabilities")[0]] == [
        f"{entry['probability']:f}:{entry['class_id']}:{entry['label']}" for entry in predictions_for(PICTURES[0], 3)
    ]
    assert torchserve.headers[-1]["X-Top-K"] == "3"  # not the whole vector


async def test_version_can_be_named(start_service: StartService, torchserve: FakeTorchServe) -> None:
    torchserve.archives["resnet18", "2.0"] = torchserve.archives["resnet18", "1.0"]
    service = await start_service()
    result = await with_client(
        service, lambda client: client.infer("resnet18", [image_input(PICTURES[:1])], model_version="2.0")
    )
    assert result.get_response()["model_version"] == "2.0"
    assert torchserve.paths == ["/predictions/resnet18/2.0"]


async def test_refused_picture_fails_its_request_with_the_handlers_words(
    service: Service, torchserve: FakeTorchServe
) -> None:
    async def refuse(request: web.Request, picture: bytes) -> web.StreamResponse:
        if picture == PICTURES[1]:
            return web.json_response({"code": 415, "type": "UnsupportedImage", "message": "No picture."}, status=415)
        return await torchserve.answer(request, picture)

    torchserve.behaviour = refuse
    with pytest.raises(triton.InferenceServerException, match=r"No picture\.") as failure:
        await with_client(service, lambda client: client.infer("resnet18", [image_input(PICTURES)]))
    assert failure.value.status() == "415"


IMAGE: dict[str, Any] = {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["aGVsbG8="]}


@pytest.mark.parametrize(
    ("request_json", "message"),
    [
        ([], "JSON object"),
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [IMAGE, IMAGE]}, "inputs"),
        ({"inputs": [3]}, "inputs"),
        ({"inputs": [{**IMAGE, "name": "x"}]}, "name"),
        ({"inputs": [{**IMAGE, "datatype": "FP32"}]}, "datatype"),
        ({"inputs": [{**IMAGE, "shape": []}]}, "shape"),
        ({"inputs": [{**IMAGE, "shape": [0]}]}, "shape"),
        ({"inputs": [{**IMAGE, "shape": [33]}]}, "shape"),
        ({"inputs": [{**IMAGE, "shape": [True]}]}, "shape"),
        ({"inputs": [{**IMAGE, "shape": [1, 2]}]}, "shape"),
        ({"inputs": [{**IMAGE, "shape": [2]}]}, "2 strings"),
        ({"inputs": [{**IMAGE, "data": ["%"]}]}, "base64"),
        ({"inputs": [{**IMAGE, "data": ["é"]}]}, "base64"),
        ({"inputs": [{**IMAGE, "data": [3]}]}, "strings"),
        ({"inputs": [{**IMAGE, "data": "aGVsbG8="}]}, "strings"),
        ({"inputs": [{**IMAGE, "data": [""]}]}, "empty"),
        ({"inputs": [{**IMAGE, "parameters": 3}]}, "parameters"),
        ({"inputs": [{**IMAGE, "parameters": {"binary_data_size": 5}}]}, "binary_data_size"),
        ({"inputs": [IMAGE], "outputs": [{"name": "x"}]}, "outputs"),
        ({"inputs": [IMAGE], "outputs": 3}, "outputs"),
        ({"inputs": [IMAGE], "outputs": [{"name": "label", "parameters": {"classification": 3}}]}, "classification"),
        ({"inputs": [IMAGE], "parameters": {"top_k": 0}}, "top_k"),
        ({"inputs": [IMAGE], "parameters": {"top_k": True}}, "top_k"),
        ({"inputs": [IMAGE], "id": 3}, "id"),
    ],
)
async def test_request_that_cannot_be_understood_is_told_why(
    service: Service, torchserve: FakeTorchServe, request_json: object, message: str
) -> None:
    reply = await service.post("/v2/models/resnet18/infer", json.dumps(request_json).encode())
    assert reply.status == 400
    assert message in reply.json["error"]
    assert torchserve.pictures == []


@pytest.mark.parametrize(
    ("tail", "size"),
    [
        (b"", 0),
        (b"\x05\x00\x00\x00hell", 8),
        (b"\x05\x00\x00\x00hello!", 10),
        (b"\xff\xff\xff\xffhello", 9),
        (b"\x05\x00\x00", 3),
        (b"\x05\x00\x00\x00hello", 8),
        (b"\x05\x00\x00\x00hello", -9),
    ],
)
async def test_binary_tensor_that_is_not_what_it_says_is_refused(service: Service, tail: bytes, size: int) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": size}}
    header = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    reply = await service.post("/v2/models/resnet18/infer", header + tail, headers=headers)
    assert reply.status == 400
    assert "binary" in reply.json["error"]


@pytest.mark.parametrize("length", ["-1", "x", "99999", "", "1.5", "³", "9" * 5000])
async def test_impossible_header_length_is_refused(service: Service, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}
    reply = await service.post("/v2/models/resnet18/infer", b"{}", headers=headers)
    assert reply.status == 400


async def test_each_picture_counts_for_the_rate(start_service: StartService) -> None:
    service = await start_service(rate_limit_per_minute=4)
    infer: Callable[[Any], Any] = lambda client: client.infer("resnet18", [image_input(PICTURES)])  # noqa: E731
    await with_client(service, infer)
    with pytest.raises(triton.InferenceServerException, match="a minute") as failure:
        await with_client(service, infer)
    assert failure.value.status() == "429"


async def test_one_request_of_many_pictures_sends_few_at_once(service: Service, torchserve: FakeTorchServe) -> None:
    now, most = 0, 0

    async def count(request: web.Request, picture: bytes) -> web.StreamResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.05)
        now -= 1
        return await torchserve.answer(request, picture)

    torchserve.behaviour = count
    pictures = [b"picture %d" % i for i in range(32)]
    result = await with_client(service, lambda client: client.infer("resnet18", [image_input(pictures)]))
    assert result.as_numpy("class_id").shape == (32, 5)
    assert most == 8
