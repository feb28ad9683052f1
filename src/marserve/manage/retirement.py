"""What becomes of a version that is no longer the default: kept small for a rollback, or removed."""

from __future__ import annotations

from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.manage.archive_file import remove_from_store
from marserve.manage.draining import wait_until_idle
from marserve.manage.running_stack import RunningStack
from marserve.manage.scaling import Report
from marserve.torchserve.models import ModelVersion

#: Workers of a version that is kept. One still answers what reached it before the switch, or is asked of it by name.
KEPT_WORKERS = 1
#: Seconds for the pictures that were sent to a version before it stopped being the default: the web service's deadline
#: is 10.
IDLE_S = 30.0


def keep_for_rollback(management: ManagementClient, version: ModelVersion, report: Report) -> None:
    """Leave ``KEPT_WORKERS``, once the work of the others is done; all of them where callers go on asking for it."""
    if len(version.workers) <= KEPT_WORKERS:
        return
    if wait_until_idle(management, version, IDLE_S):
        management.scale(version.model, KEPT_WORKERS, version.version, synchronous=False)
        report(f"{version} keeps {KEPT_WORKERS} worker, for manage.py rollback.")
    else:
        report(f"{version} is still asked for by name, and so keeps its {len(version.workers)} workers.")


def retire(stack: RunningStack, management: ManagementClient, version: ModelVersion) -> None:
    """Unregister a version that is not the default, and remove its archive from the store, once it is idle.

    Raises MarserveError where it does not become so: TorchServe never answers what waits for a version that is removed.
    """
    if version.ready_workers and not wait_until_idle(management, version, IDLE_S):
        raise MarserveError(
            f"{version} still has work after {IDLE_S:.0f} s and stays registered; see manage.py drain {version.model}/"
            f"{version.version}."
        )
    management.unregister(version.model, version.version)
    remove_from_store(stack, version.archive)
