"""A version goes out of use: another becomes the default, its work comes to an end, and its workers or itself go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from marserve.errors import MarserveError
from marserve.manage.change import Change, one_of
from marserve.manage.scaling import set_workers
from marserve.paths import command
from marserve.stack.deployments import KEPT_WORKERS, PendingChange, switched
from marserve.system.waiting import wait_until
from marserve.torchserve.models import ModelVersion
from marserve.torchserve.worker_process import cpu_seconds

#: Seconds between two samples of a version's work, and samples in a row that must find none.
POLL_S = 0.25
QUIET_SAMPLES = 4
#: Seconds of processor time between two samples below which a worker had nothing to compute.
IDLE_CPU_S = 0.02
#: Seconds for the pictures that were sent to a version before it stopped being the default: the web service's deadline
#: is 10.
IDLE_S = 30.0


@dataclass(frozen=True)
class Drained:
    model: str
    version: str
    workers_before: int


def drain(change: Change, model: str, version: str | None, *, timeout_s: float) -> Drained:
    """Take all workers from a version once it is idle. Raises MarserveError, and changes nothing, where it is not.

    The default version first hands over to another one that has workers, where there is one.
    """
    versions = change.versions(model)
    listed = one_of(versions, version)
    heir = _heir(versions) if listed.is_default else None
    if listed.is_default:
        if heir is None:
            change.confirm(f"{listed} is the only version with workers: once drained, {model} answers 503. Go on?")
        else:
            change.confirm(f"{listed} is the default. Make {heir.version} the default and drain {listed.version}?")
            change.begin(PendingChange("drain", model, heir.version, len(heir.workers)))
            change.stack.wait_until_ready(model, heir.version)
            make_default(change, heir, instead_of=listed)
    change.report(f"Waiting until {listed} is idle ...")
    if not wait_until_idle(change, listed, timeout_s):
        raise MarserveError(
            f"{listed} still has work after {timeout_s:.0f} s, so its workers stay. Send its callers elsewhere, or "
            "take the workers away at once: " + command(f"scale {model} --version {listed.version} --workers 0")
        )
    if heir is not None:
        put_on_record(change, heir, instead_of=listed)
    set_workers(change, listed, 0)
    return Drained(listed.model, listed.version, len(listed.workers))


def _heir(versions: Sequence[ModelVersion]) -> ModelVersion | None:
    """The newest version that can take over from the default."""
    return next((other for other in reversed(versions) if not other.is_default and other.ready_workers), None)


def make_default(change: Change, new: ModelVersion, *, instead_of: ModelVersion) -> None:
    """Returns once the web service sends its pictures to ``new``."""

    def switch_to(version: ModelVersion) -> None:
        change.management.set_default(version.model, version.version)
        change.stack.wait_until_default(version.model, version.version)

    change.on_failure(f"making {instead_of} the default again", lambda: switch_to(instead_of))
    switch_to(new)
    change.report(f"{new} is the default now.")


def put_on_record(change: Change, new: ModelVersion, *, instead_of: ModelVersion) -> None:
    """From here on every start has ``new`` as the default, and the other version for a rollback."""
    workers = len(instead_of.workers)
    change.commit(new.model, lambda _: switched(change.on_record(new), change.on_record(instead_of), workers))


def wait_until_idle(change: Change, version: ModelVersion, timeout_s: float) -> bool:
    """Whether the version's queue was empty and its workers computed nothing, several samples in a row.

    TorchServe does not say what a worker is at work on; the processor time of its process does.
    """
    quiet, cpu_before = 0, -math.inf  # the first sample has nothing to compare with

    def is_idle() -> bool:
        nonlocal quiet, cpu_before
        now = change.management.describe(version.model, version.version)  # its queue, and workers restarted meanwhile
        cpu = cpu_seconds(now)
        is_quiet = now.queued == 0 and cpu - cpu_before < IDLE_CPU_S * max(1, len(now.workers))
        quiet, cpu_before = (quiet + 1 if is_quiet else 0), cpu
        return quiet >= QUIET_SAMPLES or not now.workers

    return wait_until(is_idle, timeout_s, poll_s=POLL_S)


def keep_for_rollback(change: Change, version: ModelVersion) -> None:
    """Leave ``KEPT_WORKERS``, once the work of the others is done; all of them where callers go on naming it."""
    if len(version.workers) <= KEPT_WORKERS:
        return
    if wait_until_idle(change, version, IDLE_S):
        set_workers(change, version, KEPT_WORKERS)
        change.report(f"{version} keeps {KEPT_WORKERS} worker, for {command(f'rollback {version.model}')}.")
    else:
        change.report(f"{version} is still requested by name, and so keeps its {len(version.workers)} workers.")


def remove(change: Change, version: ModelVersion) -> None:
    """Unregister a version that is not the default, and remove its archive from the store, once it is idle.

    Raises MarserveError where it does not become so: TorchServe never answers what waits for a version that is removed.
    """
    if version.ready_workers and not wait_until_idle(change, version, IDLE_S):
        raise MarserveError(
            f"{version} still has work after {IDLE_S:.0f} s and stays registered; see "
            + command(f"drain {version.model}/{version.version}")
        )
    change.management.unregister(version.model, version.version)
    change.stack.store.remove(version.model, version.version)  # TorchServe has unpacked what it serves
