"""ManagementClient: each call in TorchServe's words, and its answers understood."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from marserve.client.connection import Backoff
from marserve.client.errors import InvalidAnswer, Refused, ServerFailed, ServerOverloaded, TimedOut
from marserve.client.management import ATTEMPTS, ManagementClient
from tests.unit.fake_server import Answer, FakeServer, error

SOON = Backoff(first_s=0.01, longest_s=0.02)


def described(*statuses: str, version: str = "1.0", **more: Any) -> dict[str, Any]:
    workers = [
        {"id": str(9000 + number), "status": status, "pid": 100 + number, "memoryUsage": 5}
        for number, status in enumerate(statuses)
    ]
    return {
        "modelName": "resnet18", "modelVersion": version, "modelUrl": "resnet18.mar", "minWorkers": 1, "maxWorkers": 2,
        "batchSize": 8, "maxBatchDelay": 5, "workers": workers, **more,
    }  # fmt: skip


def management(server: FakeServer) -> ManagementClient:
    return ManagementClient(server.url, backoff=SOON)


def test_all_pages_of_models_are_listed(server: FakeServer) -> None:
    server.answers = [
        Answer(content={"nextPageToken": "1", "models": [{"modelName": "a"}]}),
        Answer(content={"models": [{"modelName": "b"}]}),
    ]
    with management(server) as client:
        assert client.list_models() == ["a", "b"]
    assert server.requests[1].path == "/models?limit=100&next_page_token=1"


def test_a_version_is_described_with_its_workers(server: FakeServer) -> None:
    server.answers = [Answer(content=[described("READY", "UNLOADING", customizedMetadata=json.dumps({"seed": 18}))])]
    with management(server) as client:
        version = client.describe("resnet18", "1.0", customized=True)
    assert server.requests[0].path == "/models/resnet18/1.0?customized=true"
    assert (version.ready_workers, version.workers[1].pid, version.batch_size) == (1, 101, 8)
    assert version.description == {"seed": 18}


def test_every_version_is_described(server: FakeServer) -> None:
    server.answers = [Answer(content=[described(), described(version="2.0")])]
    with management(server) as client:
        assert [version.version for version in client.describe_all("resnet18")] == ["1.0", "2.0"]
    assert server.requests[0].path == "/models/resnet18/all"


@pytest.mark.parametrize(
    ("step", "sent"),
    [
        (
            lambda client: client.register("new.mar", workers=2, batch_size=4),
            "POST /models?url=new.mar&initial_workers=2&synchronous=true&batch_size=4",
        ),
        (
            lambda client: client.register("new.mar", model="other", synchronous=False),
            "POST /models?url=new.mar&initial_workers=0&synchronous=false&model_name=other",
        ),
        (lambda client: client.unregister("resnet18", "1.0"), "DELETE /models/resnet18/1.0"),
        (lambda client: client.set_default("resnet18", "2.0"), "PUT /models/resnet18/2.0/set-default"),
    ],
)
def test_a_step_is_sent_once_and_answers_what_torchserve_says(
    server: FakeServer, step: Callable[[ManagementClient], str], sent: str
) -> None:
    server.answers = [Answer(content={"status": "Done."})]
    with management(server) as client:
        assert step(client) == "Done."
    assert [f"{request.method} {request.path}" for request in server.requests] == [sent]


@pytest.mark.parametrize(
    ("step", "sent"),
    [
        (
            lambda client: client.scale("resnet18", 3),
            "PUT /models/resnet18?min_worker=3&max_worker=3&synchronous=true",
        ),
        (
            lambda client: client.scale("resnet18", 1, "2.0", max_workers=4, synchronous=False),
            "PUT /models/resnet18/2.0?min_worker=1&max_worker=4&synchronous=false",
        ),
    ],
)
def test_scaling_is_one_request_where_the_list_shows_its_result(
    server: FakeServer, step: Callable[[ManagementClient], str], sent: str
) -> None:
    server.answers = [Answer(content={"status": "Done."}), Answer(content=[described("READY", "UNLOADING")])]
    with management(server) as client:
        assert step(client) == "Done."
    assert [request.method for request in server.requests] == ["PUT", "GET"]
    assert f"PUT {server.requests[0].path}" == sent


@pytest.mark.parametrize(
    ("broken_off", "left"),
    [
        (error(500, "NullPointerException"), ("READY", "READY")),
        (error(500, "NullPointerException"), ("READY",)),
        (Answer(content={"status": "Processing worker updates..."}), ("READY", "READY")),
    ],
    ids=["fails with one left", "fails at the last", "claims success with one left"],
)
def test_workers_are_taken_away_though_torchserve_breaks_off(
    server: FakeServer, broken_off: Answer, left: tuple[str, ...]
) -> None:
    server.answers = [
        broken_off, Answer(content=[described(*left)]), Answer(content={}), Answer(content=[described("READY")]),
    ]  # fmt: skip
    with management(server) as client:
        client.scale("resnet18", 1, synchronous=False)
    assert [request.method for request in server.requests] == ["PUT", "GET"] * len(left)


def test_a_worker_that_cannot_start_is_not_started_again_and_again(server: FakeServer) -> None:
    server.answers = [error(500, "InternalServerException"), Answer(content=[described("READY", "UNLOADING")])]
    with management(server) as client, pytest.raises(ServerFailed):
        client.scale("resnet18", 2)
    assert len(server.requests) == 2


def test_workers_that_stay_for_good_are_a_failure(server: FakeServer) -> None:
    server.answers = [*[Answer(content={}), Answer(content=[described("READY", "READY")])] * ATTEMPTS]
    with management(server) as client, pytest.raises(ServerFailed, match=r"keeps 2 workers of resnet18 1\.0"):
        client.scale("resnet18", 1)


def test_a_version_is_removed_though_torchserve_breaks_off(server: FakeServer) -> None:
    server.answers = [error(500, "InternalServerException"), error(404, "ModelVersionNotFoundException")]
    with management(server) as client:
        client.unregister("resnet18", "2.0")
    assert [request.method for request in server.requests] == ["DELETE", "DELETE"]


def test_a_step_that_failed_is_not_retried_but_a_question_is(server: FakeServer) -> None:
    server.answers = [error(503, "Busy"), error(503, "Busy"), Answer(content=[described("READY")])]
    with management(server) as client:
        with pytest.raises(ServerOverloaded):
            client.scale("resnet18", 2)
        assert len(server.requests) == 1
        assert client.describe("resnet18").ready_workers == 1


def test_ready_is_when_enough_workers_are(server: FakeServer) -> None:
    server.answers = [
        error(404, "ModelNotFoundException"),
        Answer(content=[described("READY", "UNLOADING")]),
        Answer(content=[described("READY", "READY")]),
    ]
    with management(server) as client:
        assert client.wait_until_ready("resnet18", workers=2, deadline_s=20).ready_workers == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(404, "ModelNotFoundException"), "is not registered"),
        (Answer(content=[described("UNLOADING")]), "has 0 of 1 workers ready"),
    ],
)
def test_what_never_gets_ready_ends_with_the_deadline_and_the_reason(
    server: FakeServer, answer: Answer, reason: str
) -> None:
    server.answers = [answer]
    with management(server) as client, pytest.raises(TimedOut, match=reason):
        client.wait_until_ready("resnet18", deadline_s=0.5)


def test_torchserves_refusal_is_raised_with_its_words(server: FakeServer) -> None:
    server.answers = [error(404, "ModelNotFoundException", "Model not found: x")]
    with management(server) as client, pytest.raises(Refused, match="Model not found: x"):
        client.describe("x")


@pytest.mark.parametrize("content", [b"<html>", {}, [], [{}]])
def test_an_answer_of_another_kind_of_server_is_an_error(server: FakeServer, content: object) -> None:
    server.answers = [Answer(content=content)]
    with management(server) as client, pytest.raises(InvalidAnswer, match="address"):
        client.describe("resnet18")
