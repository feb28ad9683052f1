"""The report is made of the records alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import __main__ as command
from bench.measurements import Journal, Summary
from bench.plots import draw_plots
from bench.report import table, time_table, write_report
from tests.unit.bench.records import complete_run, load


def test_report_has_a_section_for_everything_that_was_measured(tmp_path: Path) -> None:
    text = write_report(Summary(complete_run()), tmp_path).read_text(encoding="utf-8")
    sections = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert sections == [
        "What must be true", "32 clients, photographs", "Against the number of clients",
        "12-megapixel photographs, 8 clients", "In-process, without a server", "Where the processor's time goes",
        "Highest rate at which 99% are answered in time", "Bursts at 85% of the server's own throughput",
        "Start-up and memory", "The load generator", "Left out",
    ]  # fmt: skip
    assert "| ours/f32 (TorchServe) | 120.0 (110.0–130.0) |" in text
    assert "- pytriton/recipe: no wheel | for this" in text
    assert "| ours/int8 (web) | 240 | 280 \\* |" in text
    assert "| ours/int8 (web) | 100 | 90.0 % | 95.0 % | 94.7 % | 2.0 % | 1.0 % | 0 |  |" in text
    assert "| litserve/our engine int8 | 100 | 90.0 % | 95.0 % | 94.7 % | 2.0 % | 1.0 % | 3 | 80 |" in text
    assert "on time up to 4000 requests/s (0.20 ms)" in text
    for name in ("bars", "throughput", "latency", "rates", "start-and-memory"):
        assert f"({name}.png)" in text
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_report_of_a_run_that_broke_off_early_is_written(tmp_path: Path) -> None:
    text = write_report(Summary([load("flask/recipe", 40.0)]), tmp_path).read_text(encoding="utf-8")
    assert "flask/recipe" in text
    assert "not measured" in text


def test_report_says_once_why_there_is_nothing_on_a_gpu(tmp_path: Path) -> None:
    reason = "there is no NVIDIA driver (no program nvidia-smi)."
    skipped = {"kind": "skipped", "candidates": ["ours/GPU f16", "litserve/GPU, 1 worker"], "reason": reason}
    text = write_report(Summary([*complete_run(), skipped]), tmp_path).read_text(encoding="utf-8")
    assert text.count(reason) == 1
    assert text.endswith(f"## On a GPU\n\nNot measured: {reason} There would be:\n\n- ours/GPU f16\n"
                         "- litserve/GPU, 1 worker\n")  # fmt: skip


def test_report_says_on_which_device_each_figure_was_measured(tmp_path: Path) -> None:
    records = [*complete_run(), load("ours/GPU f16/TorchServe", 2000.0, device="gpu")]
    records[0] = records[0] | {"gpu": "NVIDIA H100, 85.0 GB, driver 580.1, CUDA 13.0"}
    text = write_report(Summary(records), tmp_path).read_text(encoding="utf-8")
    assert "- GPU: NVIDIA H100, 85.0 GB" in text
    assert "| ours/GPU f16 (TorchServe) | 2000.0 |" in text
    assert "## On a GPU" not in text


def test_report_of_a_run_on_a_gpu_alone_says_nothing_of_what_must_be_true_of_the_processor(tmp_path: Path) -> None:
    records = [load("ours/GPU f16/TorchServe", 2000.0, device="gpu")]
    text = write_report(Summary(records), tmp_path).read_text(encoding="utf-8")
    assert "2000.0" in text
    assert "must be true" not in text


def test_nothing_is_drawn_without_figures(tmp_path: Path) -> None:
    assert draw_plots(Summary([]), tmp_path) == []


def test_report_is_written_again_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "measurements.jsonl")
    for record in complete_run():
        journal.add(**record)
    monkeypatch.setattr("sys.argv", ["bench", "--report-only", str(journal.file)])
    assert command.main() == 0
    assert (tmp_path / "report.md").exists()


def test_time_is_shown_by_who_used_it() -> None:
    # 600 answers in 6 s of 2 cores: 20 ms each.
    row, _ = time_table(Summary(complete_run())).splitlines()[2:]
    assert row == "| f32 (web) | 15.80 | 17.00 | 0.50 | 1.00 | 0.10 | 0.33 | 1.07 |"


def test_cells_cannot_break_a_table() -> None:
    assert table(("a", "b"), [("x|y", "1\n2")]).splitlines()[2] == "| x\\|y | 1 2 |"
