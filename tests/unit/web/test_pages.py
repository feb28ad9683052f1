"""What people see: the page, /docs and their files."""

from __future__ import annotations

import pytest

from tests.unit.web.service import StartService

pytestmark = pytest.mark.anyio


async def test_operators_name_stands_on_the_page_in_docs_and_in_the_list_of_models(start_service: StartService) -> None:
    name = 'Flowers & <b>"{root}"'
    escaped = "Flowers &amp; &lt;b&gt;&quot;{root}&quot;"
    service = await start_service(name=name)
    page = (await service.get("/")).body.decode()
    assert f"· {escaped}</title>" in page
    assert f"<span>{escaped}</span>" in page
    assert f'<meta name="application-name" content="{escaped}">' in page
    assert escaped in (await service.get("/docs")).body.decode()
    assert (await service.get("/openapi.json")).json["info"]["title"] == f"{name}: image classification"
    assert (await service.get("/models")).json["name"] == name
