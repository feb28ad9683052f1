"""The folder with the results."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from marserve.bulk.engine import Prediction
from marserve.bulk.output import LOCK_FILE, SETTINGS_FILE, Results, Rows, schema
from marserve.bulk.pieces import Cut
from marserve.bulk.storage import Folder
from marserve.errors import MarserveError
from marserve.handler.resnet18.errors import InvalidImage
from marserve.handler.resnet18.labels import Label

SETTINGS = {"archive": "sha256:a", "top_k": 2}
CUT = Cut.usual(1000, 2)
TABBY, TIGER = Prediction(281, Label("n02123045", "tabby"), 0.75), Prediction(282, Label(None, "虎斑猫"), 0.25)


def test_each_picture_is_a_row_with_its_classes_or_its_error() -> None:
    rows = Rows("sha256:a")
    rows.add("/a/1.jpg", [TABBY, TIGER])
    rows.add(b"/a/caf\xe9.jpg".decode("utf-8", "surrogateescape"), InvalidImage("It is empty."))
    table = pq.read_table(io.BytesIO(rows.as_parquet()))
    assert table.schema.equals(schema())
    first, second = table.to_pylist()
    assert first == {
        "path": "/a/1.jpg", "class_id": 281, "wordnet_id": "n02123045", "label": "tabby", "probability": 0.75,
        "top_k": [
            {"class_id": 281, "wordnet_id": "n02123045", "label": "tabby", "probability": 0.75},
            {"class_id": 282, "wordnet_id": None, "label": "虎斑猫", "probability": 0.25},
        ],
        "error": None, "message": None, "archive": "sha256:a",
    }  # fmt: skip
    assert second == dict.fromkeys(first) | {
        "path": "/a/caf\\xe9.jpg", "error": "InvalidImage", "message": "It is empty.", "archive": "sha256:a",
    }  # fmt: skip
    assert (len(rows), dict(rows.errors)) == (2, {"InvalidImage": 1})


def begun(folder: Path, **changed: object) -> Results:
    results = Results(Folder(str(folder)), {**SETTINGS, **changed})
    results.open()
    return results


def test_the_same_settings_go_on(tmp_path: Path) -> None:
    first = begun(tmp_path / "new" / "folder")
    assert (first.cut, first.written()) == (None, set())
    first.begin(CUT)
    (tmp_path / "new" / "folder" / "part-1.parquet").touch()
    (tmp_path / "new" / "folder" / ".part-2.parquet.1234").touch()  # of a run that was killed
    second = begun(tmp_path / "new" / "folder")
    assert (second.cut, second.written()) == (CUT, {"part-1.parquet"})


def test_what_an_earlier_version_began_goes_on(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text(json.dumps({"format": 1, **SETTINGS, "rows_per_file": 100}))
    assert begun(tmp_path).cut == Cut(100, 100)


@pytest.mark.parametrize(
    ("changed", "named"), [({"archive": "sha256:b"}, "--archive: sha256:a"), ({"top_k": 3}, "--top-k: 2")]
)
def test_other_settings_are_refused(tmp_path: Path, changed: dict[str, object], named: str) -> None:
    begun(tmp_path).begin(CUT)
    with pytest.raises(MarserveError, match=f"results of another {named}, and this run has"):
        begun(tmp_path, **changed)


def test_a_folder_with_parquet_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sales.parquet").touch()
    with pytest.raises(MarserveError, match=r"holds sales.parquet, .* Give another --output"):
        begun(tmp_path)


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text("{")
    with pytest.raises(MarserveError, match="is damaged"):
        begun(tmp_path)


def test_a_run_removes_what_a_killed_one_left_half_written(tmp_path: Path) -> None:
    results, other = begun(tmp_path), begun(tmp_path)
    names = {".part-2.parquet.1234", ".nfs0001", "part-1.parquet"}
    for name in names:
        (tmp_path / name).touch()
    with results.alone(), pytest.raises(MarserveError, match="Another run writes"), other.alone():
        pass
    assert {file.name for file in tmp_path.iterdir()} == {*names, LOCK_FILE} - {".part-2.parquet.1234"}
