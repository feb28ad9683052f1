"""The web service of a real stack: what callers get from it, and what they get when TorchServe fails behind it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from marserve.system.loopback import free_ports
from tests.e2e.serving import SERVE, SharedStack, Stack, shared_stack, wait_for
from tests.support import CAT, REPOSITORY

#: The deadline of a request, as the stack of these tests is configured, and how much later an answer may be seen here.
DEADLINE_S = 12
SLACK_S = 5
QUEUE = 64


@pytest.fixture(scope="module")
def impatient(request: pytest.FixtureRequest) -> Iterator[SharedStack]:
    """A stack of this module's own, with a short deadline and a short queue."""
    settings = {"MARSERVE_REQUEST_DEADLINE_S": str(DEADLINE_S), "MARSERVE_MAX_IN_FLIGHT": str(QUEUE)}
    with shared_stack(request, *SERVE, "--workers", "1", **settings) as stack:
        yield stack


@pytest.fixture
def stack(impatient: SharedStack) -> Stack:
    """It, as it was started."""
    return impatient.as_started()


def workers(stack: Stack) -> list[psutil.Process]:
    children = stack.process("TorchServe").children()
    return [child for child in children if "model_service_worker" in str(child.cmdline())]


def wait_for_readiness(stack: Stack, status: int, within_s: float) -> None:
    wait_for(lambda: stack.readiness() == status, within_s)


def encode(seed: int) -> bytes:
    """A picture of its own for every ``seed``, which no cache can know."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((160, 120)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def test_the_tutorials_client_gets_labels_with_confidences(stack: Stack) -> None:
    with CAT.open("rb") as picture:
        answer = requests.post(f"{stack.web}/predict", files={"file": picture}, timeout=60)
    assert answer.status_code == 200
    predictions = answer.json()
    assert [sorted(prediction) for prediction in predictions] == [["confidence", "label"]] * 3
    confidences = [prediction["confidence"] for prediction in predictions]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 <= confidence <= 100 and round(confidence, 2) == confidence for confidence in confidences)
    if answer.headers["X-Weights"] != "untrained":
        assert "cat" in predictions[0]["label"] or predictions[0]["label"] == "tabby"


def test_the_tutorials_client_is_told_that_the_file_is_missing(stack: Stack) -> None:
    answer = requests.post(f"{stack.web}/predict", files={}, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert answer.json()["type"] == "InvalidRequest"


def test_a_raw_body_and_a_form_get_the_same_answer(stack: Stack) -> None:
    raw = requests.post(f"{stack.web}/predict?top_k=7", data=CAT.read_bytes(), timeout=60)
    form = requests.post(f"{stack.web}/predict?top_k=7", files={"picture": CAT.read_bytes()}, timeout=60)
    assert raw.json() == form.json()
    assert len(raw.json()) == 7


def test_a_repeated_picture_comes_from_the_cache_with_the_same_content(stack: Stack) -> None:
    picture = encode(1)
    first = requests.post(f"{stack.web}/classify", data=picture, timeout=60)
    again = requests.post(f"{stack.web}/classify", data=picture, timeout=60)
    assert (first.headers["X-Cache"], again.headers["X-Cache"]) == ("miss", "hit")
    assert first.json()["predictions"] == again.json()["predictions"]
    assert again.headers["X-Model"] == again.json()["model"]
    assert again.headers["X-Weights"] == again.json()["weights"]


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        pytest.param(b"", 400, "InvalidRequest", id="nothing"),
        pytest.param(b"just text", 415, "UnsupportedImage", id="text"),
        pytest.param(CAT.read_bytes()[:5000], 400, "InvalidImage", id="truncated"),
        pytest.param(b"\xff\xd8" + b"\0" * 17_000_000, 413, "ImageTooLarge", id="too-many-bytes"),
    ],
)
def test_what_is_no_picture_gets_its_own_error(stack: Stack, body: bytes, status: int, kind: str) -> None:
    answer = requests.post(f"{stack.web}/classify", data=body, timeout=60)
    assert (answer.status_code, answer.json()["code"], answer.json()["type"]) == (status, status, kind)


def test_an_explanation_is_a_map_and_a_picture_of_it(stack: Stack) -> None:
    answer = requests.post(f"{stack.web}/explain?model=resnet18", data=CAT.read_bytes(), timeout=60)
    explanation = answer.json()["explanation"]
    assert np.shape(explanation["map"]) == (7, 7)
    assert explanation["class_id"] == answer.json()["predictions"][0]["class_id"]
    drawn = requests.post(f"{stack.web}/explain?model=resnet18&format=png", data=CAT.read_bytes(), timeout=60)
    heat_map = Image.open(io.BytesIO(drawn.content))
    assert (heat_map.format, heat_map.size, heat_map.mode) == ("PNG", (224, 224), "RGBA")
    # Where the map is strongest, the picture is the least transparent.
    y, x = np.unravel_index(np.argmax(explanation["map"]), (7, 7))
    alpha = np.asarray(heat_map)[..., 3]
    assert alpha[int(y) * 32 + 16, int(x) * 32 + 16] >= alpha.max() * 0.9


def test_models_are_listed_with_what_their_answers_are_worth(stack: Stack) -> None:
    listed = requests.get(f"{stack.web}/models", timeout=60).json()
    names = [model["name"] for model in listed["models"]]
    assert "resnet18" in names
    assert listed["default"] in names
    assert all(model["ready"] and model["class_count"] == 1000 for model in listed["models"])


@pytest.mark.parametrize("shape", ["flat", "column"])
def test_tritons_own_client_classifies_photographs(stack: Stack, shape: str) -> None:
    from tritonclient.http import InferenceServerClient, InferInput

    with contextlib.closing(InferenceServerClient(stack.web.removeprefix("http://"))) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        # A test before this one may have stopped TorchServe: the service is ready with the first model that answers.
        wait_for(lambda: client.is_model_ready("resnet18"))
        metadata = client.get_model_metadata("resnet18")
        pictures = np.array([CAT.read_bytes(), encode(2)], dtype=np.object_)
        pictures = pictures if shape == "flat" else pictures.reshape(2, 1)
        tensor = InferInput(metadata["inputs"][0]["name"], list(pictures.shape), "BYTES")
        tensor.set_data_from_numpy(pictures, binary_data=True)
        result = client.infer("resnet18", [tensor])
        tensors = {output["name"]: result.as_numpy(output["name"]) for output in metadata["outputs"]}
    assert all(len(values) == 2 for values in tensors.values())
    expected = [
        requests.post(f"{stack.web}/classify?model=resnet18", data=picture, timeout=60).json()["predictions"][0][
            "label"
        ]
        for picture in pictures.ravel()
    ]
    labels = next(values for values in tensors.values() if values.dtype == np.object_)
    assert [np.ravel(row)[0].decode() for row in labels] == expected


@pytest.mark.parametrize(
    "path",
    [
        "/workflows",
        "/workflows/x",
        "/token?type=inference",
        "/predictions/resnet18",
        "/api-description",
        "/models/resnet18",
    ],
)
def test_torchserves_own_addresses_are_not_reachable(stack: Stack, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = requests.request(method, f"{stack.web}{path}", timeout=60)
        assert answer.status_code in (404, 405), method
        assert sorted(answer.json()) == ["code", "error", "message", "type"]


def test_under_overload_everybody_gets_the_own_answer_or_503(stack: Stack) -> None:
    pictures = [encode(1000 + index) for index in range(40)]
    url = f"{stack.web}/classify?top_k=3&model=resnet18"
    expected = [requests.post(url, data=picture, timeout=60).json()["predictions"] for picture in pictures]
    assert len({json.dumps(answer) for answer in expected}) == len(pictures)

    async def ask_all() -> list[int]:
        turns = asyncio.Semaphore(256)
        timeout = aiohttp.ClientTimeout(total=DEADLINE_S + SLACK_S)
        connector = aiohttp.TCPConnector(limit=256)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

            async def ask(index: int) -> int:
                picture = index % len(pictures)
                # Bytes after the end of a PNG change nothing but its hash, so that each of these is worked on.
                body = pictures[picture] + index.to_bytes(4, "big")
                async with turns, session.post(url, data=body) as answer:
                    content = await answer.json()
                    if answer.status == 200:
                        assert content["predictions"] == expected[picture]
                    else:
                        assert answer.headers["Retry-After"]
                    return answer.status

            return await asyncio.gather(*(ask(index) for index in range(1000)))

    statuses = asyncio.run(ask_all())
    assert set(statuses) == {200, 503}


def ask_until_answered(stack: Stack, seed: int) -> int:
    """The status of one request, which must come within its deadline."""
    return requests.post(f"{stack.web}/classify", data=encode(seed), timeout=DEADLINE_S + SLACK_S).status_code


def test_a_killed_worker_is_noticed_and_gets_over(stack: Stack) -> None:
    for worker in workers(stack):
        worker.kill()
    assert ask_until_answered(stack, 5000) in (200, 503, 504)
    wait_for_readiness(stack, 503, within_s=10)
    wait_for_readiness(stack, 200, within_s=60)
    assert ask_until_answered(stack, 5001) == 200


@pytest.mark.parametrize("happens", [psutil.Process.terminate, psutil.Process.suspend], ids=["ended", "frozen"])
def test_a_torchserve_that_answers_no_more_is_noticed_and_another_one_is_used(
    stack: Stack, happens: Callable[[psutil.Process], None]
) -> None:
    before = stack.process("TorchServe")
    happens(before)
    wait_for_readiness(stack, 503, within_s=30)
    assert ask_until_answered(stack, 5100) in (200, 503, 504)
    wait_for_readiness(stack, 200, within_s=90)
    assert ask_until_answered(stack, 5101) == 200
    assert stack.process("TorchServe").pid != before.pid


def answers_ok(url: str) -> bool:
    try:
        return requests.get(url, timeout=DEADLINE_S).ok
    except requests.ConnectionError:
        return False


@contextlib.contextmanager
def another_web_service(stack: Stack, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """One more web service before the TorchServe of ``stack``, ready: its process and its address."""
    port = free_ports(1)[0]
    environment = {**stack.process("the web service").environ(), "MARSERVE_WEB_PORT": str(port), **settings}
    command = [sys.executable, "-m", "marserve.web"]
    with subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers_ok(f"{url}/readyz"), within_s=30)
            yield process, url
        finally:
            process.terminate()


def test_a_web_service_that_is_stopped_finishes_what_it_has_begun(stack: Stack) -> None:
    picture = CAT.read_bytes()
    with another_web_service(stack) as (process, url):
        with contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)) as connection:
            connection.putrequest("POST", "/predict")
            connection.putheader("Content-Length", str(len(picture)))
            connection.endheaders(picture[:1000])
            both = "web_connections 2.0"  # its own, and that of the one who asks
            wait_for(lambda: both in requests.get(f"{url}/metrics", timeout=DEADLINE_S).text, within_s=30)
            process.terminate()
            wait_for(lambda: not answers_ok(f"{url}/healthz"), within_s=30)
            connection.send(picture[1000:])
            answer = connection.getresponse()
            assert (answer.status, len(json.load(answer))) == (200, 3)
        assert process.wait(30) == 0


@pytest.mark.needs("redis-server")
def test_results_in_redis_are_shared_and_nobody_waits_for_one_that_is_gone(stack: Stack, tmp_path: Path) -> None:
    port = free_ports(1)[0]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    cache = {"MARSERVE_CACHE_URL": f"redis://127.0.0.1:{port}/0"}

    def ask(url: str, seed: int) -> tuple[int, str]:
        answer = requests.post(f"{url}/classify", data=encode(seed), timeout=DEADLINE_S + SLACK_S)
        return answer.status_code, answer.headers["X-Cache"]

    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as redis:
        try:
            wait_for(lambda: listens(port), within_s=30)
            with another_web_service(stack, **cache) as (_, one), another_web_service(stack, **cache) as (_, two):
                assert ask(one, 6000) == (200, "miss")
                assert ask(two, 6000) == (200, "hit")
                redis.terminate()
                redis.wait(30)
                assert [ask(one, 6000), ask(two, 6001)] == [(200, "miss"), (200, "miss")]
        finally:
            redis.kill()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_nothing_that_the_openapi_document_allows_makes_a_server_error(stack: Stack) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{stack.web}/openapi.json",
        "--checks", "not_a_server_error", "--phases", "examples,coverage,fuzzing", "--max-examples", "15",
        "--seed", "1", "--generation-database", "none", "--request-timeout", str(DEADLINE_S + SLACK_S),
        # In a millisecond nothing is answered, which is what 503 and 504 say then.
        "--header", f"X-Request-Timeout-Ms: {DEADLINE_S * 1000:.0f}",
    ]  # fmt: skip
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-5000:] + found.stderr[-2000:]
