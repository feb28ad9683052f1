"""Set-up: ``.venv`` with the dependency groups of pyproject.toml, complete or not used at all."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from stack import stamps, wheel_index
from stack.children import child
from stack.errors import StackError
from stack.locks import locked
from stack.paths import LAUNCHER, PYPROJECT, RUN, VENV
from stack.pip import TAIL_LINES, pip_install
from stack.terminal import say

#: ``pip install --group`` exists since 25.1; one version for everybody.
PIP = "pip==26.3"
LOG = RUN / "set-up.log"
#: Present while packages are being installed: what a set-up that was cut off leaves behind cannot be trusted.
UNFINISHED = VENV / "unfinished"


def ensure(group: str) -> Path:
    """The environment's Python, after installing ``group`` where it is missing or its pins have changed."""
    python = VENV / "bin" / "python"
    dependencies = stamps.dependency_text(PYPROJECT.read_text(encoding="utf-8"))
    if _is_ready(group, dependencies):
        return python
    with locked(RUN / "set-up.lock", on_wait=lambda: say("Waiting for another set-up of .venv to finish ...")):
        if not _is_ready(group, dependencies):
            _install(python, group, dependencies)
    return python


def continue_in(python: Path, command: str, arguments: list[str]) -> None:
    """Begin ``command`` again with the environment's ``python``, unless this is it."""
    if Path(sys.prefix) != VENV:
        os.execv(python, [str(python), str(LAUNCHER), command, *arguments])  # noqa: S606


def _is_ready(group: str, dependencies: str) -> bool:
    return stamps.is_current(VENV, group, dependencies) and not UNFINISHED.exists()


def _install(python: Path, group: str, dependencies: str) -> None:
    LOG.write_text("", encoding="utf-8")
    if UNFINISHED.exists() or not _works(python):
        _create_environment()
    UNFINISHED.touch()
    pip_install(python, ["--quiet", PIP], log_file=LOG, step="Updating pip")
    say(f"Installing the packages of group '{group}' (once; some minutes on a slow line; log: {LOG}) ...")
    torch = wheel_index.pinned_torch(dependencies)
    if group != "java" and wheel_index.wants_cpu_builds() and wheel_index.answers(wheel_index.CPU_INDEX):
        arguments = ["--progress-bar", "raw", "--index-url", wheel_index.CPU_INDEX, *torch]
        try:
            pip_install(python, arguments, log_file=LOG, step="Installing torch for the CPU")
        except StackError:
            say(f"  {wheel_index.CPU_INDEX} cannot give {' '.join(torch)}; taking the usual builds.")
    arguments = ["--progress-bar", "raw", "--group", f"{PYPROJECT}:{group}"]
    pip_install(python, arguments, log_file=LOG, step="Installing packages")
    stamps.write_stamps(VENV, group, dependencies)
    UNFINISHED.unlink()


def _works(python: Path) -> bool:
    """Whether there is an environment that runs, is new enough and has pip."""
    if not stamps.venv_version(VENV):
        return False
    check = "import sys, pip; sys.exit(sys.version_info < (3, 10))"
    return subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0


def _create_environment() -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise StackError(
            f"{sys.executable} (Python {version}) cannot make a virtual environment: it lacks venv or ensurepip.\n"
            f"  Debian, Ubuntu:  apt-get install python{version}-venv"
        )
    say(f"Creating .venv with Python {version} ...")
    # The Python beneath, should this one run in an environment itself, even in the one to be replaced.
    base = getattr(sys, "_base_executable", None) or sys.executable
    with child([base, "-m", "venv", "--clear", VENV], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        shown = "\n".join(f"  {line}" for line in output.splitlines()[-TAIL_LINES:])
        raise StackError(f"Creating {VENV} failed:\n{shown}")
