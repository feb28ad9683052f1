"""One actor: reads, decodes, classifies and writes piece after piece."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from marserve.bulk.attempts import Attempt, DeadlyPicture, RayStore
from marserve.bulk.engine import ArchiveClassifier, ArchiveFile, Prediction
from marserve.bulk.output import SETTINGS_FILE, Rows
from marserve.bulk.pieces import Piece, ShardPiece, from_json
from marserve.bulk.reading import Reader, Source
from marserve.bulk.storage import Folder
from marserve.errors import MarserveError
from marserve.handler.resnet18.errors import ConfigurationError, RequestError
from marserve.handler.resnet18.images import Encoded
from marserve.system.files import failure_of

if TYPE_CHECKING:
    import ray


#: Rows after which a piece says how far it has come.
TELL_ROWS = 256


class RunFailedError(MarserveError):
    """What an actor raises. Ray appends to a message that passes through it, and not to ``reason``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


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
    """How far a piece has come: its rows by now, and how many of them have an error of each kind."""

    piece: str
    rows: int
    errors: dict[str, int]
    #: How much of it has been read, 0 to 1.
    share: float
    seconds: float
    #: Its files are there.
    done: bool = False

    def as_batch(self) -> dict[str, list[str]]:
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
        #: Raised at the first piece: of an error that is raised here Ray hands on a traceback alone, as text.
        self._failure: RunFailedError | None = None
        try:
            with _failures_explained():
                self._check_output()
                self._classifier = self._make_classifier()
                self._reader = Reader(self._classifier.max_image_bytes)
        except RunFailedError as exc:
            self._failure = exc

    def __call__(self, block: dict[str, Any]) -> Iterator[dict[str, list[str]]]:
        """Raises RunFailedError where not a picture but the run fails."""
        if self._failure is not None:
            raise self._failure
        (text,) = block["piece"]
        with _failures_explained():
            yield from (summary.as_batch() for summary in self._compute(from_json(text)))

    def _compute(self, piece: Piece) -> Iterator[Summary]:
        """Ends with the summary of the whole; those before come after a number of rows, the same in every attempt.

        (Ray counts them: where a piece is computed again it leaves out as many as it has had.)
        """
        began = time.monotonic()
        attempt = Attempt(RayStore(), piece.name)
        rows, done, errors = Rows(self._task.digest), 0, Counter[str]()
        told = TELL_ROWS
        waiting: list[Source] = []
        batch_size = self._classifier.batch_size if attempt.is_first else 1
        shard = piece.path if isinstance(piece, ShardPiece) else None

        def flush() -> None:
            with attempt.at(done + len(rows)) as may_be_tried:
                answers = self._classifier.classify(
                    [source.content if may_be_tried else DeadlyPicture() for source in waiting]
                )
            for source, answer in zip(waiting, answers, strict=True):
                rows.add(source.path, answer)
            waiting.clear()

        def summary(*, is_done: bool = False) -> Summary:
            share = 1.0 if is_done else self._reader.share
            total = dict(errors + rows.errors)
            return Summary(piece.name, done + len(rows), total, share, time.monotonic() - began, is_done)

        for found in self._reader.read(piece):
            if isinstance(found, Source):
                waiting.append(found)
                if len(waiting) == batch_size:
                    flush()
            else:
                if waiting:
                    flush()
                self._folder.write(found.name, rows.as_parquet(shard))
                done, errors, rows = done + len(rows), errors + rows.errors, Rows(self._task.digest)
            while done + len(rows) >= told:
                told += TELL_ROWS
                yield summary()
        attempt.end()
        yield summary(is_done=True)

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


@contextmanager
def _failures_explained() -> Iterator[None]:
    """What ends a run raises RunFailedError."""
    host = os.uname().nodename
    try:
        yield
    except MarserveError as exc:
        raise RunFailedError(str(exc)) from exc
    except OSError as exc:
        raise RunFailedError(f"Host {host} cannot read or write: {failure_of(exc)} The same command goes on.") from exc
    except ConfigurationError as exc:
        raise RunFailedError(f"Host {host}: {exc}") from exc
