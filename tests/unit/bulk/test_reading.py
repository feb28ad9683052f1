"""The pictures of a piece: files, members of a tar file, cells of a Parquet file."""

from __future__ import annotations

import errno
import io
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marserve.bulk.pieces import FilesPiece, Piece, ShardPiece
from marserve.bulk.reading import CannotRead, EndOfPart, Reader, Source
from marserve.errors import MarserveError
from marserve.handler.resnet18.errors import ImageTooLarge

MOST_BYTES = 10


def read(piece: Piece) -> tuple[list[tuple[str, object]], list[str]]:
    """The pictures, an error by its type, and the files that they become."""
    found = list(Reader(MOST_BYTES).read(piece))
    sources = [(one.path, one.content) for one in found if isinstance(one, Source)]
    shown: list[tuple[str, object]] = [
        (path, content if isinstance(content, bytes) else type(content)) for path, content in sources
    ]
    assert not found or isinstance(found[-1], EndOfPart)
    return shown, [one.name for one in found if isinstance(one, EndOfPart)]


def tar_of(file: Path, members: dict[str, bytes], mode: str = "w") -> ShardPiece:
    with tarfile.open(file, mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return ShardPiece(str(file), file.stat().st_size, 2)


def parquet_of(file: Path, columns: Mapping[str, object], row_group_size: int = 2) -> ShardPiece:
    pq.write_table(pa.table(dict(columns)), file, row_group_size=row_group_size)
    return ShardPiece(str(file), file.stat().st_size, 2)


def test_what_cannot_be_read_stands_in_its_place(tmp_path: Path) -> None:
    good, large, folder = tmp_path / "good.jpg", tmp_path / "large.jpg", tmp_path / "folder.jpg"
    good.write_bytes(b"x" * 10)
    large.write_bytes(b"x" * 11)
    folder.mkdir()
    paths = [str(path) for path in (good, tmp_path / "gone.jpg", large, folder)]
    piece = FilesPiece(paths, str(tmp_path))
    sources, files = read(piece)
    assert files == [piece.name]
    assert sources == list(zip(paths, [b"x" * 10, CannotRead, ImageTooLarge, CannotRead], strict=True))
    messages = [str(one.content) for one in Reader(MOST_BYTES).read(piece) if isinstance(one, Source)]
    assert messages[1:] == [
        "No such file or directory.",
        "The picture has 11 bytes, more than the 10 that are allowed.",
        "Is a directory.",
    ]


def test_a_folder_that_is_not_there_ends_the_run(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(MarserveError, match=r"Folder .*gone is not there on host"):
        read(FilesPiece([str(gone / "1.jpg")], str(gone)))


def test_a_file_system_that_has_gone_away_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr("builtins.open", stale)
    with pytest.raises(OSError, match="Stale"):
        read(FilesPiece(["/mnt/1.jpg"]))


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tgz", "w:gz"), ("a.tar.gz", "w:gz")])
def test_a_tar_file_has_its_pictures_and_nothing_else(tmp_path: Path, name: str, mode: str) -> None:
    members = {
        "1.cls": b"7",
        "1.jpg": b"one",
        "b/2.PNG": b"two",
        "3.jpg": b"x" * 11,
        "3.json": b"{}",
        "4.webp": b"four",
    }
    piece = tar_of(tmp_path / name, members, mode)
    sources, files = read(piece)
    named = {f"{piece.path}/{member}": content for member, content in members.items()}
    wanted = [f"{piece.path}/{member}" for member in ("1.jpg", "b/2.PNG", "3.jpg", "4.webp")]
    assert sources == [(path, ImageTooLarge if "3.jpg" in path else named[path]) for path in wanted]
    assert files == [piece.part(0), piece.part(1, 2)]


def test_pieces_of_a_shard_have_each_picture_once_and_none_that_has_a_row(tmp_path: Path) -> None:
    members = {f"{number}.jpg": str(number).encode() for number in range(11)}
    piece = tar_of(tmp_path / "a.tar", members)
    whole, files = read(piece)
    assert [path.rpartition("/")[2] for path, _ in whole] == list(members)
    assert files == [*(piece.part(number) for number in range(5)), piece.part(5, 1)]
    dealt = [read(replace(piece, of=2, index=index)) for index in range(2)]
    assert sorted(dealt[0][0] + dealt[1][0]) == sorted(whole)
    assert sorted(dealt[0][1] + dealt[1][1]) == sorted(files)
    rest = read(replace(piece, written=[0, 1, 5]))
    assert (rest[0], rest[1]) == (whole[4:10], files[2:5])
    known = replace(piece, known=[path for path, _ in whole[:4]])
    rest = read(known)
    assert rest[0] == whole[4:]
    assert rest[1] == [known.part(0), known.part(1), known.part(2), known.part(3, 1)]


def test_a_shard_without_a_picture_becomes_an_empty_file(tmp_path: Path) -> None:
    piece = tar_of(tmp_path / "a.tar", {"readme.txt": b"x"})
    assert read(piece) == ([], [piece.part(0, 0)])


def test_a_shard_that_is_cut_off_has_a_row_for_itself(tmp_path: Path) -> None:
    piece = tar_of(tmp_path / "a.tar", {f"{number}.jpg": b"12345" for number in range(3)})
    content = Path(piece.path).read_bytes()
    Path(piece.path).write_bytes(content[: 2 * 1024 + 512 + 2])  # in the middle of the third
    sources, files = read(piece)
    assert [path.removeprefix(piece.path) for path, _ in sources] == ["/0.jpg", "/1.jpg", ""]
    assert sources[-1][1] is CannotRead
    assert files == [piece.part(0), piece.part(1, 1)]


@pytest.mark.parametrize("name", ["a.tar", "a.parquet", "gone.tar"])
def test_what_is_no_shard_has_a_row_for_itself(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar" * 1000)
    (tmp_path / "a.parquet").write_bytes(b"no parquet" * 1000)
    piece = ShardPiece(str(tmp_path / name), 1, 2)
    assert read(piece) == ([(piece.path, CannotRead)], [piece.part(0, 1)])


def test_a_parquet_file_has_a_picture_in_each_row(tmp_path: Path) -> None:
    columns = {"path": ["a", "b", None, "d", "e"], "n": range(5), "image": [b"1", b"2", b"3", None, b"x" * 11]}
    piece = parquet_of(tmp_path / "a.parquet", columns)
    sources, files = read(piece)
    path = f"{piece.path}#2"
    assert sources == [("a", b"1"), ("b", b"2"), (path, b"3"), ("d", CannotRead), ("e", b"x" * 11)]  # the decoder's
    assert files == [piece.part(0), piece.part(1), piece.part(2, 1)]
    rest = read(replace(piece, written=[0, 2]))
    assert rest == (sources[2:4], [files[1]])


def test_hugging_faces_pictures_are_found_and_rows_without_a_name_have_their_number(tmp_path: Path) -> None:
    image = pa.array([{"bytes": b"1", "path": "1.jpg"}, {"bytes": b"2", "path": None}])
    piece = parquet_of(tmp_path / "a.parquet", {"image": image, "label": [1, 2]})
    assert read(piece)[0] == [(f"{piece.path}#0", b"1"), (f"{piece.path}#1", b"2")]


def test_columns_can_be_named_and_are_listed_where_it_is_unclear(tmp_path: Path) -> None:
    piece = parquet_of(tmp_path / "a.parquet", {"front": [b"1"], "back": [b"2"], "key": ["k"]})
    with pytest.raises(MarserveError, match=r"Give --picture-column; there are: front, back, key"):
        read(piece)
    assert read(replace(piece, picture_column="back", path_column="key"))[0] == [("k", b"2")]
    with pytest.raises(MarserveError, match=r"there is no column name; there are: front, back, key"):
        read(replace(piece, picture_column="back", path_column="name"))
