"""What a stack is made of: services, started one after the other as each answers, and stopped in reverse."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from marserve.autoscale.rules import API_KEY_VARIABLE, Assignment
from marserve.errors import MarserveError
from marserve.redaction import without_secrets
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.system.loopback import LOOPBACK, LocalReply, reachable_address, request
from marserve.system.processes import kill_processes, start_service, started_in
from marserve.system.waiting import wait_until
from marserve.variables import variable
from marserve.web.settings import WebSettings

#: Lines at the end of a log that say why a service ended, and bytes in which they are looked for.
LINES = 5
END_BYTES = 1_000_000
#: The largest log of a service; one before it is kept. The web service writes a line a request.
LOG_BYTES = 50_000_000
#: What the command lines of the services of our own begin with.
WEB = (sys.executable, "-m", "marserve.web")
AUTOSCALER = (sys.executable, "-m", "marserve.autoscale")
#: Seconds for an answer of the web service's liveness address.
LIVENESS_S = 3.0


@dataclass(frozen=True)
class Check:
    """What a service that works can be asked at any time, and one that hangs does not answer."""

    #: What is said of the service where the answer stays away.
    complaint: str
    #: Whether the answer was as it should be; it comes to an end by itself.
    ask: Callable[[], bool]
    #: Seconds between two times.
    interval_s: float
    #: Seconds for which all may fail.
    limit_s: float


class Service(ABC):
    """A server process of the stack, with a log of its own."""

    #: What a person calls it, and what metrics do.
    name: str
    label: str
    log_name: str
    #: Seconds until it must work.
    deadline_s = 60.0

    def __init__(self, run_directory: RunDirectory) -> None:
        self._run_directory = run_directory
        self.log = run_directory.logs / self.log_name
        #: Where in the log the present start begins.
        self._log_start = 0

    @abstractmethod
    def command(self) -> Sequence[str]: ...

    def environment(self) -> dict[str, str]:
        """The caller's environment without its secrets, in which the stack decides what belongs to it."""
        return without_secrets(os.environ)

    def start(self) -> subprocess.Popen[bytes]:
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        return start_service(self.command(), self.environment(), self.log, cwd=self._run_directory.path)

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it does its work. Raises MarserveError, with the reason, where it is known that it never will."""

    def is_back(self) -> bool:
        """Whether it does its work again after it was started anew, whatever becomes of the other services.

        Raises MarserveError where this start must come to nothing.
        """
        return self.is_ready()

    def checks(self) -> Sequence[Check]:
        """How a hang is noticed."""
        return ()

    def clear(self) -> None:
        """Remove what a process that has ended leaves behind and another start must not find.

        A process, too, that is not on record since whoever started it was killed at that moment.
        """
        kill_processes(started_in(self._run_directory.path, self.command()))

    def keep_log_short(self) -> None:
        """Begin the log anew where it has become too large, and keep what it held as the one before.

        Its process appends to the file that it has open: so that is emptied, not renamed.
        """
        before = self.log.with_name(f"{self.log.name}.1")
        try:
            if self.log.stat().st_size <= LOG_BYTES:
                return
            shutil.copyfile(self.log, before)
        except OSError:  # where the disk is full, it is the older one that makes room
            before.unlink(missing_ok=True)
            return
        os.truncate(self.log, 0)
        self._log_start = 0

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Return when it does its work; raises MarserveError with the reason when it cannot."""
        known = wait_until(lambda: process.poll() is not None or self.is_ready(), self.deadline_s)
        if process.poll() is not None:
            raise self.failure(f"{self.name} ended at once", self.reason())
        if not known:
            raise self.failure(f"{self.name} was not ready in {self.deadline_s:.0f} seconds", self.reason_for_delay())

    def failure(self, problem: str, reason: str) -> MarserveError:
        indented = textwrap.indent(reason, "  ")
        return MarserveError(f"{problem[0].upper()}{problem[1:]}:\n{indented}\nLogs: {self._run_directory.logs}")

    def reason(self) -> str:
        """Why the process ended: the last warnings and errors of its log, or whatever stands there last."""
        texts = [text for text in map(_complaint, self._lines()) if text]
        return "\n".join(texts[-LINES:] or ["The log holds no reason."])

    def reason_for_delay(self) -> str:
        """Why it is not ready though the process is there."""
        return self.reason()

    def _lines(self) -> list[str]:
        """What the present start has written into its log, or the end of that."""
        try:
            with self.log.open("rb") as content:
                content.seek(max(self._log_start, content.seek(0, os.SEEK_END) - END_BYTES))
                return content.read().decode(errors="replace").splitlines()
        except OSError:
            return []


class WebService(Service):
    """The stack's public face, on ``host``; any other setting of its own comes from the caller's environment."""

    name = "the web service"
    label = "web"
    log_name = "web.log"

    def __init__(self, ports: Ports, run_directory: RunDirectory, host: str, *, default_model: str | None) -> None:
        """``default_model`` None: the one that the caller's environment names."""
        super().__init__(run_directory)
        self._ports = ports
        self._default_model = default_model
        self._host = host

    def command(self) -> Sequence[str]:
        return WEB

    def environment(self) -> dict[str, str]:
        names = set(map(variable, WebSettings.model_fields))
        # With those of OpenTelemetry, which this service alone reads: some are secrets as well.
        settings = {name: value for name, value in os.environ.items() if name in names or name.startswith("OTEL_")}
        own = {
            "MARSERVE_WEB_HOST": self._host,
            "MARSERVE_WEB_PORT": str(self._ports.web_port),
            "MARSERVE_INFERENCE_URL": f"http://{LOOPBACK}:{self._ports.inference_port}",
            "MARSERVE_MANAGEMENT_URL": f"http://{LOOPBACK}:{self._ports.management_port}",
            "MARSERVE_METRICS_URL": f"http://{LOOPBACK}:{self._ports.metrics_port}",
            "MARSERVE_KEY_FILE": str(self._run_directory.key_file),
            "MARSERVE_ROLLOUT_FILE": str(self._run_directory.rollout),
            "MARSERVE_QUARANTINE_FILE": str(self._run_directory.quarantine),
            "MARSERVE_TLS_PUBLISHED": str(self._run_directory.certificate),
            "MARSERVE_SUPERVISION_FILE": str(self._run_directory.supervision),
        }
        if self._default_model is not None:
            own["MARSERVE_DEFAULT_MODEL"] = self._default_model
        return super().environment() | settings | own

    def request(self, path: str, *, timeout_s: float = 10.0) -> LocalReply | None:
        """Its reply; None where it does not answer in time."""
        host, certificate = reachable_address(self._host), None
        if os.environ.get(variable("tls_certificate")):
            certificate = self._run_directory.certificate
        return request("GET", self._ports.web_port, path, host=host, timeout_s=timeout_s, certificate=certificate)

    def is_ready(self) -> bool:
        reply = self.request("/readyz")
        return reply is not None and reply.status == 200

    def is_back(self) -> bool:
        """Ready it is only once TorchServe is."""
        return self.request("/healthz", timeout_s=LIVENESS_S) is not None

    def checks(self) -> Sequence[Check]:
        return (Check("its liveness address did not answer", self.is_back, interval_s=2.0, limit_s=8.0),)


class AutoscalerService(Service):
    """Adds and takes away workers; it listens nowhere, and explains its decisions in its log."""

    name = "the autoscaler"
    label = "autoscaler"
    log_name = "autoscale.log"

    def __init__(self, run_directory: RunDirectory, assignment: Assignment, api_key: str | None = None) -> None:
        """``api_key`` opens the web service's metrics, where it has keys."""
        super().__init__(run_directory)
        self._assignment = assignment
        self._api_key = api_key

    def command(self) -> Sequence[str]:
        return (*AUTOSCALER, self._assignment.as_json())

    def environment(self) -> dict[str, str]:
        return super().environment() | ({API_KEY_VARIABLE: self._api_key} if self._api_key else {})

    def is_ready(self) -> bool:
        return any("Watching " in line for line in self._lines())  # its first line


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
