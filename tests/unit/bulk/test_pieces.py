"""What an actor takes at a time, and how its files are read."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from marserve.bulk.pieces import CannotRead, FileReader, Piece, cut, rows_per_file
from marserve.errors import MarserveError
from marserve.handler.resnet18.errors import ImageTooLarge


@pytest.mark.parametrize(
    ("pictures", "actors", "rows"),
    [
        (3, 2, 8),
        (200, 2, 12),
        (2000, 2, 64),
        (100_000, 2, 100),
        (10**6, 2, 1000),
        (10**9, 2, 20_000),
        (10**6, 2000, 62),
    ],
)
def test_files_stay_few_and_every_actor_has_several(pictures: int, actors: int, rows: int) -> None:
    assert rows_per_file(pictures, actors) == rows


def test_pieces_are_named_after_what_is_in_them() -> None:
    paths = [f"/a/{number}.jpg" for number in range(10)]
    first, second, third = cut(paths, 4)
    assert [len(piece.paths) for piece in (first, second, third)] == [4, 4, 2]
    assert first.name == Piece(paths[:4]).name
    assert len({first.name, second.name, third.name, Piece([*paths[:3], "/a/3.jpg/a/4.jpg"]).name}) == 4
    assert Piece.from_json(first.as_json()) == first


def test_names_that_are_no_text_travel() -> None:
    piece = Piece([b"/a/caf\xe9.jpg".decode("utf-8", "surrogateescape")])
    assert Piece.from_json(piece.as_json()).name == piece.name


def test_what_cannot_be_read_stands_in_its_place(tmp_path: Path) -> None:
    good, large, folder = tmp_path / "good.jpg", tmp_path / "large.jpg", tmp_path / "folder.jpg"
    good.write_bytes(b"x" * 10)
    large.write_bytes(b"x" * 11)
    folder.mkdir()
    piece = Piece([str(path) for path in (good, tmp_path / "gone.jpg", large, folder)], str(tmp_path))
    with FileReader(10) as reader:
        sources = list(reader.read(piece))
    assert [source.path for source in sources] == piece.paths
    contents = [source.content for source in sources]
    assert contents[0] == b"x" * 10
    assert [type(content) for content in contents[1:]] == [CannotRead, ImageTooLarge, CannotRead]
    assert [str(content) for content in contents[1:]] == [
        "No such file or directory.",
        "The picture has 11 bytes, more than the 10 that are allowed.",
        "Is a directory.",
    ]


def test_a_folder_that_is_not_there_ends_the_run(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with FileReader(10) as reader, pytest.raises(MarserveError, match=r"Folder .*gone is not there on host"):
        list(reader.read(Piece([str(gone / "1.jpg")], str(gone))))


def test_a_file_system_that_has_gone_away_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr("builtins.open", stale)
    with FileReader(10) as reader, pytest.raises(OSError, match="Stale"):
        list(reader.read(Piece(["/mnt/1.jpg"])))
