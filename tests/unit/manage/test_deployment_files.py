"""Archives on their way into a stack's store, and the record of what was deployed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.manage.deployment import Before, archive_version, read_before, write_before
from marserve.manage.running_stack import RunningStack
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, State
from marserve.system.processes import ProcessRecord


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


@pytest.mark.parametrize(
    "manifest",
    [{}, [], {"model": {}}, {"model": {"modelVersion": "../2"}}, {"model": {"modelVersion": ""}}],
)
def test_what_names_no_usable_version_is_refused(tmp_path: Path, manifest: object) -> None:
    with pytest.raises(MarserveError, match=r"new\.mar"):
        archive_version(archive(tmp_path, manifest))


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mar").write_text("text")
    for name in ("text.mar", "."):
        with pytest.raises(MarserveError, match=r"marserve build --version"):
            archive_version(tmp_path / name)


def test_what_does_not_exist_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(MarserveError, match=r"nope\.mar does not exist"):
        archive_version(tmp_path / "nope.mar")


def test_the_version_before_is_remembered_for_each_model_until_it_is_forgotten(stack: RunningStack) -> None:
    assert read_before(stack, "resnet18") is None
    write_before(stack, "resnet18", Before("1.0", 2))
    write_before(stack, "other", Before("3.0", 1))
    assert read_before(stack, "resnet18") == Before("1.0", 2)
    write_before(stack, "resnet18", None)
    assert read_before(stack, "resnet18") is None
    assert read_before(stack, "other") == Before("3.0", 1)
