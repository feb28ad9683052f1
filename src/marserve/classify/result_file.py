"""The file that results are kept in: what is in it is not sent again, and a killed run leaves it fit to go on."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from marserve.classify.results import KnownResult, ResultFormat
from marserve.client.predictions import Classification
from marserve.errors import MarserveError
from marserve.pictures import PictureFile
from marserve.system.files import replacing

#: Names of files are bytes; those that are no UTF-8 are written as they are.
ENCODING, ERRORS = "utf-8", "surrogateescape"


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

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def open(self, pictures: Iterable[PictureFile]) -> list[PictureFile]:
        """Those of ``pictures`` that have no result yet; the file is made fit for theirs.

        What was cut off in the middle, and results of pictures that have changed since, are removed. Results of
        pictures that this run is not given stay. Raises ResultFileError, or OSError.
        """
        self._descriptor = self._lock(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666))
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
        while content:  # a full disk may take a part
            content = content[os.write(self._descriptor, content) :]

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
