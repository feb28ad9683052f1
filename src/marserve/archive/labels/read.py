"""From a file or folder that a person gives to the labels of an archive."""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from marserve.archive.labels.entries import (
    WNID,
    Entry,
    Found,
    UnsureError,
    in_class_order,
    plain,
    printable,
    quoted,
    shown,
)
from marserve.archive.labels.lines import WNID_AND_NAME, from_lines
from marserve.archive.labels.trees import from_json, from_json_lines, from_yaml
from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.labels import Label, read_labels
from marserve.paths import CONFIG

IMAGENET = CONFIG / "index_to_name.json"
IMAGENET_CLASSES = 1000
#: So many of ImageNet's names make a list of 1000 ImageNet's; lists differ in their synonyms.
LEAST_IMAGENET = 0.9
#: A longer one is no name but another kind of file.
MAX_NAME_CHARACTERS = 1000
#: UTF-32's before UTF-16's, with which it begins.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32-LE"),
    (codecs.BOM_UTF32_BE, "UTF-32-BE"),
    (codecs.BOM_UTF16_LE, "UTF-16-LE"),
    (codecs.BOM_UTF16_BE, "UTF-16-BE"),
)
#: A line that is not UTF-8 is shown as each of these reads it: which one is right, only a person can say.
OTHER_ENCODINGS = ("GB18030", "Windows-1252")
#: CR CR LF is what becomes of a text that is converted to CR LF twice.
LINE_END = re.compile(r"\r*\n|\r")
#: Folders into which a data set is split.
SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
#: General categories: control characters, halves of characters, line and paragraph ends.
NOT_IN_A_NAME = {"Cc", "Cs", "Zl", "Zp"}
#: What people get in place of the file that they want, by how it begins.
OTHER_FILES = {
    "version https://git-lfs": "it is a pointer of Git LFS; get the file itself with git lfs pull.",
    "<!doctype html": "it is a web page; download the file itself.",
    "<html": "it is a web page; download the file itself.",
}


@dataclass(frozen=True)
class ClassNames:
    """The labels in class order."""

    labels: list[Label]
    #: What was read, in one line.
    account: str

    def canonical(self) -> bytes:
        """``index_to_name.json`` as TorchServe's own handlers read it as well: {"0": ["n01440764", "tench"], ...}."""
        named = enumerate(self.labels)
        content = {str(i): label.name if label.wnid is None else [label.wnid, label.name] for i, label in named}
        return json.dumps(content, ensure_ascii=False, indent=0).encode()


def read_class_names(path: Path) -> ClassNames:
    """Read a file of class names, or the names of a training folder's subfolders.

    Raises ConfigurationError, which names the place, for whatever is not sure.
    """
    try:
        found = _subfolders(path) if path.is_dir() else _parse(path.read_bytes(), path.suffix.lower())
        entries, numbering = in_class_order(found.entries)
        labels = _labels(entries)
        _refuse_doubles(entries, labels)
    except (UnsureError, OSError, RecursionError) as exc:
        reason = "it is nested too deeply." if isinstance(exc, RecursionError) else exc
        raise ConfigurationError(printable(f"Class names cannot be read from {path.name}: {reason}")) from exc
    names = [f'"{label.name}"' for label in labels]
    listed = ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} to {names[-1]}"
    source = printable(f"{path.name} ({found.form}{numbering})")
    return ClassNames(labels, f"Read {len(names)} class names from {source}: {listed}.")


def _subfolders(path: Path) -> Found:
    """In the order of torchvision's ImageFolder; hidden ones are no classes."""
    names = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names or SPLITS.issuperset(name.lower() for name in names):
        subfolders = f"its subfolders {quoted(names)} are no classes" if names else "it has no subfolders"
        raise UnsureError(f"{subfolders}; give the folder with the training pictures, with a subfolder for each class.")
    return Found([Entry(f"folder {number}", name) for number, name in enumerate(names, 1)], "subfolders, sorted")


def _parse(content: bytes, suffix: str) -> Found:
    text, encoding = _decode(content)
    body = text.strip("\ufeff \t\r\n")
    if not body:
        raise UnsureError('it is empty; give one name a line, or JSON such as ["cat", "dog"].')
    for beginning, reason in OTHER_FILES.items():
        if body[: len(beginning)].lower() == beginning:
            raise UnsureError(reason)
    found = from_yaml(body) if suffix in {".yaml", ".yml"} else _from_text(text, body, suffix)
    return found if encoding == "UTF-8" else Found(found.entries, f"{found.form}, {encoding}")


def _decode(content: bytes) -> tuple[str, str]:
    """The text and its encoding."""
    marks = [(mark, encoding) for mark, encoding in BYTE_ORDER_MARKS if content.startswith(mark)]
    mark, encoding = marks[0] if marks else (b"", _utf16_without_mark(content) or "UTF-8")
    content = content[len(mark) :]
    try:
        return content.decode(encoding), encoding
    except UnicodeDecodeError as exc:
        if encoding != "UTF-8" or b"\0" in content:
            raise UnsureError("it is no text; give text, CSV, JSON or YAML, and save a spreadsheet as CSV.") from exc
        lines = LINE_END.split(content[: exc.start].decode())
        rest = content[exc.start - len(lines[-1].encode()) :].splitlines()[0]
        readings = [f'"{shown(rest.decode(other, "replace"))}" in {other}' for other in OTHER_ENCODINGS]
        raise UnsureError(
            f"line {len(lines)} is not UTF-8. It would be {' and '.join(readings)}: save the file as UTF-8, for "
            f"instance with iconv -f {OTHER_ENCODINGS[0]} -t UTF-8."
        ) from exc


def _utf16_without_mark(content: bytes) -> str | None:
    """It is sure where one byte is zero in most pairs, and the other byte in none."""
    even, odd = content[::2].count(0), content[1::2].count(0)
    if len(content) % 2 or min(even, odd) or 4 * max(even, odd) < len(content):
        return None
    return "UTF-16-BE" if even else "UTF-16-LE"


def _from_text(text: str, body: str, suffix: str) -> Found:
    """``body`` is ``text`` without blanks around it."""
    lines = [
        Entry(f"line {number}", line.strip("\ufeff \t").strip())
        for number, line in enumerate(LINE_END.split(text.rstrip("\ufeff \t\r\n")), 1)
    ]
    if found := from_json_lines(lines):
        return found
    # "[unknown]" may be the first name of a text.
    bracketed = body[0] == "[" and len(lines) > 1 and lines[0].name.endswith("]")
    if suffix == ".json" or (body[0] in "{[" and not bracketed):
        return from_json(body)
    return from_lines(lines, suffix)


def _labels(entries: list[Entry]) -> list[Label]:
    labels = [_label(entry, class_id) for class_id, entry in enumerate(entries)]
    if any(label.wnid is not None for label in labels):
        return labels
    names = [label.name for label in labels]
    if all(map(WNID.fullmatch, names)):
        known = {label.wnid: label.name for label in read_labels(IMAGENET)}
        return [Label(wnid, known.get(wnid, wnid)) for wnid in names]
    matches = [match for name in names if (match := WNID_AND_NAME.fullmatch(name))]
    if len(matches) == len(names):
        return [Label(match["wnid"], match["name"]) for match in matches]
    if len(names) == IMAGENET_CLASSES:  # most lists of them call two classes "crane", which their ids tell apart
        named = list(zip(names, read_labels(IMAGENET), strict=True))
        if sum(plain(name.split(",")[0]) == plain(label.name) for name, label in named) >= LEAST_IMAGENET * len(named):
            return [Label(label.wnid, name) for name, label in named]
    return labels


def _label(entry: Entry, class_id: int) -> Label:
    where = f"class {class_id} ({entry.place})"
    match entry.name:
        case str(text):
            wnid, name = None, text.strip()
        case [str(text), str(other)]:
            wnid, name = text.strip() or None, other.strip()
        case other:
            raise UnsureError(f'{where} is {shown(other)}; give a name, or ["n02123045", "tabby"].')
    if not name:
        raise UnsureError(f"{where} has no name.")
    for character in f"{wnid or ''}{name}":
        if unicodedata.category(character) in NOT_IN_A_NAME or character == "\ufeff":
            raise UnsureError(f'{where} has the control character U+{ord(character):04X} in its name, "{shown(name)}".')
    if len(name) > MAX_NAME_CHARACTERS:
        raise UnsureError(f'{where} has a name of {len(name):,} characters, which is none: "{shown(name)}"')
    return Label(wnid, name)


def _refuse_doubles(entries: list[Entry], labels: list[Label]) -> None:
    found: dict[str, int] = {}
    for class_id, label in enumerate(labels):
        other = found.setdefault(label.wnid or unicodedata.normalize("NFC", label.name), class_id)
        if other != class_id:
            places = f"{entries[other].place} and {entries[class_id].place}"
            raise UnsureError(f'classes {other} and {class_id} are both "{shown(label.name)}" ({places}).')
