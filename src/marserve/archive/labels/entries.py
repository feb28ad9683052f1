"""Classes as they were found, before they are labels: where, under which index, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

#: A class index as it is written.
INDEX = re.compile(r"[0-9]{1,9}")
WNID = re.compile(r"n[0-9]{8}")
#: Of a name in a message.
MAX_SHOWN_CHARACTERS = 80


class UnsureError(Exception):
    """The names cannot be read with certainty; says what was found, and what to give."""


class Entry(NamedTuple):
    """One class."""

    #: Where it stands: ``line 3``, ``entry 3``, ``"7"``.
    place: str
    #: A text, or what else stands there.
    name: Any
    #: As written, from 0 or 1; None where the order of the entries is that of the classes.
    class_index: int | None = None


class Found(NamedTuple):
    """All classes of a file."""

    entries: list[Entry]
    #: How they are written, for a person.
    form: str


def in_class_order(entries: list[Entry]) -> tuple[list[Entry], str]:
    """``entries`` by their indices, and what is to be said of these; UnsureError for gaps and doubles."""
    by_index: dict[int, Entry] = {}
    for entry in entries:
        if entry.class_index is None:
            return entries, ""
        other = by_index.setdefault(entry.class_index, entry)
        if other is not entry:
            raise UnsureError(
                f'index {entry.class_index} is given twice: "{shown(other.name)}" ({other.place}) and '
                f'"{shown(entry.name)}" ({entry.place}).'
            )
    first = 1 if min(by_index) == 1 else 0
    expected = range(first, first + len(entries))
    for index in expected:
        if index not in by_index:
            odd = next(by_index[other] for other in sorted(by_index) if other not in expected)
            raise UnsureError(
                f"index {index} is missing: {len(entries)} names need the indices {first} to {expected[-1]}, and "
                f'{odd.place} has {odd.class_index} ("{shown(odd.name)}").'
            )
    return [by_index[index] for index in expected], ", numbered from 1" if first else ""


def is_complete(indices: Sequence[int | None]) -> bool:
    """Whether they are 0 to N-1, or 1 to N, each once."""
    return any(set(indices) == set(range(first, first + len(indices))) for first in (0, 1))


def plain(text: str) -> str:
    """Letters and digits alone, in lower case: ``Class ID`` and ``class_id`` are one."""
    return "".join(character for character in text.lower() if character.isalnum())


def shown(value: object) -> str:
    """A name, or what stands in its place, as it can stand in a message."""
    text = printable(str(value))
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…"


def printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def quoted(names: Iterable[object]) -> str:
    return ", ".join(f'"{shown(name)}"' for name in names)
