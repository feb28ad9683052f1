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
    """Read class names from ``file``, in class order.

    Forms: a text file with one name a line; a JSON list of names; a JSON object from index to a name or to
    ``[wnid, name]``, as TorchServe's own handlers read it. Raises ConfigurationError for anything else.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"Labels cannot be read from {file.name}: {exc}") from exc
    if file.suffix == ".json":
        try:
            content = json.loads(text)
        except json.JSONDecodeError as exc:
            raise ConfigurationError(f"{file.name} is not valid JSON: {exc}") from exc
    else:
        content = text.splitlines()
    if isinstance(content, dict):
        content = _in_class_order(content, file)
    if not isinstance(content, list) or not content:
        raise ConfigurationError(f'{file.name} holds no labels: give ["cat", "dog"] or {{"0": "cat", "1": "dog"}}.')
    return [_as_label(entry, index, file) for index, entry in enumerate(content)]


def check_label_count(labels: Sequence[Label], class_count: int, file: Path) -> None:
    """Raise ConfigurationError unless there is exactly one label a class."""
    if len(labels) != class_count:
        raise ConfigurationError(
            f"The network has {class_count} classes but {file.name} names {len(labels)}: "
            f"give a file with {class_count} names, in class order, with --labels FILE."
        )


def _in_class_order(content: dict[str, object], file: Path) -> list[object]:
    expected = [str(index) for index in range(len(content))]
    missing = [index for index in expected if index not in content]
    if missing:
        raise ConfigurationError(
            f'{file.name}: index "{missing[0]}" is missing; {len(content)} labels need the indices 0 to {expected[-1]}.'
        )
    return [content[index] for index in expected]


def _as_label(entry: object, index: int, file: Path) -> Label:
    match entry:
        case str(name) if name.strip():
            return Label(None, name.strip())
        case [str(wnid), str(name)] if name.strip():
            return Label(wnid, name.strip())
    raise ConfigurationError(f'{file.name}: class {index} is {entry!r}; give a name, or ["n02123045", "tabby"].')
