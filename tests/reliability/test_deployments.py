"""A bounded form of the experiment ``deployments``."""

from __future__ import annotations

from tests.reliability.deployments import summary, tried

MOMENTS = 3


def test_after_a_kill_of_everything_a_start_serves_one_of_the_two_versions_and_says_which() -> None:
    with tried(seed=3) as stage:
        row = summary([stage.kill_everything() for _ in range(MOMENTS)])
    assert row.holds, f"{row.callers_saw}; {row.lost}"
