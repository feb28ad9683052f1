"""``manage.py drain``, and the wait that it has in common with a deployment: until nobody works for a version."""

from __future__ import annotations

import math
from dataclasses import dataclass

import psutil

from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.manage import web
from marserve.manage.confirmation import Confirm
from marserve.manage.running_stack import RunningStack
from marserve.manage.scaling import Report
from marserve.manage.versions import find_version, list_versions
from marserve.system.waiting import wait_until
from marserve.torchserve.models import ModelVersion

#: Seconds between two looks, and looks in a row that must find no work.
POLL_S = 0.25
QUIET_LOOKS = 4
#: Seconds of processor time between two looks below which a worker had nothing to compute.
IDLE_CPU_S = 0.02


@dataclass(frozen=True)
class Drained:
    """A version that has no workers any more."""

    model: str
    version: str
    workers_before: int


def drain(
    stack: RunningStack, model: str, version: str | None, *, timeout_s: float, confirm: Confirm, report: Report
) -> Drained:
    """Take all workers from a version once it has nothing to do. Raises MarserveError, and changes nothing, if it has.

    The default version first hands over to another one that has workers, where there is one.
    """
    with stack.being_changed(), stack.management() as management:
        listed = find_version(management, model, version)
        if listed.is_default:
            heir = _heir(management, listed)
            if heir is None:
                confirm(f"{listed} is the only version with workers: once drained, {model} answers 503. Go on?")
            else:
                confirm(f"{listed} is the default. Make {heir.version} the default and drain {listed.version}?")
                web.wait_until_ready(stack, model, heir.version)
                management.set_default(model, heir.version)
                report(f"{heir} is the default now.")
                web.wait_until_default(stack, model, heir.version)
        report(f"Waiting until nobody works for {listed} ...")
        if not wait_until_idle(management, listed, timeout_s):
            raise MarserveError(
                f"{listed} still has work after {timeout_s:.0f} s, so its workers stay. Send its callers elsewhere, or "
                f"take the workers away at once: manage.py scale {model} --version {listed.version} --workers 0"
            )
        management.scale(model, 0, listed.version, synchronous=False)
        return Drained(listed.model, listed.version, len(listed.workers))


def wait_until_idle(management: ManagementClient, version: ModelVersion, timeout_s: float) -> bool:
    """Whether the version's queue was empty and its workers computed nothing, several looks in a row.

    TorchServe does not tell what a worker is at work on; the processor time of its process does.
    """
    quiet, cpu_before = 0, -math.inf  # the first look has nothing to compare with

    def is_idle() -> bool:
        nonlocal quiet, cpu_before
        current = find_version(management, version.model, version.version)
        cpu = _cpu(current)
        is_quiet = current.queued == 0 and cpu - cpu_before < IDLE_CPU_S * max(1, len(current.workers))
        quiet, cpu_before = (quiet + 1 if is_quiet else 0), cpu
        return quiet >= QUIET_LOOKS or not current.workers

    return wait_until(is_idle, timeout_s, poll_s=POLL_S)


def _cpu(version: ModelVersion) -> float:
    total = 0.0
    for worker in version.workers:
        try:
            times = psutil.Process(worker.pid).cpu_times()
        except (psutil.Error, ValueError):  # it has ended
            continue
        total += times.user + times.system
    return total


def _heir(management: ManagementClient, leaving: ModelVersion) -> ModelVersion | None:
    """The newest other version that can take over."""
    others = [other for other in list_versions(management, leaving.model) if other.version != leaving.version]
    return next((other for other in reversed(others) if other.ready_workers), None)
