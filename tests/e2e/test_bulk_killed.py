"""``marserve bulk`` whose driver is killed, or whose actors end: nothing is lost, and nothing computed twice."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from marserve.archive.build import BuiltArchive
from marserve.bulk.cluster import PREFIX, _place
from tests.e2e.bulk_runs import (
    Written,
    bulk,
    is_alive,
    kill,
    labels_of,
    make_pictures,
    others_lines,
    rows_of,
    wait_for_parts,
    written,
)
from tests.e2e.deadly_pictures import MARK
from tests.e2e.serving import run

PICTURES, ROWS_PER_FILE = 480, 4
FILES = PICTURES // ROWS_PER_FILE


@pytest.mark.timeout(900)
def test_a_driver_that_is_killed_at_three_moments_goes_on_each_time(
    demonstration_archive: BuiltArchive, tmp_path: Path
) -> None:
    output, log = tmp_path / "classes", tmp_path / "log"
    paths = make_pictures(tmp_path / "pictures", PICTURES)
    # So few actors that there is time to kill the driver between two files, on any machine.
    arguments = (tmp_path / "pictures", "--rows-per-file", ROWS_PER_FILE, "--actors", 2)
    command = bulk(demonstration_archive.path, output, *arguments)
    before: dict[str, Written] = {}
    drivers, agents = [], list[psutil.Process]()
    for files in (0, FILES // 3, FILES * 3 // 4):
        with log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said) as driver:
            wait_for_parts(output, files, driver, log)
            agents += kill(driver)
        drivers.append(driver.pid)
        there = written(output)
        assert before.items() <= there.items(), "what was written is as it was"
        assert files <= len(there) < FILES if files else not there, "killed before the first file, and before the last"
        before = there
    last = run(command, os.environ)
    assert last.returncode == 0, last.stderr
    known = len(before) * ROWS_PER_FILE
    assert f"{PICTURES - known} classified at " in last.stderr
    assert f", {known} known from before, 0 with an error" in last.stderr
    assert others_lines(last.stdout + last.stderr) == []
    assert before.items() <= written(output).items()
    assert list(labels_of(output)) == paths
    assert {path.name for path in output.iterdir() if path.name.startswith(".")} == set(), "nothing half written"
    assert [left for pid in drivers for left in _place().glob(f"{PREFIX}{pid}-*")] == []
    assert agents
    assert not [agent for agent in agents if is_alive(agent)]


@pytest.mark.timeout(600)
def test_a_picture_that_ends_its_process_is_a_row_with_its_error(
    demonstration_archive: BuiltArchive, tmp_path: Path
) -> None:
    folder, output = tmp_path / "pictures", tmp_path / "classes"
    folder.mkdir()
    names = [f"{number:02}.jpg" for number in range(40)]
    for name in names:
        (folder / name).write_bytes(MARK if name == "13.jpg" else b"a picture")
    done = run(bulk(demonstration_archive.path, output, folder, module="tests.e2e.deadly_pictures"), os.environ)
    assert done.returncode == 0, done.stderr
    assert "39 classified at " in done.stderr
    assert "1 with an error (1 DeadlyPicture)" in done.stderr
    assert "An actor on host 127.0.0.1 has ended" in done.stderr
    assert others_lines(done.stdout + done.stderr) == []
    rows = rows_of(output)
    assert [Path(row["path"]).name for row in rows] == names
    assert {Path(row["path"]).name: row["error"] for row in rows if row["label"] is None} == {"13.jpg": "DeadlyPicture"}
