"""What was measured is kept, whatever happens to the run; rounds become medians with their range."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.measurements import Journal, Spread, Summary, read_records
from tests.unit.bench.records import load

LOAD = {"candidate": "litserve/recipe", "pictures": "photographs", "round": 1, "clients": 32}


def test_resumed_run_knows_what_was_measured(tmp_path: Path) -> None:
    file = tmp_path / "results" / "measurements.jsonl"
    Journal(file).add("load", **LOAD, per_second=50.0)
    resumed = Journal(file)
    assert resumed.has("load", **LOAD)
    assert not resumed.has("load", **LOAD | {"clients": 64})
    assert not resumed.has("start", **LOAD)
    assert resumed.records == [{"kind": "load", **LOAD, "per_second": 50.0}]


def test_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "measurements.jsonl"
    Journal(file).add("load", **LOAD)
    with file.open("a") as lines:
        lines.write('{"kind": "load", "candid')
    resumed = Journal(file)
    assert len(resumed.records) == 1
    resumed.add("load", **LOAD | {"round": 2})
    assert [record["round"] for record in read_records(file)] == [1, 2]


def test_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    file.write_text("# Benchmark\n")
    with pytest.raises(BenchError, match=r"report\.md"):
        read_records(file)


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
