"""The long run in three minutes: what would creep in an hour does so here, where it is not small."""

from __future__ import annotations

import pytest

from tests.reliability.drift import LongRun
from tests.reliability.long_run import STEPS, run


@pytest.fixture(scope="module")
def seen() -> LongRun:
    return run(minutes=3)


@pytest.mark.timeout(900)
def test_every_answer_is_right_while_workers_and_versions_change(seen: LongRun) -> None:
    assert seen.failed == []
    assert seen.done == [name for _, name, _ in STEPS]
    assert {answer.outcome for answer in seen.answers} <= {"right", "overload"}, seen.every_answer()
    assert sum(answer.outcome == "right" for answer in seen.answers) > 100


def test_memory_files_and_threads_stay(seen: LongRun) -> None:
    assert len(seen.samples) > 100
    assert [row for row in (seen.memory(), seen.files(), seen.threads()) if not row.holds] == []
