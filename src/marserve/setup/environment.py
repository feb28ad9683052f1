"""Set-up of a clone: ``.venv`` with the locked packages, complete or not used at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from marserve.errors import MarserveError
from marserve.paths import CLONE
from marserve.setup import pip
from marserve.system.files import locked
from marserve.system.processes import child
from marserve.terminal import complain

#: ``pip install --group`` exists since 25.1; one version for everybody.
PIP = "pip==26.3"
#: What pip installs for each group: the project with extras, and a group of pyproject.toml.
GROUPS: dict[str, Sequence[str]] = {
    "client": ("--editable", "."),
    "web": ("--editable", ".[web]"),
    "torchserve": ("--editable", ".[torchserve]"),
    "serve": ("--editable", ".[serve]"),
    "heif": ("--editable", ".[serve,heif]"),
    "int8": ("--editable", ".[serve,int8]"),
    "tracing": ("--editable", ".[serve,tracing]"),
    "ray": ("--editable", ".[ray]"),
    "plan": ("--editable", ".[plan]"),
    "bench": ("--editable", ".[serve,int8,plan]"),
    "dev": ("--group", "dev", "--editable", ".[serve,heif,int8,tracing,ray,plan]"),
}
#: Those that need no torch.
WITHOUT_TORCH = ("client", "web", "torchserve", "ray", "plan")
#: Which others each group holds.
INCLUDED: dict[str, Sequence[str]] = {
    "client": (),
    "web": ("client",),
    "torchserve": ("client",),
    "serve": ("client", "web", "torchserve"),
    "heif": ("client", "web", "torchserve", "serve"),
    "int8": ("client", "web", "torchserve", "serve"),
    "tracing": ("client", "web", "torchserve", "serve"),
    "ray": ("client",),
    "plan": ("client", "web"),
    "bench": ("client", "web", "torchserve", "serve", "int8", "plan"),
    "dev": ("client", "web", "torchserve", "serve", "heif", "int8", "tracing", "ray", "plan", "bench"),
}
#: Groups that nothing asks for again: HEIC would be read no more, or with a decoder of long ago.
ASKED_FOR_ONCE = ("heif", "tracing")
#: A module that shows whether an extra is installed where there is no clone.
MODULE_OF = {
    "client": "requests",
    "runtime": "packaging",
    "web": "uvicorn",
    "torchserve": "openvino",
    "serve": "openvino",
    "heif": "pillow_heif",
    "int8": "nncf",
    "tracing": "opentelemetry.sdk",
    "ray": "ray.data",
    "plan": "matplotlib",
}


def ensure(group: str) -> Path:
    """The Python that has the packages of ``group``; in a clone they are installed where missing or outdated."""
    if CLONE is None:
        if group not in MODULE_OF:
            raise MarserveError(f"Group {group!r} is for work on a clone, and this is an installed package.")
        if not is_installed(group):
            raise MarserveError(f'This needs more packages: pip install "marserve[{group}]"')
        return Path(sys.executable)
    environment = Environment(CLONE)
    environment.ensure(group)
    return environment.python


def is_installed(group: str) -> bool:
    """Whether the packages of ``group`` are there already."""
    if CLONE is None:
        try:
            return find_spec(MODULE_OF[group]) is not None
        except ModuleNotFoundError:  # of a package above it
            return False
    return Environment(CLONE).is_ready(group, clone_lock(CLONE))


def continue_in_environment(group: str, command: str, arguments: Sequence[str]) -> None:
    """Begin ``command`` again with the Python that has ``group``, unless this is it."""
    python = ensure(group)
    if CLONE is not None and Path(sys.prefix) != CLONE / ".venv":
        # UTF-8 under every locale: names of files and of classes are in it.
        os.execv(python, [str(python), "-X", "utf8", "-I", "-m", "marserve", command, *arguments])  # noqa: S606


class Environment:
    """The virtual environment of a clone."""

    def __init__(self, clone: Path) -> None:
        self._clone = clone
        self._directory = clone / ".venv"
        self.python = self._directory / "bin" / "python"
        # In the clone whatever MARSERVE_HOME says: all who use this environment must meet at one lock.
        self._lock = clone / ".run" / "set-up.lock"
        self._log = clone / ".run" / "set-up.log"
        #: Present while packages are being installed: what a set-up that was cut off leaves behind cannot be trusted.
        self._unfinished = self._directory / "unfinished"

    def ensure(self, group: str) -> None:
        """Install ``group`` where it is missing or what the clone needs has changed."""
        lock = clone_lock(self._clone)
        if self.is_ready(group, lock):
            return
        with locked(self._lock, on_wait=lambda: complain("Waiting for another set-up of .venv to finish ...")):
            if not self.is_ready(group, lock):
                self._install(group, lock)

    def is_ready(self, group: str, lock: str) -> bool:
        """Whether ``group`` is installed as ``lock`` has it."""
        return is_current(self._directory, group, lock) and not self._unfinished.exists() and self._runs()

    def _runs(self) -> bool:
        """Whether its Python is still the one it was made with: the system's may have become another since."""
        if Path(sys.prefix) != self._directory:
            return _works(self.python)
        return venv_version(self._directory).split(".")[:2] == [str(part) for part in sys.version_info[:2]]

    def _install(self, group: str, lock: str) -> None:
        self._log.write_text("", encoding="utf-8")
        kept = [
            name
            for name in ASKED_FOR_ONCE
            if _stamp(self._directory, name).exists() and name not in (group, *INCLUDED[group])
        ]
        if self._unfinished.exists() or not self._runs() or not _works(self.python):
            self._create()
        self._unfinished.touch()
        self._pip(["--quiet", PIP], "Updating pip")
        complain(
            f"Installing the packages of group '{group}' (once; some minutes on a slow line; log: {self._log}) ..."
        )
        torch = pip.pinned_torch(lock)
        if group not in WITHOUT_TORCH and pip.wants_cpu_builds() and pip.answers(pip.CPU_INDEX):
            arguments = ["--progress-bar", "raw", "--index-url", pip.CPU_INDEX, *torch]
            try:
                self._pip(arguments, "Installing torch for the CPU")
            except MarserveError:
                complain(f"  {pip.CPU_INDEX} cannot give {' '.join(torch)}; taking the usual builds.")
        constraint = ["--progress-bar", "raw", "--constraint", "requirements.lock"]
        # First, so that the project itself is built with what is locked too.
        self._pip([*constraint, "hatchling", "editables"], "Installing the build tool")
        for name in (group, *kept):
            self._pip([*constraint, "--no-build-isolation", *GROUPS[name]], "Installing packages")
            write_stamps(self._directory, name, lock)
        self._make_movable()
        self._unfinished.unlink()

    def _pip(self, arguments: Sequence[str], step: str) -> None:
        pip.pip_install(self.python, arguments, log_file=self._log, step=step, cwd=self._clone)

    def _create(self) -> None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        if find_spec("venv") is None or find_spec("ensurepip") is None:
            raise MarserveError(
                f"{sys.executable} (Python {version}) cannot make a virtual environment: it lacks venv or ensurepip.\n"
                f"  Debian, Ubuntu:  apt-get install python{version}-venv"
            )
        complain(f"Creating .venv with Python {version} ...")
        self._directory.mkdir(exist_ok=True)
        for entry in self._directory.iterdir():  # not itself, which may be a link
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        self._unfinished.touch()
        # The Python beneath, should this one run in an environment itself, even in the one to be replaced.
        base = getattr(sys, "_base_executable", None) or sys.executable
        command = [base, "-m", "venv", self._directory]
        with child(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            output = process.stdout.read() if process.stdout else ""
        if process.returncode:
            shown = "\n".join(f"  {line}" for line in output.splitlines()[-pip.TAIL_LINES :])
            raise MarserveError(f"Creating {self._directory} failed:\n{shown}")

    def _make_movable(self) -> None:
        """Find the project by a relative path, so that the clone may be moved.

        It is ASCII as well: a Python before 3.13 reads the file in the locale's encoding, and in that of C it would not
        even start in a directory called München.
        """
        for packages in self._directory.glob("lib/python*/site-packages"):
            for file in packages.glob("*_marserve.pth"):
                file.write_text(f"{os.path.relpath(self._clone / 'src', packages)}\n", encoding="utf-8")


def clone_lock(clone: Path) -> str:
    """What decides which packages a clone needs: the lock and pyproject.toml."""
    return "".join((clone / name).read_text(encoding="utf-8") for name in ("requirements.lock", "pyproject.toml"))


def _works(python: Path) -> bool:
    """Whether there is an environment that runs, is new enough and has pip."""
    if not venv_version(python.parent.parent):
        return False
    check = "import sys, pip; sys.exit(sys.version_info < (3, 10))"
    try:
        return subprocess.run([python, "-I", "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:  # of another kind of machine
        return False


def venv_version(venv: Path) -> str:
    """Python version that ``venv`` was made with, such as 3.11.7; empty where there is no usable environment."""
    try:
        settings = (venv / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return ""
    match = re.search(r"^version(?:_info)? = (\S+)", settings, re.MULTILINE)
    return match.group(1) if match and (venv / "bin" / "python").exists() else ""


def is_current(venv: Path, group: str, lock: str) -> bool:
    """Whether ``group`` was installed completely, with the pins of today and the Python that is there."""
    try:
        return _stamp(venv, group).read_text(encoding="ascii") == _digest(venv, lock)
    except OSError:
        return False


def write_stamps(venv: Path, group: str, lock: str) -> None:
    """Note that ``group``, and what it includes, is installed completely."""
    for name in (*INCLUDED[group], group):
        _stamp(venv, name).write_text(_digest(venv, lock), encoding="ascii")


def _stamp(venv: Path, group: str) -> Path:
    return venv / f"installed-{group}.stamp"


def _digest(venv: Path, lock: str) -> str:
    return hashlib.sha256(f"{venv_version(venv)}\n{lock}".encode()).hexdigest()
