"""What systemd does with a unit of ``Type=notify``, as far as a supervisor notices: no systemd runs where tests do.

It starts the command, waits for READY=1 of its main process, starts it again ``RestartSec`` after an end that is a
failure, kills it where signs of life stay away, and sends SIGTERM to the main process alone (``KillMode=process``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from configparser import ConfigParser
from pathlib import Path

from tests.support import REPOSITORY


class Systemd:
    """One unit. What it is told is in ``heard``."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], directory: Path) -> None:
        parser = ConfigParser(interpolation=None, comment_prefixes=("#",), strict=False)
        parser.read(REPOSITORY / "deploy" / "systemd" / "marserve.service", encoding="utf-8")
        self._rules = parser["Service"]
        self._command = command
        self._address = directory / "notify"  # a short name, as sockets need
        watchdog_us = float(self._rules["WatchdogSec"]) * 1e6
        self._environment = {**environment, "NOTIFY_SOCKET": str(self._address), "WATCHDOG_USEC": f"{watchdog_us:.0f}"}
        self._output = (directory / "journal").open("wb")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._address))
        self._stopping = False
        self.heard: list[str] = []
        self.starts = 0
        self.main: subprocess.Popen[bytes]
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self) -> None:
        """The job's end is for the caller to see: ``is_ready``."""
        self._start()
        threading.Thread(target=self._restart, daemon=True).start()

    def is_ready(self) -> bool:
        return self.heard.count("READY=1") >= self.starts

    def stop(self) -> int:
        """The exit status of the main process."""
        self._stopping = True
        with contextlib.suppress(ProcessLookupError):  # stopped before
            self.main.send_signal(signal.SIGTERM)
        status = self.main.wait(90)
        self._socket.close()
        self._output.close()
        return status

    def _start(self) -> None:
        self.main = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output
        )
        self.starts += 1

    def _restart(self) -> None:
        while True:
            status = self.main.wait()
            meant = map(int, self._rules["SuccessExitStatus"].split())
            is_failure = status not in (0, *meant, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGPIPE)
            if self._stopping or not is_failure or str(status) == self._rules["RestartPreventExitStatus"]:
                return
            time.sleep(float(self._rules["RestartSec"]))
            self._start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # once it is closed
            while True:
                self.heard.append(os.fsdecode(self._socket.recv(4096)))
