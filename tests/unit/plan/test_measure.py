"""A measurement says what a pod takes for pictures, what cannot be measured, and when it is not to be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from marserve.plan import measure, stages
from marserve.plan.machine import Disturbance
from marserve.plan.measure import PodFacts
from marserve.plan.measurement import Measurement, MeasurementError, Samples
from marserve.plan.service import LoadedService, MeasuringError, ServiceAddress, form_of, timings
from tests.unit.plan.fake_service import BATCH, GROUP_S, PICTURE_S, WAY_S, FakeService

PICTURES = [b"\xff\xd8" + bytes([number]) * 100 for number in range(5)]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seconds instead of two minutes."""
    for module, name, seconds in [
        (measure, "WARM_UP_S", 0.2), (measure, "PART_S", 0.8), (stages, "ROUND_S", 0.8), (stages, "RAMP_S", 0.1),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, seconds)


def measured(service: FakeService, facts: PodFacts | None = None) -> Measurement:
    with service.running() as url:
        return measure.measure(LoadedService(ServiceAddress(url), PICTURES), facts or PodFacts(), "here")


def test_measurement_says_what_the_pod_does(tmp_path: Path) -> None:
    service = FakeService()
    cpu = iter(range(100))

    def cpu_s() -> dict[str, float]:
        now = float(next(cpu))
        return {"web": now, "torchserve": now / 2, "workers": now / 4}

    found = measured(service, PodFacts(batch_size=BATCH, cpu_s=cpu_s))
    assert (found.model.name, found.model.batch_size, found.pod.workers) == ("resnet18", BATCH, 1)
    # Sleeps last longer than they should. Of one group, at the mean pace, that is not so where the machine is busy.
    slept_s = sum(each.count * (GROUP_S + PICTURE_S * each.pictures) for each in found.groups)
    assert sum(each.count * each.mean_s for each in found.groups) >= slept_s * 0.95
    assert {each.pictures for each in found.groups} >= {1, BATCH}
    assert found.overhead.hop_s == pytest.approx(WAY_S, rel=0.05)
    assert found.overhead.samples_s[len(found.overhead.samples_s) // 2] == pytest.approx(
        found.overhead.hop_s + found.overhead.web_s, rel=0.02
    )
    assert 0 < found.capacity.per_s <= BATCH / (GROUP_S + PICTURE_S * BATCH + WAY_S)
    assert 0 < found.capacity.worker_busy <= 1.05
    assert len(found.capacity.rounds_per_s) == measure.ROUNDS
    assert [(run.arrivals, run.load) for run in found.runs] == list(measure.LOADS)
    assert all(len(set(run.seeds)) == 2 for run in found.runs)
    assert found.processors is not None
    # The counts are as many as the loads, of different lengths.
    assert found.processors.web.picture_s + found.processors.web.group_s > 0
    assert found.processors.worker.picture_s == pytest.approx(found.processors.torchserve.picture_s / 2)
    # No two are the same: none comes from a cache.
    assert len(service.bodies) == service.pictures
    found.write(tmp_path / "measurement.json")
    assert Measurement.read(tmp_path / "measurement.json") == found


@pytest.mark.parametrize(
    ("service", "says"),
    [
        (FakeService(status=503), "503.*overloaded"),
        (FakeService(status=401), "401.*--api-key"),
        (FakeService(status=429), "429.*RATE_LIMIT"),
        (FakeService(says=False), "Server-Timing"),
    ],
)
def test_service_that_cannot_be_measured_is_refused_with_what_to_do(service: FakeService, says: str) -> None:
    with pytest.raises(MeasuringError, match=says):
        measured(service)


def test_service_that_is_not_there_is_refused() -> None:
    with pytest.raises(MeasuringError, match="cannot be reached"):
        measure.measure(LoadedService(ServiceAddress("http://127.0.0.1:9"), PICTURES), PodFacts(), "here")


def test_pictures_of_others_are_a_reason_not_to_trust_it() -> None:
    found = measured(FakeService(foreign=40))
    assert found.noise.foreign_requests == 40
    assert any("40 pictures of others" in reason for reason in found.noise.reasons)
    assert not found.noise.trusted


@pytest.mark.parametrize(
    ("disturbance", "reasons"),
    [
        (Disturbance(0.0, 0.0, 5.0), []),
        (Disturbance(0.05, 0.0, 0.0), ["5%"]),
        (Disturbance(0.0, 900.0, 0.0), ["900.0 of"]),
    ],
)
def test_busy_machine_is_a_reason(disturbance: Disturbance, reasons: list[str]) -> None:
    found = disturbance.reasons()
    assert len(found) == len(reasons)
    assert all(part in reason for part, reason in zip(reasons, found, strict=True))


def test_samples_are_quantiles_of_all() -> None:
    found = Samples.of([number / 1000 for number in range(1000)][::-1])
    assert (found.count, len(found.samples_s)) == (1000, 200)
    assert found.samples_s[0] < 0.005 < 0.995 <= found.samples_s[-1] + 0.003
    assert found.mean_s == pytest.approx(0.4995)
    assert Samples.of([]).samples_s == ()


def test_marked_jpeg_is_still_one() -> None:
    from PIL import Image

    from marserve.paths import EXAMPLE_PICTURE

    form = form_of(EXAMPLE_PICTURE.read_bytes())
    start = form.index(b"\xff\xd8")
    from io import BytesIO

    with Image.open(BytesIO(form[start:])) as image:
        image.load()
        assert image.info["comment"].startswith(b"marserve-plan-")


@pytest.mark.parametrize("text", ["", "[]", '{"format": "other"}', '{"format": "marserve-measurement-2"}'])
def test_other_file_is_no_measurement(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(MeasurementError, match="Measure again"):
        Measurement.read(tmp_path / "m.json")


def test_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="cannot be read"):
        Measurement.read(tmp_path / "m.json")


def test_answers_without_timing_are_left_out() -> None:
    from marserve.plan.load import OpenLoad

    timing = "queue;dur=1.000, group;dur=9.000;desc=2, company;desc=1, worker;dur=7.000"
    load = OpenLoad((0.0,) * 3, (0.0,) * 3, (0.1,) * 3, (200, 200, 503), {}, 0.0, 1, ("", timing, timing))
    assert [(one.number, one.pictures, one.group_s) for one in timings(load)] == [(1, 2, 0.009)]
