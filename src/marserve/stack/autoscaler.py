"""The autoscaler as a process of the stack; what it does lives in ``autoscale/``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from marserve.autoscale.rules import Rules
from marserve.errors import MarserveError
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.services import start_process

LOG = "autoscale.log"
#: What its first line says.
BEGUN = "Watching "
#: Seconds until it must have begun to watch.
DEADLINE_S = 30.0
#: Lines at the end of its log that say why it ended.
LINES = 5


class AutoscalerService:
    """Adds and takes away workers of ``models``; it listens nowhere."""

    name = "the autoscaler"
    port_names: Sequence[str] = ()

    def __init__(
        self, ports: Ports, run_directory: RunDirectory, models: Sequence[str], rules: Rules, threads: int
    ) -> None:
        self._ports = ports
        self._run_directory = run_directory
        self._models = models
        self._rules = rules
        self._threads = threads

    @property
    def log(self) -> Path:
        """Where it explains its decisions."""
        return self._run_directory.logs / LOG

    def start(self) -> subprocess.Popen[bytes]:
        """Start it."""
        return start_process(self.command(), os.environ, self.log, cwd=self._run_directory.path)

    def command(self) -> list[str]:
        """Its command line."""
        return [
            sys.executable, "-m", "marserve.autoscale",
            *(part for model in self._models for part in ("--model", model)),
            "--minimum", str(self._rules.minimum),
            "--maximum", str(self._rules.maximum),
            "--target-ms", f"{self._rules.target_wait_s * 1000:g}",
            "--quiet-s", f"{self._rules.down_after_s:g}",
            "--threads", str(self._threads),
            "--management-port", str(self._ports.management_port),
            "--metrics-port", str(self._ports.metrics_port),
            "--key-file", str(self._run_directory.key_file),
            "--change-lock", str(self._run_directory.change_lock),
        ]  # fmt: skip

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Return when it has begun to watch; raises MarserveError with the reason when it cannot."""
        give_up = time.monotonic() + DEADLINE_S
        while process.poll() is None and time.monotonic() < give_up:
            if BEGUN in self.log.read_text(encoding="utf-8", errors="replace"):
                return
            time.sleep(0.1)
        problem = "ended at once" if process.poll() is not None else f"did not begin in {DEADLINE_S:.0f} seconds"
        raise MarserveError(f"The autoscaler {problem}:\n{self.reason()}\nLogs: {self._run_directory.logs}")

    def reason(self) -> str:
        """The last lines of its log."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return "\n".join(f"  {line}" for line in lines[-LINES:] or ["The log holds no reason."])
