"""One change to a running stack: the lock that keeps others off, the steps that a person confirms, and the way back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from marserve.arguments import did_you_mean
from marserve.client.errors import Refused
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.manage.running_stack import RunningStack
from marserve.paths import command
from marserve.system.files import locked
from marserve.system.processes import stop_signals_ignored
from marserve.terminal import Report, complain
from marserve.torchserve.models import ModelVersion

#: Seconds to wait for another command that is changing the same stack.
LOCK_S = 600.0

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

    def is_final(self) -> None:
        """From here on nothing that was done so far is undone."""
        self._way_back.pop_all()

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
        except MarserveError as exc:
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


@contextmanager
def changing(stack: RunningStack, *, confirm: Confirm, report: Report) -> Iterator[Change]:
    """Keep other commands from changing ``stack``; undo what was done where the body fails or is interrupted."""
    on_wait = lambda: complain("Waiting for another command that changes this stack ...")  # noqa: E731
    with locked(stack.run_directory.change_lock, on_wait=on_wait, timeout_s=LOCK_S), stack.management() as management:
        change = Change(stack, management, confirm, report)
        try:
            yield change
        except BaseException:
            change.undo_all()
            raise
