"""What was measured is kept, whatever happens to the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.journal import Journal, read_records

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
