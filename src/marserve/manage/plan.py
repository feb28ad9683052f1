"""What a deployment is to do, and everything about it that can be known to be wrong beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.manage.archive_file import ArchiveFile
from marserve.manage.capacity import check_memory
from marserve.manage.running_stack import RunningStack
from marserve.manage.versions import list_versions
from marserve.manage.workers import inspect_workers
from marserve.stack.ports import Ports
from marserve.torchserve.models import ModelVersion


@dataclass(frozen=True)
class Plan:
    """What ``deploy`` was asked for."""

    model: str
    archive: ArchiveFile
    #: For the warm-up and the comparison; at least one.
    pictures: Sequence[Path]
    #: Share of the pictures on which both versions must agree; None: no comparison.
    min_agreement: float | None
    #: None: as many as the old version has.
    workers: int | None
    remove_old: bool
    #: Go on though the memory is short.
    force: bool


def check_plan(stack: RunningStack, management: ManagementClient, plan: Plan) -> ModelVersion:
    """The version to be replaced. Raises MarserveError for everything that can be known beforehand."""
    if not stack.allows_registration:
        variable = "" if stack.ports.web_port == Ports.web_port else f"MARSERVE_WEB_PORT={stack.ports.web_port} "
        raise MarserveError(
            "This stack takes no new archives while it runs. Start it again as it was, with --model-api:\n"
            f"  {variable}./scripts/stop && {variable}./scripts/serve --detach --model-api"
        )
    versions = list_versions(management, plan.model)
    if plan.archive.version in {listed.version for listed in versions}:
        raise MarserveError(
            f"{plan.model} {plan.archive.version} is served already. Give the new archive another version:\n"
            f"  ./scripts/build_archive.py ... --version {_next_version(versions)} --output DIR"
        )
    old = next(listed for listed in versions if listed.is_default)
    if not old.ready_workers:
        raise MarserveError(f"{old} has no READY worker: bring it back first, with manage.py recover or scale.")
    if not plan.force:
        check_memory(plan.workers or len(old.workers), inspect_workers(old, stack.run_directory.logs))
    return old


def _next_version(versions: Sequence[ModelVersion]) -> str:
    first = versions[-1].version.partition(".")[0]
    return f"{int(first) + 1}.0" if first.isdecimal() else "2.0"
