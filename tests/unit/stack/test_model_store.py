"""Archives and their record on the disk: whole or as before, and nothing else."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marserve.errors import MarserveError
from marserve.stack.deployments import DeployedModel, DeployedVersion, Deployments, PendingChange, switched
from marserve.stack.model_store import RECORD, DeploymentStore, LostArchiveError, LostRecordError, sha256_of
from marserve.stack.run_directory import RunDirectory

MODEL = "resnet18"


@pytest.fixture
def store(tmp_path: Path) -> DeploymentStore:
    """Version 2.0 is deployed, and 1.0 kept for a rollback; both were copied from files of these names."""
    store = DeploymentStore(RunDirectory(5000, tmp_path / "run"))
    for version in ("1.0", "2.0"):
        (tmp_path / version).write_text(f"version {version}")
    first, second = (store.add(tmp_path / version, MODEL, version) for version in ("1.0", "2.0"))
    store.write(Deployments({}, {MODEL: switched(replace(second, by_deploy=True), first, 2)}))
    return store


def model_in(store: DeploymentStore) -> DeployedModel:
    record = store.read()
    assert record is not None
    return record.models[MODEL]


def damage(store: DeploymentStore, *versions: str) -> None:
    for version in model_in(store).versions:
        if version.version in versions:
            file = store.path / version.archive
            file.chmod(0o600)
            file.write_bytes(file.read_bytes()[:-1])


def checked(store: DeploymentStore) -> tuple[list[str], list[str]]:
    """The versions that are served after a check, and what it said."""
    said: list[str] = []
    record = store.check(said.append)
    assert record == store.read()
    return [version.version for version in record.models[MODEL].versions], said


def test_archives_are_copies_that_are_named_after_their_content(store: DeploymentStore, tmp_path: Path) -> None:
    first, again = store.add(tmp_path / "1.0", MODEL, "1.0"), store.add(tmp_path / "1.0", MODEL, "1.0")
    assert first == again
    (tmp_path / "1.0").write_text("other")
    other = store.add(tmp_path / "1.0", MODEL, "1.0")
    assert other.archive != first.archive
    assert (store.path / first.archive).read_text() == "version 1.0"
    assert first.archive.startswith(f"resnet18-1.0-{first.sha256[:12]}")


def test_nobody_writes_into_the_store_by_accident(store: DeploymentStore) -> None:
    assert store.path.stat().st_mode & 0o777 == 0o500
    assert {file.stat().st_mode & 0o222 for file in store.path.glob("*.mar")} == {0}


def test_what_is_whole_is_served_without_a_word(store: DeploymentStore) -> None:
    assert checked(store) == (["2.0", "1.0"], [])


@pytest.mark.parametrize("missing", [False, True])
def test_a_damaged_archive_is_copied_again_from_where_it_came(store: DeploymentStore, missing: bool) -> None:
    current = model_in(store).current
    if missing:
        store.path.chmod(0o700)
        (store.path / current.archive).unlink()
    else:
        damage(store, "2.0")
    served, said = checked(store)
    assert served == ["2.0", "1.0"]
    assert "copied again from" in said[0]
    assert ("is missing" if missing else "is damaged") in said[0]
    assert store.damage(current) is None


def test_without_a_copy_the_version_before_takes_its_place_for_good(store: DeploymentStore, tmp_path: Path) -> None:
    (tmp_path / "2.0").write_text("another archive by now")
    damage(store, "2.0")
    served, said = checked(store)
    assert served == ["1.0"]
    assert "no copy of it is left" in said[0]
    assert said[1] == "! resnet18 2.0 is lost: 1.0, the one before, takes its place."
    assert checked(store) == (["1.0"], [])


def test_a_damaged_version_before_is_forgotten(store: DeploymentStore, tmp_path: Path) -> None:
    (tmp_path / "1.0").unlink()
    damage(store, "1.0")
    served, said = checked(store)
    assert served == ["2.0"]
    assert "no version of resnet18 any more that rollback could bring back" in said[1]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EACCES])
def test_what_may_pass_takes_no_version_out_of_use(
    store: DeploymentStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = store.read()
    second = store.path / model_in(store).current.archive
    refuse(monkeypatch, second, number)
    with pytest.raises(MarserveError, match=second.name):
        store.check(print)
    monkeypatch.undo()
    assert store.read() == before


def test_what_the_disk_has_lost_is_damaged(
    store: DeploymentStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "2.0").unlink()
    refuse(monkeypatch, store.path / model_in(store).current.archive, errno.EIO)
    assert checked(store)[0] == ["1.0"]


def test_a_copy_that_does_not_fit_takes_no_version_out_of_use(
    store: DeploymentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.read()
    damage(store, "2.0")

    def fail(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(MarserveError, match="The disk is full"):
        store.check(print)
    assert store.read() == before


def refuse(monkeypatch: pytest.MonkeyPatch, file: Path, number: int) -> None:
    """Have ``file`` refuse to be opened."""
    real = Path.open

    def opened(self: Path, *arguments: Any, **named: Any) -> Any:
        if self == file:
            raise OSError(number, os.strerror(number), str(file))
        return real(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", opened)


def test_where_both_are_lost_nothing_is_served_and_the_record_stays(store: DeploymentStore, tmp_path: Path) -> None:
    for version in ("1.0", "2.0"):
        (tmp_path / version).unlink()
    damage(store, "1.0", "2.0")
    before = store.read()
    with pytest.raises(LostArchiveError, match="No archive of resnet18 is left"):
        store.check(print)
    assert store.read() == before


def test_what_the_record_does_not_name_is_removed(store: DeploymentStore, tmp_path: Path) -> None:
    store.add(tmp_path / "1.0", MODEL, "3.0")
    store.path.chmod(0o700)
    (store.path / ".resnet18-2.0.mar.0a1b2c3d").touch()  # half a copy of a process that was killed
    (store.path / "other-2.0.mar").touch()
    (store.path / "unpacked").mkdir()
    (store.path / "unpacked" / "file").touch()
    names = {version.archive for version in model_in(store).versions}
    store.remove(MODEL, "2.0")
    store.remove(MODEL, "3.0")
    assert {file.name for file in store.path.iterdir()} == {RECORD, *names, "other-2.0.mar", "unpacked"}
    store.remove_unnamed()
    assert {file.name for file in store.path.iterdir()} == {RECORD, *names}


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "[]", '{"format": 0}', '{"format": 1}', '{"format": 1, "models": {"a": 1}}']
)
def test_a_damaged_record_is_no_empty_one(store: DeploymentStore, text: str) -> None:
    store.path.chmod(0o700)
    (store.path / RECORD).write_text(text)
    with pytest.raises(MarserveError, match=r"deployments\.json is damaged.*--discard-deployed"):
        store.read()
    with pytest.raises(MarserveError):
        store.update(lambda record: record)


def test_a_record_of_a_later_version_is_not_called_damaged(store: DeploymentStore) -> None:
    store.path.chmod(0o700)
    (store.path / RECORD).write_text('{"format": 99}')
    with pytest.raises(MarserveError, match=r"was written by a later version.*--discard-deployed") as raised:
        store.read()
    assert not isinstance(raised.value, LostRecordError)  # nobody writes another one in its place


def test_what_is_deployed_while_archives_are_checked_stays_so(
    store: DeploymentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.0").unlink()
    damage(store, "1.0")
    real = store.damage

    def deployed_meanwhile(version: DeployedVersion) -> str | None:
        monkeypatch.undo()
        second = model_in(store).current
        third = store.add(tmp_path / "2.0", MODEL, "3.0")
        store.update(lambda record: record.with_model(MODEL, switched(third, second, 1)))
        return real(version)

    monkeypatch.setattr(store, "damage", deployed_meanwhile)
    assert checked(store)[0] == ["3.0", "2.0"]


def test_a_record_that_ended_with_its_stack_says_nothing(store: DeploymentStore) -> None:
    store.path.chmod(0o700)
    (store.path / RECORD).write_text(json.dumps({"resnet18": {"version": "1.0", "workers": 2}}))
    assert store.read() is None


def test_an_unreadable_record_is_no_empty_one(store: DeploymentStore) -> None:
    store.path.chmod(0o700)
    (store.path / RECORD).unlink()
    (store.path / RECORD).mkdir()
    with pytest.raises(MarserveError, match="What is deployed cannot be read"):
        store.read()


def test_a_write_that_fails_leaves_the_record_as_it_was(
    store: DeploymentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.read()

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    pending = PendingChange("rollback", MODEL, "1.0", 1)
    with pytest.raises(MarserveError, match="The disk is full"):
        store.update(lambda record: replace(record, pending=pending))
    assert store.read() == before
    assert store.path.stat().st_mode & 0o777 == 0o500


@pytest.mark.parametrize("form", ["{}  1.0\n", "{}", "{} *elsewhere/1.0\n"])
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_an_archive_is_compared_with_what_is_written_beside_it(
    store: DeploymentStore, tmp_path: Path, form: str, case: Callable[[str], str]
) -> None:
    archive = tmp_path / "1.0"
    beside = tmp_path / "1.0.sha256"
    beside.write_text(form.format(case(sha256_of(archive))))
    assert store.add(archive, MODEL, "1.0").version == "1.0"
    archive.write_text("another one")
    with pytest.raises(MarserveError, match=rf"1\.0 is not the archive that it should be: .* and {beside} has "):
        store.add(archive, MODEL, "1.0")


@pytest.mark.parametrize("text", ["", "\n", "no digest"])
def test_a_file_without_a_digest_lets_nothing_pass(store: DeploymentStore, tmp_path: Path, text: str) -> None:
    (tmp_path / "1.0.sha256").write_text(text)
    with pytest.raises(MarserveError, match="is not the archive that it should be"):
        store.add(tmp_path / "1.0", MODEL, "1.0")


def test_an_archive_is_compared_with_those_that_the_variable_lists(
    store: DeploymentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARSERVE_ARCHIVE_SHA256", f"{'0' * 64}, {sha256_of(tmp_path / '1.0')}")
    assert store.add(tmp_path / "1.0", MODEL, "1.0")
    with pytest.raises(MarserveError, match=r"MARSERVE_ARCHIVE_SHA256 has 000.* and "):
        store.add(tmp_path / "2.0", MODEL, "2.0")


def test_where_nothing_can_be_written_an_archive_is_read_in_its_place(
    store: DeploymentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an image: a copy would take as much of a pod's memory."""
    whole = os.statvfs(tmp_path)
    fields = [getattr(whole, name) for name in ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files")]
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*fields, 0, 0, os.ST_RDONLY, 255)))
    (tmp_path / "3.0").write_text("archive 3.0")
    added = store.add(tmp_path / "3.0", MODEL, "3.0")
    assert (store.path / added.archive).readlink() == tmp_path / "3.0"
    assert store.damage(added) is None
    assert store.add(tmp_path / "3.0", MODEL, "3.0") == added
    store.remove(MODEL, "3.0")
    assert (tmp_path / "3.0").read_text() == "archive 3.0"
    assert not (store.path / added.archive).is_symlink()
