"""TorchServe's workers, of which it notices only that their processes end.

One that is stopped is ended, so that TorchServe starts another. Those that TorchServe has given up are replaced as
``marserve recover`` does.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread

import psutil

from marserve.errors import MarserveError
from marserve.manage.change import Change, always_yes
from marserve.manage.draining import wait_until_idle
from marserve.manage.running_stack import RunningStack
from marserve.manage.scaling import CONFIRM_S, dead_workers, replace_dead_workers, workers_to_keep
from marserve.manage.settling import changing, settle_interrupted
from marserve.stack.restarts import Restart
from marserve.supervision.policy import StoppedProcesses
from marserve.system.processes import ProcessRecord, is_stopped, running
from marserve.terminal import Report
from marserve.torchserve.worker_process import find_worker

LOGGER = logging.getLogger(__name__)

#: Seconds between two looks at processes, and between two at what TorchServe lists while a worker is awaited.
LOOK_S = 0.25
INSPECT_S = 1.0
#: Seconds between two replacements of dead workers, by how many there have been in a row.
REPLACE_AFTER_S = (0.0, 10.0, 30.0, 60.0, 120.0, 300.0)
#: Seconds without a dead worker after which earlier ones no longer count.
RESET_S = 60.0
#: Seconds until what a command left half done is tried again, where it could not be settled.
SETTLE_AGAIN_S = 60.0
#: Seconds to wait for a moment without work, where workers that do it would have to be restarted as well.
QUIET_S = 5.0
#: What restarts of workers are counted as.
LABEL = "worker"


@dataclass
class ReplacementLimits:
    """When dead workers may be replaced: found dead twice, and ever more rarely where that does not last."""

    attempts: int = 0
    _due_s: float = 0.0
    _dead_at_s: float = float("-inf")
    _found: frozenset[tuple[str, ...]] = field(default_factory=frozenset)

    def step(self, now_s: float, dead: frozenset[tuple[str, ...]]) -> bool:
        """Whether to replace ``dead`` now, workers by model, version and number. Call every ``CONFIRM_S`` seconds."""
        is_confirmed, self._found = bool(dead & self._found), dead
        if dead:
            self._dead_at_s = now_s
        elif now_s - self._dead_at_s > RESET_S:
            self.attempts, self._due_s = 0, now_s
        if not is_confirmed or now_s < self._due_s:
            return False
        self.attempts += 1
        self._due_s = now_s + REPLACE_AFTER_S[min(self.attempts, len(REPLACE_AFTER_S) - 1)]
        return True


class WorkerWatch:
    """Looks after the workers, in two threads: what is stopped is ended while another one takes its time to start."""

    def __init__(
        self,
        torchserve: Callable[[], ProcessRecord | None],
        stack: Callable[[], RunningStack],
        tell: Callable[[Restart], None],
        report: Report,
        ended: Event,
    ) -> None:
        """``torchserve``: its process while it is healthy. ``tell`` is called with each restart, and again when done.

        ``report`` is given what was settled of a change that a command had left half done; ``ended`` stops all of it.
        """
        self._torchserve = torchserve
        self._stack = stack
        self._tell = tell
        self._report = report
        self._ended = ended
        self._stopped = StoppedProcesses()
        self._limits = ReplacementLimits()
        #: Ended here and not yet seen to be back, with the time of that.
        self._awaited: list[tuple[Restart, float]] = []
        self._processes: list[psutil.Process] = []
        self._listed_at_s = self._inspected_at_s = self._settle_at_s = float("-inf")

    def start(self) -> None:
        for interval_s, step in ((LOOK_S, self.end_stopped), (INSPECT_S, self.inspect)):
            Thread(target=self._keep, args=(interval_s, step), daemon=True, name=f"workers: {step.__name__}").start()

    def _keep(self, interval_s: float, step: Callable[[float], None]) -> None:
        while not self._ended.wait(interval_s):
            if self._torchserve() is not None:
                self._look(step)

    @staticmethod
    def _look(step: Callable[[float], None]) -> None:
        try:
            step(time.monotonic())
        except OSError:  # what it takes to look is not there now
            pass
        except Exception:
            LOGGER.exception("A bug failed this look at the workers")

    def end_stopped(self, now_s: float) -> None:
        """Have TorchServe start another in place of a worker that is stopped."""
        server = self._torchserve()
        if server is not None and now_s - self._listed_at_s >= CONFIRM_S:
            self._processes, self._listed_at_s = _workers_of(server), now_s
        stopped = {worker.pid: worker for worker in self._processes if is_stopped(worker)}
        for pid in self._stopped.step(now_s, stopped):
            with contextlib.suppress(psutil.NoSuchProcess):
                stopped[pid].kill()
            restart = Restart(LABEL, f"worker process {pid} was stopped (SIGSTOP)")
            self._awaited.append((restart, now_s))
            self._tell(restart)

    def inspect(self, now_s: float) -> None:
        """See who is back, settle what a command left undone, and replace dead workers where it is time."""
        with contextlib.suppress(MarserveError):  # TorchServe does not answer, or another command changes it
            self._inspect(now_s)

    def _inspect(self, now_s: float) -> None:
        stack = self._stack()
        with stack.management() as management:
            if self._awaited and all(one.ready_workers == len(one.workers) for one in management.describe_all()):
                self._note_return()
            if now_s < self._inspected_at_s + CONFIRM_S:
                return
            self._inspected_at_s = now_s
            self._settle(stack, now_s)
            found = dead_workers(management, stack.run_directory.logs)
        dead = frozenset(
            (version.model, version.version, one.id)
            for version, workers in found
            for one in workers
            if one.state == "dead"
        )
        if self._limits.step(now_s, dead):
            with changing(stack, confirm=always_yes, report=_say_nothing, lock_s=0.0) as change:
                self._replace(change)

    def _settle(self, stack: RunningStack, now_s: float) -> None:
        if now_s < self._settle_at_s:
            return
        try:
            settle_interrupted(stack, self._report)
        except MarserveError as exc:
            self._settle_at_s = now_s + SETTLE_AGAIN_S
            self._report(f"That was not settled, and is tried again in {SETTLE_AGAIN_S:.0f} s: {exc}")

    def _note_return(self) -> None:
        while self._awaited:
            restart, since_s = self._awaited.pop()
            restart.seconds = time.monotonic() - since_s
            self._tell(restart)

    def _replace(self, change: Change) -> None:
        for version, workers in dead_workers(change.management, change.stack.run_directory.logs):
            works = any(worker.state == "ready" for worker in workers)
            if works and not workers_to_keep(workers) and not wait_until_idle(change, version, QUIET_S):
                continue  # callers would lose more by it than by the dead worker
            dead = ", ".join(worker.id for worker in workers if worker.state == "dead")
            restart = Restart(LABEL, f"TorchServe had given up worker {dead} of {version}", self._limits.attempts)
            self._tell(restart)
            begun_s = time.monotonic()
            try:
                replace_dead_workers(change, version, workers)
            except MarserveError as exc:
                restart.reason += f", and no other could be started: {exc}"
                self._tell(restart)
                raise
            restart.seconds = time.monotonic() - begun_s
            self._tell(restart)


def _say_nothing(_line: str) -> None:
    """What is done stands in the log as a restart."""


def _workers_of(server: ProcessRecord) -> list[psutil.Process]:
    process = running(server)
    try:
        children = [] if process is None else process.children()
    except psutil.Error:
        return []
    return [child for child in children if find_worker(child.pid) is not None]
