"""``marserve recover``: workers that are dead though listed.

TorchServe gives a worker up for good when it has failed for ``maxRetryTimeoutInSec``, and goes on counting it: scaling
to the same number starts nothing. Only a smaller number takes it off the list, always from the end.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from marserve.manage.change import Change, Confirm, Report, changing
from marserve.manage.running_stack import RunningStack
from marserve.manage.scaling import set_workers, start_workers
from marserve.torchserve.models import ModelVersion
from marserve.torchserve.worker_process import WorkerReport, inspect_workers

#: Seconds between two inspections that must both find a worker dead: TorchServe notices after a moment that one ended.
CONFIRM_S = 3.0


@dataclass(frozen=True)
class Recovered:
    """A version whose dead workers were replaced."""

    model: str
    version: str
    dead_workers: tuple[str, ...]
    workers: int


def recover(stack: RunningStack, *, confirm: Confirm, report: Report) -> list[Recovered]:
    """Replace the dead workers of every version; answers what was done. Raises MarserveError where new ones fail."""
    with changing(stack, confirm=confirm, report=report) as change:
        if not _versions_with_dead_workers(change):
            report("No worker is dead.")
            return []
        time.sleep(CONFIRM_S)
        done = [_recover(change, version, workers) for version, workers in _versions_with_dead_workers(change)]
        if not done:
            report("No worker is dead: TorchServe has restarted it meanwhile.")
        return done


def _recover(change: Change, version: ModelVersion, workers: Sequence[WorkerReport]) -> Recovered:
    dead = [worker.id for worker in workers if worker.state == "dead"]
    kept = workers_to_keep(workers)
    working = sum(worker.state == "ready" for worker in workers)
    change.report(f"{version}: {len(dead)} of {len(workers)} workers dead ({', '.join(dead)}).")
    if working and not kept:
        change.confirm(
            f"TorchServe drops worker {dead[0]} only together with all that were started after it, the {working} that "
            f"work included: for the seconds of their start {version} answers 503. Go on?"
        )
    change.report(f"  Scaling to {kept}, then to {len(workers)} ...")
    left = set_workers(change, version, kept)
    # Where a new one fails as well it stays on the list: TorchServe goes on trying for a while.
    start_workers(change, left, len(workers))
    change.is_final()
    change.report(f"  {len(workers)} of {len(workers)} workers ready.")
    return Recovered(version.model, version.version, tuple(dead), len(workers))


def workers_to_keep(workers: Sequence[WorkerReport]) -> int:
    """How many stay when the first dead worker and all after it go; 0 where none of those before it works."""
    before = next(i for i, worker in enumerate(workers) if worker.state == "dead")
    return before if any(worker.state == "ready" for worker in workers[:before]) else 0


def _versions_with_dead_workers(change: Change) -> list[tuple[ModelVersion, list[WorkerReport]]]:
    logs = change.stack.run_directory.logs
    inspected = [(version, inspect_workers(version, logs)) for version in change.management.describe_all()]
    return [found for found in inspected if any(worker.state == "dead" for worker in found[1])]
