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


async def test_examples_name_the_address_that_the_document_was_fetched_from(service: Service) -> None:
    document = (await service.get("/openapi.json")).json
    assert f"curl -F file=@examples/cat.jpg {service.url}/predict" in document["info"]["description"]


async def test_document_has_a_summary_of_its_own_for_each_address(service: Service) -> None:
    document = (await service.get("/openapi.json")).json
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    summaries = {operation["summary"] for operation in operations}
    assert "The most probable classes, each with its confidence in percent" in summaries
    assert not [summary for summary in summaries if " " not in summary]


async def test_every_documented_failure_has_an_example_of_its_own_status(service: Service) -> None:
    document = (await service.get("/openapi.json")).json
    checked = 0
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                example = response.get("content", {}).get("application/json", {}).get("example")
                if example is not None:
                    assert str(example["code"]) == status
                    checked += 1
    assert checked > 50


async def test_every_operation_has_an_id_of_its_own_that_stays(service: Service) -> None:
    document = (await service.get("/openapi.json")).json
    ids = {
        (path, method): operation["operationId"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert len(set(ids.values())) == len(ids)
    assert all(name.endswith(f"_{method}") for (_, method), name in ids.items())
    # Programs that were generated from the document call them by these names.
    assert ids["/predict", "post"] == "predict_predict_post"
    assert ids["/v2/models/{model}", "get"] == "metadata_v2_models__model__get"


async def test_document_has_each_method_that_takes_a_picture(service: Service) -> None:
    document = (await service.get("/openapi.json")).json
    for path in ("/predict", "/classify", "/explain"):
        operations = document["paths"][path]
        assert list(operations) == ["post", "put"]
        assert operations["put"] == operations["post"] | {"operationId": operations["put"]["operationId"]}
