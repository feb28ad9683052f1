"""Where limits end: the last value that is taken, the first that is not, and that the refusal names the limit."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import os
import re
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from marserve.handler.resnet18.requests import MAX_TOP_K
from marserve.torchserve.key_file import Renew
from marserve.web.logs import FIELDS
from marserve.web.routes import MAX_SHOWN_NAME
from marserve.web.routes.feedback import USUAL_TOP_K
from marserve.web.routes.pictures import MAX_CLASS_ID
from marserve.web.settings import WebSettings, WebSettingsError
from marserve.web.upstream.connection import UpstreamConnection
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import SOON_S, Service, StartService, form
from tests.unit.web.test_error_shape import check_shape
from tests.unit.web.test_feedback import PICTURE, wrong

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["raw", "form", "JSON"])
async def test_a_picture_that_is_too_large_is_told_how_large_it_may_be(start_service: StartService, kind: str) -> None:
    service = await start_service(max_image_bytes=1000)
    too_large = b"\xff\xd8\xff" + b"x" * 998
    text = base64.b64encode(too_large).decode()
    body = {"raw": too_large, "form": form(too_large), "JSON": json.dumps({"data": text})}[kind]
    headers = {"Content-Type": "application/json"} if kind == "JSON" else {}
    reply = await service.post("/classify", body, headers=headers)
    check_shape(reply, 413, "ImageTooLarge")
    assert "1000 bytes" in reply.json["message"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/classify?top_k={MAX_TOP_K}", 200),
        (f"/classify?top_k={MAX_TOP_K + 1}", 400),
        ("/classify?top_k=1", 200),
        ("/classify?top_k=0", 400),
        (f"/explain?class_id={MAX_CLASS_ID}", 200),
        (f"/explain?class_id={MAX_CLASS_ID + 1}", 400),
        ("/explain?class_id=0", 200),
        ("/explain?class_id=-1", 400),
    ],
)
async def test_numbers_end_where_they_are_said_to(
    service: Service, torchserve: FakeTorchServe, path: str, status: int
) -> None:
    reply = await service.post(path, PICTURE)
    assert reply.status == status, reply.body
    assert len(torchserve.pictures) == (status == 200)


async def test_an_unknown_parameters_name_is_shown_but_not_all_of_it(service: Service) -> None:
    reply = await service.post(f"/classify?{'x' * 1000}=1", PICTURE)
    check_shape(reply, 400, "InvalidParameter")
    assert "x" * MAX_SHOWN_NAME in reply.json["message"]
    assert "x" * (MAX_SHOWN_NAME + 1) not in reply.json["message"]


async def test_a_ready_service_says_so_and_nothing_else(service: Service) -> None:
    reply = await service.get("/readyz")
    assert (reply.status, reply.json) == (200, {"status": "ok", "reasons": []})
    assert "Retry-After" not in reply.headers


async def test_what_torchserve_packs_is_not_unpacked(service: Service, torchserve: FakeTorchServe) -> None:
    """It is never asked to; a small answer that becomes gigabytes would be another's."""

    async def packed(request: web.Request, picture: bytes) -> web.StreamResponse:
        answer = await torchserve.answer(request, picture)
        assert isinstance(answer, web.Response)
        assert isinstance(answer.body, bytes)
        return web.Response(body=gzip.compress(answer.body), headers={"Content-Encoding": "gzip"})

    torchserve.behaviour = packed
    check_shape(await service.post("/explain", PICTURE), 502, "InferenceFailed")


async def test_a_report_of_what_the_page_has_shown_costs_no_second_inference(
    start_service: StartService, torchserve: FakeTorchServe, tmp_path: Path
) -> None:
    service = await start_service(feedback_dir=tmp_path)
    assert (await wrong(service, query="?class_id=3")).status == 201  # the classes are listed once
    other = PICTURE + b"another"
    assert (await service.post(f"/classify?top_k={USUAL_TOP_K}", other)).status == 200
    sent = len(torchserve.pictures)
    assert (await wrong(service, other, query="?class_id=3")).status == 201
    assert len(torchserve.pictures) == sent


def test_a_folder_must_be_one_that_files_can_be_made_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written to, and entered: this one may only be written to."""
    monkeypatch.setattr("marserve.web.settings.os.access", lambda _, mode: mode & ~os.W_OK == 0)
    with pytest.raises(ValueError, match="nothing may be written there"):
        WebSettings.model_validate({"feedback_dir": tmp_path})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MARSERVE_REQUEST_DEADLINE_S", "3600.5", "more than 3600"),
        ("MARSERVE_REQUEST_DEADLINE_S", "0", "not above 0"),
        ("MARSERVE_REQUEST_DEADLINE_S", "nan", "not a number"),
        ("MARSERVE_REQUEST_DEADLINE_S", "soon", "not a number"),
        ("MARSERVE_MAX_IN_FLIGHT", "0", "less than 1"),
        ("MARSERVE_MAX_IN_FLIGHT", "1.5", "not a whole number"),
        ("MARSERVE_MAX_IMAGE_BYTES", "1000000001", "more than 1000000000"),
        ("MARSERVE_FETCH_PICTURES", "perhaps", "neither true nor false"),
        ("MARSERVE_CORS_ORIGINS", "https://a.example/path", "not an origin"),
        ("MARSERVE_CACHE_URL", "memcached://cache", "not a redis://"),
    ],
)
def test_a_setting_beyond_its_limit_is_told_what_the_limit_is(name: str, value: str, reason: str) -> None:
    with pytest.raises(WebSettingsError, match=re.escape(reason)):
        WebSettings.from_environment({name: value})


@pytest.mark.parametrize(("given", "is_kept"), [("a" * 64, True), ("a" * 65, False), ("two words", False), ("", False)])
async def test_a_requests_id_is_kept_where_it_is_harmless(service: Service, given: str, is_kept: bool) -> None:
    answered = (await service.get("/healthz", headers={"X-Request-ID": given})).headers["X-Request-ID"]
    assert (answered == given) == is_kept
    assert answered


async def test_an_address_in_capitals_is_told_how_it_is_spelled(service: Service) -> None:
    reply = await service.get("/V2/Health/Live")
    check_shape(reply, 404, "NotFound")
    assert "did you mean /v2/health/live?" in reply.json["message"]


@pytest.mark.parametrize(("length", "is_believed"), [(64, True), (65, False)])
async def test_a_callers_address_ends_somewhere(
    start_service: StartService, caplog: pytest.LogCaptureFixture, length: int, is_believed: bool
) -> None:
    caplog.set_level(logging.INFO)
    service = await start_service(trusted_proxies=("127.0.0.1",))
    address = "fe80::1%".ljust(length, "z")
    caplog.clear()
    await service.get("/models", headers={"X-Forwarded-For": address})
    clients = {getattr(record, FIELDS)["client"] for record in caplog.records if hasattr(record, FIELDS)}
    assert (address in clients) == is_believed


async def test_a_token_that_is_never_given_is_not_waited_for(
    torchserve: FakeTorchServe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marserve.web.upstream.connection.MANAGEMENT_TIMEOUT_S", 0.2)
    torchserve.is_frozen = True
    connection = UpstreamConnection(torchserve.url, "management", None, max_connections=1)
    monkeypatch.setattr(Renew, "path", "/models")
    try:
        with anyio.fail_after(SOON_S):
            assert await connection.renew_token(Renew("inference", "a key")) is None
    finally:
        await connection.close()
