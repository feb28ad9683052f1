"""A prediction holds or not by both figures, and the table is what an earlier run has kept, compared again."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.planned import (
    BEGIN,
    END,
    CheckedRun,
    Comparison,
    Waits,
    compare,
    read_runs,
    report_lines,
    with_section,
    write_runs,
)
from marserve.plan.arrivals import arrival_process
from marserve.plan.calibration import simulate_pod
from tests.unit.plan.measurements import measurement

DUE = arrival_process("poisson").times(1500, 75.0, 1)


def run(took: list[float | None]) -> CheckedRun:
    return CheckedRun("poisson", 0.5, 75.0, DUE, took, 0.2, 0.3, [])


def test_prediction_that_is_what_happened_holds() -> None:
    took = simulate_pod(measurement(), DUE, seed=3, with_generator=True)
    found = compare(measurement(), run(took))
    assert found.holds
    assert max(map(abs, found.off)) < 0.1


@pytest.mark.parametrize(
    ("real", "predicted", "holds"),
    [
        (Waits(10.0, 50.0, {100: 0.95, 250: 1.0}), Waits(11.0, 45.0, {100: 0.97, 250: 1.0}), True),
        (Waits(10.0, 50.0, {100: 0.95, 250: 1.0}), Waits(12.0, 50.0, {100: 0.95, 250: 1.0}), False),
        (Waits(10.0, 50.0, {100: 0.95, 250: 1.0}), Waits(10.0, 30.0, {100: 0.95, 250: 1.0}), False),
        (Waits(10.0, 50.0, {100: 0.90, 250: 1.0}), Waits(10.0, 50.0, {100: 0.96, 250: 1.0}), False),
    ],
)
def test_each_figure_must_be_near_enough(real: Waits, predicted: Waits, holds: bool) -> None:
    assert Comparison(run([]), real, predicted).holds is holds


def test_request_without_an_answer_is_in_time_for_nothing() -> None:
    waits = Waits.of([0.01, 0.02, 0.03, None])
    assert (waits.p50_ms, waits.within[100]) == (20.0, 0.75)


def test_kept_runs_are_read_as_they_were(tmp_path: Path) -> None:
    runs = [run([0.01, None])]
    write_runs(tmp_path / "kept" / "runs.json", measurement(), runs)
    assert read_runs(tmp_path / "kept" / "runs.json") == (measurement(), runs)


def test_section_says_what_does_not_hold_and_what_is_not_to_be_trusted() -> None:
    noise = measurement().noise.model_copy(update={"reasons": ("the machine was busy",)})
    slow = compare(measurement(), run([0.5] * len(DUE)))
    text = "\n".join(report_lines(measurement(noise=noise), [slow]))
    assert "**no**" in text
    assert "0 of 1 do" in text
    assert "**Not to be trusted**: the machine was busy." in text


def test_section_takes_the_place_of_the_one_before() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter"
    assert with_section(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter"
    with pytest.raises(ValueError, match="markers"):
        with_section("nothing", "new")
