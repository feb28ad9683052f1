"""The tables of docs/reliability.md."""

from __future__ import annotations

import pytest

from tests.reliability.__main__ import EXPERIMENTS
from tests.reliability.table import HEADING, PAGE, Row, written

PAGE_BEFORE = "text\n<!-- faults -->\n| `a` | old a |\n| `gone` | old |\n| `b` | old b |\n<!-- end of faults -->\nmore"


def test_rows_that_did_not_run_keep_their_line_and_rows_that_are_no_more_go() -> None:
    page = written(PAGE_BEFORE, "faults", {"b": "| `b` | new b |", "c": "| `c` | new c |"}, ["c", "a", "b"])
    table = f"<!-- faults -->\n{HEADING}\n| `c` | new c |\n| `a` | old a |\n| `b` | new b |\n<!-- end of faults -->"
    assert page == f"text\n{table}\nmore"


def test_a_table_that_is_written_again_stays_the_same() -> None:
    once = written(PAGE_BEFORE, "faults", {}, ["a", "b"])
    assert written(once, "faults", {}, ["a", "b"]) == once


def test_a_line_stays_one_line_with_as_many_cells_as_the_heading() -> None:
    line = Row("kill | it\nnow", "16 × 200", 3.21, "nothing", holds=False).cells("kill", "today")
    assert line == r"| `kill` | kill \| it now | 16 × 200 | 3.2 s | nothing | **BROKEN** | today |"
    assert line.replace(r"\|", "").count("|") == HEADING.splitlines()[0].count("|")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_page_has_a_place_for_each_table(experiment: str) -> None:
    assert written(PAGE.read_text(encoding="utf-8"), experiment, {}, [])


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the markers"):
        written("nothing here", "faults", {}, [])
