"""Each picture has one row, whatever has come, gone or changed between two runs."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from marserve.bulk.engine import Prediction
from marserve.bulk.missing import Missing, find_missing
from marserve.bulk.output import Results, Rows
from marserve.bulk.pieces import Cut, FilesPiece
from marserve.bulk.reading import EndOfPart, Reader
from marserve.bulk.sources import Sources
from marserve.bulk.storage import Folder
from marserve.handler.resnet18.labels import Label
from tests.unit.bulk.test_reading import tar_of

ANSWER = [Prediction(0, Label(None, "tench"), 1.0)]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = Results(Folder(str(tmp_path / "classes")), {"archive": "sha256:a", "top_k": 1})
    results.open()
    results.begin(Cut(2, 2))
    return results


def compute(missing: Missing, results: Results, most: int | None = None) -> None:
    """As actors do it; ended after ``most`` files."""
    for piece in missing.pieces:
        rows = Rows("sha256:a")
        for found in Reader(100).read(piece):
            if isinstance(found, EndOfPart):
                if most == 0:
                    return
                most = None if most is None else most - 1
                shard = None if isinstance(piece, FilesPiece) else piece.path
                results.folder.write(found.name, rows.as_parquet(shard))
                rows = Rows("sha256:a")
            else:
                rows.add(found.path, ANSWER)


def paths_in(results: Results) -> list[str]:
    return sorted(
        path
        for name in results.written()
        for path in pq.read_table(f"{results.folder.name}/{name}", columns=["path"])["path"].to_pylist()
    )


def missing_of(sources: Sources, results: Results, rows: int = 2) -> Missing:
    return find_missing(sources, results, cut=Cut(rows, rows))


def files(folder: Path, *names: str) -> Sources:
    for name in names:
        (folder / name).write_bytes(b"x")
    return Sources(files={str(folder): [str(folder / name) for name in sorted(names)]})


def test_what_was_not_written_is_computed(tmp_path: Path, results: Results) -> None:
    sources = files(tmp_path, "1", "2", "3", "4", "5")
    compute(missing_of(sources, results), results, most=1)
    missing = missing_of(sources, results)
    assert (missing.known, missing.files, len(missing.pieces)) == (2, 3, 2)
    compute(missing, results)
    assert paths_in(results) == sources.files[str(tmp_path)]
    assert missing_of(sources, results) == Missing([], 5, 0)


def test_files_of_other_lengths_are_as_well_computed_once(tmp_path: Path, results: Results) -> None:
    cut, sources = Cut.usual(100, 2), files(tmp_path, *(f"{number:02}" for number in range(100)))
    compute(find_missing(sources, results, cut=cut), results, most=3)
    compute(find_missing(sources, results, cut=cut), results, most=2)
    more = files(tmp_path, *(f"{number:03}" for number in range(0, 200, 2)), *(f"{number:02}" for number in range(100)))
    compute(find_missing(more, results, cut=cut), results, most=2)
    compute(find_missing(more, results, cut=cut), results)
    assert paths_in(results) == more.files[str(tmp_path)]
    assert find_missing(more, results, cut=cut) == Missing([], 200, 0)


def test_pictures_that_have_come_are_computed_and_no_other(tmp_path: Path, results: Results) -> None:
    compute(missing_of(files(tmp_path, "1", "2", "3"), results), results)
    more = files(tmp_path, "0", "1", "2", "3")
    missing = missing_of(more, results)
    assert (missing.known, [piece.paths for piece in missing.pieces if isinstance(piece, FilesPiece)]) == (
        3,
        [[str(tmp_path / "0")]],
    )
    compute(missing, results)
    assert paths_in(results) == more.files[str(tmp_path)]
    assert missing_of(more, results).pieces == []
    assert missing_of(files(tmp_path, "3"), results) == Missing([], 1, 0)  # others have gone


def test_another_number_of_rows_in_a_file_computes_nothing_again(tmp_path: Path, results: Results) -> None:
    sources = files(tmp_path, *"12345")
    compute(missing_of(sources, results), results, most=2)
    missing = missing_of(sources, results, rows=3)
    assert (missing.known, missing.files) == (4, 1)
    compute(missing, results)
    assert paths_in(results) == sources.files[str(tmp_path)]


@pytest.mark.parametrize("actors", [1, 3])
def test_parts_of_a_shard_that_are_there_are_not_computed_again(tmp_path: Path, results: Results, actors: int) -> None:
    shard = tar_of(tmp_path / "a.tar", {f"{number}.jpg": b"x" for number in range(7)})
    sources = Sources(shards={shard.path: shard.size})
    compute(missing_of(sources, results).dealt(actors), results, most=2)
    missing = missing_of(sources, results).dealt(actors)
    assert (missing.known, missing.files, len(missing.pieces)) == (4, 0, 2 * actors)
    assert sum(missing.shard_bytes.values()) == pytest.approx(shard.size)
    compute(missing, results)
    assert paths_in(results) == [f"{shard.path}/{number}.jpg" for number in range(7)]
    assert missing_of(sources, results).dealt(actors) == Missing([], 7, 0)


def test_a_shard_that_has_grown_has_new_rows_for_new_pictures(tmp_path: Path, results: Results) -> None:
    members = {f"{number}.jpg": b"x" for number in range(3)}
    shard = tar_of(tmp_path / "a.tar", members)
    compute(missing_of(Sources(shards={shard.path: shard.size}), results), results)
    grown = tar_of(tmp_path / "a.tar", {"new.jpg": b"x", **members, **{f"{n}.jpg": b"x" for n in range(3, 60)}})
    sources = Sources(shards={shard.path: grown.size})
    for most in (2, 3, None, None):  # killed, killed again, and one look more than is needed
        compute(missing_of(sources, results), results, most=most)
    paths = paths_in(results)
    assert len(paths) == len(set(paths)) == 61
    assert missing_of(sources, results) == Missing([], 61, 0)
