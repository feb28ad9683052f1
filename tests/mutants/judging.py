"""Runs tests on mutants: each in a process forked from one that has loaded what takes seconds."""

from __future__ import annotations

import compileall
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests.support import REPOSITORY

#: Loaded once, before processes are forked for mutants: what tests import besides the code itself, which takes seconds.
PRELOADED = (
    "aiohttp", "fastapi", "fastapi_offline", "numpy", "openvino", "PIL.Image", "prometheus_client", "psutil",
    "pydantic", "redis", "requests", "rich.console", "schemathesis", "simplejpeg", "torch", "torchvision", "uvicorn",
    "uvloop",
)  # fmt: skip
#: Bytes of data that a mutant may allocate: one whose limit is gone must not take the machine with it.
MEMORY_BYTES = 8 << 30
#: Seconds for all tests of one mutant; pytest ends each that hangs.
MUTANT_S = 1800.0
#: Without what would write, or complain that modules were loaded before.
PYTEST = ("-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider", "--assert=plain", "--timeout=60")


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    outcome: str
    tests: int
    seconds: float


def copy_clone(directory: Path) -> Path:
    """What git knows or would take, with links as they are; beside it what tests find beside a clone."""
    clone = directory / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        source, target = REPOSITORY / name, clone / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    shared = REPOSITORY.parent / "shared"
    if shared.exists():
        (directory / "shared").symlink_to(shared)
    return clone


def _import_path(clone: Path) -> str:
    return os.pathsep.join([str(clone / "src"), str(clone)])


def measure(clone: Path, tests: Sequence[str]) -> Path:
    """Run ``tests`` as they are, which must pass; the coverage data, with a context for each."""
    data = clone.parent / "coverage"
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "--cov", "--cov-context=test", "--cov-report=",
        "--cov-fail-under=0", *tests,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": _import_path(clone), "COVERAGE_FILE": str(data)}
    if subprocess.run(command, cwd=clone, env=environment, check=False).returncode != 0:
        raise SystemExit("Tests fail where nothing is changed: no verdict would mean anything.")
    return data


def _run_pytest(clone: Path, arguments: Sequence[str], output: Path) -> None:
    """In a process of its own: pytest on the code of ``clone``. Does not return."""
    status = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        with output.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.chdir(clone)
        path = _import_path(clone)
        os.environ |= {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        # Two versions of a file in one second, of one size, would share their bytecode.
        sys.dont_write_bytecode = True
        sys.path[:0] = path.split(os.pathsep)
        for name in [name for name in sys.modules if name.split(".")[0] in {"marserve", "tests", "bench"}]:
            del sys.modules[name]
        import pytest

        status = int(pytest.main([*PYTEST, *arguments]))
    except BaseException:  # noqa: BLE001 - whatever a mutant does, it is noticed
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _judged(pid: int, within_s: float) -> int | None:
    """The exit status of a process that leads a group, whose processes end with it; nothing where it took too long."""
    end = time.monotonic() + within_s
    status = None
    while status is None and time.monotonic() < end:
        ended, waited = os.waitpid(pid, os.WNOHANG)
        status = os.waitstatus_to_exitcode(waited) if ended else None
        if not ended:
            time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if status is None:
        os.waitpid(pid, 0)
    return status


_lane = Path()


def preload() -> None:
    """Load what most tests import, so that processes forked from this one need not."""
    for name in PRELOADED:
        import_module(name)


def begin_lane(directory: str) -> None:
    """Make this process's copy of the clone, below ``directory``."""
    global _lane
    _lane = copy_clone(Path(tempfile.mkdtemp(dir=directory)))
    compileall.compile_dir(_lane, quiet=2)


def judge(path: str, code: str, tests: Sequence[str]) -> Verdict:
    """Run ``tests`` in this process's copy of the clone, with ``code`` in the file at ``path``."""
    began = time.monotonic()
    if not tests:
        return Verdict("no test", 0, 0.0)
    target = _lane / path
    original, times = target.read_text(encoding="utf-8"), target.stat()
    target.write_text(code, encoding="utf-8")
    try:
        if not (pid := os.fork()):
            _run_pytest(_lane, tests, _lane.parent / "output")
        status = _judged(pid, MUTANT_S)
    finally:
        target.write_text(original, encoding="utf-8")
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    outcome = {None: "undecided", 0: "survived"}.get(status, "killed")
    return Verdict(outcome, len(tests), time.monotonic() - began)
