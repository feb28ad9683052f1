"""``marserve deploy`` and ``marserve rollback``: another version becomes the default, and which one it was before.

A new version is checked beside the old one first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from marserve.archive.contents import ArchiveError, read_json
from marserve.client.inference import InferenceClient
from marserve.errors import MarserveError, StopRequestedError
from marserve.manage.change import Change, one_of
from marserve.manage.comparison import Comparison, answers, compare, warm_up
from marserve.manage.draining import keep_for_rollback, make_default, put_on_record, remove
from marserve.manage.rollout import LivePlan, decide
from marserve.manage.running_stack import RunningStack
from marserve.manage.scaling import check_memory, set_workers, start_workers
from marserve.manage.verdict import Verdict
from marserve.paths import command
from marserve.stack.deployments import DeployedVersion, PendingChange, switched
from marserve.torchserve.models import ModelVersion
from marserve.torchserve.worker_process import inspect_workers

MANIFEST = "MAR-INF/MANIFEST.json"
#: What becomes part of a file name and of addresses.
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


def archive_version(path: Path) -> str:
    """By its manifest. Raises MarserveError where ``path`` is no archive, or has a version that no address can hold."""
    if not path.exists():
        raise MarserveError(f"{path} does not exist.")
    build = command("build --version 2.0 --output DIR")
    try:
        version = read_json(path, MANIFEST)["model"]["modelVersion"]
    except ArchiveError as exc:
        raise MarserveError(
            f"{path} is no TorchServe archive that names its version: it {exc}. Build one: {build}"
        ) from exc
    except (KeyError, TypeError) as exc:
        raise MarserveError(f"{path} is no TorchServe archive that names its version. Build one: {build}") from exc
    if not _SAFE.fullmatch(str(version)):
        raise MarserveError(f"{path} has version {version!r}: build it with one such as 2.0.")
    return str(version)


@dataclass(frozen=True)
class Plan:
    model: str
    archive: Path
    version: str
    #: For the warm-up and the comparison; at least one.
    pictures: Sequence[Path]
    #: Share of the pictures on which both versions must agree; None: no comparison.
    min_agreement: float | None
    #: None: as many as the old version has.
    workers: int | None
    remove_old: bool
    #: Go on though the memory is short.
    force: bool
    #: How live traffic decides; None: it does not.
    live: LivePlan | None = None


@dataclass(frozen=True)
class Deployed:
    model: str
    version: str
    version_before: str
    workers: int
    comparison: Comparison | None
    #: Whether ``rollback`` can bring the version before back.
    can_roll_back: bool
    #: What live traffic has shown.
    verdict: Verdict | None = None


def deploy(change: Change, plan: Plan) -> Deployed:
    """Make the version in the archive the default one of its model. Raises MarserveError.

    The removal of versions that nothing goes back to, which cannot be undone, comes last: by then the new one stays.
    """
    versions = change.versions(plan.model)
    check_plan(change.stack, plan, versions)
    old = one_of(versions, None)
    workers = plan.workers or len(old.workers)
    expected = None
    if plan.min_agreement is not None:
        with change.stack.inference(old.model, old.version) as client:
            expected = answers(client, plan.pictures)
    change.report(f"Registering {plan.model} {plan.version} beside {old.version} ...")
    # One worker shows whether the archive works at all.
    added, registered = register(change, plan)
    new = start_workers(change, registered, 1)
    comparison = None
    with change.stack.inference(new.model, new.version) as client:
        if expected is not None and plan.min_agreement is not None:
            comparison = compare(expected, answers(client, plan.pictures))
            change.report(f"  {comparison}")
            _require(comparison, plan.min_agreement, new)
        new = start_workers(change, new, workers)
        change.report(f"  {workers} of {workers} workers ready; warming up ...")
        warm_up(client, plan.pictures, workers)
        change.stack.wait_until_ready(new.model, new.version)
        verdict = decide(change, plan.live, old, new)
        switch(change, old, new, client, plan.pictures)
    superseded = _put_on_record(change, plan, added, old, versions)
    if not plan.remove_old:
        keep_for_rollback(change, old)
    change.is_final()
    _clear_up(change, new, superseded)
    return Deployed(plan.model, new.version, old.version, workers, comparison, not plan.remove_old, verdict)


def check_plan(stack: RunningStack, plan: Plan, versions: Sequence[ModelVersion]) -> None:
    """Raise MarserveError for everything that can be known to be wrong beforehand."""
    if not stack.allows_registration:
        raise MarserveError(
            "This stack takes no new archives while it runs. Start it again as it was, with --model-api:\n"
            f"  {command('stop')} && {command('serve --detach --model-api')}"
        )
    if stack.store.read() is None:
        raise MarserveError(
            "An earlier version of this program started the stack, and nothing lasts there. Start it again:\n"
            f"  {command('stop')} && {command('serve --detach --model-api')}"
        )
    if plan.version in {listed.version for listed in versions}:
        raise MarserveError(
            f"{plan.model} {plan.version} is served already. Give the new archive another version:\n"
            "  " + command(f"build ... --version {_next_version(versions)} --output DIR")
        )
    old = one_of(versions, None)
    if not old.ready_workers:
        raise MarserveError(f"{old} has no READY worker: bring it back first, with {command('recover')} or scale.")
    if not plan.force:
        check_memory(plan.workers or len(old.workers), inspect_workers(old, stack.run_directory.logs))


def _next_version(versions: Sequence[ModelVersion]) -> str:
    first = versions[-1].version.partition(".")[0]
    return f"{int(first) + 1}.0" if first.isdecimal() else "2.0"


def register(change: Change, plan: Plan) -> tuple[DeployedVersion, ModelVersion]:
    """Put the archive into the store and register it: the new version, without workers. Raises MarserveError."""
    model, version = plan.model, plan.version

    def undo() -> None:
        # How far it has come, and what its workers are at, only TorchServe knows.
        for listed in change.versions(model):
            if listed.version == version:
                remove(change, listed)
        change.stack.store.remove(model, version)

    change.begin(PendingChange("deployment", model, version, workers=0))
    change.on_failure(f"removing {model} {version}", undo)
    added = change.stack.store.add(plan.archive, model, version)
    change.management.register(added.archive, model=model)
    return added, change.management.describe(model, version)


def _require(comparison: Comparison, min_agreement: float, new: ModelVersion) -> None:
    objection = comparison.objection(min_agreement)
    if objection is not None:
        raise MarserveError(
            f"{new} does not become the default: {objection}. If that is what you want, give --no-compare, or "
            "--min-agreement with a lower share."
        )


def _put_on_record(
    change: Change, plan: Plan, added: DeployedVersion, old: ModelVersion, versions: Sequence[ModelVersion]
) -> list[ModelVersion]:
    """Deploy the new version for good; answers those that nothing goes back to any more."""
    was = change.on_record(old)
    record = change.stack.store.read()
    entry = record.models.get(plan.model) if record is not None else None
    kept = {plan.version} if plan.remove_old else {plan.version, old.version}
    named = {version.version for version in entry.versions} if entry is not None else set()
    superseded = [one for one in versions if one.version in named | {old.version} and one.version not in kept]
    new = replace(added, workers=plan.workers or was.workers, by_deploy=True)
    model = switched(new, was, len(old.workers))
    if plan.remove_old:
        model = replace(model, before=None)
    change.commit(plan.model, lambda _: model, removes=[one.version for one in superseded])
    return superseded


def _clear_up(change: Change, new: ModelVersion, superseded: Sequence[ModelVersion]) -> None:
    try:
        for listed in superseded:
            change.report(f"Removing {listed}, which nothing goes back to any more, once it is idle ...")
            remove(change, listed)
    except (MarserveError, StopRequestedError) as exc:
        change.report(f"{new} is in place. Only this clearing up is left, and {command('status')} shows of what.")
        if isinstance(exc, StopRequestedError):
            raise
        change.report(f"  {exc}")


@dataclass(frozen=True)
class RolledBack:
    """The change that was made; the same command takes it back."""

    model: str
    version: str
    version_before: str
    workers: int


def roll_back(change: Change, model: str, pictures: Sequence[Path]) -> RolledBack:
    """Give the version before its workers back, and make it the default. Raises MarserveError where there is none."""
    versions = change.versions(model)
    current = one_of(versions, None)
    record = change.stack.store.read()
    entry = record.models.get(model) if record is not None else None
    before = entry.before if entry is not None else None
    target = next((listed for listed in versions if before is not None and listed.version == before.version), None)
    if before is not None and target is None:
        raise MarserveError(
            f"{model} {before.version} is on record, but TorchServe could not load it: see {command('logs --errors')}, "
            "or deploy its archive again under another version."
        )
    if before is None or target is None or target.is_default:
        raise MarserveError(
            f"There is no version of {model} to go back to: deploy keeps one, unless --remove-old is given. "
            f"Registered: {', '.join(listed.version for listed in versions)}."
        )
    change.confirm(f"Make {target} the default in place of {current.version}?")
    change.begin(PendingChange("rollback", model, target.version, len(target.workers)))
    workers = max(before.had or 0, len(target.workers))
    change.report(f"Giving {target} its {workers} workers ...")
    target = set_workers(change, target, workers)
    with change.stack.inference(model, target.version) as client:
        warm_up(client, pictures, workers)
        change.stack.wait_until_ready(model, target.version)
        switch(change, current, target, client, pictures)
    put_on_record(change, target, instead_of=current)
    keep_for_rollback(change, current)
    return RolledBack(model, target.version, current.version, workers)


def switch(
    change: Change, old: ModelVersion, new: ModelVersion, client: InferenceClient, pictures: Sequence[Path]
) -> None:
    """Make ``new`` the default, and see that all its workers stand its work. Raises MarserveError."""
    make_default(change, new, instead_of=old)
    # A worker that ends under the first real work shows here.
    warm_up(client, pictures, len(new.workers))
    change.management.wait_until_ready(new.model, new.version, workers=len(new.workers), deadline_s=1.0)
