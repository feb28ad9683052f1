"""``marserve deploy`` and ``marserve rollback``: another version becomes the default, and which one it was before.

A new version is checked beside the old one first.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from marserve.client.inference import InferenceClient
from marserve.errors import MarserveError, StopRequestedError
from marserve.manage.change import Change, one_of
from marserve.manage.comparison import Comparison, answers, compare, warm_up
from marserve.manage.draining import keep_for_rollback, make_default, remove
from marserve.manage.running_stack import RunningStack
from marserve.manage.scaling import check_memory, set_workers, start_workers
from marserve.paths import command
from marserve.system.files import replace_text, replacing
from marserve.torchserve.models import ModelVersion
from marserve.torchserve.worker_process import inspect_workers

MANIFEST = "MAR-INF/MANIFEST.json"
#: In the stack's model store, since both end with the stack: a start serves what its options say.
HISTORY = "deployments.json"
#: What becomes part of a file name and of addresses.
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


def archive_version(path: Path) -> str:
    """By its manifest. Raises MarserveError where ``path`` is no archive, or has a version that no address can hold."""
    if not path.exists():
        raise MarserveError(f"{path} does not exist.")
    try:
        with zipfile.ZipFile(path) as mar:
            version = json.loads(mar.read(MANIFEST))["model"]["modelVersion"]
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as exc:
        raise MarserveError(
            f"{path} is no TorchServe archive that names its version ({exc}): build one with "
            + command("build --version 2.0 --output DIR")
        ) from exc
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


@dataclass(frozen=True)
class Deployed:
    model: str
    version: str
    version_before: str
    workers: int
    comparison: Comparison | None
    #: Whether ``rollback`` can bring the version before back.
    can_roll_back: bool


def deploy(change: Change, plan: Plan) -> Deployed:
    """Make the version in the archive the default one of its model. Raises MarserveError.

    The removal of versions that nothing goes back to, which cannot be undone, comes last: by then the new one stays.
    """
    versions = change.versions(plan.model)
    check_plan(change.stack, plan, versions)
    old, earlier = one_of(versions, None), read_before(change.stack, plan.model)
    workers = plan.workers or len(old.workers)
    expected = None
    if plan.min_agreement is not None:
        with change.stack.inference(old.model, old.version) as client:
            expected = answers(client, plan.pictures)
    change.report(f"Registering {plan.model} {plan.version} beside {old.version} ...")
    # One worker shows whether the archive works at all.
    new = start_workers(change, _register(change, plan), 1)
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
        change.confirm(f"Make {new} the default in place of {old.version}?")
        replace_default(change, old, new, client, plan.pictures)
    if not plan.remove_old:
        keep_for_rollback(change, old)
    change.is_final()
    superseded = [one for one in versions if earlier is not None and one.version == earlier.version and one is not old]
    _clear_up(change, plan, new, [*superseded, *([old] if plan.remove_old else [])])
    return Deployed(plan.model, new.version, old.version, workers, comparison, not plan.remove_old)


def check_plan(stack: RunningStack, plan: Plan, versions: Sequence[ModelVersion]) -> None:
    """Raise MarserveError for everything that can be known to be wrong beforehand."""
    if not stack.allows_registration:
        raise MarserveError(
            "This stack takes no new archives while it runs. Start it again as it was, with --model-api:\n"
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


def _register(change: Change, plan: Plan) -> ModelVersion:
    """The new version, without workers."""
    model, version = plan.model, plan.version
    file = f"{model}-{version}.mar"

    def undo() -> None:
        # How far it has come, and what its workers are at, only TorchServe knows.
        for listed in change.versions(model):
            if listed.version == version:
                remove(change, listed)
        with change.stack.writable_store() as store:
            (store / file).unlink(missing_ok=True)

    change.on_failure(f"removing {model} {version}", undo)
    with (
        change.stack.writable_store() as store,
        replacing(store / file) as copy,
        plan.archive.open("rb") as content,
    ):
        shutil.copyfileobj(content, copy)
    change.management.register(file, model=model)
    return change.management.describe(model, version)


def _require(comparison: Comparison, min_agreement: float, new: ModelVersion) -> None:
    objection = comparison.objection(min_agreement)
    if objection is not None:
        raise MarserveError(
            f"{new} does not become the default: {objection}. If that is what you want, give --no-compare, or "
            "--min-agreement with a lower share."
        )


def _clear_up(change: Change, plan: Plan, new: ModelVersion, superseded: Sequence[ModelVersion]) -> None:
    try:
        if plan.remove_old:
            write_before(change.stack, plan.model, None)
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
    before = read_before(change.stack, model)
    target = next((listed for listed in versions if before is not None and listed.version == before.version), None)
    if before is None or target is None or target.is_default:
        raise MarserveError(
            f"There is no version of {model} to go back to: deploy keeps one, unless --remove-old is given, and a "
            f"stop of the stack forgets it. Registered: {', '.join(listed.version for listed in versions)}."
        )
    change.confirm(f"Make {target} the default in place of {current.version}?")
    workers = max(before.workers, len(target.workers))
    change.report(f"Giving {target} its {workers} workers ...")
    target = set_workers(change, target, workers)
    with change.stack.inference(model, target.version) as client:
        warm_up(client, pictures, workers)
        change.stack.wait_until_ready(model, target.version)
        replace_default(change, current, target, client, pictures)
    keep_for_rollback(change, current)
    return RolledBack(model, target.version, current.version, workers)


def replace_default(
    change: Change, old: ModelVersion, new: ModelVersion, client: InferenceClient, pictures: Sequence[Path]
) -> None:
    """Make ``new`` the default, see that all its workers stand its work, and record ``old`` as the version before."""
    make_default(change, new, instead_of=old)
    # A worker that ends under the first real work shows here.
    warm_up(client, pictures, len(new.workers))
    change.management.wait_until_ready(new.model, new.version, workers=len(new.workers), deadline_s=1.0)
    earlier = read_before(change.stack, new.model)
    change.on_failure(
        "restoring the record of the version before", lambda: write_before(change.stack, new.model, earlier)
    )
    write_before(change.stack, new.model, Before(old.version, len(old.workers)))


@dataclass(frozen=True)
class Before:
    """What answered before the last change, and with how many workers."""

    version: str
    workers: int


def read_before(stack: RunningStack, model: str) -> Before | None:
    """None where nothing was deployed since the stack was started."""
    entry = _read_history(stack).get(model)
    return None if entry is None else Before(str(entry["version"]), int(entry["workers"]))


def write_before(stack: RunningStack, model: str, before: Before | None) -> None:
    """Replace the record of ``model``; None: there is nothing to go back to."""
    history = {name: entry for name, entry in _read_history(stack).items() if name != model}
    if before is not None:
        history[model] = asdict(before)
    with stack.writable_store() as store:
        if history:
            replace_text(store / HISTORY, json.dumps(history, indent=2))
        else:
            (store / HISTORY).unlink(missing_ok=True)


def _read_history(stack: RunningStack) -> dict[str, dict[str, str | int]]:
    try:
        text = (stack.run_directory.model_store / HISTORY).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    history: dict[str, dict[str, str | int]] = json.loads(text)
    return history
