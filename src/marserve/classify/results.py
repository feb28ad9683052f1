"""One result as text: a line of a table for a person; JSON lines and CSV, and back."""

from __future__ import annotations

import csv
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass

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


class ResultFormat(ABC):
    """How results are written, each with a line break at its end."""

    #: What comes before the first result.
    header = ""
    #: What a file of results begins with.
    beginning = ""

    def __init__(self, top_k: int) -> None:
        self.top_k = top_k

    def may_begin(self, text: str) -> bool:
        """Whether ``text`` may be a file of results, cut off anywhere, and not something that must not be lost."""
        return text.startswith(self.beginning) or self.beginning.startswith(text)

    @abstractmethod
    def encode(self, picture: PictureFile, answer: Classification) -> str: ...

    @abstractmethod
    def decode(self, text: str) -> Iterator[KnownResult]:
        """The results in ``text``, which begins after the header; what was cut off in the middle is left out."""


class JsonLines(ResultFormat):
    """An object a line."""

    beginning = '{"path":'

    def encode(self, picture: PictureFile, answer: Classification) -> str:
        content = {
            **asdict(picture),
            "top_k": self.top_k,
            "model": answer.model,
            "version": answer.version,
            "weights": answer.weights,
            "predictions": [asdict(prediction) for prediction in answer.predictions],
        }
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        try:
            text.encode()
        except UnicodeEncodeError:  # JSON is UTF-8, which the name of a file need not be
            text = json.dumps(content, separators=(",", ":"))
        return text + "\n"

    def decode(self, text: str) -> Iterator[KnownResult]:
        for line in text.split("\n")[:-1]:
            with suppress(ValueError, KeyError, TypeError):
                content = json.loads(line)
                picture = PictureFile(content["path"], content["size"], content["mtime_ns"])
                yield KnownResult(picture, content["top_k"], content["model"], line + "\n")


class Csv(ResultFormat):
    """A row a picture; the columns of its predictions are numbered from 1."""

    def __init__(self, top_k: int) -> None:
        super().__init__(top_k)
        numbered = [f"{column}_{rank}" for rank in range(1, top_k + 1) for column in PREDICTION_COLUMNS]
        self._columns = [*FIRST_COLUMNS, *numbered]
        self.header = self.beginning = _to_csv(self._columns)

    def encode(self, picture: PictureFile, answer: Classification) -> str:
        cells: list[object] = [*astuple(picture), answer.model, answer.version, answer.weights]
        for prediction in answer.predictions[: self.top_k]:
            cells += astuple(prediction)
        # Some stay empty where the model has fewer classes than ``top_k``.
        return _to_csv(cells + [""] * (len(self._columns) - len(cells)))

    def decode(self, text: str) -> Iterator[KnownResult]:
        whole = text[: text.rfind("\n") + 1]  # a path may hold line breaks
        for cells in csv.reader(io.StringIO(whole, newline="")):
            if len(cells) != len(self._columns):
                continue
            path, size, mtime_ns, model, *_ = cells
            with suppress(ValueError):
                yield KnownResult(PictureFile(path, int(size), int(mtime_ns)), self.top_k, model, _to_csv(cells))


def _to_csv(cells: Iterable[object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
