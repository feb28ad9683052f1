"""What a stack is made of: services, started one after the other as each answers, and stopped in reverse."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol


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


def start_process(
    command: Sequence[str], environment: Mapping[str, str], log: Path, cwd: Path
) -> subprocess.Popen[bytes]:
    """Start a service's process, in a session of its own so that no terminal's Ctrl-C reaches it; it writes ``log``."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
