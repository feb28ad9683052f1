"""One setting makes the whole stack take larger pictures; without it they are refused with a reason."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import numpy as np
import pytest
import requests
from PIL import Image

from tests.e2e.serving import ANSWER_S, SERVE, SharedStack, Stack, shared_stack, stack_on_free_ports


@pytest.fixture(scope="module")
def picture() -> bytes:
    """22 MB: pixels at random, which PNG cannot make smaller."""
    pixels = np.random.default_rng(0).integers(0, 256, (2700, 2700, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=0)
    assert len(stream.getvalue()) > 20_000_000
    return stream.getvalue()


@pytest.fixture(scope="module")
def generous_stack(request: pytest.FixtureRequest) -> Iterator[SharedStack]:
    """A stack that takes pictures of 25 MB."""
    settings = {"MARSERVE_MAX_IMAGE_BYTES": "25000000", "MARSERVE_MAX_IN_FLIGHT": "16"}
    with shared_stack(request, *SERVE, **settings) as stack:
        yield stack


@pytest.fixture
def generous(generous_stack: SharedStack) -> Stack:
    return generous_stack.as_started()


def encoded(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def test_a_raised_limit_holds_for_every_form_of_a_request(generous: Stack, picture: bytes) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [encoded(picture)]}
    answers = [
        requests.post(f"{generous.web}/predict?model=resnet18", files={"file": picture}, timeout=ANSWER_S),
        requests.post(f"{generous.web}/classify?model=resnet18", data=picture, timeout=ANSWER_S),
        requests.post(f"{generous.web}/explain?model=resnet18", json={"image": encoded(picture)}, timeout=ANSWER_S),
        requests.post(f"{generous.web}/v2/models/resnet18/infer", json={"inputs": [tensor]}, timeout=ANSWER_S),
        generous.predict(files={"file": picture}),
        generous.predict(json={"image": encoded(picture)}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 6, [answer.text[:200] for answer in answers]


def test_beyond_the_raised_limit_the_answer_is_413_at_both_levels(generous: Stack, picture: bytes) -> None:
    body = picture + bytes(25_000_001 - len(picture))
    answers = [requests.post(f"{generous.web}/predict", data=body, timeout=ANSWER_S), generous.predict(data=body)]
    for answer in answers:
        assert (answer.status_code, answer.json()["type"]) == (413, "ImageTooLarge")


def test_without_it_the_answer_is_413_and_names_the_limit(served: Stack, picture: bytes) -> None:
    for answer in (
        requests.post(f"{served.web}/predict", files={"file": picture}, timeout=ANSWER_S),
        served.predict(data=picture),
    ):
        assert (answer.status_code, answer.json()["type"]) == (413, "ImageTooLarge")
        assert "16000000" in answer.json()["message"].replace(",", "")


def test_an_impossible_limit_stops_the_start_before_anything_is_started() -> None:
    stack = stack_on_free_ports()
    started = stack.run("serve", *SERVE, MARSERVE_MAX_IMAGE_BYTES="1000000000", MARSERVE_MAX_IN_FLIGHT="1000000")
    wrote_state = stack.run_directory.state.exists()
    stack.end()
    assert started.returncode != 0
    assert "MARSERVE_MAX_IN_FLIGHT = 1000000 needs" in started.stderr
    assert "Starting" not in started.stdout
    assert not wrote_state
