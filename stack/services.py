"""What a stack is made of: services, started one after the other as each answers, and stopped in reverse."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
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
        """Return when it does its work; raises StackError with the reason when it cannot."""

    def reason(self) -> str:
        """Why the process ended, out of its logs."""
