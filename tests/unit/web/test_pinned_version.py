"""A caller names the version that is to answer, by a header or in the address."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.unit.web.fake_torchserve import TRAINED, FakeTorchServe
from tests.unit.web.service import Reply, Service, StartService

pytestmark = pytest.mark.anyio

INFER = "/v2/models/resnet18/infer"
INFER_2 = "/v2/models/resnet18/versions/2.0/infer"
TWO = {"X-Model-Version": "2.0"}


@pytest.fixture
async def service(start_service: StartService, torchserve: FakeTorchServe) -> Service:
    torchserve.archives["resnet18", "2.0"] = {**TRAINED, "inputs_sha256": "b" * 64}
    return await start_service()


def tensors(picture: bytes) -> dict[str, Any]:
    data = [base64.b64encode(picture).decode()]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": data}]}


async def send(service: Service, path: str, headers: dict[str, str]) -> Reply:
    if path.startswith("/v2"):
        return await service.ask("POST", path, json=tensors(b"picture"), headers=headers)
    return await service.post(path, b"picture", headers=headers)


@pytest.mark.parametrize("path", ["/predict", "/classify", "/explain", "/classify?model=resnet18", INFER, INFER_2])
async def test_a_pinned_version_answers_and_says_so(service: Service, torchserve: FakeTorchServe, path: str) -> None:
    reply = await send(service, path, TWO)
    assert reply.status == 200
    assert torchserve.paths[-1].endswith("/resnet18/2.0")
    said = reply.json["model_version"] if path.startswith("/v2") else reply.headers["X-Model-Version"]
    assert said == "2.0"


async def test_versions_have_results_of_their_own_in_the_cache(service: Service) -> None:
    answers = [await send(service, "/classify", headers) for headers in ({}, TWO, {}, TWO)]
    seen = [(answer.headers["X-Model-Version"], answer.headers["X-Cache"]) for answer in answers]
    assert seen == [("1.0", "miss"), ("2.0", "miss"), ("1.0", "hit"), ("2.0", "hit")]


@pytest.mark.parametrize(
    ("path", "version", "status", "kind"),
    [
        ("/classify", "3.0", 404, "UnknownModel"),
        (INFER, "3.0", 404, "UnknownModel"),
        (INFER_2, "1.0", 400, "InvalidParameter"),
        ("/predict", "", 400, "InvalidParameter"),
    ],
)
async def test_a_version_that_cannot_answer_is_refused(
    service: Service, path: str, version: str, status: int, kind: str
) -> None:
    reply = await send(service, path, {"X-Model-Version": version})
    assert (reply.status, reply.json["type"]) == (status, kind)


async def test_the_document_says_which_addresses_take_it(service: Service) -> None:
    paths = (await service.get("/openapi.json")).json["paths"]
    taking = {
        path
        for path, operations in paths.items()
        if any(one["name"] == "X-Model-Version" for one in operations.get("post", {}).get("parameters", []))
    }
    assert taking == {
        "/predict",
        "/classify",
        "/explain",
        "/feedback",
        "/v2/models/{model}/infer",
        "/v2/models/{model}/versions/{version}/infer",
    }


async def test_pages_of_a_configured_origin_may_pin(start_service: StartService) -> None:
    service = await start_service(cors_origins=("https://web.example",))
    preflight = {"Origin": "https://web.example", "Access-Control-Request-Method": "POST"}
    asked = {**preflight, "Access-Control-Request-Headers": "x-model-version"}
    assert (await service.ask("OPTIONS", "/classify", headers=asked)).status == 200
