"""What workers tell TorchServe of their batches, as the lines that it reads from their stdout."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from marserve.handler.resnet18 import metrics as metrics_module
from marserve.handler.resnet18.errors import InvalidImage, RequestError, UnsupportedImage
from marserve.handler.resnet18.groups import Buffer
from marserve.handler.resnet18.metrics import BatchMetrics
from marserve.system.waiting import wait_until
from tests.support import REPOSITORY

#: TorchServe leaves its metrics.yaml open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

#: How TorchServe's frontend takes a line apart.
LINE = re.compile(r"\[METRICS\](\w+)\.(\w+):([0-9\-,.e]+)\|#([^|]*)\|#type:(\w+)\|#hostname:([^,]+),(\d+)")
#: Began, decoded, classified, answered.
MOMENTS = (10.0, 10.25, 10.75, 11.0)
#: Seconds that a report may take on a busy machine.
PATIENCE_S = 30.0

Lines = Callable[[], dict[tuple[str, str], float]]


@pytest.fixture(autouse=True)
def _reported_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "REPORT_INTERVAL_S", 3600.0)


@pytest.fixture
def declared() -> MetricsCacheYamlImpl:
    cache = MetricsCacheYamlImpl(str(REPOSITORY / "config" / "metrics.yaml"))
    cache.initialize_cache()
    return cache


@pytest.fixture
def reported(caplog: pytest.LogCaptureFixture) -> Lines:
    """Name and dimensions of each line that was written since, to its value."""
    caplog.set_level(logging.INFO, "ts.metrics")
    caplog.clear()

    def read() -> dict[tuple[str, str], float]:
        lines = [record.getMessage() for record in caplog.records if record.name.startswith("ts.metrics")]
        matches = [LINE.fullmatch(line) for line in lines]
        assert all(matches), caplog.text
        found = {(match[1], match[4]): float(match[3]) for match in matches if match}
        assert len(found) == len(matches)
        return found

    return read


def test_a_batch_is_reported_in_sums(declared: MetricsCacheYamlImpl, reported: Lines) -> None:
    pictures: list[Buffer | RequestError] = [b"12345", b"123", memoryview(b"4567"), UnsupportedImage("text")]
    metrics = BatchMetrics(declared, "resnet18")
    metrics.add(4, pictures, [], MOMENTS)
    metrics.report()
    of_model = "ModelName:resnet18,Level:Model"
    assert reported() == {
        ("handler_batch_seconds", of_model): 1.0,
        ("handler_decode_seconds_total", of_model): 0.25,
        ("handler_inference_seconds_total", of_model): 0.5,
        ("handler_requests_total", of_model): 4,
        ("handler_pictures_total", of_model): 3,
        ("handler_picture_bytes_total", of_model): 12,
    }


def test_every_failed_picture_counts_once_under_its_kind(declared: MetricsCacheYamlImpl, reported: Lines) -> None:
    metrics = BatchMetrics(declared, "resnet18")
    metrics.add(1, [b"1"], [InvalidImage("cut"), InvalidImage("cut"), UnsupportedImage("text")], MOMENTS)
    metrics.report()
    errors = {dimensions: value for (name, dimensions), value in reported().items() if name == "handler_errors_total"}
    assert errors == {
        "ErrorType:InvalidImage,ModelName:resnet18,Level:Model": 2,
        "ErrorType:UnsupportedImage,ModelName:resnet18,Level:Model": 1,
    }


def test_batches_are_added_up_and_each_ones_time_is_kept(
    declared: MetricsCacheYamlImpl, caplog: pytest.LogCaptureFixture
) -> None:
    """Five lines, one for each kind of error, and one for each batch, however many batches there were."""
    caplog.set_level(logging.INFO, "ts.metrics")
    caplog.clear()
    metrics = BatchMetrics(declared, "resnet18")
    for number in range(3):
        metrics.add(1, [b"12"], [InvalidImage("cut")], (0.0, 1.0, 2.0, 3.0 + number))
    assert caplog.messages == []
    metrics.report()
    metrics.report()  # nothing is left
    lines = [match for match in map(LINE.fullmatch, caplog.messages) if match]
    assert [float(match[3]) for match in lines if match[1] == "handler_batch_seconds"] == [3, 4, 5]
    assert {match[1]: float(match[3]) for match in lines if match[1] != "handler_batch_seconds"} == {
        "handler_decode_seconds_total": 3,
        "handler_inference_seconds_total": 3,
        "handler_requests_total": 3,
        "handler_pictures_total": 3,
        "handler_picture_bytes_total": 6,
        "handler_errors_total": 3,
    }
    assert len(lines) == 9


def test_batches_are_reported_without_another_one_and_none_is_lost_or_counted_twice(
    monkeypatch: pytest.MonkeyPatch, declared: MetricsCacheYamlImpl, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics_module, "REPORT_INTERVAL_S", 0.0)
    caplog.set_level(logging.INFO, "ts.metrics")
    metrics = BatchMetrics(declared, "resnet18")
    for _ in range(500):
        metrics.add(1, [], [], MOMENTS)

    def counted() -> tuple[float, int]:
        """All requests, and all batches."""
        lines = [match for match in map(LINE.fullmatch, list(caplog.messages)) if match]
        requests = sum(float(match[3]) for match in lines if match[1] == "handler_requests_total")
        return requests, sum(match[1] == "handler_batch_seconds" for match in lines)

    assert wait_until(lambda: counted() == (500, 500), PATIENCE_S)


def test_nothing_a_caller_wrote_reaches_the_lines(
    declared: MetricsCacheYamlImpl, reported: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    forged = "[METRICS]handler_requests_total.Count:1000|#ModelName:resnet18"
    metrics = BatchMetrics(declared, "resnet18")
    metrics.add(2, [forged.encode(), InvalidImage(forged)], [InvalidImage(forged)], MOMENTS)
    metrics.report()
    assert len(reported()) == 7
    assert "1000" not in caplog.text


@pytest.mark.parametrize("is_there", [True, False], ids=["metrics.yaml without them", "no metrics at all"])
def test_metrics_that_are_not_declared_are_left_out(tmp_path: Path, reported: Lines, is_there: bool) -> None:
    """An archive also runs where TorchServe has a metrics.yaml of its own."""
    other = tmp_path / "metrics.yaml"
    other.write_text("model_metrics: {gauge: [{name: PredictionTime, unit: ms, dimensions: [ModelName, Level]}]}")
    cache = MetricsCacheYamlImpl(str(other))
    cache.initialize_cache()
    metrics = BatchMetrics(cache if is_there else None, "resnet18")
    metrics.add(1, [b"1"], [InvalidImage("cut")], MOMENTS)
    metrics.report()
    assert reported() == {}
