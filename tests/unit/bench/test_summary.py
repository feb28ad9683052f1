"""Rounds become medians with their range."""

from __future__ import annotations

import pytest

from bench.summary import Spread, Summary
from tests.unit.bench.records import load


@pytest.mark.parametrize(
    ("values", "median", "text"),
    [([50.0], 50.0, "50"), ([40.0, 60.0, 45.0], 45.0, "45 (40–60)"), ([40.0, 60.0], 50.0, "50 (40–60)")],
)
def test_median_stands_with_lowest_and_highest(values: list[float], median: float, text: str) -> None:
    assert Spread.of(values).median == median
    assert Spread.of(values).text() == text


def test_rounds_of_one_measurement_are_one_line_and_failures_add_up() -> None:
    records = [
        load("flask/recipe", rate, round_number=number, failures=number) for number, rate in enumerate((40, 44, 60), 1)
    ]
    (served,) = Summary(records).at()
    assert served.per_second == Spread(44, 40, 60, 3)
    assert served.failures == 6


def test_fastest_server_stands_first_and_other_measurements_stay_out() -> None:
    records = [
        load("flask/recipe", 40),
        load("litserve/recipe", 70),
        load("litserve/recipe", 300, clients=1),
        load("litserve/recipe", 5, pictures="12 megapixels"),
    ]
    assert [one.key for one in Summary(records).at()] == ["litserve/recipe", "flask/recipe"]
    assert [one.clients for one in Summary(records).curves()["litserve/recipe"]] == [1, 32]


@pytest.mark.parametrize(
    ("key", "precision"),
    [("ours/bf16/TorchServe", "bf16"), ("ours/int8/web", "int8"), ("litserve/our engine int8", "int8"),
     ("flask/recipe", "f32")],
)  # fmt: skip
def test_precision_is_read_from_the_key(key: str, precision: str) -> None:
    assert Summary([load(key, 100)]).at()[0].precision == precision
