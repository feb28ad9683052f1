"""How the cores of a machine are shared out."""

import os
from pathlib import Path

import pytest

from marserve.autoscale.rules import Rules
from marserve.handler.resnet18.cpu import threads_of_worker
from marserve.stack.options import Concurrency, Options, concurrency, room_for_workers
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.torchserve import TorchServe


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


@pytest.mark.parametrize(
    ("asked", "autoscale", "expected"),
    [
        (None, None, Concurrency(2, 4)),
        (3, None, Concurrency(3, 4)),
        (None, Rules(1, 8), Concurrency(2, 4, at_start=1)),
        (None, Rules(3, 8), Concurrency(3, 4, at_start=3)),
    ],
)
def test_threads_that_the_archives_set_leave_room_for_fewer_workers(
    asked: int | None, autoscale: Rules | None, expected: Concurrency
) -> None:
    """One worker a core, each with 4 threads, would be 4 threads a core."""
    assert concurrency(asked, cores=8, autoscale=autoscale, threads=4) == expected


@pytest.mark.parametrize(
    ("gigabytes", "models", "expected"),
    [(64, 1, Concurrency(16, 4)), (2, 1, Concurrency(6, 10)), (1, 1, Concurrency(2, 32)), (0.5, 1, Concurrency(1, 64))],
)
def test_no_more_workers_are_started_than_memory_has_room_for(
    gigabytes: float, models: int, expected: Concurrency
) -> None:
    """A container may have all cores of its machine and a small part of its memory."""
    room = room_for_workers(int(gigabytes * 1e9), models)
    assert concurrency(None, cores=64, room=room) == expected
    assert concurrency(20, cores=64, room=room).workers == 20, "as was asked"


def test_two_models_share_the_room() -> None:
    assert room_for_workers(4_000_000_000, 2) == 6


@pytest.mark.parametrize("cores_of_the_worker", [1, 2, 64])
def test_the_threads_are_computed_once_whatever_the_worker_sees_of_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores_of_the_worker: int
) -> None:
    """The worker used to divide its own cores by a number of workers that was sent."""
    shared = concurrency(2, cores=8)
    torchserve = TorchServe(Path("java"), Ports(), RunDirectory(5000, tmp_path), tmp_path, Options(), shared, {})
    monkeypatch.setattr(os, "environ", torchserve.environment())
    assert shared.threads == 4
    assert threads_of_worker(None, cores=cores_of_the_worker) == 4
