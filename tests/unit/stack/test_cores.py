"""How the cores of a machine are shared out."""

import os
from pathlib import Path

import pytest

from marserve.handler.resnet18.cpu import threads_of_worker
from marserve.stack.cores import Concurrency, concurrency
from marserve.stack.run_directory import RunDirectory
from marserve.stack.torchserve import process_environment


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


@pytest.mark.parametrize("cores_of_the_worker", [1, 2, 64])
def test_the_threads_are_computed_once_whatever_the_worker_sees_of_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores_of_the_worker: int
) -> None:
    """The worker used to divide its own cores by a number of workers that was sent."""
    shared = concurrency(2, cores=8)
    environment = process_environment(RunDirectory(5000, tmp_path), tmp_path, shared)
    monkeypatch.setattr(os, "environ", environment)
    assert shared.threads == 4
    assert threads_of_worker(None, cores=cores_of_the_worker) == 4
