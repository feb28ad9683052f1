"""The web service as a process of the stack; what it is and does lives in ``web/``."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from marserve.errors import MarserveError
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.services import start_process
from marserve.system.loopback import request
from marserve.system.ports import LOOPBACK

LOG = "web.log"
#: Seconds until it must have answered that it is ready; TorchServe, before it in the stack, is by then.
DEADLINE_S = 60.0
#: Lines at the end of its log that say why it ended.
LINES = 5


class WebService:
    """The stack's public face, on ``host``; any other setting of its own comes from the caller's environment."""

    name = "the web service"
    port_names = ("web_port",)

    def __init__(self, ports: Ports, run_directory: RunDirectory, host: str, *, default_model: str) -> None:
        self._ports = ports
        self._default_model = default_model
        self._run_directory = run_directory
        self._host = host

    @property
    def log(self) -> Path:
        return self._run_directory.logs / LOG

    def start(self) -> subprocess.Popen[bytes]:
        """Start it."""
        return start_process(
            [sys.executable, "-m", "marserve.web"], self.environment(), self.log, cwd=self._run_directory.path
        )

    def environment(self) -> dict[str, str]:
        """The caller's environment, in which the stack decides what belongs to it."""
        return os.environ | {
            "MARSERVE_WEB_HOST": self._host,
            "MARSERVE_WEB_PORT": str(self._ports.web_port),
            "MARSERVE_INFERENCE_URL": f"http://{LOOPBACK}:{self._ports.inference_port}",
            "MARSERVE_MANAGEMENT_URL": f"http://{LOOPBACK}:{self._ports.management_port}",
            "MARSERVE_KEY_FILE": str(self._run_directory.key_file),
            "MARSERVE_DEFAULT_MODEL": self._default_model,
        }

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Return when it says that pictures can be classified; raises MarserveError with the reason when it cannot."""
        give_up = time.monotonic() + DEADLINE_S
        while process.poll() is None and time.monotonic() < give_up:
            reply = request("GET", self._ports.web_port, "/readyz", host=reachable_address(self._host))
            if reply is not None and reply.status == 200:
                return
            time.sleep(0.1)
        problem = "ended at once" if process.poll() is not None else f"was not ready in {DEADLINE_S:.0f} seconds"
        raise MarserveError(f"The web service {problem}:\n{self.reason()}\nLogs: {self._run_directory.logs}")

    def reason(self) -> str:
        """The last warnings and errors of its log, or whatever stands there last."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        texts = [text for text in map(_complaint, lines) if text]
        return "\n".join(f"  {text}" for text in texts[-LINES:] or ["The log holds no reason."])


def reachable_address(host: str) -> str:
    """Where something that listens on ``host`` is reached from here."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    return LOOPBACK if address.version == 4 else "::1"


def _complaint(line: str) -> str:
    """What a line of the log complains about: all of one that is no JSON, nothing of one at a level below WARNING."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict) or record.get("level") not in ("WARNING", "ERROR", "CRITICAL"):
        return ""
    exception = str(record.get("exception", "")).strip().splitlines()
    return ": ".join([str(record.get("message")), *exception[-1:]])
