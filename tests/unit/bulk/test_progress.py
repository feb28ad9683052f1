"""What a person reads of a run."""

from __future__ import annotations

import pytest

from marserve.bulk.run import Progress, conclude, describe, duration
from marserve.bulk.worker import Summary


def summary(piece: str, rows: int, share: float, seconds: float, *, done: bool = False, **errors: int) -> Summary:
    return Summary(piece, rows, errors, share, seconds, done)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_pieces_count_while_they_are_at_work_and_once(clock: list[float]) -> None:
    progress = Progress(files=1000)
    assert (describe(progress), progress.total) == ("starting", 1000)
    assert progress.add(summary("a", 256, 0.5, 4.0, InvalidImage=2)) == 4.0
    clock[0] = 104.0
    assert progress.add(summary("a", 400, 1.0, 8.0, done=True, InvalidImage=3, CannotRead=1)) == 4.0
    assert progress.rows == 400
    assert describe(progress) == "50/s, 12 s left, 3 InvalidImage, 1 CannotRead"
    progress.ended = 104.0
    clock[0] = 200.0  # Ray has been ended since
    assert conclude(progress, known=1200) == (
        "396 classified at 50.0/s, 1,200 known from before, 4 with an error (3 InvalidImage, 1 CannotRead)"
    )


def test_how_many_a_shard_has_is_estimated_from_what_was_read(clock: list[float]) -> None:
    progress = Progress(files=10, shard_bytes={"a": 1000.0, "b": 3000.0})
    assert progress.total is None
    progress.add(summary("a", 50, 0.5, 1.0))
    assert progress.total == 10 + 400
    progress.add(summary("a", 100, 1.0, 2.0, done=True))
    progress.add(summary("b", 150, 0.5, 1.0))
    assert progress.total == 10 + 400
    progress.add(summary("files", 10, 1.0, 1.0, done=True))
    assert progress.total == 10 + 400


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (4e6, "1,111 h 6 min")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text
