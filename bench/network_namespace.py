"""A network of its own, with nothing but a loopback interface, for servers that would listen on every interface."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

from bench.errors import CandidateError


@contextlib.contextmanager
def network_namespace(name: str) -> Iterator[str]:
    """Make the namespace ``name`` and remove it in the end. Raises CandidateError where that is not allowed."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise CandidateError(
            "It listens on all interfaces whatever it is told, so it is only run in a network namespace of its own, "
            "which takes root and the program ip (Debian: apt-get install iproute2)."
        )
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)  # noqa: S607 - wherever it is
    for command in (["ip", "netns", "add", name], ["ip", "-n", name, "link", "set", "lo", "up"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CandidateError(f"No network namespace can be made here: {done.stderr.strip()}")
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)  # noqa: S607
