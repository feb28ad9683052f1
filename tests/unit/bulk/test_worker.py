"""An actor's work on a piece, without Ray around it."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from marserve.bulk import worker
from marserve.bulk.engine import Prediction
from marserve.bulk.output import SETTINGS_FILE
from marserve.bulk.pieces import FilesPiece, as_json
from marserve.bulk.storage import Folder
from marserve.bulk.worker import Summary, Task, Worker
from marserve.errors import MarserveError
from marserve.handler.resnet18.errors import ConfigurationError, RequestError
from marserve.handler.resnet18.images import Encoded
from marserve.handler.resnet18.labels import Label


class Notes(dict[str, str]):
    """In place of what Ray's head keeps."""

    def put(self, key: str, value: str) -> None:
        self[key] = value

    def delete(self, key: str) -> None:
        del self[key]


class StandIn:
    batch_size = 4
    max_image_bytes = 1000

    def classify(self, pictures: Sequence[Encoded | RequestError]) -> list[list[Prediction] | RequestError]:
        return [one if isinstance(one, RequestError) else [Prediction(7, Label(None, "7"), 1.0)] for one in pictures]


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(worker, "RayStore", Notes)
    folder = tmp_path / "classes"
    folder.mkdir()
    (folder / SETTINGS_FILE).touch()
    return folder


def made(output: Path, stand_in: Any = StandIn) -> Worker:
    archive: Any = None
    return Worker(Task(archive, "sha256:0", str(output), 1, 1, gpu=False, stand_in=stand_in))


def compute(made: Worker, *pictures: Path) -> list[Summary]:
    block = {"piece": [as_json(FilesPiece([str(picture) for picture in pictures]))]}
    return [Summary.from_json(text) for batch in made(block) for text in batch["summary"]]


def test_a_piece_ends_with_the_summary_of_its_file(output: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    (summary,) = compute(made(output), tmp_path / "a.jpg", tmp_path / "gone.jpg")
    assert (summary.rows, summary.errors, summary.done) == (2, {"CannotRead": 1}, True)
    assert (output / summary.piece).exists()


def test_storage_that_fails_ends_the_run_with_its_reason(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(folder: Folder, file: str, content: bytes) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error", f"{folder.name}/{file}")

    monkeypatch.setattr(Folder, "write", write)
    with pytest.raises(MarserveError, match=r"cannot read or write: .*classes/part-.*: Input/output error\. The same"):
        compute(made(output), tmp_path / "gone.jpg")


def test_what_fails_as_it_begins_is_raised_with_the_first_piece(output: Path, tmp_path: Path) -> None:
    """Ray hands on the message of no other error."""

    def refuse() -> NoReturn:
        raise ConfigurationError("There is no such engine.")

    begun = made(output, refuse)
    with pytest.raises(MarserveError, match=r"There is no such engine\."):
        compute(begun, tmp_path / "gone.jpg")
    (output / SETTINGS_FILE).unlink()
    begun = made(output)
    with pytest.raises(MarserveError, match="does not see what the driver wrote"):
        compute(begun, tmp_path / "gone.jpg")
