"""Questions about models, driven without any I/O, and how answers are read."""

from __future__ import annotations

from typing import Any

import pytest

from marserve.torchserve.models import (
    MALFORMED,
    ListedWorker,
    ModelVersion,
    Question,
    Result,
    all_versions,
    every_version,
    model_path,
    one_version,
    parse_version,
    version_key,
)


def described(version: str = "1.0", model: str = "resnet18", **more: Any) -> dict[str, Any]:
    """As little as TorchServe ever says of a version."""
    return {"modelName": model, "modelVersion": version, "modelUrl": f"{model}.mar", "workers": [], **more}


def drive(question: Question[Result], answers: dict[str, Any]) -> tuple[Result, list[str]]:
    """What the question finds where TorchServe gives ``answers`` by path, and the paths that it requested."""
    requested = [next(question)]
    try:
        while True:
            requested.append(question.send(answers[requested[-1]]))
    except StopIteration as done:
        return done.value, requested


def test_all_versions_come_in_the_order_of_their_numbers_and_one_is_the_default() -> None:
    answers = {
        "/models/resnet18/all": [described("1.10"), described("2.0"), described("1.9")],
        "/models/resnet18": [described("1.10")],
    }
    versions, requested = drive(all_versions("resnet18"), answers)
    assert [(version.version, version.is_default) for version in versions] == [
        ("1.9", False), ("1.10", True), ("2.0", False),
    ]  # fmt: skip
    assert requested == list(answers)


def test_a_single_version_is_the_default_without_another_request() -> None:
    versions, requested = drive(all_versions("resnet18"), {"/models/resnet18/all": [described()]})
    assert [version.is_default for version in versions] == [True]
    assert requested == ["/models/resnet18/all"]


def test_every_version_of_every_page_is_found() -> None:
    answers = {
        "/models?limit=100": {"models": [{"modelName": "b"}], "nextPageToken": "1"},
        "/models?limit=100&next_page_token=1": {"models": [{"modelName": "a"}]},
        "/models/a/all": [described(model="a")],
        "/models/b/all": [described(model="b")],
    }
    versions, _ = drive(every_version(), answers)
    assert [str(version) for version in versions] == ["a 1.0", "b 1.0"]


def test_a_version_described_by_its_number_is_not_called_the_default() -> None:
    answers = {"/models/x": [described()], "/models/x/1.0?customized=true": [described(customizedMetadata='{"a": 1}')]}
    default, _ = drive(one_version("x"), answers)
    named, _ = drive(one_version("x", "1.0", customized=True), answers)
    assert (default.is_default, named.is_default) == (True, False)
    assert (default.description, named.description) == (None, {"a": 1})


def test_workers_and_queue_are_read() -> None:
    version = parse_version(
        described(
            workers=[
                {"id": "9000", "status": "READY", "pid": 7},
                {"id": "9001", "status": "UNLOADING", "pid": 0},
            ],
            jobQueueStatus={"remainingCapacity": 380, "pendingRequests": 4},
            startupTimeout=60,
        )
    )
    assert version.workers == (ListedWorker("9000", "READY", 7), ListedWorker("9001", "UNLOADING", 0))
    assert (version.ready_workers, version.ready_pids) == (1, frozenset({7}))
    assert (version.queued, version.queue_capacity, version.startup_timeout_s) == (4, 384, 60)


def test_what_torchserve_leaves_out_has_a_default() -> None:
    assert parse_version(described()) == ModelVersion("resnet18", "1.0", "resnet18.mar", ())


@pytest.mark.parametrize(
    "answer", [None, {}, [], [1], [{}], [described(workers=[{}])], [described(startupTimeout="x")]]
)
def test_another_form_is_one_of_the_documented_errors(answer: Any) -> None:
    with pytest.raises(MALFORMED):
        drive(one_version("x"), {"/models/x": answer})


@pytest.mark.parametrize("description", ["no JSON", "[1]", 3, None])
def test_an_archive_that_does_not_describe_itself_has_no_description(description: object) -> None:
    assert parse_version(described(customizedMetadata=description)).description is None


def test_names_are_quoted_in_paths() -> None:
    assert model_path("a/b", "1 0") == "/models/a%2Fb/1%200"


def test_versions_are_ordered_as_numbers() -> None:
    assert sorted(["1.10", "2.0", "1.9"], key=version_key) == ["1.9", "1.10", "2.0"]
