"""Where torch comes from: PyTorch's own index has builds for the CPU alone, a tenth of the size of the usual ones."""

from __future__ import annotations

import http.client
import re
import shutil
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
#: Seconds that the index has to answer before the usual one is taken.
ANSWER_S = 3.0


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

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{index}/torch/", timeout=timeout_s):  # noqa: S310 - an HTTPS constant
                answered.set()
        except (OSError, urllib.error.URLError, http.client.HTTPException):
            pass
        finally:
            finished.set()

    finished = threading.Event()
    # A thread, because looking a name up knows no timeout.
    threading.Thread(target=ask, daemon=True).start()
    finished.wait(timeout_s)
    return answered.is_set()
