"""The service holds what /openapi.json promises: schemathesis tries to prove otherwise."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from marserve import __version__
from tests.unit.web.service import Service

pytestmark = pytest.mark.anyio


async def test_schemathesis_finds_no_5xx_and_nothing_undocumented(service: Service, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json"],
        # Hardly any bytes are a picture, and a form's lone field counts as one whatever it is called: what OpenAPI can
        # say about bodies is not what decides about them.
        *["--checks", "all", "--exclude-checks", "positive_data_acceptance,negative_data_rejection"],
        *["--max-examples", "20", "--seed", "1", "--no-color"],
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_document_does_not_mention_fastapis_own_error(service: Service) -> None:
    document = (await service.get("/openapi.json")).body.decode()
    assert '"422"' not in document
    assert "HTTPValidationError" not in document


async def test_the_document_has_the_products_one_version(service: Service) -> None:
    document = json.loads((await service.get("/openapi.json")).body)
    assert document["info"]["version"] == __version__
