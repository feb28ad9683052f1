"""``marserve plan measure``: which service it measures, what it says, and how it ends."""

from __future__ import annotations

import argparse
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from marserve.arguments import UsageError
from marserve.cli import measuring
from marserve.plan import measure, stages
from marserve.plan.measurement import Measurement
from tests.unit.plan.fake_service import FakeService
from tests.unit.plan.measurements import measurement


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    measuring.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, seconds in [
        (measure, "WARM_UP_S", 0.2), (measure, "PART_S", 0.4), (stages, "ROUND_S", 0.8), (stages, "RAMP_S", 0.1),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, seconds)


def test_service_at_an_address_is_measured_and_written_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "measurement.json"
    with FakeService().running() as url:
        status = measuring.run(options("--url", url.removeprefix("http://"), "--output", str(written)))
    found = Measurement.read(written)
    said = capsys.readouterr()
    assert found.machine is None
    assert "pictures/s" in said.out
    assert "--pictures FOLDER" in said.err  # the examples are few
    assert status == (measuring.BUSY_STATUS if found.noise.reasons else 0)


def test_busy_machine_is_told_and_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = measurement().noise.model_copy(update={"reasons": ("other processes took 1.5 of 2 cores",)})
    monkeypatch.setattr(measure, "measure", lambda *_: measurement(noise=noise))
    status = measuring.run(options("--url", "http://127.0.0.1:9", "--output", str(tmp_path / "m.json")))
    assert status == measuring.BUSY_STATUS
    assert "Not to be trusted: other processes took 1.5 of 2 cores" in capsys.readouterr().err
    assert not Measurement.read(tmp_path / "m.json").noise.trusted


def test_where_none_is_named_a_pod_is_started_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []

    @contextmanager
    def own_pod(archive: Path | None, workers: int) -> Any:
        started.append((archive, workers))
        yield 5001, 4.5

    monkeypatch.setattr(measuring, "own_pod", own_pod)
    monkeypatch.setattr(measuring, "service_of", lambda port, *_: f"service of {port}")
    monkeypatch.setattr(measuring, "facts_of", lambda port, service, cold_start_s: (port, service, cold_start_s))
    given: list[tuple[Any, ...]] = []

    def measured(*arguments: Any) -> Measurement:
        given.append(arguments)
        return measurement()

    monkeypatch.setattr(measure, "measure", measured)
    assert measuring.run(options("--workers", "2", "--output", str(tmp_path / "m.json"))) == 0
    assert started == [(None, 2)]
    assert given[0][0].address == "service of 5001"
    assert given[0][1] == (5001, "service of 5001", 4.5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--port", "5000", "--workers", "2"), "--archive and --workers are for a pod of its own"),
        (("--url", "http://x", "--output", "/nowhere/m.json"), "there is no folder /nowhere"),
        (("--url", "http://x", "--pictures", "/nowhere"), "/nowhere does not exist"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_begun(arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        measuring.run(options(*arguments))
