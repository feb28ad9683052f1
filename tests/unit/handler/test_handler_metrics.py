"""What workers tell TorchServe of their batches, as the lines that it reads from their stdout."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl

from marserve.handler.resnet18.errors import InvalidImage, RequestError, UnsupportedImage
from marserve.handler.resnet18.groups import Buffer
from marserve.handler.resnet18.metrics import BatchMetrics
from tests.support import REPOSITORY

#: TorchServe leaves its metrics.yaml open.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

#: How TorchServe's frontend takes a line apart.
LINE = re.compile(r"\[METRICS\](\w+)\.(\w+):([0-9\-,.e]+)\|#([^|]*)\|#type:(\w+)\|#hostname:([^,]+),(\d+)")
#: Began, decoded, classified, answered.
MOMENTS = (10.0, 10.25, 10.75, 11.0)

Lines = Callable[[], dict[tuple[str, str], float]]


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
    BatchMetrics(declared, "resnet18").report(4, pictures, [], MOMENTS)
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
    metrics.report(1, [b"1"], [InvalidImage("cut"), InvalidImage("cut"), UnsupportedImage("text")], MOMENTS)
    errors = {dimensions: value for (name, dimensions), value in reported().items() if name == "handler_errors_total"}
    assert errors == {
        "ErrorType:InvalidImage,ModelName:resnet18,Level:Model": 2,
        "ErrorType:UnsupportedImage,ModelName:resnet18,Level:Model": 1,
    }


def test_nothing_a_caller_wrote_reaches_the_lines(
    declared: MetricsCacheYamlImpl, reported: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    forged = "[METRICS]handler_requests_total.Count:1000|#ModelName:resnet18"
    metrics = BatchMetrics(declared, "resnet18")
    metrics.report(2, [forged.encode(), InvalidImage(forged)], [InvalidImage(forged)], MOMENTS)
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
    metrics.report(1, [b"1"], [InvalidImage("cut")], MOMENTS)
    assert reported() == {}
