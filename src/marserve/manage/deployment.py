"""``manage.py deploy``: a new version beside the old one, checked before it becomes the default.

Until the last step the old version answers with all its workers, so whatever goes wrong, the way back is to remove the
new one.
"""

from __future__ import annotations

from dataclasses import dataclass

from marserve.client.errors import ClientError
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.manage import web
from marserve.manage.archive_file import remove_from_store
from marserve.manage.comparison import Comparison, answers, compare, warm_up
from marserve.manage.confirmation import Confirm
from marserve.manage.history import Before, read_before, write_before
from marserve.manage.plan import Plan, check_plan
from marserve.manage.retirement import keep_for_rollback, retire
from marserve.manage.running_stack import RunningStack
from marserve.manage.scaling import Report
from marserve.manage.starting import start_or_restore
from marserve.manage.versions import find_version, list_versions
from marserve.torchserve.models import ModelVersion


@dataclass(frozen=True)
class Deployed:
    """The change that was made."""

    model: str
    version: str
    version_before: str
    workers: int
    comparison: Comparison | None
    #: Whether ``rollback`` can bring the version before back.
    can_roll_back: bool


def deploy(stack: RunningStack, plan: Plan, *, confirm: Confirm, report: Report) -> Deployed:
    """Make the version in the archive the default one of its model.

    Raises MarserveError or ClientError, and leaves everything as it was, when anything fails; so does an interruption.
    """
    with stack.being_changed(), stack.management() as management:
        old = check_plan(stack, management, plan)
        workers = plan.workers or len(old.workers)
        expected = None
        if plan.min_agreement is not None:
            with stack.inference(old.model, old.version) as client:
                expected = answers(client, plan.pictures)
        switched = False
        name = plan.archive.put_into_store(stack, plan.model)
        try:
            report(f"Registering {plan.model} {plan.archive.version} beside {old.version} ...")
            management.register(name, model=plan.model)
            new = find_version(management, plan.model, plan.archive.version)
            # One worker shows whether the archive works at all.
            start_or_restore(stack, management, new, 1)
            comparison = None
            with stack.inference(new.model, new.version) as client:
                if expected is not None and plan.min_agreement is not None:
                    comparison = compare(expected, answers(client, plan.pictures))
                    report(f"  {comparison}")
                    _require(comparison, plan.min_agreement, new)
                start_or_restore(stack, management, find_version(management, new.model, new.version), workers)
                report(f"  {workers} of {workers} workers ready; warming up ...")
                warm_up(client, plan.pictures, workers)
                web.wait_until_ready(stack, new.model, new.version)
                confirm(f"Make {new} the default in place of {old.version}?")
                switched = True
                management.set_default(new.model, new.version)
                web.wait_until_default(stack, new.model, new.version)
                report(f"{new} is the default now.")
                # A worker that ends under the first real work shows here.
                warm_up(client, plan.pictures, workers)
                management.wait_until_ready(new.model, new.version, workers=workers, deadline_s=1.0)
        except BaseException:
            try:
                report(f"Undoing: {old} keeps answering, {plan.archive.version} is removed ...")
            finally:  # even where nobody reads the report any more
                _undo(stack, management, plan, old, name, switched=switched, report=report)
            raise
        _settle(stack, management, plan, old, report)
        return Deployed(plan.model, new.version, old.version, workers, comparison, not plan.remove_old)


def _require(comparison: Comparison, min_agreement: float, new: ModelVersion) -> None:
    objection = comparison.objection(min_agreement)
    if objection is not None:
        raise MarserveError(
            f"{new} does not become the default: {objection}. If that is what you want, give --no-compare, or "
            "--min-agreement with a lower share."
        )


def _undo(
    stack: RunningStack,
    management: ManagementClient,
    plan: Plan,
    old: ModelVersion,
    name: str,
    *,
    switched: bool,
    report: Report,
) -> None:
    """Raises nothing that a person could put right: the failure that led here is to be told."""
    try:
        if switched:
            management.set_default(old.model, old.version)
            web.wait_until_default(stack, old.model, old.version)
        for listed in list_versions(management, plan.model):
            if listed.version == plan.archive.version:
                retire(stack, management, listed)
        remove_from_store(stack, name)
    except (ClientError, MarserveError) as exc:
        report(f"  {exc}")


def _settle(stack: RunningStack, management: ManagementClient, plan: Plan, old: ModelVersion, report: Report) -> None:
    """Keep what a rollback needs, and no more. The new version answers already: nothing here undoes that."""
    earlier = read_before(stack, plan.model)
    write_before(stack, plan.model, None if plan.remove_old else Before(old.version, len(old.workers)))
    left = {listed.version: listed for listed in list_versions(management, plan.model) if not listed.is_default}
    try:
        if earlier is not None and earlier.version in left and earlier.version != old.version:
            report(f"Removing {left[earlier.version]}, which nothing goes back to any more ...")
            retire(stack, management, left[earlier.version])
        if plan.remove_old:
            report(f"Removing {old} once its last pictures are answered ...")
            retire(stack, management, left[old.version])
        else:
            keep_for_rollback(management, left[old.version], report)
    except (ClientError, MarserveError) as exc:
        report(f"  {exc}")
        report("  The new version is in place; only this clearing up is left, and manage.py status shows of what.")
