"""``marserve bulk`` with a Ray of its own: what it writes, and what a second run makes of that."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from marserve.archive.build import BuiltArchive
from marserve.system.waiting import wait_until
from tests.e2e.bulk_runs import others_lines, rays, rows_of
from tests.e2e.serving import run
from tests.support import CAT, REPOSITORY

PICTURES = 12


@pytest.mark.timeout(600)
def test_a_folder_becomes_one_row_a_picture_and_later_only_what_is_new_is_computed(
    demonstration_archive: BuiltArchive, tmp_path: Path
) -> None:
    folder, output = tmp_path / "pictures", tmp_path / "classes"
    folder.mkdir()
    for number in range(PICTURES):
        # No two are the same: a JPEG may have anything behind its end.
        (folder / f"{number:02}.jpg").write_bytes(CAT.read_bytes() + b"%d" % number)
    (folder / "broken.jpg").write_bytes(CAT.read_bytes()[:500])
    before = rays()
    command = [str(REPOSITORY / "scripts" / "marserve"), "bulk", str(folder)]
    command += ["--archive", str(demonstration_archive.path), "--output", str(output)]

    first = run(command, os.environ)
    assert first.returncode == 0, first.stderr
    assert re.search(rf"^{PICTURES} classified at .*1 .*InvalidImage", first.stderr, re.MULTILINE), first.stderr
    assert others_lines(first.stdout + first.stderr) == []
    rows = rows_of(output)
    assert [Path(row["path"]).name for row in rows] == [
        *(f"{number:02}.jpg" for number in range(PICTURES)),
        "broken.jpg",
    ]
    assert {(row["label"], row["wordnet_id"], row["error"]) for row in rows[:-1]} == {
        ("Egyptian cat", "n02124075", None)
    }
    assert {len(row["top_k"]) for row in rows[:-1]} == {5}
    assert (rows[-1]["error"], rows[-1]["label"], rows[-1]["top_k"]) == ("InvalidImage", None, None)
    assert wait_until(lambda: rays() <= before, 30), "its own Ray is gone with it"

    again = run(command, os.environ)
    assert again.returncode == 0, again.stderr
    assert "Nothing is left to do" in again.stderr

    (folder / "00-new.jpg").write_bytes(CAT.read_bytes() + b"new")
    more = run(command, os.environ)
    assert more.returncode == 0, more.stderr
    assert more.stderr.count("1 classified at ") == 1, more.stderr
    assert [row for row in rows_of(output) if not row["path"].endswith("00-new.jpg")] == rows

    other = run([*command, "--top-k", "3"], os.environ)
    assert other.returncode == 1
    assert "has results of another --top-k" in other.stderr
    assert len(rows_of(output)) == len(rows) + 1
