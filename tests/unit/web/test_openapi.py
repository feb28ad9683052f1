"""The service holds what /openapi.json promises: schemathesis tries to prove otherwise."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fastapi import FastAPI

from marserve import __version__
from marserve.web.content import TEMPLATES
from marserve.web.failures import FAILURES
from marserve.web.openapi import SENTENCES, Language, build_document
from marserve.web.routes import pages
from tests.unit.web.fake_torchserve import FakeTorchServe
from tests.unit.web.service import Service, StartService, form

pytestmark = pytest.mark.anyio


async def test_schemathesis_finds_no_5xx_and_nothing_undocumented(service: Service, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json"],
        # Hardly any bytes are a picture, and a form's lone field counts as one whatever it is called: what OpenAPI can
        # say about bodies is not what decides about them.
        *["--checks", "all", "--exclude-checks", "positive_data_acceptance,negative_data_rejection"],
        # In a millisecond nothing is answered, which is what 503 and 504 say then.
        *["--header", "X-Request-Timeout-Ms: 10000"],
        *["--max-examples", "20", "--seed", "1", "--no-color"],
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_document_does_not_mention_fastapis_own_error(service: Service) -> None:
    document = (await service.get("/openapi.json")).body.decode()
    assert "HTTPValidationError" not in document
    for operations in json.loads(document)["paths"].values():
        for operation in operations.values():
            own = operation["responses"].get("422")
            assert own is None or list(own["content"]["application/json"]["examples"]) == ["PictureQuarantined"]


async def test_the_document_has_the_products_one_version(service: Service) -> None:
    document = json.loads((await service.get("/openapi.json")).body)
    assert document["info"]["version"] == __version__


async def test_examples_name_the_address_that_the_document_was_fetched_from(service: Service) -> None:
    document = (await service.get("/openapi.json")).json
    assert f"curl -F file=@cat.jpg {service.url}/predict" in document["info"]["description"]


async def test_whoever_sends_a_picture_reads_how_to_say_that_it_hurries_or_does_not(service: Service) -> None:
    paths = (await service.get("/openapi.json")).json["paths"]
    for path in ("/predict", "/classify", "/explain", "/v2/models/{model}/infer"):
        headers = {one["name"] for one in paths[path]["post"]["parameters"] if one["in"] == "header"}
        assert headers >= {"X-Request-Timeout-Ms", "X-Priority"}
    assert not any(one["in"] == "header" for one in paths["/models"]["get"].get("parameters", []))


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.needs("curl")
async def test_every_code_sample_works_when_pasted(service: Service, tmp_path: Path, lang: str) -> None:
    document = (await service.get(f"/openapi.json?lang={lang}")).json
    samples = re.findall(r"```(bash|python)\n(.*?)```", document["info"]["description"], re.DOTALL)
    lines = [("bash", line) for kind, text in samples if kind == "bash" for line in text.splitlines()]
    answers = []
    for kind, text in [*lines, *[sample for sample in samples if sample[0] == "python"]]:
        command = ["bash", "-c", f"{text} --fail"] if kind == "bash" else [sys.executable, "-c", text]
        process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        assert process.returncode == 0, text
        answers.append(output.decode())
    _, predicted, classified, _, listed, printed = answers
    assert len(json.loads(predicted)) == 3
    assert len(json.loads(classified)["predictions"]) == 3
    assert json.loads(listed)["default"] == "resnet18"
    assert printed.count("\n") == 3
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


async def test_document_has_spoken_names_for_each_operation_and_tag(service: Service) -> None:
    document = (await service.get("/openapi.json")).json
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    names: dict[str, str] = {}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert " " in operation["summary"]
            assert operation["summary"] != operation["description"]
            assert names.setdefault(operation["summary"], path) == path  # of one address alone
            assert set(operation["tags"]) <= tags


async def test_chinese_document_says_everything_in_chinese_and_changes_nothing_else(service: Service) -> None:
    english = (await service.get("/openapi.json", headers={"Accept-Language": "zh-CN"})).json
    chinese = (await service.get("/openapi.json?lang=zh")).json
    table = json.loads((TEMPLATES / "api.zh.json").read_text(encoding="utf-8"))
    used: set[str] = set()

    def compare(one: Any, other: Any, key: str) -> None:
        assert type(one) is type(other)
        if isinstance(one, dict):
            assert one.keys() == other.keys()
            for name, value in one.items():
                compare(value, other[name], name)
        elif isinstance(one, list):
            assert len(one) == len(other)
            for left, right in zip(one, other, strict=True):
                compare(left, right, key)
        elif key in {"description", "summary", "tags"}:
            parts = [one] if one in table else SENTENCES.split(one)[::2]
            assert " ".join(part for part in parts if part not in table) == "", "templates/api.zh.json lacks this"
            used.update(parts)
        else:
            assert one == other or (key == "name" and table[one] == other)

    for document, title in ((english, "Marserve: image classification"), (chinese, "Marserve：图像分类")):
        assert document["info"].pop("title") == title
        assert ("错误" in document["info"].pop("description")) == (document is chinese)
    compare(english, chinese, "")
    assert used == set(table)


async def test_every_documented_failure_has_examples_of_its_own_status(service: Service) -> None:
    document = (await service.get("/openapi.json")).json
    found = {
        (int(status), name, example["value"]["type"], example["value"]["code"])
        for operations in document["paths"].values()
        for operation in operations.values()
        for status, response in operation["responses"].items()
        for name, example in response.get("content", {}).get("application/json", {}).get("examples", {}).items()
    }
    assert all(status == code and name == kind for status, name, kind, code in found)
    assert {status for status, *_ in found} == {
        400,
        401,
        403,
        404,
        408,
        413,
        415,
        422,
        429,
        500,
        501,
        502,
        503,
        504,
        507,
    }
    explain = document["paths"]["/explain"]["post"]["responses"]
    assert list(explain["501"]["content"]["application/json"]["examples"]) == ["NotExplainable"]
    assert "501" not in document["paths"]["/predict"]["post"]["responses"]
    assert "`MethodNotAllowed`" in document["info"]["description"]


async def test_examples_of_failures_are_what_the_service_says(
    start_service: StartService, torchserve: FakeTorchServe
) -> None:
    service = await start_service(max_in_flight=1, rate_limit_per_minute=60, api_keys=["a-key-of-this-service"])
    key = {"X-API-Key": "a-key-of-this-service"}
    said = [
        await service.post("/predict", b"x"),
        await service.post("/predict?topk=1", b"x", headers=key),
        await service.post("/predict", headers=key),
        await service.post("/predict", form(b""), headers=key),
        await service.post("/predict?model=nope", b"x", headers=key),
        await service.post("/predict", b"x", headers={**key, "Content-Encoding": "gzip"}),
        await service.post("/feedback?label=x", b"x", headers=key),
    ]

    async def garbage(*_: Any) -> web.Response:
        return web.Response(text="garbage")

    torchserve.behaviour = garbage
    said.append(await service.post("/predict", b"y", headers=key))
    for reply in said:
        _, message = next(value for kind, value in FAILURES.items() if kind.__name__ == reply.json["type"])
        assert reply.json["message"] == message


async def test_form_of_docs_can_send_a_key_where_there_are_keys(start_service: StartService) -> None:
    document = (await (await start_service(api_keys=["a-key-of-this-service"])).get("/openapi.json")).json
    assert document["components"]["securitySchemes"].keys() == {"Key", "Bearer"}
    assert document["paths"]["/predict"]["post"]["security"] == [{"Key": []}, {"Bearer": []}]
    assert "security" not in document["paths"]["/healthz"]["get"]
    document = (await (await start_service()).get("/openapi.json")).json
    assert "securitySchemes" not in document["components"]


@pytest.mark.parametrize(
    ("query", "spoken", "language"),
    [
        ("", "", "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "fr, ZH-TW;q=0.5, en;q=0.4", "zh"),
        ("", "fr", "en"),
        ("?lang=zh", "en", "zh"),
        ("?lang=en", "zh", "en"),
        ("?lang=xx", "zh", "zh"),
    ],
)
async def test_docs_are_in_the_language_that_is_wanted(
    service: Service, query: str, spoken: str, language: str
) -> None:
    reply = await service.get(f"/docs{query}", headers={"Accept-Language": spoken})
    page = reply.body.decode()
    assert f'<html lang="{language}">' in page
    assert '<a href="./">← Marserve</a>' in page
    assert reply.headers["Vary"] == "Accept-Encoding, Accept-Language"


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


async def test_the_document_is_made_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests for it, one behind the other, would keep everybody waiting."""
    made: list[str] = []

    def counted(app: FastAPI, base: str, language: Language) -> dict[str, Any]:
        made.append(language)
        return build_document(app, base, language)

    monkeypatch.setattr(pages, "build_document", counted)
    first, second = await service.get("/openapi.json"), await service.get("/openapi.json")
    assert (first.status, first.body) == (200, second.body)
    await service.get("/openapi.json?lang=zh")
    assert made == ["en", "zh"]
