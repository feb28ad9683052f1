"""Running pip: its whole output goes to a log, a person sees how far it is, and on failure why it failed.

pip and not uv, which is faster, because pip reads what a machine has configured for it: mirrors, proxies, certificates.
"""

from __future__ import annotations

import http.client
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from marserve.errors import MarserveError
from marserve.system.processes import child
from marserve.terminal import Progress

#: Lines of pip's output that a person gets to see when it fails.
TAIL_LINES = 15
#: PyTorch's own index, which has builds for the CPU alone, a tenth of the size of the usual ones.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
#: Seconds that the index has to answer before the usual one is taken.
ANSWER_S = 3.0


def pip_install(python: Path, arguments: Sequence[str | Path], *, log_file: Path, step: str, cwd: Path) -> None:
    """Run ``pip install`` with ``arguments``; ``step`` is what the progress line calls it. Raises MarserveError."""
    command = [python, "-m", "pip", "--no-input", "--disable-pip-version-check", "install", *arguments]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    tail: list[str] = []
    with log_file.open("a", encoding="utf-8") as log, Progress(step) as progress:
        print("$", *command, file=log, flush=True)
        with child(
            command, environment=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
            threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
            state = PipState()
            while True:
                try:
                    line = lines.get(timeout=1)
                except queue.Empty:  # pip can be silent for long, while it unpacks
                    progress.update(state.text)
                    continue
                if line is None:
                    break
                if not state.read(line):
                    log.write(line)
                    tail = [*tail, line.rstrip()][-TAIL_LINES:]
                progress.update(state.text)
    if process.returncode:
        shown = "\n".join(f"  {line}" for line in tail)
        raise MarserveError(f"{step} failed (pip's status {process.returncode}):\n{shown}\nAll of it: {log_file}")


class PipState:
    """What pip is doing, from its lines; ``text`` is empty, ``torch-2.14.1 (45 % of 780 MB)`` or ``unpacking``."""

    def __init__(self) -> None:
        self.text = ""
        self._file = ""

    def read(self, line: str) -> bool:
        """Take one line; True if it is one of the many that only count bytes (of ``--progress-bar raw``)."""
        if match := re.match(r"\s*Progress (\d+) of (\d+)", line):
            done, total = int(match[1]), int(match[2])
            if total:
                self.text = f"{self._file} ({100 * done // total} % of {total / 1e6:.0f} MB)"
            return True
        if match := re.match(r"\s*(?:Downloading|Using cached|Processing) (\S+)", line):
            self._file = re.sub(r"(-py\d|-cp\d|\.tar|\.whl).*", "", os.path.basename(match[1]))  # noqa: PTH119 - URL or path
            self.text = self._file
        elif match := re.match(r"Collecting (\S+)", line):
            self.text = match[1]
        elif line.startswith("Installing collected packages"):
            self.text = "unpacking"
        return False


def _read(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def wants_cpu_builds() -> bool:
    """Linux without an NVIDIA GPU; elsewhere the usual builds are for the CPU already."""
    has_gpu = any(Path("/dev").glob("nvidia*")) or shutil.which("nvidia-smi") is not None
    return sys.platform == "linux" and not has_gpu


def pinned_torch(lock: str) -> list[str]:
    """The requirements of ``lock`` that the index has CPU builds of, such as ``torch==2.14.1``."""
    return re.findall(r"^(torch(?:vision)?==[^\s;]+)", lock, re.MULTILINE)


def answers(index: str, timeout_s: float = ANSWER_S) -> bool:
    """Whether ``index`` offers torch and says so within ``timeout_s`` seconds, name look-up included."""
    answered = threading.Event()

    def request() -> None:
        try:
            with urllib.request.urlopen(f"{index}/torch/", timeout=timeout_s):  # noqa: S310 - an HTTPS constant
                answered.set()
        except (OSError, urllib.error.URLError, http.client.HTTPException):
            pass
        finally:
            finished.set()

    finished = threading.Event()
    # A thread, because looking a name up knows no timeout.
    threading.Thread(target=request, daemon=True).start()
    finished.wait(timeout_s)
    return answered.is_set()
