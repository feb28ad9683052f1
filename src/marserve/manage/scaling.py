"""``manage.py scale``: another number of workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from marserve.manage.capacity import check_cores, check_memory
from marserve.manage.confirmation import Confirm
from marserve.manage.running_stack import RunningStack
from marserve.manage.starting import start_or_restore
from marserve.manage.versions import find_version
from marserve.manage.workers import inspect_workers

Report = Callable[[str], None]


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
    with stack.being_changed(), stack.management() as management:
        listed = find_version(management, model, version)
        running = inspect_workers(listed, stack.run_directory.logs)
        more = workers - len(listed.workers)
        if not force and more > 0:
            check_cores(workers)
            check_memory(more, running)
        if workers == 0:
            confirm(f"Without workers nobody answers {listed}. Take them all away?")
        dead = [worker for worker in running if worker.state == "dead"]
        if dead:
            report(f"  {len(dead)} of its {len(running)} workers are dead and still count: see manage.py recover.")
        report(f"Scaling {listed} from {len(listed.workers)} to {workers} ...")
        # Down: what those workers were at work on is answered with an error on which the web service asks again.
        start_or_restore(stack, management, listed, workers)
        return Scaled(listed.model, listed.version, len(listed.workers), workers)
