"""Which version a model had before, for ``rollback``.

The record lies in the stack's model store, since both end with the stack: a start serves what it is told to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from marserve.manage.archive_file import writable
from marserve.manage.running_stack import RunningStack
from marserve.system.files import replace_text

FILE = "deployments.json"


@dataclass(frozen=True)
class Before:
    """What answered before the last change, and with how many workers."""

    version: str
    workers: int


def read_before(stack: RunningStack, model: str) -> Before | None:
    """None where nothing was deployed since the stack was started."""
    entry = _read(stack.run_directory.model_store / FILE).get(model)
    return None if entry is None else Before(str(entry["version"]), int(entry["workers"]))


def write_before(stack: RunningStack, model: str, before: Before | None) -> None:
    """Replace the record of ``model``; None: there is nothing to go back to."""
    with writable(stack.run_directory.model_store) as store:
        content = {name: entry for name, entry in _read(store / FILE).items() if name != model}
        if before is not None:
            content[model] = {"version": before.version, "workers": before.workers}
        replace_text(store / FILE, json.dumps(content, indent=2))


def _read(file: Path) -> dict[str, dict[str, str | int]]:
    try:
        content: dict[str, dict[str, str | int]] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content
