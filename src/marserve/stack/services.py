"""What a stack is made of: services, started one after the other as each answers, and stopped in reverse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from marserve.autoscale.rules import Assignment
from marserve.errors import MarserveError
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.system.loopback import reachable_address, request
from marserve.system.ports import LOOPBACK
from marserve.system.processes import start_service
from marserve.system.waiting import wait_until

#: Seconds until a service of this package must work; TorchServe, before it in the stack, does so by then.
DEADLINE_S = 60.0
#: Lines at the end of a log that say why a service ended.
LINES = 5


class Service(Protocol):
    """A server process."""

    @property
    def name(self) -> str:
        """What a person calls it."""

    @property
    def port_names(self) -> Sequence[str]:
        """The fields of Ports that it listens on; they must be free."""

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process, in a session of its own."""

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Return when it does its work; raises MarserveError with the reason when it cannot."""

    def reason(self) -> str:
        """Why the process ended, out of its logs."""


class PackageService:
    """A service that is a package of Marserve, run as ``python -m``, with one log."""

    name: str
    port_names: Sequence[str] = ()
    package: str

    def __init__(self, run_directory: RunDirectory) -> None:
        self._run_directory = run_directory
        self.log = run_directory.logs / f"{self.package}.log"

    def start(self) -> subprocess.Popen[bytes]:
        """See ``Service``."""
        command = [sys.executable, "-m", f"marserve.{self.package}", *self.arguments()]
        return start_service(command, self.environment(), self.log, cwd=self._run_directory.path)

    def arguments(self) -> Sequence[str]:
        """What it is started with."""
        return ()

    def environment(self) -> dict[str, str]:
        """The caller's environment, in which the stack decides what belongs to it."""
        return dict(os.environ)

    def is_ready(self) -> bool:
        """Whether it does its work."""
        raise NotImplementedError

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """See ``Service``."""
        if wait_until(self.is_ready, DEADLINE_S, while_alive=lambda: process.poll() is None):
            return
        problem = "ended at once" if process.poll() is not None else f"was not ready in {DEADLINE_S:.0f} seconds"
        raise MarserveError(
            f"{self.name[0].upper()}{self.name[1:]} {problem}:\n{self.reason()}\nLogs: {self._run_directory.logs}"
        )

    def reason(self) -> str:
        """The last warnings and errors of its log, or whatever stands there last."""
        texts = [text for text in map(_complaint, _lines(self.log)) if text]
        return "\n".join(f"  {text}" for text in texts[-LINES:] or ["The log holds no reason."])


class WebService(PackageService):
    """The stack's public face, on ``host``; any other setting of its own comes from the caller's environment."""

    name = "the web service"
    port_names = ("web_port",)
    package = "web"

    def __init__(self, ports: Ports, run_directory: RunDirectory, host: str, *, default_model: str) -> None:
        super().__init__(run_directory)
        self._ports = ports
        self._default_model = default_model
        self._host = host

    def environment(self) -> dict[str, str]:
        """See ``PackageService``."""
        return os.environ | {
            "MARSERVE_WEB_HOST": self._host,
            "MARSERVE_WEB_PORT": str(self._ports.web_port),
            "MARSERVE_INFERENCE_URL": f"http://{LOOPBACK}:{self._ports.inference_port}",
            "MARSERVE_MANAGEMENT_URL": f"http://{LOOPBACK}:{self._ports.management_port}",
            "MARSERVE_KEY_FILE": str(self._run_directory.key_file),
            "MARSERVE_DEFAULT_MODEL": self._default_model,
        }

    def is_ready(self) -> bool:
        """Whether it says that pictures can be classified."""
        reply = request("GET", self._ports.web_port, "/readyz", host=reachable_address(self._host))
        return reply is not None and reply.status == 200


class AutoscalerService(PackageService):
    """Adds and takes away workers; it listens nowhere, and explains its decisions in its log."""

    name = "the autoscaler"
    package = "autoscale"
    #: What its first line says.
    begun = "Watching "

    def __init__(self, run_directory: RunDirectory, assignment: Assignment) -> None:
        super().__init__(run_directory)
        self._assignment = assignment

    def arguments(self) -> Sequence[str]:
        """See ``PackageService``."""
        return (self._assignment.as_json(),)

    def is_ready(self) -> bool:
        """Whether it has begun to watch."""
        return any(self.begun in line for line in _lines(self.log))


def _lines(log: Path) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _complaint(line: str) -> str:
    """What a line of a log complains about: all of one that is no JSON, nothing of one at a level below WARNING."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict) or record.get("level") not in ("WARNING", "ERROR", "CRITICAL"):
        return ""
    exception = str(record.get("exception", "")).strip().splitlines()
    return ": ".join([str(record.get("message")), *exception[-1:]])
