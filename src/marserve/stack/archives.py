"""The archives to serve: named ones, or built if missing or stale.

They are put where no build reaches.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marserve.arguments import UNTRAINED
from marserve.errors import MarserveError
from marserve.handler.resnet18.description import DESCRIPTION_FILE
from marserve.handler.resnet18.network import EFFICIENTNET_LITE0
from marserve.paths import command
from marserve.setup.environment import ensure
from marserve.stack.options import Options
from marserve.system.processes import child
from marserve.terminal import QUIET, say

MODEL = "resnet18"
#: The precision that needs packages of its own to build.
INT8 = "int8"


@dataclass(frozen=True)
class Archive:
    """A built archive; ``trained`` is false for seeded random weights."""

    model: str
    path: Path
    version: str
    weights: str
    trained: bool


def archives_to_serve(options: Options, *, check: bool = False) -> list[Archive]:
    """Those that were named, else ResNet18, and the demonstration model where its weights could not be had.

    The first is the one that answers where no model is named, unless it is untrained. With ``check`` nothing is built
    or installed. Raises MarserveError.
    """
    if options.archives:
        return _read_archives(options.archives)
    if options.precision == INT8 and not check:
        ensure("int8")
    precision = _arguments(options, "precision", "calibration")
    precision += ["--check"] if check else []
    archives = [_build(["--model-name", MODEL, *_arguments(options, "weights", "weights_key", "labels"), *precision])]
    if not archives[0].trained and options.weights in (None, UNTRAINED):
        archives.append(_build(["--arch", EFFICIENTNET_LITE0, "--model-name", EFFICIENTNET_LITE0, *precision]))
        say(f"  {MODEL} is untrained: its labels mean nothing. {EFFICIENTNET_LITE0}, beside it, answers true labels.")
    return archives


def _read_archives(files: Sequence[Path]) -> list[Archive]:
    archives: dict[str, Archive] = {}
    for file in files:
        try:
            with zipfile.ZipFile(file) as mar:
                archive = _described(file, json.loads(mar.read(DESCRIPTION_FILE)))
        except (OSError, zipfile.BadZipFile, KeyError, ValueError) as exc:
            raise MarserveError(f"{file} is no archive of {command('build')}.") from exc
        if archive.model in archives:
            raise MarserveError(
                f"{file} and {archives[archive.model].path} are both called {archive.model}: build one of them with "
                f"another --model-name, or deploy it as a version with {command('deploy')}."
            )
        archives[archive.model] = archive
    return list(archives.values())


def configured_threads(archives: Sequence[Archive]) -> int | None:
    """The most threads that a model-config.yaml of ``archives`` sets for a worker; None where all leave it to serve."""
    import yaml

    found = []
    for archive in archives:
        with contextlib.suppress(KeyError, TypeError, yaml.YAMLError), zipfile.ZipFile(archive.path) as mar:
            # What is wrong in there is the worker's to say.
            found.append(yaml.safe_load(mar.read("model-config.yaml"))["handler"]["threads"])
    return max((threads for threads in found if isinstance(threads, int) and threads > 0), default=None)


def publish(archives: list[Archive], model_store: Path) -> None:
    """Put the archives into ``model_store``, read-only; a later build replaces its own file and leaves these alone."""
    for archive in archives:
        served = model_store / f"{archive.model}.mar"
        try:
            os.link(archive.path, served)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(archive.path, served)
    model_store.chmod(0o500)


def _arguments(options: Options, *names: str) -> list[str]:
    """Those of the options ``names`` that were given, as ``build`` takes them."""
    given = [(name, getattr(options, name)) for name in names]
    return [word for name, value in given if value is not None for word in (f"--{name.replace('_', '-')}", str(value))]


def _build(arguments: Sequence[str]) -> Archive:
    command_line = [sys.executable, "-m", "marserve", "build", "--json", *arguments, *["--quiet"] * QUIET.is_set()]
    with child(command_line, stdout=subprocess.PIPE) as process:
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise MarserveError("The archive cannot be built; the reason stands above.")
    built = json.loads(output)
    archive = _described(Path(built["path"]), built["description"])
    done = ("would be built" if "--check" in arguments else "built") if built["rebuilt"] else "up to date"
    say(f"Archive {archive.path.name}: {done}, weights: {archive.weights}")
    return archive


def _described(path: Path, description: dict[str, Any]) -> Archive:
    return Archive(
        model=description["model"],
        path=path,
        version=description["version"],
        weights=description["weights"]["source"],
        trained=description["weights"]["trained"],
    )
