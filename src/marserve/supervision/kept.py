"""One service with its process: what is seen of it."""

from __future__ import annotations

import logging
import subprocess
import time
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread

from marserve.errors import MarserveError
from marserve.stack.restarts import Restart
from marserve.stack.services import Check, Service
from marserve.supervision.policy import Phase, Seen, Watched
from marserve.system.processes import ProcessRecord, how_it_ended, is_stopped, running

LOGGER = logging.getLogger(__name__)

#: Seconds between two looks at whether a service that was started works again.
BACK_S = 0.25
#: By what the results of ``Service.is_back`` are called.
IS_BACK = "is back"


@dataclass(frozen=True)
class ServiceProcess:
    """The process of a service."""

    record: ProcessRecord
    #: None where another supervisor started it: then nobody learns how it ends.
    child: subprocess.Popen[bytes] | None = None

    def how_it_ended(self, *, for_memory: bool) -> str | None:
        """None while it runs."""
        if self.child is not None:
            status = self.child.poll()
            return None if status is None else how_it_ended(status, for_memory=for_memory)
        return None if running(self.record) else "it ended, and how is not known: another supervisor had started it"

    def is_stopped(self) -> bool:
        process = running(self.record)
        return process is not None and is_stopped(process)


class Kept:
    """A service that is kept running."""

    def __init__(self, service: Service, process: ServiceProcess, ended: Event) -> None:
        """``ended`` stops asking it anything."""
        checks = service.checks()
        self.service = service
        self.process = process
        self.watched = Watched(
            service.deadline_s, {check.complaint: check.limit_s for check in checks}, time.monotonic()
        )
        #: The restart that is under way.
        self.restart: Restart | None = None
        self._ended = ended
        #: Of a start that is in vain: its process, and why.
        self._hopeless: tuple[ServiceProcess, str] | None = None
        self._results: SimpleQueue[tuple[ServiceProcess, str, bool]] = SimpleQueue()
        asked = [*checks, Check(IS_BACK, service.is_back, interval_s=BACK_S, limit_s=0)]
        for check in asked:
            Thread(
                target=self._keep_asking, args=(check,), daemon=True, name=f"{service.label}: {check.complaint}"
            ).start()

    def look(self, *, for_memory: bool) -> Seen:
        """``for_memory``: the kernel has ended a process for want of memory since the last look."""
        answers = {}
        while not self._results.empty():
            process, complaint, is_good = self._results.get()
            if process is self.process:  # an answer of the one before it says nothing
                answers[complaint] = is_good
        is_back = answers.pop(IS_BACK, False)
        ended = self.process.how_it_ended(for_memory=for_memory)
        if ended is None and self._hopeless is not None and self._hopeless[0] is self.process:
            ended = self._hopeless[1]
        return Seen(ended, self.process.is_stopped(), is_back, answers)

    def _keep_asking(self, check: Check) -> None:
        asked_in = Phase.STARTING if check.complaint == IS_BACK else Phase.HEALTHY
        while not self._ended.wait(check.interval_s):
            process = self.process
            if self.watched.phase is not asked_in:
                continue
            try:
                self._results.put((process, check.complaint, check.ask()))
            except MarserveError as exc:
                if check.complaint == IS_BACK:
                    self._hopeless = (process, str(exc))
            except OSError:  # what it takes to ask is not there now
                pass
            except Exception:
                LOGGER.exception("A bug failed this check of %s: %s", self.service.name, check.complaint)
