"""Another number of workers: ``marserve scale``, the same as a step of other commands, and ``marserve recover``.

New workers are waited for from outside. TorchServe can wait itself (``synchronous=true``), but does so in a thread
that also reads pictures and writes answers: where it has few of these, nobody is answered until they have started.

TorchServe gives a worker up for good when it has failed for ``maxRetryTimeoutInSec``, and goes on counting it: scaling
to the same number starts nothing. Only a smaller number takes it off the list, always from the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from marserve.client.management import WORKERS_DEADLINE_S, ManagementClient
from marserve.errors import MarserveError
from marserve.manage.change import Change, one_of
from marserve.paths import command
from marserve.stack.deployments import DeployedModel, PendingChange
from marserve.system.machine import read_machine
from marserve.system.waiting import wait_until
from marserve.torchserve.failures import LogWatch
from marserve.torchserve.models import ModelVersion
from marserve.torchserve.worker_process import WorkerReport, inspect_workers

#: Bytes of a worker where none runs that could be measured: ResNet18 on OpenVINO has some 250 MB.
WORKER_BYTES = 400_000_000
#: Seconds between two requests about workers that are starting.
POLL_S = 0.2
#: Seconds between two inspections that must both find a worker dead: TorchServe notices after a moment that one ended.
CONFIRM_S = 3.0


@dataclass(frozen=True)
class Scaled:
    model: str
    version: str
    workers_before: int
    workers: int


def scale(change: Change, model: str, version: str | None, workers: int, *, force: bool) -> Scaled:
    """Have ``workers`` READY workers. Where new ones cannot start, the old number is kept and MarserveError raised."""
    listed = one_of(change.versions(model), version)
    running = inspect_workers(listed, change.stack.run_directory.logs)
    more = workers - len(listed.workers)
    if not force and more > 0:
        check_cores(workers)
        check_memory(more, running)
    if workers == 0:
        change.confirm(f"Without workers nobody answers {listed}. Take them all away?")
    dead = sum(worker.state == "dead" for worker in running)
    if dead:
        change.report(f"  {dead} of its {len(running)} workers are dead and still count: see {command('recover')}.")
    change.report(f"Scaling {listed} from {len(listed.workers)} to {workers} ...")
    with _even_on_a_full_disk(change):
        change.begin(PendingChange("scaling", model, listed.version, len(listed.workers)))
    # Down: what those workers were at work on is answered with an error, and the web service sends it again.
    set_workers(change, listed, workers)
    with _even_on_a_full_disk(change):
        change.commit(model, lambda entry: _scaled(entry, listed.version, workers))
    return Scaled(listed.model, listed.version, len(listed.workers), workers)


@contextmanager
def _even_on_a_full_disk(change: Change) -> Iterator[None]:
    """Have workers come back, or go, where the record of it cannot be written: the numbers do not last then."""
    try:
        yield
    except MarserveError as exc:
        change.report(f"  This will not last beyond the next start: {exc}")


def _scaled(entry: DeployedModel | None, version: str, workers: int) -> DeployedModel | None:
    """Only the default version's number lasts, and none that would leave a start without an answer."""
    if entry is None or entry.current.version != version or not workers:
        return entry
    return replace(entry, current=replace(entry.current, workers=workers))


def set_workers(change: Change, listed: ModelVersion, workers: int) -> ModelVersion:
    """As ``start_workers``; ``listed``, as it was read before, has the number to go back to."""
    change.on_failure(
        f"scaling {listed} to {len(listed.workers)}",
        lambda: start_workers(change, listed, len(listed.workers), ready=listed.ready_workers),
    )
    return start_workers(change, listed, workers)


def start_workers(change: Change, listed: ModelVersion, workers: int, *, ready: int | None = None) -> ModelVersion:
    """Have ``workers`` and wait until all, or ``ready`` of them, are READY; answers how the version is then.

    ``listed`` has the workers that there were before; one of these may be restarted meanwhile. Raises MarserveError,
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


def check_memory(more: int, running: Sequence[WorkerReport]) -> None:
    """Raise MarserveError where the free memory does not suffice for ``more`` workers like the ``running`` ones."""
    each = max((report.rss for report in running if report.rss is not None), default=WORKER_BYTES)
    machine = read_machine()
    if more * each > machine.spare_bytes:
        raise MarserveError(
            f"{more} more workers of {each / 1e6:.0f} MB do not fit into the {machine.available_bytes / 1e6:.0f} MB of "
            f"memory that are left, of which {machine.reserve_bytes / 1e6:.0f} MB stay free; "
            f"{machine.spare_bytes // each} do. --force tries it all the same."
        )


def check_cores(workers: int) -> None:
    """Raise MarserveError for more workers than cores: they would only take the processor from each other."""
    cores = read_machine().cores
    if workers > cores:
        raise MarserveError(
            f"{workers} workers are more than this machine's {cores} usable cores: each takes memory, and none gets "
            "faster. --force does it all the same."
        )


@dataclass(frozen=True)
class Recovered:
    model: str
    version: str
    dead_workers: tuple[str, ...]
    workers: int


def recover(change: Change) -> list[Recovered]:
    """Replace the dead workers of every version; answers what was done. Raises MarserveError where new ones fail."""
    logs = change.stack.run_directory.logs
    if not dead_workers(change.management, logs):
        change.report("No worker is dead.")
        return []
    time.sleep(CONFIRM_S)
    done = [replace_dead_workers(change, *found) for found in dead_workers(change.management, logs)]
    if not done:
        change.report("No worker is dead: TorchServe has restarted it meanwhile.")
    return done


def replace_dead_workers(change: Change, version: ModelVersion, workers: Sequence[WorkerReport]) -> Recovered:
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
    with _even_on_a_full_disk(change):
        change.begin(PendingChange("recovery", version.model, version.version, len(workers)))
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


def dead_workers(management: ManagementClient, logs: Path) -> list[tuple[ModelVersion, list[WorkerReport]]]:
    """The versions that have any, with all their workers."""
    inspected = [(version, inspect_workers(version, logs)) for version in management.describe_all()]
    return [found for found in inspected if any(worker.state == "dead" for worker in found[1])]
