"""How the cores of a machine are shared out."""

import pytest

from marserve.stack.cores import Concurrency, concurrency


@pytest.mark.parametrize(
    ("cores", "asked", "workers", "threads", "frontend_threads"),
    [
        (1, None, 1, 1, 1),
        (2, None, 2, 1, 1),
        (4, None, 4, 1, 1),
        (16, None, 16, 1, 4),
        (64, None, 16, 4, 16),
        (16, 4, 4, 4, 4),
        (2, 8, 8, 1, 2),
    ],
)
def test_the_workers_share_the_cores_and_leave_the_frontend_a_part(
    cores: int, asked: int | None, workers: int, threads: int, frontend_threads: int
) -> None:
    chosen = concurrency(asked, cores)
    assert chosen == Concurrency(workers, threads)
    assert chosen.frontend_threads == frontend_threads
