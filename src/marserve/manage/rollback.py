"""``marserve rollback``: which version a model had before, and how that becomes the default again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from marserve.client.inference import InferenceClient
from marserve.errors import MarserveError
from marserve.manage.change import Change, Confirm, Report, changing, one_of
from marserve.manage.comparison import warm_up
from marserve.manage.draining import keep_for_rollback, make_default
from marserve.manage.running_stack import RunningStack
from marserve.manage.scaling import set_workers
from marserve.system.files import replace_text
from marserve.torchserve.models import ModelVersion

#: In the stack's model store, since both end with the stack: a start serves what its options say.
HISTORY = "deployments.json"


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
    with changing(stack, confirm=confirm, report=report) as change:
        versions = change.versions(model)
        current = one_of(versions, None)
        before = read_before(stack, model)
        target = next((listed for listed in versions if before is not None and listed.version == before.version), None)
        if before is None or target is None or target.is_default:
            raise MarserveError(
                f"There is no version of {model} to go back to: deploy keeps one, unless --remove-old is given, and a "
                f"stop of the stack forgets it. Registered: {', '.join(listed.version for listed in versions)}."
            )
        confirm(f"Make {target} the default in place of {current.version}?")
        workers = max(before.workers, len(target.workers))
        report(f"Giving {target} its {workers} workers ...")
        target = set_workers(change, target, workers)
        with stack.inference(model, target.version) as client:
            warm_up(client, pictures, workers)
            stack.wait_until_ready(model, target.version)
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
