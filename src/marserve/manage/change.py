"""One change to a running stack: what is on record of it, the steps that a person confirms, and the way back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace

from marserve.arguments import did_you_mean
from marserve.client.errors import Refused
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.manage.running_stack import RunningStack
from marserve.paths import command
from marserve.stack.deployments import DeployedModel, DeployedVersion, Deployments, PendingChange
from marserve.system.processes import stop_signals_ignored
from marserve.terminal import Report
from marserve.torchserve.models import ModelVersion

#: Takes the question; returns where the step may be taken, else raises one of the errors below.
Confirm = Callable[[str], None]


class NeedsConsentError(MarserveError):
    """There is no terminal to confirm on, and ``--yes`` was not given."""

    exit_status = 2


class DeclinedError(MarserveError):
    """The answer was no; the step was not taken."""


def always_yes(_question: str) -> None:
    """The answer of ``--yes``."""


def confirm_on_terminal(question: str) -> None:
    """Whatever is not a yes is a no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NeedsConsentError(f"{question} There is no terminal to ask on: give --yes to agree.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DeclinedError("Nothing was changed.")


@dataclass(frozen=True)
class Change:
    """What each step of a command needs; ``on_failure`` collects how the steps so far are undone."""

    stack: RunningStack
    management: ManagementClient
    confirm: Confirm
    report: Report
    _way_back: ExitStack = field(default_factory=ExitStack)
    #: What could not be undone.
    _failed: list[str] = field(default_factory=list)

    def versions(self, model: str) -> list[ModelVersion]:
        """Those of ``model``, in the order of their numbers, as they are now. Raises MarserveError for none."""
        try:
            return self.management.describe_all(model)
        except Refused as exc:
            if exc.status != 404:
                raise
            names = self.management.list_models()
            near = did_you_mean(model, names) or f"; there are: {', '.join(names)}."
            raise MarserveError(f"There is no model {model}{near}") from exc

    def on_failure(self, doing: str, undo: Callable[[], object]) -> None:
        """Have ``undo`` called when a later step fails or is interrupted; ``doing`` says what it does.

        Call this before the step itself: one that was interrupted, or got no answer, may have been carried out. So
        ``undo`` must also work where it was not.
        """
        self._way_back.callback(self._undo, doing, undo)

    def begin(self, pending: PendingChange) -> None:
        """Write down what is about to be done, so that it is undone even where this process is killed.

        Call this before the first step. Raises MarserveError.
        """
        self._way_back.callback(self._forget)
        self.stack.store.update(lambda record: replace(record, pending=pending))

    def commit(
        self, model: str, edit: Callable[[DeployedModel | None], DeployedModel | None], *, removes: Sequence[str] = ()
    ) -> None:
        """Put what is deployed of ``model`` on record: from here on every start serves it.

        ``removes`` are the versions that nothing goes back to any more. Raises MarserveError.
        """
        before, after = self.stack.store.read(), None

        def committed(record: Deployments) -> Deployments:
            nonlocal after
            edited = edit(record.models.get(model))
            pending = record.pending and replace(record.pending, committed=True, removes=tuple(removes))
            after = replace(record if edited is None else record.with_model(model, edited), pending=pending)
            return after

        def restore() -> None:
            """Unless a start has put another one in its place meanwhile, which is not this command's to undo."""
            left = self.stack.store.update(lambda latest: before if before and latest == after else latest)
            if left not in (before, None):
                raise MarserveError("It has been written anew meanwhile.")

        if before is not None:
            self.on_failure("restoring the record of what is deployed", restore)
        self.stack.store.update(committed)

    def on_record(self, listed: ModelVersion) -> DeployedVersion:
        """``listed`` as on record, or as it would be where TorchServe's own API brought it. Raises MarserveError."""
        record = self.stack.store.read()
        model = record.models.get(listed.model) if record is not None else None
        for version in model.versions if model is not None else ():
            if version.version == listed.version:
                return version
        return self.stack.store.describe(listed.archive, listed.version)

    def is_final(self) -> None:
        """From here on nothing that was done so far is undone."""
        self._way_back.pop_all()

    def finish(self) -> None:
        """All was done, or undone. Raises MarserveError."""
        self.stack.store.update(lambda record: replace(record, pending=None))

    def _forget(self) -> None:
        """The last step of the way back. What could not be undone is left to whoever finds it on record."""
        if not self._failed:
            try:
                self.finish()
            except MarserveError as exc:
                self._say(f"  The record still says that a change is under way: {exc}")

    def undo_all(self) -> None:
        """Every step, the last one first, whatever becomes of the others and however often Ctrl-C is pressed."""
        with stop_signals_ignored():
            self._way_back.close()
            if self._failed:
                self._say(f"Not everything could be undone. {self._present_state()}")

    def _undo(self, doing: str, undo: Callable[[], object]) -> None:
        self._say(f"Undoing: {doing} ...")
        try:
            undo()
        except (MarserveError, OSError) as exc:
            self._failed.append(doing)
            self._say(f"  This failed: {exc}")

    def _present_state(self) -> str:
        try:
            versions = self.management.describe_all()
        except MarserveError as exc:
            return f"What state it is in cannot be read ({exc}): see {command('status')}."
        states = [
            f"  {listed}{' (the default)' if listed.is_default else ''}: {listed.ready_workers} of "
            f"{len(listed.workers)} workers READY"
            for listed in versions
        ]
        return "\n".join(["The state now:", *states])

    def _say(self, line: str) -> None:
        with suppress(OSError):  # where nobody reads the report any more
            self.report(line)


def one_of(versions: Sequence[ModelVersion], version: str | None) -> ModelVersion:
    """``version`` among those of a model, the default one for None. Raises MarserveError where there is none."""
    for listed in versions:
        if listed.is_default if version is None else listed.version == version:
            return listed
    names = ", ".join(listed.version for listed in versions)
    raise MarserveError(f"{versions[0].model} has no version {version}; there are: {names}.")
