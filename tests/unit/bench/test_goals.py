"""Goals are judged by the figures of the run, and stay open without them."""

from __future__ import annotations

import pytest

from bench.goals import Goal, goals
from bench.measurements import Summary
from tests.unit.bench.records import complete_run, load, open_loop


def by_name(summary: Summary, beginning: str) -> Goal:
    (found,) = [goal for goal in goals(summary) if goal.name.startswith(beginning)]
    return found


@pytest.mark.parametrize(
    ("beginning", "met", "measured"),
    [
        ("f32 against the stock", True, "2.40×"),
        ("f32 against the fastest documented", True, "1.71×"),
        ("f32 against decode", True, "96.0%"),
        ("bf16 against decode", None, "not measured"),
        ("f32 against the fastest peer with our engine", True, "104.3%"),
        ("f32, one client: longer than in-process on all cores", True, "8.3 − 9.0 = -0.7 ms"),
        ("f32, one client: longer than in-process on one core", True, "8.3 − 16.0 = -7.7 ms"),
        ("f32, 12-megapixel", True, "10.00×"),
        ("f32, from 16 to 256", True, "100.0%"),
        ("web service, int8: against pytriton", False, "0.91×"),
        ("web service, int8: against litserve", True, "1.20×"),
        ("web service, int8: against TorchServe asked", False, "0.91×"),
        ("web service, int8: against the stock", True, "6.00×"),
        ("web service, int8, one client", None, "not measured"),
        # 1,800 answers in 6 s: 6 ms in the workers, of which 5.5 are decode and inference.
        ("web service, int8: milliseconds of one core for each answer, web", True, "0.50 ms"),
        ("web service, int8: milliseconds of one core for each answer, TorchServe", True, "0.10 ms"),
        ("web service, int8: milliseconds of one core for each answer, workers", False, "0.50 ms"),
        ("web service, int8: highest rate with 99 % in 100 ms, against the stock", True, "8.00× (240 against 30/s)"),
        ("web service, int8: highest rate with 99 % in 100 ms, against the best peer", True, "1.50×"),
        ("web service, bf16: highest rate with 99 % in 100 ms, against the stock", None, "not measured"),
        ("web service, int8, bursts: in time", True, "94.7%"),
        ("web service, int8, bursts: late", True, "0"),
    ],
)
def test_goal_is_computed_from_the_run(beginning: str, met: bool | None, measured: str) -> None:
    goal = by_name(Summary(complete_run()), beginning)
    assert goal.met is met
    assert goal.measured.startswith(measured)


def test_missed_goal_is_called_missed() -> None:
    records = [load("ours/f32/TorchServe", 100.0), load("torchserve_stock/best", 50.0)]
    assert by_name(Summary(records), "f32 against the stock").met is False


def test_web_level_never_stands_for_torchserve() -> None:
    records = [load("ours/f32/web", 500.0), load("torchserve_stock/best", 50.0)]
    assert by_name(Summary(records), "f32 against the stock").met is None


def test_nothing_is_met_without_figures() -> None:
    assert {goal.met for goal in goals(Summary([]))} == {None}


def test_more_is_wanted_where_the_processor_has_amx() -> None:
    records = [load("ours/int8/web", 300.0), load("torchserve_stock/best", 50.0)]
    machine = {"kind": "machine", "cores": 2, "flags": ["amx_bf16", "amx_int8"]}
    assert by_name(Summary(records), "web service, int8: against the stock").met is True
    assert by_name(Summary([machine, *records]), "web service, int8: against the stock").met is False


def test_server_that_holds_no_rate_is_beaten_by_any() -> None:
    records = [
        load("ours/int8/web", 300.0), load("torchserve_stock/best", 50.0),
        *open_loop("ours/int8/web", "poisson", 240.0, 280.0), *open_loop("torchserve_stock/best", "poisson", 0.0, 0.0),
    ]  # fmt: skip
    assert by_name(Summary(records), "web service, int8: highest rate with 99 % in 100 ms, against the stock").met
