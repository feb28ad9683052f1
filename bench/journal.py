"""Every measurement as one line of JSON, written as soon as it is made: a run that breaks off keeps what it has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError

Record = dict[str, Any]
#: The fields that tell one measurement from another.
_IDENTITY = ("kind", "candidate", "pictures", "round", "clients", "workers", "precision")


class Journal:
    """The records of one file, those of an earlier part of the run included."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records: list[Record] = read_records(file) if file.exists() else []
        self._known = {_identity(record) for record in self.records}
        if file.exists():
            _drop_broken_end(file)

    def add(self, kind: str, **fields: Any) -> Record:
        """Append one record."""
        record: Record = {"kind": kind, **fields}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.records.append(record)
        self._known.add(_identity(record))
        return record

    def has(self, kind: str, **fields: Any) -> bool:
        """Whether this measurement was made already."""
        return _identity({"kind": kind, **fields}) in self._known


def read_records(file: Path) -> list[Record]:
    """The records of ``file``; a last line that was cut off is left out. Raises BenchError for any other bad line."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    try:
        return [json.loads(line) for line in lines]
    except ValueError as exc:
        raise BenchError(f"{file} is not made of JSON lines ({exc}): give a file that ./scripts/bench wrote.") from exc


def _drop_broken_end(file: Path) -> None:
    content = file.read_bytes()
    if content and not content.endswith(b"\n"):
        file.write_bytes(content[: content.rfind(b"\n") + 1])


def _identity(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in _IDENTITY)
