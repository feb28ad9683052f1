"""The archives to serve: what was deployed, else named ones, or built if missing or stale."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marserve.archive.contents import ArchiveError, read_json, read_text
from marserve.arguments import UNTRAINED
from marserve.errors import MarserveError
from marserve.handler.resnet18.description import DESCRIPTION_FILE
from marserve.handler.resnet18.network import EFFICIENTNET_LITE0
from marserve.paths import command
from marserve.setup.environment import ensure
from marserve.stack.deployments import DeployedModel, DeployedVersion, Deployments, now, plan_start
from marserve.stack.model_store import DeploymentStore, LostArchiveError
from marserve.stack.options import Options
from marserve.system.processes import child
from marserve.terminal import QUIET, complain, say

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


def archives_to_start(
    options: Options, store: DeploymentStore, *, check: bool = False
) -> tuple[list[Archive], Options]:
    """The archives that a start serves, by now in ``store`` and named by its record, and the options that go with them.

    No process of the stack may be left. With ``check`` nothing is built, and the store stays as it is. Raises
    MarserveError, and then what was deployed before still is.
    """
    try:
        record = store.read()
    except MarserveError:
        if not options.discard_deployed:
            raise
        record = None
    start = plan_start(options, record)
    for line in start.lines:
        say(line)
    if start.deployed is None:
        archives = archives_to_serve(start.options, check=check)
        if check:
            return archives, start.options
        models = {one.model: DeployedModel(_added(store, one, start.workers.get(one.model))) for one in archives}
        record = Deployments(options.base(), models)
        store.write(record)
    elif check:
        record = start.deployed
    else:
        store.write(start.deployed)
        record = whole_deployments(store)
    if not check:
        store.remove_unnamed()
    return [_stored(store, name, model.current) for name, model in record.models.items()], start.options


def whole_deployments(store: DeploymentStore) -> Deployments:
    """The record, each archive that it names whole; where a model has none left, one is built from the record's base.

    Raises MarserveError where that makes none of its name.
    """
    try:
        return store.check(complain)
    except LostArchiveError as exc:
        name = exc.model
        complain(f"! {exc}")
        record = store.read()
        base = {} if record is None else record.base
        built = {archive.model: archive for archive in archives_to_serve(Options().on(base))}
        if name not in built:
            raise
        model = DeployedModel(_added(store, built[name]))
        complain(f"! {name} {model.current.version} takes its place, as the options of serve say.")
        store.update(lambda latest: latest.with_model(name, model))
        return whole_deployments(store)


def _added(store: DeploymentStore, archive: Archive, workers: int | None = None) -> DeployedVersion:
    added = store.add(archive.path, archive.model, archive.version)
    return replace(added, since=now(), workers=workers)


def _stored(store: DeploymentStore, model: str, version: DeployedVersion) -> Archive:
    """An archive as it says of itself; one that was deployed need not be of our making."""
    path = store.path / version.archive
    try:
        return replace(_read_archive(path), model=model)
    except MarserveError:
        return Archive(model, path, version.version, "unknown", trained=True)


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
    for archive in map(_read_archive, files):
        file = archive.path
        if archive.model in archives:
            raise MarserveError(
                f"{file} and {archives[archive.model].path} are both called {archive.model}: build one of them with "
                f"another --model-name, or deploy it as a version with {command('deploy')}."
            )
        archives[archive.model] = archive
    return list(archives.values())


def _read_archive(file: Path) -> Archive:
    try:
        return _described(file, read_json(file, DESCRIPTION_FILE))
    except ArchiveError as exc:
        raise MarserveError(f"{file} is no archive of {command('build')}: it {exc}.") from exc
    except (KeyError, TypeError) as exc:
        raise MarserveError(f"{file} is no archive of {command('build')}.") from exc


def configured_threads(archives: Sequence[Archive]) -> int | None:
    """The most threads that a model-config.yaml of ``archives`` sets for a worker; None where all leave it to serve."""
    import yaml

    found = []
    for archive in archives:
        # What is wrong in there is the worker's to say.
        with contextlib.suppress(ArchiveError, KeyError, TypeError, ValueError, RecursionError, yaml.YAMLError):
            found.append(yaml.safe_load(read_text(archive.path, "model-config.yaml"))["handler"]["threads"])
    return max((threads for threads in found if isinstance(threads, int) and threads > 0), default=None)


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
