"""Whatever TorchServe does, callers get an answer in time and in one shape, and the next request works."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_reqrep import ConnectionKey

from marserve.handler.resnet18.groups import GROUP
from marserve.handler.resnet18.requests import BARE_PICTURE
from tests.unit.web.fake_torchserve import Behaviour, FakeTorchServe, java_error
from tests.unit.web.service import StartService, form, until

pytestmark = pytest.mark.anyio

LEAK = "/opt/venv/ts/server.py org.pytorch.serve.http.InternalServerException"


def replying(response: Any) -> Behaviour:
    async def behave(request: web.Request, picture: bytes) -> web.StreamResponse:
        made: web.StreamResponse = response()
        return made

    return behave


async def hang(request: web.Request, picture: bytes) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def not_http(request: web.Request, picture: bytes) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.write(b"\x00\x01 this is no HTTP\r\n\r\n")
    request.transport.close()
    return web.Response()


async def break_off(request: web.Request, picture: bytes) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def cut_short(request: web.Request, picture: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.close()
    return response


CASES = [
    pytest.param(hang, 504, "DeadlineExceeded", id="hangs"),
    pytest.param(not_http, 502, "InferenceFailed", id="not HTTP"),
    pytest.param(break_off, 503, "ModelUnavailable", id="closes without an answer"),
    pytest.param(cut_short, 503, "ModelUnavailable", id="closes within an answer"),
    pytest.param(replying(lambda: web.Response(text="no JSON")), 502, "InferenceFailed", id="not JSON"),
    pytest.param(replying(lambda: web.json_response([1])), 502, "InferenceFailed", id="other JSON"),
    pytest.param(
        replying(lambda: web.json_response({"predictions": [{"label": 3}]})), 502, "InferenceFailed", id="half JSON"
    ),
    pytest.param(replying(lambda: web.Response(status=500, text=LEAK)), 502, "InferenceFailed", id="500 text"),
    pytest.param(
        replying(lambda: java_error(500, "InternalServerException", LEAK)), 502, "InferenceFailed", id="500 of Java"
    ),
    pytest.param(
        replying(lambda: java_error(500, "InternalServerException", "Worker died.")),
        503,
        "ModelUnavailable",
        id="worker dies each time",
    ),
    pytest.param(
        replying(lambda: java_error(503, "InternalServerException", "Prediction failed")),
        502,
        "InferenceFailed",
        id="handler raises",
    ),
    pytest.param(
        replying(lambda: java_error(503, "ServiceUnavailableException", 'Model "resnet18" has no worker ' + LEAK)),
        503,
        "Overloaded",
        id="queue full",
    ),
    pytest.param(replying(lambda: java_error(507, "OutOfMemoryError", LEAK)), 503, "ModelUnavailable", id="no memory"),
    pytest.param(
        replying(lambda: java_error(413, "TooLongFrameException", LEAK)), 413, "ImageTooLarge", id="TorchServe's limit"
    ),
    pytest.param(
        replying(lambda: java_error(404, "ModelNotFoundException", LEAK)), 503, "ModelUnavailable", id="model gone"
    ),
    pytest.param(replying(lambda: java_error(400, "BadRequestException", LEAK)), 502, "InferenceFailed", id="our bug"),
]


@pytest.mark.parametrize(("behaviour", "status", "kind"), CASES)
async def test_failures_are_answered_in_one_shape_and_do_not_fail_the_next_request(
    start_service: StartService, torchserve: FakeTorchServe, behaviour: Behaviour, status: int, kind: str
) -> None:
    service = await start_service(request_deadline_s=1.0)
    torchserve.behaviour = behaviour
    reply = await service.post("/classify", b"picture")
    assert (reply.status, reply.json["code"], reply.json["type"]) == (status, status, kind)
    assert set(reply.json) == {"code", "type", "message", "error"}
    assert "/" not in reply.json["message"]
    assert "org." not in reply.json["message"]
    assert ("Retry-After" in reply.headers) == (status in {503, 504})
    torchserve.behaviour = torchserve.answer
    for _ in range(3):
        assert (await service.post("/classify", b"picture")).status == 200


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "InvalidImage"), (413, "ImageTooLarge"), (415, "UnsupportedImage"), (501, "NotExplainable")],
)
async def test_what_the_handler_says_is_passed_on(
    start_service: StartService, torchserve: FakeTorchServe, status: int, kind: str
) -> None:
    service = await start_service()
    error = {"code": status, "type": kind, "message": "Send another picture."}

    async def refuse(request: web.Request, picture: bytes) -> web.StreamResponse:
        response = web.json_response(error, status=status)
        response.force_close()
        return response

    torchserve.behaviour = refuse
    reply = await service.post("/classify", b"picture")
    assert (reply.status, reply.json) == (status, {**error, "error": error["message"]})
    assert "Retry-After" not in reply.headers
    assert await service.metric('web_upstream_errors_total{kind="HandlerRefused"}') == 0


@pytest.mark.parametrize("workers", [1, 2, 3])
async def test_workers_that_die_one_after_the_other_fail_nobody(
    start_service: StartService, torchserve: FakeTorchServe, workers: int
) -> None:
    service = await start_service()
    deaths = 0

    async def die(request: web.Request, picture: bytes) -> web.StreamResponse:
        nonlocal deaths
        deaths += 1
        if deaths <= workers:
            return java_error(500, "InternalServerException", "Worker died.")
        return await torchserve.answer(request, picture)

    torchserve.behaviour = die
    assert (await service.post("/classify", b"picture")).status == 200
    assert len(torchserve.pictures) <= workers + 1  # some ended under the picture between two attempts


async def test_stopped_torchserve_is_answered_with_503_until_it_is_back(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    service = await start_service()
    port = torchserve.port
    await torchserve.stop()
    reply = await service.post("/classify", b"picture")
    assert (reply.status, reply.json["type"], reply.headers["Retry-After"]) == (503, "ModelUnavailable", "5")
    await torchserve.start(port)
    assert (await service.post("/classify", b"picture")).status == 200


async def test_connections_that_were_closed_while_idle_fail_nobody(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    service = await start_service()
    replies = await asyncio.gather(*[service.post("/classify", bytes([i])) for i in range(20)])
    assert {reply.status for reply in replies} == {200}
    port = torchserve.port
    await torchserve.stop()
    await torchserve.start(port)
    replies = await asyncio.gather(*[service.post("/classify", bytes([100 + i])) for i in range(20)])
    assert {reply.status for reply in replies} == {200}


async def test_service_that_starts_before_torchserve_is_up_says_so(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    torchserve.worker_status = "STARTED"
    port = torchserve.port
    await torchserve.stop()
    service = await start_service()
    for path in ("/predict", "/v2/models/resnet18/infer"):
        reply = await service.post(path, b"picture")
        assert (reply.status, reply.json["type"]) == (503, "ModelUnavailable")
    assert (await service.get("/healthz")).status == 200
    assert (await service.get("/readyz")).status == 503
    torchserve.worker_status = "READY"
    await torchserve.start(port)

    async def works() -> bool:
        return (await service.post("/predict", b"picture")).status == 200

    await until(works)


async def test_only_what_the_handler_needs_reaches_torchserve(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    service = await start_service()
    hostile = {"describe": "True", "explain": "True", "Cookie": "a=b", "X-Request-ID": "abc-1", "X-Top-K": "99"}
    await service.post("/predict?top_k=2", b"picture", headers=hostile)
    (headers,) = torchserve.headers
    assert set(headers) == {"Host", "Content-Type", "Content-Length", "X-Top-K", "X-Request-ID"}
    assert (headers["X-Top-K"], headers["X-Request-ID"]) == ("2", "abc-1")


async def chunks() -> AsyncIterator[bytes]:
    yield b"pic"
    yield b"ture"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(chunks, {}, id="chunked"),
        pytest.param(
            lambda: b"picture", {"Content-Type": "application/x-www-form-urlencoded; a=b"}, id="typed as a form"
        ),
        pytest.param(lambda: form(b"picture"), {}, id="form"),
        pytest.param(lambda: b"picture", {"Expect": "100-continue"}, id="expecting"),
        pytest.param(lambda: b"picture", {"Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}, id="upgrading"),
        pytest.param(
            lambda: b"picture", {"Content-Encoding": "identity", "TE": "trailers", "Trailer": "a"}, id="trailing"
        ),
        pytest.param(lambda: b"picture", {"X-Request-ID": "a,b\tc" * 20, "Host": "other"}, id="odd id and host"),
    ],
)
async def test_a_request_to_torchserve_is_written_anew_whatever_the_caller_sent(
    start_service: StartService, torchserve: FakeTorchServe, body: Callable[[], Any], headers: dict[str, str]
) -> None:
    service = await start_service()
    reply = await service.post("/predict?top_k=2", body(), headers=headers)
    assert torchserve.headers or 400 <= reply.status < 500
    for sent in torchserve.headers:
        assert set(sent) == {"Host", "Content-Type", "Content-Length", "X-Top-K", "X-Request-ID"}
        assert sent["Content-Type"] in {GROUP, BARE_PICTURE}
        assert sent["Content-Length"].isdecimal()
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", sent["X-Request-ID"])
        assert sent["Host"] == f"127.0.0.1:{torchserve.port}"
    assert torchserve.paths == ["/predictions/resnet18/1.0"] * len(torchserve.headers)


@pytest.mark.parametrize("path", ["/workflows", "/token?type=inference", "/predictions/resnet18", "/models/resnet18"])
async def test_torchserves_own_addresses_are_not_reachable(start_service: StartService, path: str) -> None:
    service = await start_service()
    for method in ("GET", "POST", "PUT", "DELETE"):
        reply = await service.ask(method, path)
        assert (reply.status, reply.json["type"]) == (404, "NotFound")


@pytest.mark.parametrize("failure", [errno.EMFILE, errno.ENFILE])
async def test_a_process_without_descriptors_says_so_and_answers_by_itself_afterwards(
    start_service: StartService, torchserve: FakeTorchServe, monkeypatch: pytest.MonkeyPatch, failure: int
) -> None:
    """Java is not said to be away, and nothing is held for its return."""
    service = await start_service()
    original = aiohttp.ClientSession.request

    def fail(session: aiohttp.ClientSession, method: str, url: str, **options: Any) -> Any:
        if "/predictions/" in url and options["headers"].get("X-Request-ID") != "readiness":
            key = ConnectionKey("127.0.0.1", 1, False, True, None, None, None)
            raise aiohttp.ClientConnectorError(key, OSError(failure, os.strerror(failure)))
        return original(session, method, url, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "request", fail)
    reply = await service.post("/classify", b"picture")
    assert (reply.status, reply.json["type"], reply.headers["Retry-After"]) == (503, "Overloaded", "1")
    assert "connections" in reply.json["message"]
    monkeypatch.undo()
    assert (await service.post("/classify", b"picture")).status == 200
    assert await service.metric('web_upstream_errors_total{kind="descriptors"}') == 1
