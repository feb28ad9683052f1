"""Archives on their way into a stack's store, and the record of what was deployed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.manage.archive_file import ArchiveFile, remove_from_store
from marserve.manage.history import Before, read_before, write_before
from marserve.manage.running_stack import RunningStack
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.stack.state import ProcessRecord, State


@pytest.fixture
def stack(tmp_path: Path) -> RunningStack:
    """A stack whose store is read-only, as that of a running one is."""
    directory = RunDirectory(5000, tmp_path)
    directory.prepare()
    directory.model_store.chmod(0o500)
    return RunningStack(directory, State(Ports(), "tmp", ProcessRecord("serve", 1, 0.0)))


def archive(directory: Path, manifest: object) -> Path:
    path = directory / "new.mar"
    with zipfile.ZipFile(path, "w") as mar:
        mar.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
    return path


def test_an_archive_is_stored_under_its_version_and_removed_again(stack: RunningStack, tmp_path: Path) -> None:
    found = ArchiveFile.read(archive(tmp_path, {"model": {"modelVersion": "2.0"}}))
    store = stack.run_directory.model_store
    assert found.put_into_store(stack, "resnet18") == "resnet18-2.0.mar"
    assert [path.name for path in store.iterdir()] == ["resnet18-2.0.mar"]
    assert store.stat().st_mode & 0o777 == 0o500
    remove_from_store(stack, "resnet18-2.0.mar")
    remove_from_store(stack, "resnet18-2.0.mar")
    assert list(store.iterdir()) == []
    assert store.stat().st_mode & 0o777 == 0o500


@pytest.mark.parametrize(
    "manifest",
    [{}, [], {"model": {}}, {"model": {"modelVersion": "../2"}}, {"model": {"modelVersion": ""}}],
)
def test_what_names_no_usable_version_is_refused(tmp_path: Path, manifest: object) -> None:
    with pytest.raises(MarserveError, match=r"new\.mar"):
        ArchiveFile.read(archive(tmp_path, manifest))


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mar").write_text("text")
    for name in ("text.mar", "missing.mar", "."):
        with pytest.raises(MarserveError, match=r"build_archive\.py"):
            ArchiveFile.read(tmp_path / name)


def test_the_version_before_is_remembered_for_each_model_until_it_is_forgotten(stack: RunningStack) -> None:
    assert read_before(stack, "resnet18") is None
    write_before(stack, "resnet18", Before("1.0", 2))
    write_before(stack, "other", Before("3.0", 1))
    assert read_before(stack, "resnet18") == Before("1.0", 2)
    write_before(stack, "resnet18", None)
    assert read_before(stack, "resnet18") is None
    assert read_before(stack, "other") == Before("3.0", 1)
