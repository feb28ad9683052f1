"""The loop around the processes of a running stack: look at each, decide by ``policy``, end it or start it again.

What may take long, such as asking a service that hangs, is done in threads of its own, so that the loop never waits
and nothing else is late because of one service.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from logging.handlers import RotatingFileHandler
from pathlib import Path
from queue import SimpleQueue
from threading import Event

import psutil

from marserve.errors import MarserveError
from marserve.manage.running_stack import RunningStack
from marserve.stack.restarts import Restart, Restarts
from marserve.stack.run_directory import RunDirectory, State
from marserve.stack.services import Service
from marserve.stack.torchserve import TorchServe
from marserve.supervision.kept import Kept, ServiceProcess
from marserve.supervision.notify import Notifier
from marserve.supervision.policy import Act, Phase
from marserve.supervision.workers import WorkerWatch
from marserve.system.machine import out_of_memory_kills
from marserve.system.processes import ProcessRecord, kill_processes, record, running
from marserve.terminal import say
from marserve.web.logs import FIELDS, JsonFormatter

#: Of the whole package: what fails in the threads stands in the same log.
LOGGER = logging.getLogger(__package__)

#: Seconds between two looks at all services.
TICK_S = 0.25
#: Seconds between two looks at whether another supervisor has taken over.
OWNER_S = 2.0
#: The largest log; one before it is kept.
LOG_BYTES = 5_000_000


class Supervisor:
    """Keeps the services of one stack running."""

    def __init__(
        self,
        state: State,
        services: Sequence[tuple[Service, ServiceProcess]],
        run_directory: RunDirectory,
        notifier: Notifier,
        on_ready: Callable[[], object] = lambda: None,
    ) -> None:
        """``services`` are those of ``state``, which it writes down anew with each restart.

        ``on_ready`` is called once, when all of them work.
        """
        self.state = state
        self.restarts = Restarts.read(run_directory.supervision)
        self._run_directory = run_directory
        self._notifier = notifier
        self._on_ready = on_ready
        self._ended = Event()
        self._kept = [Kept(service, process, self._ended) for service, process in services]
        self._worker_restarts: SimpleQueue[Restart] = SimpleQueue()
        self._memory_kills = out_of_memory_kills()
        self._is_written = False
        self._owner_at_s = 0.0
        self._is_ready = False
        #: What the system refused with the last look.
        self._refused = ""

    def run(self, stopping: Event) -> bool:
        """Look after the services until ``stopping`` is set; answers whether they are still this supervisor's."""
        WorkerWatch(self._healthy_torchserve, self._stack, self._worker_restarts.put, self._tell, self._ended).start()
        with _log_to(self._run_directory.logs / "supervisor.log"):
            while not stopping.wait(TICK_S) and self._look():
                pass
        self._ended.set()
        return self._is_owner()

    def _look(self) -> bool:
        """``tick``; where the system refuses something for now, such as another open file, without a sign of life."""
        try:
            goes_on = self.tick()
        except (OSError, psutil.Error) as exc:
            if str(exc) != self._refused:
                self._refused = str(exc)
                self._tell(f"The services cannot be looked after: {exc}.")
            return True
        self._refused = ""
        return goes_on

    def tick(self) -> bool:
        """One look at everything; whether to go on."""
        kills = out_of_memory_kills()
        for kept in self._kept:
            self._keep(kept, for_memory=kills > self._memory_kills)
        self._memory_kills = kills
        while not self._worker_restarts.empty():
            self._note_worker(self._worker_restarts.get())
        if time.monotonic() >= self._owner_at_s or not self._is_written:
            self._owner_at_s = time.monotonic() + OWNER_S
            if not self._is_owner():
                self._tell("Another supervisor has taken over.")
                return False
            self._write()
            self._keep_logs_short()
        away = [kept for kept in self._kept if kept.watched.phase is not Phase.HEALTHY]
        if not away and not self._is_ready:
            self._is_ready = True
            with suppress(OSError):  # where nobody reads what is said
                self._on_ready()
            self._notifier.ready()
        told = [f"{kept.service.name} is being restarted: {kept.watched.reason}" for kept in away]
        self._notifier.status(
            "; ".join(told) or f"All services work; restarts so far: {sum(self.restarts.counts.values())}"
        )
        self._notifier.alive(works=not away)
        return True

    def note(self, restart: Restart) -> None:
        """Count a restart, and have it written down."""
        self.restarts.add(restart)
        self._is_written = False

    def _keep(self, kept: Kept, *, for_memory: bool) -> None:
        now_s, before = time.monotonic(), kept.watched.phase
        act = kept.watched.step(now_s, kept.look(for_memory=for_memory))
        if act is Act.END:
            self._end(kept)
        elif act is Act.START:
            self._start(kept)
        elif before is Phase.STARTING and kept.watched.phase is Phase.HEALTHY and kept.restart is not None:
            kept.restart.seconds = now_s - kept.watched.failed_at_s
            self._is_written = False
            name = kept.service.name
            self._tell(f"{name[0].upper()}{name[1:]} is back after {kept.restart.seconds:.1f} s.", kept.restart)

    def failed(self, kept: Kept, reason: str) -> None:
        """Have a service started that was found gone."""
        kept.watched.fail(time.monotonic(), reason)
        self._end(kept)

    @property
    def kept(self) -> Sequence[Kept]:
        return self._kept

    def _end(self, kept: Kept) -> None:
        reason = kept.watched.reason
        if complaint := _last_line(kept.service.reason()):
            reason += f"; the last in its log: {complaint}"
        process = running(kept.process.record)
        kill_processes([] if process is None else [process])
        if kept.process.child is not None:
            kept.process.child.poll()  # no zombie
        with suppress(OSError):  # the next start says what is wrong there
            kept.service.clear()
        self._note_failure(kept, reason)

    def _start(self, kept: Kept) -> None:
        try:
            child = kept.service.start()
            kept.process = ServiceProcess(record(kept.service.name, child.pid), child)
        except (OSError, MarserveError, psutil.Error) as exc:
            kept.watched.fail(time.monotonic(), f"it could not be started: {exc}")
            self._note_failure(kept, kept.watched.reason)
            return
        kept.watched.started(time.monotonic())
        processes = [one if one.name != kept.service.name else kept.process.record for one in self.state.processes]
        self.state = replace(self.state, processes=processes)
        self._is_written = False

    def _note_failure(self, kept: Kept, reason: str) -> None:
        kept.restart = Restart(kept.service.label, reason, kept.watched.attempt)
        self.note(kept.restart)
        wait_s = kept.watched.due_s - time.monotonic()
        when = f"in {wait_s:.0f} s" if wait_s >= 1 else "now"
        name = kept.service.name
        self._tell(f"{name[0].upper()}{name[1:]} is started again {when}: {reason}.", kept.restart)

    def _note_worker(self, restart: Restart) -> None:
        if not any(restart is known for known in self.restarts.latest):
            self.note(restart)
        self._is_written = False
        now = "is replaced" if restart.seconds is None else f"was replaced in {restart.seconds:.1f} s"
        self._tell(f"A worker {now}: {restart.reason}.", restart)

    def _healthy_torchserve(self) -> ProcessRecord | None:
        for kept in self._kept:
            if isinstance(kept.service, TorchServe) and kept.watched.phase is Phase.HEALTHY:
                return kept.process.record
        return None

    def _stack(self) -> RunningStack:
        return RunningStack(self._run_directory, self.state)

    def _write(self) -> None:
        """Write down what has changed; again with the next look where the disk is full."""
        if not self._is_written:
            with suppress(OSError):
                self.state.write(self._run_directory.state)
                self.restarts.supervisor = self.state.serve
                self.restarts.write(self._run_directory.supervision)
                self._is_written = True

    def _keep_logs_short(self) -> None:
        for kept in self._kept:
            with suppress(OSError):
                kept.service.keep_log_short()

    def _is_owner(self) -> bool:
        written = State.read(self._run_directory.state)
        return written is None or written.serve == self.state.serve

    @staticmethod
    def _tell(message: str, restart: Restart | None = None) -> None:
        fields = {} if restart is None else {"service": restart.service, "attempt": restart.attempt}
        LOGGER.warning("%s", message, extra={FIELDS: fields})
        with suppress(OSError):  # where nobody reads it any more
            say(message)


class _Log(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A full disk stops nothing."""


@contextmanager
def _log_to(file: Path) -> Iterator[None]:
    """Write what happens here into ``file``, in the form of the web service's log."""
    handler = _Log(file, maxBytes=LOG_BYTES, backupCount=1, delay=True)
    handler.setFormatter(JsonFormatter())
    LOGGER.handlers = [handler]
    LOGGER.propagate = False
    try:
        yield
    finally:
        LOGGER.handlers = []
        handler.close()


def _last_line(reason: str) -> str:
    """The last line of what a service says for itself; empty where that is that it says nothing."""
    last = reason.strip().splitlines()[-1].strip()
    return "" if last.endswith("no reason.") else last
