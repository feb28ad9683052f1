"""Writing an archive on a machine where that is not a matter of course."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset15 as operations

from marserve.archive.export import save_graph
from marserve.archive.package import PackagingError, package
from marserve.errors import MarserveError


@pytest.fixture
def contents(tmp_path: Path) -> Path:
    """What goes into an archive; its name and place are no ASCII, and its files are of 1970."""
    contents = tmp_path / "Größe 'n\" 図" / "contents"
    (contents / "inside").mkdir(parents=True)
    for file in (contents / "inside" / "part.py", contents.parent / "a_handler.py", contents.parent / "config.yaml"):
        file.write_text("# ü")
        os.utime(file, (0, 0))
    os.utime(contents / "inside", (0, 0))
    return contents


def test_files_without_a_date_are_packed(contents: Path, tmp_path: Path) -> None:
    """Some images and file systems have 1970 for every file, and so has a clock that was never set."""
    handler, config = contents.parent / "a_handler.py", contents.parent / "config.yaml"
    package(contents, handler, config, "a", "1.0", tmp_path / "a.mar")
    with zipfile.ZipFile(tmp_path / "a.mar") as mar:
        assert {"inside/part.py", "a_handler.py"} <= set(mar.namelist())


def test_why_it_cannot_be_packed_is_one_line(contents: Path, tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match=r"\Atorch-model-archiver failed: .*\Z") as caught:
        package(
            contents, contents.parent / "missing.py", contents.parent / "config.yaml", "a", "1.0", tmp_path / "a.mar"
        )
    assert "\n" not in str(caught.value)


def test_a_graph_that_cannot_be_written_names_the_place_and_what_is_left(tmp_path: Path) -> None:
    number = operations.parameter([1], np.float32)
    graph = openvino.Model([operations.relu(number)], [number])
    (tmp_path / "network.xml").mkdir()
    with pytest.raises(MarserveError, match=r"network\.xml cannot be written \(.*\); \d+ MB are free there.*TMPDIR"):
        save_graph(graph, tmp_path / "network.xml")
