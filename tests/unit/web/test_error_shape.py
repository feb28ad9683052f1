"""Every failure of the web service is ``{"code", "type", "message", "error"}``, whoever finds it and wherever."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.web.fake_torchserve import FakeTorchServe, java_error
from tests.unit.web.service import Reply, Service, StartService, form

pytestmark = pytest.mark.anyio

KEY = "a-key-of-this-service"


def check_shape(reply: Reply, status: int, kind: str) -> None:
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/json")
    assert reply.json.keys() == {"code", "type", "message", "error"}
    assert (reply.json["code"], reply.json["type"]) == (status, kind)
    assert reply.json["message"] == reply.json["error"]
    assert reply.json["message"].endswith(".")
    assert "X-Request-ID" in reply.headers


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "NotFound"),
        ("GET", "/static/nothing.js", 404, "NotFound"),
        ("GET", "/static/../app.py", 404, "NotFound"),
        ("GET", "/static/%2e%2e/app.py", 404, "NotFound"),
        ("DELETE", "/", 405, "MethodNotAllowed"),
        ("POST", "/static/main.js", 405, "MethodNotAllowed"),
        ("GET", "/v2/models/nope", 404, "UnknownModel"),
        ("POST", "/v2/models/nope/infer", 404, "UnknownModel"),
        ("POST", "/v2/models/resnet18/infer", 400, "InvalidRequest"),
        *(
            case
            for path in ("/predict", "/classify", "/explain")
            for case in [
                ("GET", path, 405, "MethodNotAllowed"),
                ("POST", path, 400, "InvalidRequest"),
                ("POST", f"{path}?top_k=x", 400, "InvalidParameter"),
            ]
        ),
    ],
)
async def test_of_what_is_wrong_without_a_picture(
    service: Service, method: str, path: str, status: int, kind: str
) -> None:
    check_shape(await service.ask(method, path), status, kind)


@pytest.mark.parametrize("path", ["/predict", "/classify", "/explain"])
async def test_of_a_picture_that_is_refused(start_service: StartService, torchserve: FakeTorchServe, path: str) -> None:
    service = await start_service(max_image_bytes=1000)
    check_shape(await service.post(path, b"x" * 2000), 413, "ImageTooLarge")
    check_shape(await service.post(path, form(b"")), 400, "InvalidImage")
    check_shape(await service.post(path, b"x", headers={"Content-Encoding": "gzip"}), 415, "UnsupportedEncoding")
    check_shape(await service.post(path + "?model=nope", b"x"), 404, "UnknownModel")

    async def fail(*_: Any) -> Any:
        return java_error(503, "InternalServerException", "Prediction failed")

    torchserve.behaviour = fail
    check_shape(await service.post(path, b"x"), 502, "InferenceFailed")


@pytest.mark.parametrize("path", ["/predict", "/classify", "/explain", "/v2/models/resnet18/infer"])
async def test_of_a_caller_that_may_not_send(start_service: StartService, path: str) -> None:
    service = await start_service(api_keys=[KEY], rate_limit_per_minute=1)
    check_shape(await service.post(path, b"x"), 401, "ApiKeyRequired")
    headers = {"X-API-Key": KEY}
    await service.post(path, b"x", headers=headers)
    check_shape(await service.post(path, b"x", headers=headers), 429, "RateLimited")


@pytest.mark.parametrize("path", ["/predict", "/classify", "/explain"])
async def test_a_wrong_method_is_answered_with_the_right_one(service: Service, path: str) -> None:
    reply = await service.get(path)
    assert reply.headers["Allow"] == "OPTIONS, POST, PUT"
    assert reply.json["message"].startswith("Use POST or PUT ")


@pytest.mark.parametrize("path", ["/predict", "/classify", "/explain"])
async def test_json_of_another_protocol_is_answered_with_where_it_is_taken(service: Service, path: str) -> None:
    reply = await service.post(path, b' {"inputs": []}', headers={"Content-Type": "application/json"})
    check_shape(reply, 400, "InvalidRequest")
    assert "/v2/models/{model}/infer" in reply.json["message"]
