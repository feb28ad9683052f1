"""Results as text: a line of a table for a person; JSON lines and CSV, and the file that these are kept in.

What is in that file is not sent again, and a killed run leaves it fit to go on.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from rich.cells import cell_len, set_cell_size

from marserve.client.inference import Classification, Prediction
from marserve.errors import MarserveError
from marserve.pictures import PictureFile
from marserve.system.files import replacing

#: Columns of a CSV file before those of the predictions.
FIRST_COLUMNS = ("path", "size", "mtime_ns", "model", "version", "weights")
PREDICTION_COLUMNS = tuple(Prediction.__dataclass_fields__)
#: Cells of a path on a terminal; of a longer one the end is shown, which says more. A Chinese character has two cells.
LONGEST_PATH = 48
#: Cells of a label where there is no terminal to fill, and the least of them where there is.
USUAL_LABEL, SHORTEST_LABEL = 24, 12
HEADER = "PICTURE"
#: Names of files are bytes; those that are no UTF-8 are written as they are.
ENCODING, ERRORS = "utf-8", "surrogateescape"


class Table:
    """For a person: a line a picture with its classes side by side, below a line that names the model."""

    def __init__(self, pictures: Sequence[PictureFile], top_k: int, *, columns: int | None) -> None:
        """``columns`` of a terminal are shared out, and what is longer is cut; None: paths and labels stay whole."""
        self._longest = None if columns is None else LONGEST_PATH
        self._path_cells = max((cell_len(self._shown(picture.path)) for picture in pictures), default=0)
        self._path_cells = max(self._path_cells, len(HEADER))
        shared = USUAL_LABEL if columns is None else (columns - self._path_cells) // top_k - len("  100.0% ")
        self._label_cells = max(SHORTEST_LABEL, shared)
        self._model: str | None = None

    def line(self, picture: PictureFile, answer: Classification) -> str:
        """One picture, with a line break; before the first of a model what it is called."""
        classes = "".join(
            f"  {percent(entry.probability):>6} {self._label(entry.label)}" for entry in answer.predictions
        )
        row = f"{set_cell_size(self._shown(picture.path), self._path_cells)}{classes}".rstrip() + "\n"
        model = " ".join(filter(None, (answer.model, answer.version)))
        if answer.weights not in (None, "trained", "unknown"):
            model = f"{model}, {answer.weights}"
        if model == self._model:
            return row
        self._model = model
        return f"{HEADER:<{self._path_cells}}  MOST PROBABLE CLASSES ({model})\n{row}"

    def _shown(self, path: str) -> str:
        text = os.fsencode(path).decode("utf-8", "replace")
        text = "".join(character if character.isprintable() else "?" for character in text)
        if self._longest is None or cell_len(text) <= self._longest:
            return text
        while cell_len(text) > self._longest - 1:
            text = text[1:]
        return f"…{text}"

    def _label(self, label: str) -> str:
        cells = cell_len(label)
        if cells <= self._label_cells:
            return label + " " * (self._label_cells - cells)
        return label if self._longest is None else f"{set_cell_size(label, self._label_cells - 1)}…"


def percent(probability: float) -> str:
    """As the page has it: ``39.7%``, ``<0.1%``."""
    return "<0.1%" if 0 < probability < 0.001 else f"{probability:.1%}"


@dataclass(frozen=True)
class KnownResult:
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


class ResultFileError(MarserveError):
    """The file cannot be gone on with; the message says what to do."""


class ResultFile:
    """Results are appended in the order of the answers, each whole and at once. Use it in ``with``."""

    def __init__(self, path: Path, form: ResultFormat, *, model: str | None) -> None:
        """``model`` is this run's: pictures with results of another, or with another ``top_k``, are sent again."""
        self._path = path.resolve()  # a link stays one
        self._form = form
        self._model = model
        self._descriptor = -1

    def __enter__(self) -> ResultFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def open(self, pictures: Iterable[PictureFile]) -> list[PictureFile]:
        """Those of ``pictures`` that have no result yet; the file is made fit for theirs.

        What was cut off in the middle, and results of pictures that have changed since, are removed. Results of
        pictures that this run is not given stay. Raises ResultFileError, or OSError.
        """
        self._descriptor = self._lock(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666))
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise ResultFileError(f"{self._path} keeps nothing that one could go on from: give --output a file's name.")
        text = self._path.read_bytes().decode(ENCODING, ERRORS)
        header = self._form.header
        if not self._form.may_begin(text):
            raise ResultFileError(
                f"{self._path} does not begin like results of this --format and --top-k: give those it was begun with, "
                "or another --output."
            )
        known = {}
        given = {picture.path: picture for picture in pictures}
        for result in self._form.decode(text[len(header) :]):
            picture = given.get(result.picture.path)
            if picture is None or self._answers(result, picture):
                known[result.picture.path] = result
        wanted = header + "".join(result.text for result in known.values())
        if wanted != text:
            self._replace(wanted)
        return [picture for picture in given.values() if picture.path not in known]

    def add(self, picture: PictureFile, answer: Classification) -> None:
        """Append a result: in one write, so that a process that is killed leaves it whole or not at all."""
        content = self._form.encode(picture, answer).encode(ENCODING, ERRORS)
        size = os.fstat(self._descriptor).st_size
        try:
            while content:  # a full disk may take a part
                content = content[os.write(self._descriptor, content) :]
        except OSError as exc:
            os.ftruncate(self._descriptor, size)
            exc.filename = str(self._path)
            raise

    def _answers(self, result: KnownResult, picture: PictureFile) -> bool:
        return result.picture == picture and result.top_k == self._form.top_k and self._model in {None, result.model}

    def _lock(self, descriptor: int) -> int:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(descriptor)
            raise ResultFileError(
                f"Another run writes to {self._path}: wait for it, or give another --output."
            ) from exc
        return descriptor

    def _replace(self, text: str) -> None:
        """Exchange the content in one step: killed in the middle, the old file is still there."""
        with replacing(self._path) as file:
            file.write(text.encode(ENCODING, ERRORS))
            descriptor = self._lock(os.dup(file.fileno()))  # before anybody can find it by its name
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
        os.close(self._descriptor)
        self._descriptor = descriptor
