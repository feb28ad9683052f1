"""Archives that are to be deployed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.manage.deployment import archive_version


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
