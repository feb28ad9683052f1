"""``manage.py rollback``: the version before becomes the default again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from marserve.errors import MarserveError
from marserve.manage import web
from marserve.manage.comparison import warm_up
from marserve.manage.confirmation import Confirm
from marserve.manage.history import Before, read_before, write_before
from marserve.manage.retirement import keep_for_rollback
from marserve.manage.running_stack import RunningStack
from marserve.manage.scaling import Report
from marserve.manage.starting import start_or_restore
from marserve.manage.versions import find_version, list_versions


@dataclass(frozen=True)
class RolledBack:
    """The change that was made; the same command takes it back."""

    model: str
    version: str
    version_before: str
    workers: int


def roll_back(
    stack: RunningStack, model: str, pictures: Sequence[Path], *, confirm: Confirm, report: Report
) -> RolledBack:
    """Give the version before its workers back, and make it the default. Raises MarserveError where there is none."""
    with stack.being_changed(), stack.management() as management:
        versions = {listed.version: listed for listed in list_versions(management, model)}
        current = find_version(management, model)
        before = read_before(stack, model)
        if before is None or before.version not in versions or before.version == current.version:
            raise MarserveError(
                f"There is no version of {model} to go back to: deploy keeps one, unless --remove-old is given, and a "
                f"stop of the stack forgets it. Registered: {', '.join(versions)}."
            )
        target = versions[before.version]
        confirm(f"Make {target} the default in place of {current.version}?")
        workers = max(before.workers, len(target.workers))
        report(f"Giving {target} its {workers} workers ...")
        start_or_restore(stack, management, target, workers)
        with stack.inference(model, target.version) as client:
            warm_up(client, pictures, workers)
        web.wait_until_ready(stack, model, target.version)
        management.set_default(model, target.version)
        write_before(stack, model, Before(current.version, len(current.workers)))
        web.wait_until_default(stack, model, target.version)
        report(f"{target} is the default now.")
        keep_for_rollback(management, find_version(management, model, current.version), report)
        return RolledBack(model, target.version, current.version, workers)
