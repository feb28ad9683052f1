"""What trusted proxies write is believed, and what anybody else writes is not."""

from __future__ import annotations

import json
import logging
import re
from functools import cache

import pytest
from fastapi import FastAPI

from marserve.web.app import create_app
from marserve.web.content import static_version
from marserve.web.logs import FIELDS
from marserve.web.settings import WebSettings
from tests.cases.proxies import CASES, Proxied
from tests.unit.web.service import Service, StartService, fetch

pytestmark = pytest.mark.anyio


@cache
def application(trusted: tuple[str, ...]) -> FastAPI:
    return create_app(WebSettings(trusted_proxies=trusted))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_caller_and_address_are_those_that_trusted_proxies_name(
    case: Proxied, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app = application(case.trusted)
    document = json.loads(await fetch(app, "/openapi.json", case.headers))
    page = await fetch(app, "/", case.headers)
    (client,) = {getattr(record, FIELDS)["client"] for record in caplog.records if hasattr(record, FIELDS)}
    assert client == case.client
    assert f"curl -F file=@cat.jpg {case.base}predict" in document["info"]["description"]
    assert document["servers"] == [{"url": case.root.rstrip("/") if case.root != "./" else "/"}]
    assert set(re.findall(r'(?:href|src)="([^"#]*?)(?:static-\w+/\w+\.\w+|docs|example\.jpg|)"', page)) == {case.root}


@pytest.mark.parametrize(
    ("path", "root"), [("/docs", "./"), ("/docs/", "../"), ("//docs", "./"), ("/docs//", "../../"), ("/", "./")]
)
async def test_page_finds_its_files_from_each_of_its_addresses(path: str, root: str) -> None:
    page = await fetch(application(()), path, {})
    assert f'href="{root}static-{static_version()}/icon.svg"' in page


@pytest.mark.parametrize("prefix", ["/ai", "/predict", "/models"])
async def test_everything_is_served_below_a_prefix(start_service: StartService, prefix: str) -> None:
    service: Service = await start_service(trusted_proxies=("127.0.0.1",))
    headers = {"X-Forwarded-Prefix": prefix, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "web.example"}
    assert (await service.ask("PUT", "/predict/", data=b"picture", headers=headers)).status == 200
    page = (await service.get("/", headers=headers)).body.decode()
    for address in re.findall(r'(?:href|src)="([^"#]*)"', page):
        assert address.startswith(f"{prefix}/")
        below = address.removeprefix(prefix)
        assert (await service.get(below, headers=headers, allow_redirects=False)).status == 200
    assert await service.metric('web_requests_total{method="PUT",route="/predict",status="200"}') == 1
