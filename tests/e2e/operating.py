"""Commands on a running stack, and archives that differ from the one that it serves."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from marserve.stack.model_store import DeploymentStore
from tests.e2e.serving import Stack, wait_for
from tests.e2e.steady_load import SECOND

MODEL = "resnet18"

Edit = Callable[[dict[str, bytes]], None]


def manage(stack: Stack, *arguments: str) -> tuple[int, Any, str]:
    """Exit status, JSON and complaints of one command."""
    run = stack.run("marserve", *arguments, "--json")
    return run.returncode, json.loads(run.stdout or "null"), run.stderr


def done(stack: Stack, *arguments: str) -> Any:
    """The JSON of a command that must succeed."""
    returncode, content, told = manage(stack, *arguments)
    assert returncode == 0, told
    return content


def variant(stack: Stack, directory: Path, version: str, edit: Edit) -> Path:
    """The served archive under another version, with its files as ``edit`` leaves them."""
    return edited(served_archive(stack), directory, version, edit)


def served_archive(stack: Stack, model: str = MODEL) -> Path:
    """The one in the stack's store that answers for ``model``."""
    store = DeploymentStore(stack.run_directory)
    record = store.read()
    assert record is not None
    return store.path / record.models[model].current.archive


def edited(source: Path, directory: Path, version: str, edit: Edit) -> Path:
    """The archive ``source`` under another version, with its files as ``edit`` leaves them."""
    changed = directory / f"{MODEL}.mar"
    with zipfile.ZipFile(source) as mar:
        files = {name: mar.read(name) for name in mar.namelist()}
    for name, path in (("MAR-INF/MANIFEST.json", ("model", "modelVersion")), ("description.json", ("version",))):
        content = json.loads(files[name])
        (content if len(path) == 1 else content[path[0]])[path[-1]] = version
        files[name] = json.dumps(content).encode()
    edit(files)
    with zipfile.ZipFile(changed, "w") as mar:
        for name, content in files.items():
            mar.writestr(name, content)
    return changed


def worker_states(stack: Stack, version: str) -> list[str]:
    """Of one version, as ``status`` has them."""
    versions = manage(stack, "status", "--interval", "0.1")[1]["versions"]
    return [
        worker["state"]
        for listed in versions
        if (listed["model"], listed["version"]) == (MODEL, version)
        for worker in listed["workers"]
    ]


def wait_for_workers(stack: Stack, count: int) -> None:
    """Return when so many workers of the first version are ready."""
    wait_for(lambda: worker_states(stack, "1.0") == ["ready"] * count)


def rename_labels(files: dict[str, bytes]) -> None:
    labels = json.loads(files["index_to_name.json"])
    renamed = {index: [wnid, f"{SECOND}{name}"] for index, (wnid, name) in labels.items()}
    files["index_to_name.json"] = json.dumps(renamed).encode()
