"""``marserve plan``: what it says, where each number is from, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marserve.cli.main import main
from tests.unit.plan.measurements import measurement

pytestmark = pytest.mark.usefixtures("few_requests")


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


def test_a_plan_says_what_a_slower_day_of_the_machine_does(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--measurement", str(measured), "--per-second", "100", "--pods", "2", "--limit-ms", "30", "--json"]
    status, out, _ = run(capsys, *asked)
    assert status == 0
    hour = json.loads(out)["sections"]["The busiest hour"]
    assert 0 < hour["within 30 ms if 5% slower"]["value"] < hour["within 30 ms"]["value"] < 1


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
