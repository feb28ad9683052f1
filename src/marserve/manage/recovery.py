"""``manage.py recover``: workers that are dead though listed.

TorchServe gives a worker up for good when it has failed for ``maxRetryTimeoutInSec``, and goes on counting it: scaling
to the same number starts nothing. Only a smaller number takes it off the list, always from the end.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from marserve.client.management import ManagementClient
from marserve.manage.confirmation import Confirm
from marserve.manage.running_stack import RunningStack
from marserve.manage.scaling import Report
from marserve.manage.starting import start_workers
from marserve.manage.versions import find_version, list_versions
from marserve.manage.workers import WorkerReport, inspect_workers
from marserve.torchserve.models import ModelVersion

#: Seconds between two looks that must both find a worker dead: TorchServe needs a moment to notice that one has ended.
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
    with stack.being_changed(), stack.management() as management:
        suspects = _versions_with_dead_workers(stack, management)
        if not suspects:
            report("No worker is dead.")
            return []
        time.sleep(CONFIRM_S)
        done = []
        for version, _ in suspects:
            current = find_version(management, version.model, version.version)
            workers = inspect_workers(current, stack.run_directory.logs)
            if any(worker.state == "dead" for worker in workers):
                done.append(_recover(stack, management, current, workers, confirm, report))
        if not done:
            report("No worker is dead: TorchServe has restarted it meanwhile.")
        return done


def _recover(
    stack: RunningStack,
    management: ManagementClient,
    version: ModelVersion,
    workers: Sequence[WorkerReport],
    confirm: Confirm,
    report: Report,
) -> Recovered:
    dead = [worker.id for worker in workers if worker.state == "dead"]
    kept = workers_to_keep(workers)
    working = sum(worker.state == "ready" for worker in workers)
    names = ", ".join(dead)
    report(f"{version}: {len(dead)} of {len(workers)} workers dead ({names}).")
    if working and not kept:
        confirm(
            f"TorchServe drops worker {dead[0]} only together with all that were started after it, the {working} that "
            f"work included: for the seconds of their start {version} answers 503. Go on?"
        )
    report(f"  Scaling to {kept}, then to {len(workers)} ...")
    management.scale(version.model, kept, version.version, synchronous=False)
    # Where a new one fails as well it stays on the list: TorchServe goes on trying for a while.
    start_workers(stack, management, find_version(management, version.model, version.version), len(workers))
    report(f"  {len(workers)} of {len(workers)} workers ready.")
    return Recovered(version.model, version.version, tuple(dead), len(workers))


def workers_to_keep(workers: Sequence[WorkerReport]) -> int:
    """How many stay when the first dead worker and all after it go; 0 where none of those before it works."""
    before = next(i for i, worker in enumerate(workers) if worker.state == "dead")
    return before if any(worker.state == "ready" for worker in workers[:before]) else 0


def _versions_with_dead_workers(
    stack: RunningStack, management: ManagementClient
) -> list[tuple[ModelVersion, list[WorkerReport]]]:
    found = []
    for model in sorted(management.list_models()):
        for version in list_versions(management, model):
            workers = inspect_workers(version, stack.run_directory.logs)
            if any(worker.state == "dead" for worker in workers):
                found.append((version, workers))
    return found
