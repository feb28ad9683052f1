"""Services that start in a moment: a server of the standard library that answers every address."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Thread

import psutil

from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, State
from marserve.stack.services import Check, Service
from marserve.supervision.kept import ServiceProcess
from marserve.supervision.notify import Notifier
from marserve.supervision.supervisor import Supervisor
from marserve.system.loopback import free_ports, request
from marserve.system.processes import record, running
from marserve.system.waiting import wait_until

SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if os.path.exists("silent"):
            import time
            time.sleep(60)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *_):
        pass
if os.path.exists("broken"):
    sys.exit("the disk is on fire")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
#: Seconds for a restart on a machine that is busy with other tests.
PATIENCE_S = 30.0


class FakeService(Service):
    """``silent`` and ``broken``, files in the run directory, make it so."""

    name, label, log_name = "the web service", "web", "web.log"
    deadline_s = 20.0
    #: Seconds for which it may leave the check unanswered.
    limit_s = 1.0

    def __init__(self, run_directory: RunDirectory, port: int) -> None:
        super().__init__(run_directory)
        self.port = port
        self.cleared = 0

    def command(self) -> Sequence[str]:
        return (sys.executable, "-S", "-c", SERVER, str(self.port))

    def is_ready(self) -> bool:
        return request("GET", self.port, "/", timeout_s=0.5) is not None

    def checks(self) -> Sequence[Check]:
        return (Check("it did not answer", self.is_ready, interval_s=0.2, limit_s=self.limit_s),)

    def clear(self) -> None:
        super().clear()
        self.cleared += 1


class FakeStack:
    """One such service and what the supervisor keeps about it."""

    def __init__(self, directory: Path) -> None:
        (port,) = free_ports(1)
        self.run_directory = RunDirectory(port, directory)
        temp = self.run_directory.prepare()
        self.service = FakeService(self.run_directory, port)
        self.child = self.service.start()
        written = record(self.service.name, self.child.pid)
        supervisor = record("serve", os.getpid())
        self.state = State(Ports(web_port=port), str(temp), supervisor, processes=[written], ready=True)
        self.state.write(self.run_directory.state)
        self.supervisors: list[Supervisor] = []

    def supervisor(self, notifier: Notifier | None = None, *, adopts: bool = False) -> Supervisor:
        process = ServiceProcess(self.state.processes[0], None if adopts else self.child)
        made = Supervisor(self.state, [(self.service, process)], self.run_directory, notifier or Notifier({}))
        self.supervisors.append(made)
        return made

    def process(self) -> psutil.Process:
        """The service's process, as it is written down."""
        state = State.read(self.run_directory.state)
        assert state is not None
        found = wait_until(lambda: running(state.processes[0]), PATIENCE_S)
        assert found is not None
        return found

    def answers(self) -> int:
        """The process id that the service answers with; 0 where it does not."""
        reply = request("GET", self.service.port, "/", timeout_s=0.5)
        return int(reply.body) if reply else 0

    def answers_anew(self, old_pid: int) -> bool:
        return wait_until(lambda: self.answers() not in (0, old_pid), PATIENCE_S)

    def log(self) -> str:
        file = self.run_directory.logs / "supervisor.log"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def end(self) -> None:
        started = [kept.process.child for supervisor in self.supervisors for kept in supervisor.kept]
        for child in (self.child, *started):
            if child is not None:
                child.kill()
                child.wait()


@contextlib.contextmanager
def looking_after(supervisor: Supervisor) -> Iterator[Event]:
    """``supervisor`` at work; the event stops it."""
    stopping = Event()
    thread = Thread(target=supervisor.run, args=(stopping,))
    thread.start()
    try:
        yield stopping
    finally:
        stopping.set()
        thread.join()
