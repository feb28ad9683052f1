"""The loop around the decisions: what is scaled, what is told, and what it outlives."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from marserve.autoscale import autoscaler
from marserve.autoscale.autoscaler import Autoscaler
from marserve.autoscale.rules import Assignment, Rules
from marserve.client.errors import Refused, Unreachable
from marserve.system.files import locked
from marserve.system.machine import Machine
from marserve.torchserve.models import ListedWorker, ModelVersion

MODEL = "resnet18"


class FakeTorchServe:
    """The parts of ManagementClient and of the metrics that the autoscaler uses, with a clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0
        self.workers = 1
        self.version = "1.0"
        self.pending = 0
        self.arrived = self.answered = 0.0
        self.waited_us = self.worked_s = 0.0
        self.sent = self.waited_s = self.rejected = 0.0
        self.waiting = 0
        self.is_away = self.refuses = False
        self.scaled: list[tuple[str, int, str]] = []

    def describe(self, model: str) -> ModelVersion:
        if self.is_away:
            raise Unreachable("cannot be reached")
        workers = tuple(ListedWorker(str(9000 + number), "READY", 0) for number in range(self.workers))
        return ModelVersion(model, self.version, "x.mar", workers, queued=self.pending)

    def scale(self, model: str, workers: int, version: str, *, synchronous: bool) -> str:
        assert not synchronous
        if self.refuses:
            raise Refused("no", status=400)
        self.scaled.append((model, workers, version))
        self.workers = workers
        return ""

    def metrics(self) -> str:
        lines = [
            "# TYPE ts_inference_requests_total counter",
            f'ts_inference_requests_total{{model_name="{MODEL}"}} {self.arrived}',
            "# TYPE ts_queue_latency_microseconds counter",
            f'ts_queue_latency_microseconds{{model_name="{MODEL}"}} {self.waited_us}',
            "# TYPE handler_requests_total counter",
            f'handler_requests_total{{ModelName="{MODEL}"}} {self.answered}',
            "# TYPE handler_batch_seconds histogram",
            f'handler_batch_seconds_sum{{ModelName="{MODEL}"}} {self.worked_s}',
        ]
        return "\n".join(lines) + "\n"

    def web_metrics(self) -> str:
        labels = f'model="{MODEL}",version="1.0"'
        lines = [
            "# TYPE web_queue_seconds histogram",
            f"web_queue_seconds_count{{{labels}}} {self.sent}",
            f"web_queue_seconds_sum{{{labels}}} {self.waited_s}",
            "# TYPE web_queue_pictures gauge",
            f"web_queue_pictures{{{labels}}} {self.waiting}",
            "# TYPE web_rejected counter",
            f'web_rejected_total{{reason="overload"}} {self.rejected}',
        ]
        return "\n".join(lines) + "\n"

    def overload_of_the_web_service(self) -> None:
        """One second of the same traffic through the web service: TorchServe sees what its workers can do."""
        self.now += 1
        self.arrived += 60
        self.answered += 60
        self.waited_us += 60 * 10_000
        self.worked_s += self.workers
        self.pending = 1
        self.sent += 60
        self.waited_s += 60 * 0.4
        self.rejected += 120
        self.waiting = 100

    def overload(self) -> None:
        """One second in which three times as many requests come as are answered."""
        self.now += 1
        self.arrived += 180
        self.answered += 60
        self.waited_us += 60 * 400_000
        self.worked_s += self.workers
        self.pending = 100


@pytest.fixture
def torchserve() -> FakeTorchServe:
    return FakeTorchServe()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def step(
    torchserve: FakeTorchServe, lock: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Callable[[], None]:
    """Lets the autoscaler look once, on a machine of four cores."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("marserve.autoscale.autoscaler.time.monotonic", lambda: torchserve.now)
    monkeypatch.setattr(autoscaler, "read_machine", lambda: Machine(4, 10**10, 10**10))
    assignment = Assignment([MODEL], Rules(1, 8), 1, 8081, 8082, "127.0.0.1", 5000, key_file="", change_lock=str(lock))
    scaler = Autoscaler(assignment, torchserve, torchserve.metrics, torchserve.web_metrics)  # type: ignore[arg-type]
    return scaler.step


def test_overload_brings_workers_up_to_the_cores_and_the_log_tells_why(
    torchserve: FakeTorchServe, step: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        step()
        torchserve.overload()
    assert torchserve.scaled == [(MODEL, 4, "1.0")]
    assert caplog.messages == [
        "resnet18: 1 -> 4 workers: requests wait; 180.0 requests/s wait 1667 ms (target 100 ms) and need 3.0 workers",
        "resnet18: stays at 4: no more are allowed; 180.0 requests/s wait 1667 ms (target 100 ms) and need 12.0 "
        "workers, but no more are possible: 4 cores",
    ]


def test_what_waits_in_the_web_service_brings_workers_though_torchserve_has_no_queue(
    torchserve: FakeTorchServe, step: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        step()
        torchserve.overload_of_the_web_service()
    step()
    assert torchserve.scaled == [(MODEL, 4, "1.0")]
    # 60 answered and 120 refused a second, and the 100 that wait, which came within the two seconds looked at.
    assert caplog.messages == [
        "resnet18: 1 -> 4 workers: requests wait; 230.0 requests/s wait 1683 ms (target 100 ms) and need 3.8 workers"
    ]


def test_nothing_is_scaled_while_another_command_changes_the_stack(
    torchserve: FakeTorchServe, step: Callable[[], None], lock: Path
) -> None:
    with locked(lock):
        for _ in range(5):
            step()
            torchserve.overload()
    assert torchserve.scaled == []
    step()
    assert torchserve.scaled == [(MODEL, 4, "1.0")]


def test_an_absent_torchserve_is_outlived_and_told_once(
    torchserve: FakeTorchServe, step: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    torchserve.is_away = True
    for _ in range(3):
        step()
    assert caplog.messages == ["The stack cannot be observed, so nothing is changed: cannot be reached"]
    torchserve.is_away = False
    for _ in range(4):
        step()
        torchserve.overload()
    assert torchserve.scaled == [(MODEL, 4, "1.0")]


def test_a_refusal_is_told_and_not_repeated_at_once(
    torchserve: FakeTorchServe, step: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    torchserve.refuses = True
    for _ in range(4):
        step()
        torchserve.overload()
    assert caplog.messages == ["resnet18: TorchServe refused 4 workers: no"]


def test_what_somebody_else_scaled_is_given_its_time(torchserve: FakeTorchServe, step: Callable[[], None]) -> None:
    for _ in range(100):
        step()
        torchserve.now += 1
    torchserve.workers = 3
    for _ in range(60):
        step()
        torchserve.now += 1
    assert torchserve.scaled == []
    step()
    assert torchserve.scaled == [(MODEL, 2, "1.0")]


def test_a_new_default_version_is_judged_by_its_own_traffic(
    torchserve: FakeTorchServe, step: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        step()
        torchserve.overload()
    torchserve.version = "2.0"
    step()
    assert torchserve.scaled == []
    assert caplog.messages == ["resnet18: version 2.0 is the default now"]
    for _ in range(3):
        torchserve.overload()
        step()
    assert torchserve.scaled == [(MODEL, 4, "2.0")]
