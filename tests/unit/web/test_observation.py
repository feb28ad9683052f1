"""What an operator sees, and the headers and shape of every answer."""

from __future__ import annotations

import json
import logging

import pytest

from marserve.handler.resnet18.requests import HOW_TO_SEND
from marserve.web.logs import FIELDS, JsonFormatter
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import Service, StartService, until

pytestmark = pytest.mark.anyio

KEY = "a-key-of-0123456789"


@pytest.mark.parametrize("given", ["abc-1.2_3", "x" * 64])
async def test_sane_request_id_is_kept(service: Service, given: str) -> None:
    assert (await service.get("/healthz", headers={"X-Request-ID": given})).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"b', "ü", "a;b"])
async def test_any_other_request_id_is_replaced(service: Service, given: str) -> None:
    made = (await service.get("/healthz", headers={"X-Request-ID": given})).headers["X-Request-ID"]
    assert made != given
    assert len(made) == 32


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/nothing", "/static/main.js", "/openapi.json"])
async def test_every_answer_has_the_security_headers(service: Service, path: str) -> None:
    headers = (await service.get(path)).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    allowed = {source for sources in policy.values() for source in sources.split()}
    assert allowed <= {"'none'", "'self'", "blob:"} | ({"data:"} if path == "/docs" else set())
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "server" not in headers


@pytest.mark.parametrize(
    ("headers", "host", "is_strict"),
    [
        ({}, "pictures.example.com", False),
        ({"X-Forwarded-Proto": "https"}, "pictures.example.com", True),
        ({"X-Forwarded-Proto": "https"}, "pictures.example.com:443", True),
        # A year of HTTPS for every port of this host would take its other services away.
        ({"X-Forwarded-Proto": "https"}, "gpu.example.com:5000", False),
    ],
)
async def test_browsers_keep_to_https_where_it_is_what_the_host_answers_with(
    start_service: StartService, headers: dict[str, str], host: str, is_strict: bool
) -> None:
    service = await start_service(trusted_proxies="127.0.0.1")
    answer = await service.get("/", headers={"Host": host, **headers})
    assert answer.headers.get("Strict-Transport-Security") == ("max-age=31536000" if is_strict else None)


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_have_no_script_or_style_of_their_own(service: Service, path: str) -> None:
    page = (await service.get(path)).body.decode()
    assert "<style" not in page
    assert "style=" not in page
    assert "https://" not in page
    assert page.count("<script") == page.count("<script src=") + page.count('<script type="module" src=')


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html"),
        ("/static/main.js", "text/javascript"),
        ("/static/icon.svg", "image/svg+xml"),
        ("/labels/zh.json", "application/json"),
        ("/example.jpg", "image/jpeg"),
        ("/examples/tiger.jpg", "image/jpeg"),
        ("/examples/list.json", "application/json"),
        ("/docs", "text/html"),
        ("/static/docs.js", "text/javascript"),
        ("/docs/assets/swagger-ui-bundle.js", "text/javascript"),
        ("/docs/assets/swagger-ui.css", "text/css"),
        ("/openapi.json", "application/json"),
    ],
)
async def test_pages_and_their_files_are_served(service: Service, path: str, content_type: str) -> None:
    reply = await service.get(path)
    assert reply.status == 200
    assert reply.headers["Content-Type"].partition(";")[0] == content_type
    assert reply.body


async def test_request_is_logged_without_key_and_picture(
    start_service: StartService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    service = await start_service(api_keys=(KEY,), log_level="DEBUG")
    caplog.clear()
    await service.post("/predict?top_k=1", b"secret picture", headers={"X-API-Key": KEY, "X-Request-ID": "log-1"})
    (record,) = [record for record in caplog.records if record.name == "web.access"]
    fields = getattr(record, FIELDS)
    assert {name: fields[name] for name in ("request_id", "method", "path", "status", "cache", "model")} == {
        "request_id": "log-1",
        "method": "POST",
        "path": "/predict",
        "status": 200,
        "cache": "miss",
        "model": "resnet18",
    }
    assert fields["picture_bytes"] == len(b"secret picture")
    line = JsonFormatter().format(record)
    assert json.loads(line)["level"] == "INFO"
    assert "secret" not in line
    assert not [text for text in map(logging.LogRecord.getMessage, caplog.records) if KEY in text or "secret" in text]
    assert KEY not in line


def test_text_from_requests_stays_inside_its_json_string() -> None:
    record = logging.LogRecord("web", logging.INFO, "", 0, "request", (), None)
    setattr(record, FIELDS, {"path": '/a"\n{"level": "forged"}'})
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["level"] == "INFO"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
async def test_load_balancers_may_ask_for_the_headers_alone(service: Service, path: str) -> None:
    reply = await service.ask("HEAD", path)
    assert (reply.status, reply.body) == (200, b"")


async def test_metrics_count_by_route_and_not_by_address(service: Service, torchserve: FakeTorchServe) -> None:
    await service.post("/predict", b"picture")
    for name in ("a", "b"):
        await service.get(f"/{name}")
        await service.get(f"/v2/models/{name}")
    assert await service.metric('web_requests_total{method="POST",route="/predict",status="200"}') == 1
    assert await service.metric('web_requests_total{method="any",route="unmatched",status="404"}') == 2
    assert await service.metric('web_requests_total{method="GET",route="/v2/models/{model}",status="404"}') == 2
    assert await service.metric('web_request_duration_seconds_count{route="/predict"}') == 1
    assert await service.metric('web_cache_lookups_total{result="miss"}') == 1
    assert await service.metric("web_upstream_duration_seconds_count") >= 1

    async def is_ready() -> bool:
        return await service.metric("web_ready") == 1

    await until(is_ready)


async def test_bug_is_answered_in_the_one_shape_and_logged(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr("marserve.web.routes.pictures.read_picture", fail)
    reply = await service.post("/predict", b"picture")
    assert (reply.status, reply.json["type"]) == (500, "InternalError")
    assert b"secret" not in reply.body
    assert any(record.exc_info for record in caplog.records)


async def test_advice_names_both_ways_to_send(service: Service) -> None:
    assert HOW_TO_SEND in (await service.post("/predict")).json["message"]
