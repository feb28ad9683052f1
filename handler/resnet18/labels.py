"""Class names: ``index_to_name.json``, from class index to WordNet id and name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ConfigurationError

LABELS_FILE = "index_to_name.json"


@dataclass(frozen=True)
class Label:
    """One class; ``wnid`` is its WordNet id, None for classes that are not ImageNet's."""

    wnid: str | None
    name: str


def read_labels(file: Path) -> list[Label]:
    """Read an archive's class names in class order: index to name or to ``[wnid, name]``, as the build writes them.

    Raises ConfigurationError for anything else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return [_label(content[str(index)]) for index in range(len(content))]
    except (OSError, KeyError, TypeError, ValueError) as exc:
        raise ConfigurationError(f"Labels cannot be read from {file.name}: {exc!r}") from exc


def check_label_count(labels: Sequence[Label], class_count: int, file: Path) -> None:
    """Raise ConfigurationError unless there is exactly one label a class."""
    if len(labels) != class_count:
        first_and_last = f', from "{labels[0].name}" to "{labels[-1].name}"' if labels else ""
        raise ConfigurationError(
            f"The network has {class_count} classes but {file.name} names {len(labels)}{first_and_last}: "
            f"give {class_count} names, in class order, with --labels."
        )


def _label(entry: object) -> Label:
    match entry:
        case str(name):
            return Label(None, name)
        case [str(wnid), str(name)]:
            return Label(wnid, name)
    raise ValueError(entry)
