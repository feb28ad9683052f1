"""Plans: enough pods and no more, days that are put together right, and what may happen to them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest

from marserve.cli.main import main
from marserve.plan.arrivals import arrival_process, variation
from marserve.plan.hpa import HpaRules
from marserve.plan.planning import (
    AtLoad,
    Demand,
    Goal,
    Setting,
    beside_a_lost_zone,
    by_load,
    day,
    day_curve,
    flash_crowd,
    lose_zone,
    warped,
)
from marserve.plan.pod import PodSpec
from tests.unit.plan.measurements import measurement

POISSON = arrival_process("poisson")
#: 100 pictures a second, one at a time.
SPEC = PodSpec(1, ((0.01,),), max_in_flight=512, deadline_s=10.0)
SETTING = Setting(SPEC, Goal(0.1, 0.99), POISSON, cold_start_s=10.0)


@pytest.fixture(autouse=True)
def few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marserve.plan.planning.REQUESTS", 3000)
    monkeypatch.setattr("marserve.plan.planning.LONG_REQUESTS", 20_000)
    monkeypatch.setattr(Setting.run, "__kwdefaults__", {"requests": 3000})


def test_the_least_pods_hold_the_goal_and_one_fewer_does_not() -> None:
    pods = SETTING.pods_for(330.0)
    assert pods is not None
    assert SETTING.holds(pods, 330.0)
    assert not SETTING.holds(pods - 1, 330.0)


def test_many_pods_are_a_cell_multiplied() -> None:
    pods = SETTING.pods_for(10_000.0)
    assert pods is not None
    assert pods == math.ceil(10_000 / SETTING.held_per_pod())
    assert 10_000 / pods == pytest.approx(92, abs=8)


def test_bursts_and_chance_take_more_pods() -> None:
    calm = SETTING.pods_for(500.0)
    bursts = replace(SETTING, arrivals=arrival_process("gamma-4"), goal=Goal(0.03, 0.99)).pods_for(500.0)
    by_chance = replace(SETTING, balance="random", goal=Goal(0.03, 0.99)).pods_for(500.0)
    assert calm is not None
    assert bursts is not None
    assert by_chance is not None
    assert calm < min(bursts, by_chance)


def test_no_number_of_pods_makes_a_picture_faster() -> None:
    assert replace(SETTING, goal=Goal(0.005, 0.9)).pods_for(10.0) is None


@pytest.mark.parametrize(("pods", "zones", "with_spare"), [(1, 3, 2), (2, 3, 3), (4, 3, 6), (4, 2, 8), (16, 3, 24)])
def test_enough_are_left_when_a_zone_is_lost(pods: int, zones: int, with_spare: int) -> None:
    assert beside_a_lost_zone(pods, zones) == with_spare
    assert with_spare - math.ceil(with_spare / zones) >= pods > with_spare - 1 - math.ceil((with_spare - 1) / zones)


@pytest.mark.parametrize("peak", [1.0, 1.5, 2.0, 4.0])
def test_a_days_busiest_hour_has_the_wanted_rate(peak: float) -> None:
    curve = day_curve(peak)
    assert max(curve) == pytest.approx(peak, rel=1e-3) == pytest.approx(curve[12])
    assert fmean(curve) == pytest.approx(1.0)
    demand = Demand(10.0, curve, POISSON)
    assert demand.at(12.5 * 3600) == pytest.approx(10 * peak, rel=1e-3) == pytest.approx(demand.peak_per_s)
    assert demand.at(13 * 3600) == pytest.approx(10 * (curve[12] + curve[13]) / 2)


def test_no_curve_has_its_busiest_hour_below_the_mean() -> None:
    with pytest.raises(ValueError, match="1 to 12 times"):
        day_curve(0.5)


def test_rates_that_change_keep_the_pattern() -> None:
    due = warped(arrival_process("gamma-2"), [(10.0, 100.0), (5.0, 400.0), (10.0, 100.0)], seed=1)
    assert sum(at < 10 for at in due) == pytest.approx(1000, rel=0.15)
    assert sum(10 <= at < 15 for at in due) == pytest.approx(2000, rel=0.15)
    assert len(due) == 4000
    assert due[-1] == pytest.approx(25.0)
    assert all(earlier <= later for earlier, later in pairwise(due))
    assert variation([at for at in due if 10 <= at < 15]) == pytest.approx(2.0, rel=0.15)


def test_a_day_is_the_mean_of_its_loads() -> None:
    known = [AtLoad(0.0, {0.1: 1.0}, 0.0, 0.0), AtLoad(1.0, {0.1: 0.0}, 8.0, 0.0)]
    half = day(SETTING, Demand(100.0, (1.0,) * 24, POISSON), known, 2)
    assert (half.pod_hours, half.most) == (48.0, 2)
    assert half.shares[0.1] == pytest.approx(0.5)
    # By requests and not by time: nights hardly count.
    uneven = day(SETTING, Demand(100.0, (0.0,) * 12 + (2.0,) * 12, POISSON), known, 2)
    assert uneven.shares[0.1] == pytest.approx(0.0, abs=0.03)


def test_the_autoscaler_follows_a_day_for_fewer_pod_hours() -> None:
    known = by_load(SETTING, 4, [0.1])
    demand = Demand(170.0, day_curve(2.0), POISSON)
    fixed = day(SETTING, demand, known, 4)
    scaled = day(SETTING, demand, known, 4, HpaRules(1, 8, target=3.0))
    assert fixed.pod_hours == 96.0
    assert 24 < scaled.pod_hours < 90
    assert 3 <= scaled.most <= 8
    pods = [there for _, _, there in scaled.course]
    assert fmean(pods[:960]) < fmean(pods[2400:3360])


def test_with_a_zone_to_spare_only_what_was_on_its_way_is_lost() -> None:
    spared = lose_zone(SETTING, beside_a_lost_zone(4, 3), 300.0, 3)
    assert spared.short == spared.after == 1.0
    assert 0 < spared.unanswered < 0.02
    tight = lose_zone(SETTING, 4, 390.0, 3)
    assert tight.short < 0.5
    by_chance = lose_zone(replace(SETTING, balance="random"), 6, 300.0, 3)
    assert by_chance.noticing == pytest.approx(2 / 3, abs=0.1)


def test_a_crowd_is_met_by_more_pods_after_a_while() -> None:
    crowd = flash_crowd(SETTING, 2, 120.0, 3.0, HpaRules(2, 12, target=3.0))
    assert crowd.fixed < 0.05 < crowd.autoscaled < 1.0
    assert crowd.settled_s is not None
    assert 15 < crowd.settled_s < 120
    assert (crowd.cell, crowd.most > 2) == (1, True) or crowd.cell == 2


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["plan", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("marserve.cli.main.continue_in_environment", lambda *_: None)
    measurement().write(tmp_path / "m.json")
    return tmp_path / "m.json"


def test_the_command_says_where_each_number_is_from(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--measurement", str(measured), "--per-day", "10000000", "--core-hour", "0.05", "--table"]
    status, out, err = run(capsys, *asked)
    assert (status, err) == (0, "")
    figures = [line.split() for line in out.splitlines() if line.startswith("  ") and ":" not in line]
    assert {line[-1] for line in figures} == {"measured", "simulated", "extrapolated", "given"}
    assert any(line[:2] == ["pods", "2"] for line in figures)
    status, out, _ = run(capsys, *asked, "--json", "--plot", str(measured.with_suffix(".svg")))
    plan = json.loads(out)
    assert plan["sections"]["The busiest hour"]["pods"] == {"value": 2, "origin": "simulated"}
    assert [line["pictures/day"] for line in plan["table"]] == [10**6, 10**7, 10**8, 10**9]
    assert [line["from"] for line in plan["table"]] == ["simulated", "simulated", "extrapolated", "extrapolated"]
    assert plan["table"][-1]["pods"] == pytest.approx(100 * plan["table"][1]["pods"], rel=0.5)
    assert "<svg" in measured.with_suffix(".svg").read_text()


def test_a_trace_is_planned_with_its_own_gaps_and_rate(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.txt").write_text("".join(f"{second}\n" for second in range(100)))
    asked = ["--measurement", str(measured), "--trace", str(tmp_path / "t.txt"), "--json"]
    status, out, err = run(capsys, *asked)
    assert "1.01 pictures/s, gaps of a variation of 0.0" in err
    assert json.loads(out)["sections"]["The busiest hour"]["requests"]["value"] == pytest.approx(1.01, abs=0.01)
    assert status == 0


def test_what_cannot_be_reached_and_what_is_not_trusted_is_said(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = measurement().noise.model_copy(update={"reasons": ("others took 0.5 cores",)})
    measurement(noise=noise.model_dump()).write(measured)
    status, _, err = run(capsys, "--measurement", str(measured), "--per-second", "10", "--limit-ms", "5")
    assert status == 1
    assert "No number of pods" in err
    assert "not to be trusted: others took 0.5 cores" in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "how much comes?"),
        (["--per-day", "5", "--plot", "plan.bmp"], ".png, .svg or .pdf"),
        (["--per-day", "5", "--hpa", "5"], "bounds such as 2..20"),
        (["--per-day", "5", "--hpa", "5..2"], "give 1 or more"),
        (["--per-day", "5", "--hourly", *["0"] * 24], "no traffic"),
        (["--trace", "{trace}"], "two requests at two moments"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    (tmp_path / "one.txt").write_text("1\n")
    arguments = [word.format(trace=tmp_path / "one.txt") for word in arguments]
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--measurement", str(measured), *arguments])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_without_a_measurement_it_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["plan", "--per-day", "1000"])
    assert "plan measure --pictures FOLDER makes it" in capsys.readouterr().err
