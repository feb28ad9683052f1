"""Every failure of the web service is ``{"code", "type", "message", "error"}``, whoever finds it and wherever."""

from __future__ import annotations

import json
from typing import Any

import pytest

from marserve.handler.resnet18.errors import RequestError
from marserve.web.app import create_app
from marserve.web.errors import HandlerRefused, WebError
from marserve.web.routes import feedback, health, inference_protocol, pages, pictures
from marserve.web.settings import WebSettings
from tests.unit.web.fake_torchserve import FakeTorchServe, java_error
from tests.unit.web.service import Reply, Service, StartService, fetch, form

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


ROUTES = [route for module in (pictures, feedback, health, inference_protocol, pages) for route in module.router.routes]
#: Something for each part of an address that is chosen by the caller.
PARTS = {"model": "resnet18", "version": "1.0", "name": "nothing"}


async def test_of_every_address_by_every_method(start_service: StartService) -> None:
    """With nothing right about the request but its address: no key, no picture, a parameter that does not exist."""
    open_service, locked_service = await start_service(), await start_service(api_keys=[KEY])
    seen = set()
    for route in ROUTES:
        path = str(getattr(route, "path", "")).format(**PARTS)
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
            for service in (open_service, locked_service):
                for query in ("", "?topk=1", "?top_k=x"):
                    reply = await service.ask(method, path + query)
                    seen.add(reply.status)
                    if method != "HEAD" and reply.status not in {200, 503}:
                        check_shape(reply, reply.status, reply.json["type"])
    assert seen >= {200, 400, 401, 404, 405}


#: What some kinds are made of, instead of a message.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "RateLimited": ("Too much.", 7),
    "PictureNotFetched": (),
    "PictureQuarantined": (),
    "WouldBeLate": (2,),
}


def kinds(family: type[RequestError]) -> list[type[RequestError]]:
    """Those that are sent to callers; what bulk classification has besides stands in its rows alone."""
    children = [child for child in family.__subclasses__() if not child.__module__.startswith("marserve.bulk")]
    return [kind for child in children for kind in (child, *kinds(child))]


@pytest.mark.parametrize("kind", [kind for kind in kinds(RequestError) if kind not in {WebError, HandlerRefused}])
async def test_of_every_kind_of_error(kind: type[RequestError]) -> None:
    app = create_app(WebSettings())

    @app.get("/fail")
    async def fail() -> None:
        raise kind(*ARGUMENTS.get(kind.__name__, ("Too much.",)))

    answer = json.loads(await fetch(app, "/fail", {}))
    message = answer["message"]
    assert answer == {"code": kind.status, "type": kind.__name__, "message": message, "error": message}
    assert kind.__name__ in {"PictureNotFetched", "PictureQuarantined", "WouldBeLate"} or message == "Too much."


async def test_of_a_bug(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("marserve.web.readiness.Readiness.reasons", fail)
    check_shape(await service.get("/readyz"), 500, "InternalError")


async def test_of_a_page_of_another_origin(start_service: StartService) -> None:
    service = await start_service(cors_origins=["https://web.example"])
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}
    reply = await service.ask("OPTIONS", "/predict", headers=headers)
    check_shape(reply, 400, "InvalidRequest")
    assert reply.json["message"] == "Disallowed CORS origin, method: see MARSERVE_CORS_ORIGINS."
    assert "Access-Control-Allow-Origin" not in reply.headers


@pytest.mark.parametrize("wanted", ["bytes=x", "bytes=9999999-", "bytes=0-1,2-3"])
async def test_part_of_a_file_is_answered_with_all_of_it(service: Service, wanted: str) -> None:
    reply = await service.get("/example.jpg", headers={"Range": wanted})
    assert (reply.status, reply.body[:2]) == (200, b"\xff\xd8")


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
