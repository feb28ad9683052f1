"""No other schedule answers more in time than the all-knowing one's count."""

from __future__ import annotations

import random
from itertools import combinations, product

import pytest

from bench.all_knowing import most_in_time


def by_trying_all(arrivals: list[float], deadline_s: float, service_s: float, workers: int) -> int:
    """Every subset of the requests, on every assignment to workers; within a worker the order of arrival is best."""
    for count in range(len(arrivals), 0, -1):
        for chosen in combinations(arrivals, count):
            for assigned in product(range(workers), repeat=count):
                free_at = [0.0] * workers
                for arrived, worker in zip(chosen, assigned, strict=True):
                    free_at[worker] = max(free_at[worker], arrived) + service_s
                    if free_at[worker] > arrived + deadline_s + 1e-9:
                        break
                else:
                    return count
    return 0


@pytest.mark.parametrize("seed", range(30))
def test_count_is_that_of_trying_every_schedule(seed: int) -> None:
    source = random.Random(seed)  # noqa: S311 - a test, which must repeat
    arrivals = sorted(source.uniform(0, 4) for _ in range(6))
    service_s, deadline_s = source.uniform(0.3, 1.5), source.uniform(0.5, 2.5)
    workers = source.choice([1, 2])
    assert most_in_time(arrivals, deadline_s, service_s, workers) == by_trying_all(
        arrivals, deadline_s, service_s, workers
    )


def test_burst_gets_what_fits_before_its_deadline() -> None:
    assert most_in_time([0.0] * 100, deadline_s=0.1, service_s=0.0099, workers=2) == 20


def test_batches_never_do_better_than_their_bound() -> None:
    """Batches of up to four that take 2 + 1 a picture, against singles of (2 + 4) / 4."""
    arrivals = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 6.0, 6.5]
    # Four end at 6, two of one batch at 10, then the last two at 14.
    in_time_of_batches = sum(
        done <= arrived + 9.5 for arrived, done in zip(arrivals, [6, 6, 6, 6, 10, 10, 14, 14], strict=True)
    )
    assert most_in_time(arrivals, deadline_s=9.5, service_s=1.5, workers=1) >= in_time_of_batches
