"""Whoever changes a stack first settles what the one before left undone.

The record says what is deployed. A change that was interrupted before the record said so is undone, one that was
interrupted after it is finished: in both cases TorchServe comes to serve what the record says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from marserve.errors import MarserveError
from marserve.manage.change import Change, Confirm, always_yes, one_of
from marserve.manage.draining import keep_for_rollback, make_default, remove
from marserve.manage.running_stack import RunningStack
from marserve.manage.scaling import set_workers
from marserve.paths import command
from marserve.stack.deployments import DeployedModel, PendingChange
from marserve.system import processes
from marserve.system.files import locked
from marserve.terminal import Report, complain
from marserve.torchserve.models import ModelVersion
from marserve.web.rollout.files import Order

#: Seconds to wait for another command that is changing the same stack.
LOCK_S = 600.0


@contextmanager
def changing(stack: RunningStack, *, confirm: Confirm, report: Report, lock_s: float = LOCK_S) -> Iterator[Change]:
    """Keep other commands from changing ``stack``; undo what was done where the body fails or is interrupted.

    Raises MarserveError, with who it is and how to end it, where another one is still at work after ``lock_s`` seconds;
    0 is for those that come again by themselves, and for whose work nobody waits long.
    """
    lock = stack.run_directory.change_lock

    def on_wait() -> None:
        if lock_s:
            complain(f"Waiting for {_who_changes(stack)} ...")

    with ExitStack() as held:
        try:
            held.enter_context(locked(lock, on_wait=on_wait, timeout_s=lock_s))
        except MarserveError as exc:
            raise MarserveError(
                f"After {lock_s:.0f} seconds this stack is still changed by {_who_changes(stack)}."
            ) from exc
        _sign(lock, of_command=lock_s > 0)
        management = held.enter_context(stack.management())
        settle(Change(stack, management, always_yes, report))
        change = Change(stack, management, confirm, report)
        try:
            yield change
        except BaseException:
            change.undo_all()
            raise
        change.finish()


def _sign(lock: Path, *, of_command: bool) -> None:
    """Say in ``lock``, which this process holds, who does. Nobody is to be told to end the stack's own processes."""
    with suppress(OSError):  # a full disk: it says nothing then, since it is emptied first
        lock.write_text(
            json.dumps(asdict(processes.record("command", os.getpid()))) if of_command else "", encoding="utf-8"
        )


def under_way(stack: RunningStack) -> str:
    """What the record and the order for live traffic say of the change that is being made; empty: nothing."""
    try:
        known = stack.store.read()
    except MarserveError:
        return ""
    if known is None or known.pending is None:
        return ""
    with suppress(OSError, ValueError):
        order = Order.read(stack.run_directory.rollout)
        if order is not None and order.is_valid:
            share = f"{order.share * 100:.3g} % of the live pictures"
            return f"{known.pending}, {order.candidate} on trial as {order.mode} with {share}"
    return str(known.pending)


def _who_changes(stack: RunningStack) -> str:
    """The command that holds the change lock, and how to end it."""
    doing = f" ({change})" if (change := under_way(stack)) else ""
    with suppress(OSError, ValueError, TypeError):
        holder = processes.ProcessRecord(**json.loads(stack.run_directory.change_lock.read_text(encoding="utf-8")))
        if processes.running(holder) is not None:
            told = f"process {holder.pid}, and `kill {holder.pid}` ends it and undoes what it did"
            return f"another command that changes this stack{doing}: {told}"
    return f"another command that changes this stack{doing}"


def settle_interrupted(stack: RunningStack, report: Report) -> bool:
    """Settle what a command left that was killed; answers whether there was such a thing, and it is settled by now.

    For whoever stays with the stack: it waits for no lock, and for nothing where nothing was interrupted; otherwise it
    may take a minute. Raises MarserveError where it does not succeed.
    """
    if not is_interrupted(stack):
        return False
    with changing(stack, confirm=always_yes, report=report, lock_s=0.0):
        return True


def is_interrupted(stack: RunningStack) -> bool:
    """Whether a change is on record that nobody is at work on."""
    record = stack.store.read()
    if record is None or record.pending is None:
        return False
    try:
        with locked(stack.run_directory.change_lock, timeout_s=0.0):
            record = stack.store.read()
            return record is not None and record.pending is not None
    except MarserveError:  # somebody is at work
        return False


def settle(change: Change) -> None:
    """Undo or finish what is on record as pending, under the stack's change lock.

    Raises MarserveError where another version than the one on record stays the default; what else cannot be settled is
    reported.
    """
    record = change.stack.store.read()
    if record is None or (pending := record.pending) is None:
        return
    doing = "Finishing" if pending.committed else "Undoing"
    change.report(f"The {pending} was interrupted. {doing} it ...")
    model = record.models.get(pending.model)
    versions = change.management.describe_all(pending.model)
    if model is not None:
        _restore_default(change, model, versions)
    try:
        _clear_up(change, pending, model, versions)
    except MarserveError as exc:
        change.report(f"  Not all of it could be cleared up, see {command('status')}: {exc}")
    change.is_final()
    change.finish()


def _restore_default(change: Change, model: DeployedModel, versions: list[ModelVersion]) -> None:
    default = one_of(versions, None)
    if default.version != model.current.version:
        make_default(change, one_of(versions, model.current.version), instead_of=default)


def _clear_up(
    change: Change, pending: PendingChange, model: DeployedModel | None, versions: list[ModelVersion]
) -> None:
    listed = {version.version: version for version in versions}
    if pending.committed:
        for version in pending.removes:
            if version in listed:
                remove(change, listed[version])
            change.stack.store.remove(pending.model, version)
        if model is not None and model.before is not None and model.before.version in listed:
            keep_for_rollback(change, listed[model.before.version])
        return
    touched = listed.get(pending.version)
    if pending.workers == 0:
        if touched is not None:
            remove(change, touched)
        change.stack.store.remove(pending.model, pending.version)
    elif touched is not None and len(touched.workers) != pending.workers:
        set_workers(change, touched, pending.workers)
