"""Starting a server so that everything it starts can be found, measured and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import process_family
from bench.errors import CandidateError


@contextmanager
def marked(name: str) -> Iterator[str]:
    """A new mark; whatever carries it is ended when the block is left."""
    mark = f"{name.replace('/', '-').replace(' ', '_')}-{uuid.uuid4().hex[:8]}"
    try:
        yield mark
    finally:
        process_family.end(mark)
        if left := process_family.members(mark):
            raise CandidateError(f"Processes {left} of {name} cannot be ended.")


@contextmanager
def process(
    command: Sequence[str], mark: str, environment: Mapping[str, str], cwd: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """``command`` in a session of its own, its output in ``log``; the process itself is reaped in the end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        started = subprocess.Popen(
            list(command),
            env={**os.environ, **environment, process_family.MARK: mark},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    process_family.register(mark, started.pid)
    try:
        yield started
    finally:
        process_family.end(mark)
        try:
            started.wait(process_family.GRACE_S)
        except (
            subprocess.TimeoutExpired
        ):  # a program that changes its title can overwrite its environment, and the mark
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
