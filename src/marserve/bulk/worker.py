"""One actor: reads, decodes, classifies and writes piece after piece."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from marserve.bulk.attempts import Attempt, DeadlyPicture, RayStore
from marserve.bulk.engine import ArchiveClassifier, ArchiveFile, Prediction
from marserve.bulk.output import SETTINGS_FILE, Rows
from marserve.bulk.pieces import FileReader, Piece, Source
from marserve.bulk.storage import Folder
from marserve.errors import MarserveError
from marserve.handler.resnet18.errors import RequestError
from marserve.handler.resnet18.images import Encoded

if TYPE_CHECKING:
    import ray


class Classifier(Protocol):
    """What gives pictures their classes."""

    batch_size: int
    max_image_bytes: int

    def classify(self, pictures: Sequence[Encoded | RequestError]) -> Sequence[Sequence[Prediction] | RequestError]:
        """One answer a picture, for at most ``batch_size``."""
        ...


@dataclass(frozen=True)
class Task:
    """What all actors of a run have in common."""

    archive: ray.ObjectRef[ArchiveFile]
    digest: str
    output: str
    top_k: int
    threads: int
    gpu: bool
    #: Another classifier than the archive's, for measurements of everything around it.
    stand_in: Callable[[], Classifier] | None = None


@dataclass(frozen=True)
class Summary:
    """One piece: how many rows its file has, and how many of them an error of each kind."""

    piece: str
    rows: int
    errors: dict[str, int]
    seconds: float

    def as_batch(self) -> dict[str, list[Any]]:
        """A block of one row for Ray."""
        return {"summary": [json.dumps(vars(self))]}

    @classmethod
    def from_json(cls, text: str) -> Summary:
        return cls(**json.loads(text))


class Worker:
    """Ray Data makes one of them for each actor, and calls it with a block of one piece after the other."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._folder = Folder(task.output)
        self._check_output()
        self._classifier = self._make_classifier()
        self._reader = FileReader(self._classifier.max_image_bytes)

    def __call__(self, block: dict[str, Any]) -> dict[str, list[Any]]:
        (text,) = block["piece"]
        return self._compute(Piece.from_json(text)).as_batch()

    def _compute(self, piece: Piece) -> Summary:
        began = time.monotonic()
        rows = Rows(self._task.digest)
        attempt = Attempt(RayStore(), piece.name)
        for batch in _batches(self._reader.read(piece), self._classifier.batch_size if attempt.is_first else 1):
            with attempt.at(len(rows)) as may_be_tried:
                answers = self._classifier.classify(
                    [source.content if may_be_tried else DeadlyPicture() for source in batch]
                )
            for source, answer in zip(batch, answers, strict=True):
                rows.add(source.path, answer)
        self._folder.write(piece.name, rows.as_parquet())
        attempt.end()
        return Summary(piece.name, len(rows), dict(rows.errors), time.monotonic() - began)

    def _make_classifier(self) -> Classifier:
        import ray

        task = self._task
        if task.stand_in is not None:
            return task.stand_in()
        gpu_id = 0 if task.gpu else None  # Ray shows an actor its own GPU alone
        return ArchiveClassifier(ray.get(task.archive), threads=task.threads, gpu_id=gpu_id, top_k=task.top_k)

    def _check_output(self) -> None:
        try:
            self._folder.read(SETTINGS_FILE)
        except FileNotFoundError as exc:
            raise MarserveError(
                f"Host {os.uname().nodename} does not see what the driver wrote to {self._folder.name}: on a cluster "
                "--output must be a folder that all hosts share, or an object store (s3://...)."
            ) from exc


def _batches(sources: Iterable[Source], size: int) -> Iterator[list[Source]]:
    rest = iter(sources)
    while batch := list(islice(rest, size)):
        yield batch


def total(summaries: Iterable[Summary]) -> Counter[str]:
    """How many errors of each kind."""
    return sum((Counter(summary.errors) for summary in summaries), Counter())
