"""Files that are replaced in one step."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from stat import S_ISDIR
from typing import BinaryIO

import pytest

from marserve.errors import MarserveError
from marserve.system.files import failure_of, is_held, locked, replace_text, replacing


def test_a_reader_sees_the_old_content_until_the_end(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text("old")
    with replacing(file) as new:
        new.write(b"new")
        new.flush()
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def fail_halfway(file: BinaryIO) -> None:
    file.write(b"half")
    raise ValueError("end")


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text("old")
    with pytest.raises(ValueError, match="end"), replacing(file) as new:
        fail_halfway(new)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_content_is_on_the_disk_before_the_name_is_and_the_name_by_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power failure can leave an empty file: the faster writers that this one replaced had that fault."""
    file = tmp_path / "state.json"
    synced: list[tuple[int | str, bool]] = []

    def sync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.append(("directory" if S_ISDIR(status.st_mode) else status.st_size, file.exists()))

    monkeypatch.setattr(os, "fsync", sync)
    replace_text(file, "ü")
    assert synced == [(2, False), ("directory", True)]


def test_two_writers_at_once_both_leave_a_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "a.mar"
    with replacing(file) as first, replacing(file) as second:
        first.write(b"first")
        second.write(b"second")
    assert file.read_bytes() == b"first"


@pytest.mark.parametrize(
    ("before", "mode", "after"), [(0o600, None, 0o600), (0o600, 0o644, 0o644), (None, 0o640, 0o640)]
)
def test_permissions_are_kept_or_as_given(tmp_path: Path, before: int | None, mode: int | None, after: int) -> None:
    file = tmp_path / "file"
    if before is not None:
        file.touch()
        file.chmod(before)
    with replacing(file, mode=mode) as new:
        new.write(b"x")
    assert file.stat().st_mode & 0o777 == after


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/a.mar"),
            "The disk is full (/data/a.mar: No space left",
        ),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "The disk is full (Disk quota exceeded): free some space"),
        (OSError(errno.EFBIG, "File too large", b"/a"), "A file may not grow any further (/a: File too large)"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "/root/x: Permission denied."),
        (OSError("No usable temporary directory found"), "No usable temporary directory found."),
        (OSError(errno.EXDEV, "Invalid cross-device link", "/a", None, "/b"), "/a, /b: Invalid cross-device link."),
    ],
)
def test_what_the_system_refuses_is_a_sentence(error: OSError, sentence: str) -> None:
    assert failure_of(error).startswith(sentence)


def test_a_full_disk_leaves_the_old_content_and_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.mar"
    file.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.mar"):
        replace_text(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_name_as_long_as_any_may_be_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / ("図" * 85)
    replace_text(file, "new")
    assert file.read_text() == "new"


def test_a_lock_is_held_as_long_as_one_of_those_who_share_it_lives(tmp_path: Path) -> None:
    file = tmp_path / "shared.lock"
    assert not is_held(file)
    with locked(file, shared=True):
        with locked(file, shared=True, timeout_s=0):
            assert is_held(file)
        assert is_held(file)
        with pytest.raises(MarserveError, match="still holds"), locked(file, timeout_s=0):
            pass
    assert not is_held(file)


def test_a_lock_that_cannot_be_looked_at_counts_as_held(tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    file.symlink_to(file.name)
    assert is_held(file)
