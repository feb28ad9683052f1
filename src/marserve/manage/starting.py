"""Another number of workers, waited for from outside.

TorchServe can wait itself (``synchronous=true``), but does so in a thread that also reads pictures and writes answers:
where it has few of these, nobody is answered until the new workers have started.
"""

from __future__ import annotations

from marserve.client.management import WORKERS_DEADLINE_S, ManagementClient
from marserve.errors import MarserveError
from marserve.manage.running_stack import RunningStack
from marserve.manage.versions import find_version
from marserve.system.waiting import wait_until
from marserve.torchserve.models import ModelVersion
from marserve.torchserve.reasons import LogWatch

#: Seconds between two looks.
POLL_S = 0.2


def start_workers(stack: RunningStack, management: ManagementClient, listed: ModelVersion, workers: int) -> None:
    """Have ``workers`` and wait until all are READY. Raises MarserveError, with the reason, once a new one has failed.

    ``listed`` tells which workers there were before; one of these may be restarted meanwhile.
    """
    watch = LogWatch(stack.run_directory.logs)
    known = {worker.id for worker in listed.workers}
    management.scale(listed.model, workers, listed.version, synchronous=False)
    ready = 0

    def are_ready() -> bool:
        nonlocal ready
        ready = find_version(management, listed.model, listed.version).ready_workers
        if ready < workers and watch.failed_workers(listed) - known:
            raise MarserveError(f"A new worker of {listed} could not start:\n{watch.reason(listed)}")
        return ready >= workers

    if not wait_until(are_ready, WORKERS_DEADLINE_S, poll_s=POLL_S):
        raise MarserveError(
            f"{ready} of {workers} workers of {listed} are READY after {WORKERS_DEADLINE_S:.0f} seconds:\n"
            f"{watch.reason(listed)}"
        )


def start_or_restore(stack: RunningStack, management: ManagementClient, listed: ModelVersion, workers: int) -> None:
    """As ``start_workers``, and back to the old number where that fails or is interrupted."""
    try:
        start_workers(stack, management, listed, workers)
    except BaseException:
        management.scale(listed.model, len(listed.workers), listed.version, synchronous=False)
        raise
