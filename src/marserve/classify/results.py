"""One result as text: a line of a table for a person; JSON lines and CSV, and back."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Protocol

from marserve.client.predictions import Classification, Prediction
from marserve.pictures import PictureFile

#: Columns of a CSV file before those of the predictions.
FIRST_COLUMNS = ("path", "size", "mtime_ns", "model", "version", "weights")
PREDICTION_COLUMNS = tuple(Prediction.__dataclass_fields__)
#: Characters of a path on a terminal; of a longer one the end is shown, which says more.
LONGEST_PATH = 48


class Table:
    """A line a picture with its classes side by side."""

    def __init__(self, pictures: Sequence[PictureFile], *, longest_path: int | None) -> None:
        """Paths are cut to ``longest_path`` characters; None: they stay whole, as a program needs them."""
        self._longest = longest_path
        self._width = max((len(self._shown(picture.path)) for picture in pictures), default=0)

    def line(self, picture: PictureFile, answer: Classification) -> str:
        """One picture, with a line break."""
        classes = "  ".join(f"{entry.probability:7.1%} {entry.label}" for entry in answer.predictions)
        return f"{self._shown(picture.path):<{self._width}} {classes}\n"

    def _shown(self, path: str) -> str:
        text = os.fsencode(path).decode("utf-8", "replace")
        text = "".join(character if character.isprintable() else "?" for character in text)
        return text if self._longest is None or len(text) <= self._longest else "…" + text[1 - self._longest :]


@dataclass(frozen=True)
class KnownResult:
    """A result that is there already."""

    picture: PictureFile
    top_k: int
    model: str
    #: As it stands in the file.
    text: str


class ResultFormat(Protocol):
    """How results are written; each ends with a line break."""

    def header(self) -> str:
        """What comes before the first result; may be empty."""

    def encode(self, picture: PictureFile, answer: Classification) -> str:
        """One result."""

    def may_begin(self, text: str) -> bool:
        """Whether ``text`` may be a file of results, cut off anywhere, and not something that must not be lost."""

    def decode(self, text: str) -> Iterator[KnownResult]:
        """The results in ``text``, which begins after the header; what was cut off in the middle is left out."""


class JsonLines:
    """An object a line."""

    def __init__(self, top_k: int) -> None:
        self._top_k = top_k

    def header(self) -> str:
        """Nothing."""
        return ""

    def encode(self, picture: PictureFile, answer: Classification) -> str:
        """One result."""
        content = {
            **asdict(picture),
            "top_k": self._top_k,
            "model": answer.model,
            "version": answer.version,
            "weights": answer.weights,
            "predictions": [asdict(prediction) for prediction in answer.predictions],
        }
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        if not _is_unicode(text):  # JSON is UTF-8, which the name of a file need not be
            text = json.dumps(content, separators=(",", ":"))
        return text + "\n"

    def may_begin(self, text: str) -> bool:
        """Whether ``text`` begins like a result."""
        return _is_prefix(text, '{"path":')

    def decode(self, text: str) -> Iterator[KnownResult]:
        """The whole lines of ``text``."""
        for line in text.split("\n")[:-1]:
            result = _read_line(line)
            if result is not None:
                yield result


class Csv:
    """A row a picture; the columns of its predictions are numbered from 1."""

    def __init__(self, top_k: int) -> None:
        self._top_k = top_k
        self._columns = [
            *FIRST_COLUMNS,
            *(f"{column}_{rank}" for rank in range(1, top_k + 1) for column in PREDICTION_COLUMNS),
        ]

    def header(self) -> str:
        """The names of the columns."""
        return _to_csv(self._columns)

    def encode(self, picture: PictureFile, answer: Classification) -> str:
        """One result; cells stay empty where the model has fewer classes than ``top_k``."""
        cells: list[object] = [*astuple(picture), answer.model, answer.version, answer.weights]
        for prediction in answer.predictions[: self._top_k]:
            cells += astuple(prediction)
        return _to_csv(cells + [""] * (len(self._columns) - len(cells)))

    def may_begin(self, text: str) -> bool:
        """Whether ``text`` begins with these columns."""
        return _is_prefix(text, self.header())

    def decode(self, text: str) -> Iterator[KnownResult]:
        """The whole rows of ``text``; a path may hold line breaks."""
        whole = text[: text.rfind("\n") + 1]
        for cells in csv.reader(io.StringIO(whole, newline="")):
            if len(cells) != len(self._columns):
                continue
            path, size, mtime_ns, model, *_ = cells
            if _is_integer(size) and _is_integer(mtime_ns):
                yield KnownResult(PictureFile(path, int(size), int(mtime_ns)), self._top_k, model, _to_csv(cells))


def _read_line(line: str) -> KnownResult | None:
    try:
        content = json.loads(line)
        picture = PictureFile(content["path"], content["size"], content["mtime_ns"])
        return KnownResult(picture, content["top_k"], content["model"], line + "\n")
    except (ValueError, KeyError, TypeError):
        return None


def _to_csv(cells: Iterable[object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _is_prefix(text: str, beginning: str) -> bool:
    return text.startswith(beginning) or beginning.startswith(text)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
