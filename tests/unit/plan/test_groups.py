"""Groups are told apart by what the service says of their pictures, and share what a worker took for two of them."""

from __future__ import annotations

import pytest

from marserve.plan.groups import groups_of, parted_groups_of
from marserve.plan.load import OpenLoad


def load(*groups: tuple[float, float, int]) -> OpenLoad:
    """Of moments of answers, a worker's seconds, and pictures."""
    answered = [at for at, _, pictures in groups for _ in range(pictures)]
    says = [
        f"queue;dur=1.000, group;dur={worker_s * 1e3 + 5:.3f};desc={pictures}, company;desc=1, "
        f"worker;dur={worker_s * 1e3:.3f}"
        for _, worker_s, pictures in groups
        for _ in range(pictures)
    ]
    count = len(answered)
    return OpenLoad((0.0,) * count, (0.0,) * count, tuple(answered), (200,) * count, {}, 0.0, 1, tuple(says))


def test_groups_are_in_the_order_of_their_answers() -> None:
    found = groups_of(load((0.3, 0.020, 2), (0.1, 0.030, 3), (0.2, 0.010, 1)))
    assert [(one.pictures, one.worker_s) for one in found] == [(3, 0.030), (1, 0.010), (2, 0.020)]


@pytest.mark.parametrize(
    ("groups", "parts"),
    [
        # Answered 3 ms after each other, though each is said to have taken 90 ms: one worker had both.
        (((0.100, 0.0900, 1), (0.103, 0.0902, 8)), [0.0100, 0.0802]),
        # 90 ms after each other they were computed one by one.
        (((0.100, 0.0900, 8), (0.195, 0.0902, 8)), [0.0900, 0.0902]),
        # Seconds that differ are those of two, whose answers waited in the web service.
        (((0.100, 0.0800, 8), (0.103, 0.0902, 8)), [0.0800, 0.0902]),
    ],
)
def test_what_was_computed_together_shares_the_workers_seconds(
    groups: tuple[tuple[float, float, int], ...], parts: list[float]
) -> None:
    found = parted_groups_of(load(*groups), workers=1)
    assert [one.worker_s for one in found] == pytest.approx(parts, abs=0.0002)


def test_two_workers_may_be_as_fast() -> None:
    found = parted_groups_of(load((0.100, 0.0900, 8), (0.103, 0.0902, 8)), workers=2)
    assert [one.worker_s for one in found] == [0.0900, 0.0902]
