"""Archives that somebody else made: each is read, or refused in words."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from marserve.archive import contents
from marserve.archive.contents import ArchiveError, read_json, read_text
from marserve.errors import MarserveError
from marserve.manage.deployment import archive_version

MANIFEST = "MAR-INF/MANIFEST.json"
VERSION = b'{"model": {"modelVersion": "2.0"}}'


def archive(folder: Path, *files: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "model.mar"
    with zipfile.ZipFile(path, "w", compression) as mar:
        for name, content in files:
            mar.writestr(name, content)
    return path


def test_an_archive_says_which_version_it_is(tmp_path: Path) -> None:
    assert archive_version(archive(tmp_path, (MANIFEST, VERSION))) == "2.0"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([], "has no MAR-INF"),
        ([(MANIFEST, b"[" * 100_000)], "is no JSON"),
        ([(MANIFEST, b"\xff")], "is no JSON"),
        ([(MANIFEST, bytes(contents.MAX_TEXT_BYTES + 1))], "more than"),
        ([(MANIFEST, VERSION), ("../../handler.py", b"")], "elsewhere"),
        ([(MANIFEST, VERSION), ("/etc/handler.py", b"")], "elsewhere"),
        ([(MANIFEST, b"[]")], "names its version"),
        ([(MANIFEST, b'{"model": "2.0"}')], "names its version"),
        ([(MANIFEST, b'{"model": {"modelVersion": "../2.0"}}')], "has version"),
    ],
)
def test_an_archive_that_means_harm_is_refused_in_words(
    files: list[tuple[str, bytes]], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(MarserveError, match=reason):
        archive_version(archive(tmp_path, *files))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_files_of_one_name_nobody_knows_which_is_unpacked(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="two files of one name"):
        read_text(archive(tmp_path, (MANIFEST, VERSION), (MANIFEST, b"{}")), MANIFEST)


def test_an_archive_that_fills_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "SMALL_BYTES", 1 << 20)
    bomb = archive(tmp_path, (MANIFEST, VERSION), ("weights", bytes(10_000_000)))
    with pytest.raises(ArchiveError, match="unpacked to 10,000"):
        read_json(bomb, MANIFEST)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_whatever_byte_is_damaged_it_is_read_or_refused(compression: int, tmp_path: Path) -> None:
    whole = archive(tmp_path, (MANIFEST, VERSION), compression=compression).read_bytes()
    damaged = tmp_path / "damaged.mar"
    for place in range(len(whole)):
        for change in (0x01, 0xFF):
            damaged.write_bytes(whole[:place] + struct.pack("B", whole[place] ^ change) + whole[place + 1 :])
            _read_or_refuse(damaged)


def _read_or_refuse(path: Path) -> None:
    try:
        read_json(path, MANIFEST)
    except ArchiveError as error:
        assert str(error).isprintable()  # noqa: PT017 - it may as well be read
