"""The command line chooses what is measured, and teaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.campaign import Step, steps_of
from bench.options import STARTED_IN, parse_options
from bench.pictures import LARGE, PHOTOGRAPHS


def test_every_number_of_clients_is_for_chosen_servers(tmp_path: Path) -> None:
    options = parse_options(
        ["--photographs", str(tmp_path), "--clients", "1,16,32", "--curves", "ours", "flask/gunicorn*"]
    )
    assert steps_of("ours/f32/TorchServe", options) == [
        Step(PHOTOGRAPHS, 32), Step(PHOTOGRAPHS, 1), Step(PHOTOGRAPHS, 16), Step(LARGE, 8),
    ]  # fmt: skip
    assert len([step for step in steps_of("flask/gunicorn, 2 workers", options) if step.pictures == PHOTOGRAPHS]) == 3
    assert len(steps_of("ours/f32/web", options)) == 3
    assert steps_of("flask/2 workers", options) == [Step(PHOTOGRAPHS, 32)]


@pytest.mark.parametrize(
    ("only", "wanted", "unwanted"),
    [("ours", "ours", "flask"), ("stock", "torchserve_stock", "ours"), ("flask,ours", "ours", "litserve")],
)
def test_servers_are_chosen_by_name(tmp_path: Path, only: str, wanted: str, unwanted: str) -> None:
    options = parse_options(["--photographs", str(tmp_path), "--only", only])
    assert options.wants_server(wanted)
    assert not options.wants_server(unwanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--photographs DIR"),
        (["--photographs", "/nowhere/at/all"], "not a directory"),
        (["--photographs", ".", "--clients", "many"], "1,16,64"),
        (["--photographs", ".", "--precisions", "f16"], "f32, bf16, int8"),
        (["--photographs", ".", "--rounds", "0"], "1 at least"),
        (["--photographs", ".", "--arrivals", "uniform"], "gamma-4"),
        (["--photographs", ".", "--rate-requests", "50"], "100 at least"),
    ],
)
def test_wrong_arguments_are_explained(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_options(arguments)
    assert message in capsys.readouterr().err


def test_relative_directory_is_that_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photographs").mkdir()
    monkeypatch.setenv(STARTED_IN, str(tmp_path))
    assert parse_options(["--photographs", "photographs"]).photographs == tmp_path / "photographs"


def test_variants_are_chosen_by_words_or_by_their_keys(tmp_path: Path) -> None:
    options = parse_options(
        ["--photographs", str(tmp_path), "--servers", "litserve/our engine*, batches*", "torchserve_stock/*, 1 thread"]
    )
    wanted = ("litserve/our engine, a worker per core, batches int8", "torchserve_stock/a worker per core, 1 thread")
    assert all(map(options.wants_variant, wanted))
    assert not options.wants_variant("litserve/our engine, a worker per core int8")
    options = parse_options(["--photographs", str(tmp_path), "--variants", "1 thread,our engine"])
    assert options.wants_variant("flask/our engine, gunicorn f32")
    assert not options.wants_variant("flask/gunicorn")


def test_rates_are_for_the_best_settings_and_need_the_throughput(tmp_path: Path) -> None:
    options = parse_options(["--photographs", str(tmp_path), "--parts", "rates"])
    assert steps_of("ours/int8/web", options) == [Step(PHOTOGRAPHS, 32)]
    assert steps_of("litserve/our engine, a worker per core int8", options) == [Step(PHOTOGRAPHS, 32)]
    assert steps_of("torchserve_stock/a worker per core, 1 thread", options) == [Step(PHOTOGRAPHS, 32)]
    assert steps_of("torchserve_stock/a worker per core", options) == []


def test_arrivals_are_named_or_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "calls.csv").write_text("time\n0\n1\n3\n")
    monkeypatch.setenv(STARTED_IN, str(tmp_path))
    options = parse_options(["--photographs", ".", "--arrivals", "poisson", "gamma-3", "calls.csv"])
    assert [(process.name, process.variation) for process in options.arrivals] == [
        ("poisson", 1.0), ("gamma-3", 3.0), ("calls", 1.0),
    ]  # fmt: skip
    assert options.arrivals[2].recorded == (0.0, 1.0, 3.0)
