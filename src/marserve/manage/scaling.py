"""Another number of workers: ``manage.py scale``, and the same as a step of other commands.

New workers are waited for from outside. TorchServe can wait itself (``synchronous=true``), but does so in a thread
that also reads pictures and writes answers: where it has few of these, nobody is answered until they have started.
"""

from __future__ import annotations

from dataclasses import dataclass

from marserve.client.management import WORKERS_DEADLINE_S
from marserve.errors import MarserveError
from marserve.manage.capacity import check_cores, check_memory
from marserve.manage.change import Change, Confirm, Report, changing
from marserve.manage.running_stack import RunningStack
from marserve.manage.versions import find_version
from marserve.manage.workers import inspect_workers
from marserve.system.waiting import wait_until
from marserve.torchserve.failures import LogWatch
from marserve.torchserve.models import ModelVersion

#: Seconds between two looks at workers that are starting.
POLL_S = 0.2


@dataclass(frozen=True)
class Scaled:
    """What was changed."""

    model: str
    version: str
    workers_before: int
    workers: int


def scale(
    stack: RunningStack, model: str, version: str | None, workers: int, *, force: bool, confirm: Confirm, report: Report
) -> Scaled:
    """Have ``workers`` READY workers. Where new ones cannot start, the old number is kept and MarserveError raised."""
    with changing(stack, confirm=confirm, report=report) as change:
        listed = find_version(change.management, model, version)
        running = inspect_workers(listed, stack.run_directory.logs)
        more = workers - len(listed.workers)
        if not force and more > 0:
            check_cores(workers)
            check_memory(more, running)
        if workers == 0:
            confirm(f"Without workers nobody answers {listed}. Take them all away?")
        dead = sum(worker.state == "dead" for worker in running)
        if dead:
            report(f"  {dead} of its {len(running)} workers are dead and still count: see manage.py recover.")
        report(f"Scaling {listed} from {len(listed.workers)} to {workers} ...")
        # Down: what those workers were at work on is answered with an error, and the web service sends it again.
        set_workers(change, listed, workers)
        return Scaled(listed.model, listed.version, len(listed.workers), workers)


def set_workers(change: Change, listed: ModelVersion, workers: int) -> ModelVersion:
    """As ``start_workers``; ``listed``, as it was read before, tells which number to go back to."""
    change.on_failure(
        f"scaling {listed} to {len(listed.workers)}",
        lambda: start_workers(change, listed, len(listed.workers), ready=listed.ready_workers),
    )
    return start_workers(change, listed, workers)


def start_workers(change: Change, listed: ModelVersion, workers: int, *, ready: int | None = None) -> ModelVersion:
    """Have ``workers`` and wait until all, or ``ready`` of them, are READY; answers how the version is then.

    ``listed`` tells which workers there were before; one of these may be restarted meanwhile. Raises MarserveError,
    with the reason, once a new one has failed.
    """
    awaited = workers if ready is None else ready
    watch = LogWatch(change.stack.run_directory.logs)
    known = {worker.id for worker in listed.workers}
    change.management.scale(listed.model, workers, listed.version, synchronous=False)
    now = listed

    def are_ready() -> bool:
        nonlocal now
        now = change.management.describe(listed.model, listed.version)
        if now.ready_workers < awaited and watch.failed_workers(listed) - known:
            raise MarserveError(f"A new worker of {listed} could not start:\n{watch.reason(listed)}")
        return now.ready_workers >= awaited

    if not wait_until(are_ready, WORKERS_DEADLINE_S, poll_s=POLL_S):
        raise MarserveError(
            f"{now.ready_workers} of {awaited} workers of {listed} are READY after {WORKERS_DEADLINE_S:.0f} seconds:\n"
            f"{watch.reason(listed)}"
        )
    return now
