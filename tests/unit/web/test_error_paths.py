"""What is seldom executed: a failure is answered in one shape, leaves nothing half done, and the next request works."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from aiohttp import web
from fastapi import FastAPI

from marserve.errors import MarserveError
from marserve.web.app import create_app
from marserve.web.feedback import Feedback
from marserve.web.metrics import WebMetrics
from marserve.web.middleware import RequestObservation
from marserve.web.settings import WebSettings
from marserve.web.tracing.context import Tracing
from marserve.web.upstream.connection import UpstreamConnection
from tests.unit.web import service as running
from tests.unit.web.fake_torchserve import TRAINED, FakeTorchServe, join_answers, predictions_for
from tests.unit.web.service import Service, StartService, until
from tests.unit.web.test_error_shape import check_shape
from tests.unit.web.test_feedback import PICTURE, lines, pictures, report, wrong

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("answers", [0, 2])
async def test_an_answer_of_other_pictures_than_were_sent_reaches_nobody(
    service: Service, torchserve: FakeTorchServe, monkeypatch: pytest.MonkeyPatch, answers: int
) -> None:
    def together(_: Sequence[web.StreamResponse]) -> web.StreamResponse:
        return web.Response(body=join_answers([(200, b"{}")] * answers, 1))

    monkeypatch.setattr(torchserve, "_together", together)
    check_shape(await service.post("/classify", PICTURE), 502, "InferenceFailed")
    assert await service.metric('web_upstream_errors_total{kind="garbage"}') == 1
    monkeypatch.undo()
    assert (await service.post("/classify", PICTURE)).status == 200


@pytest.mark.parametrize("listed", [b"no JSON", b"[]", b'{"models": [1]}'])
async def test_a_list_of_models_that_is_none_makes_the_service_unready_until_there_is_one(
    service: Service, monkeypatch: pytest.MonkeyPatch, listed: bytes
) -> None:
    request = UpstreamConnection.request

    async def garbled(connection: Any, method: str, path: str, **options: Any) -> Any:
        return replace(await request(connection, method, path, **options), body=listed)

    monkeypatch.setattr(UpstreamConnection, "request", garbled)

    async def has_status(status: int) -> bool:
        return (await service.get("/readyz")).status == status

    async def is_unready() -> bool:
        return await has_status(503)

    async def is_ready() -> bool:
        return await has_status(200)

    await until(is_unready)
    monkeypatch.undo()
    await until(is_ready)


async def test_a_model_that_does_not_describe_itself_takes_no_other_with_it(
    service: Service, torchserve: FakeTorchServe
) -> None:
    torchserve.archives |= {
        ("odd", "1.0"): {**TRAINED, "preprocessing": {"resize_size": "large"}},
        ("silent", "1.0"): "no description",
    }
    torchserve.default_versions |= {"odd": "1.0", "silent": "1.0"}

    async def described() -> dict[str, Any]:
        models = (await service.get("/models")).json["models"]
        return {model["name"]: (model["weights"], model["preprocessing"] is not None) for model in models}

    async def are_described() -> bool:
        return await described() == {
            "resnet18": ("trained", True),
            "odd": ("trained", False),
            "silent": ("unknown", False),
        }

    await until(are_described)
    assert (await service.post("/classify?model=resnet18", PICTURE)).status == 200


async def test_while_it_stops_connections_are_closed_and_it_is_not_ready(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[FastAPI] = []

    def create(settings: WebSettings, tracing: Tracing | None) -> FastAPI:
        made.append(create_app(settings, tracing))
        return made[-1]

    monkeypatch.setattr(running, "create_app", create)
    service = await start_service()
    assert "Connection" not in (await service.get("/readyz")).headers
    made[0].state.stopping.set()
    reply = await service.get("/readyz")
    assert (reply.status, reply.headers["Connection"]) == (503, "close")
    assert "stopping" in str(reply.json["reasons"])
    # Those that come all the same are answered.
    assert (await service.post("/classify", PICTURE)).status == 200


async def test_a_bug_after_an_answer_has_begun_breaks_the_connection() -> None:
    """A second answer inside the first would be read as its content."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def receive() -> Any:
        raise AssertionError

    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    observed = RequestObservation(half, WebMetrics(), Event(), Tracing())
    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "scheme": "http", "query_string": b"",
             "headers": [], "client": ("127.0.0.1", 1)}  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        await observed(scope, receive, send)
    assert sent == ["http.response.start"]


@pytest.mark.parametrize(
    ("class_count", "status", "why"), [(None, 503, "has not reported"), (5000, 400, "more than 1000 classes")]
)
async def test_v2_refuses_a_model_whose_tensor_it_cannot_describe(
    start_service: StartService, torchserve: FakeTorchServe, class_count: int | None, status: int, why: str
) -> None:
    torchserve.archives["resnet18", "1.0"] = {**TRAINED, "class_count": class_count}
    service = await start_service()
    body = {"inputs": [{"name": "picture", "shape": [1], "datatype": "BYTES", "data": ["aGFsbG8="]}]}
    reply = await service.post("/v2/models/resnet18/infer", json.dumps(body))
    assert reply.status == status
    assert why in reply.json["error"]


async def test_a_map_that_is_no_rectangle_is_no_explanation(service: Service, torchserve: FakeTorchServe) -> None:
    async def ragged(request: web.Request, picture: bytes) -> web.StreamResponse:
        crop = {"left": 0, "top": 0, "right": 1, "bottom": 1}
        explanation = {"class_id": 1, "map": [[0.5, 0.5], [0.5]], "crop": crop}
        return web.json_response(
            {"model": "resnet18", "predictions": predictions_for(picture, 1), "explanation": explanation}
        )

    torchserve.behaviour = ragged
    check_shape(await service.post("/explain", PICTURE), 502, "InferenceFailed")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"data": "aGFsbG8=", "note": true}', "application/json"),
        (b'{"data": "aGFsbG8=", "note": [1]}', "application/json"),
        (
            b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\n\xff\r\n'
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
    ],
)
async def test_a_parameter_that_is_no_text_is_refused(
    start_service: StartService, tmp_path: Path, body: bytes, kind: str
) -> None:
    service = await start_service(feedback_dir=tmp_path)
    reply = await service.post("/feedback?class_id=1", body, headers={"Content-Type": kind})
    check_shape(reply, 400, "InvalidParameter")
    assert "note must be text" in reply.json["message"]
    assert pictures(tmp_path) == []


async def test_of_several_classes_with_one_label_the_number_is_asked_for(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    async def twice(request: web.Request, picture: bytes) -> web.StreamResponse:
        predictions = [
            {"class_id": number, "wnid": None, "label": "crane", "probability": 0.5} for number in (134, 517)
        ]
        return web.json_response({"model": "resnet18", "predictions": predictions})

    torchserve.behaviour = twice
    service = await start_service(feedback_dir=tmp_path)
    reply = await wrong(service, query="?label=crane")
    check_shape(reply, 400, "InvalidParameter")
    assert "134 and 517" in reply.json["message"]
    assert pictures(tmp_path) == []


async def test_reports_wait_while_others_hold_the_folder(
    start_service: StartService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start_service(feedback_dir=tmp_path)

    def is_held(*_: object) -> None:
        raise MarserveError("Another process holds the folder.")

    monkeypatch.setattr(Feedback, "add", is_held)
    reply = await wrong(service, query="?other=x")
    check_shape(reply, 503, "Overloaded")
    assert "Retry-After" in reply.headers
    monkeypatch.undo()
    assert (await wrong(service, query="?other=x")).status == 201


@pytest.mark.parametrize("broken", ["fsync", "write"])
def test_a_report_that_the_disk_fails_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    store = Feedback(tmp_path, 10**6)
    store.add(report(), PICTURE)

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(f"marserve.web.feedback.os.{broken}", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        store.add(report(note="lost"), PICTURE)
    monkeypatch.undo()
    assert [line["note"] for line in lines(tmp_path)] == [""]
    store.add(report(note="kept"), PICTURE)
    assert [line["note"] for line in lines(tmp_path)] == ["", "kept"]
