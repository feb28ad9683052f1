"""``marserve feedback``: the operator's side of reports of wrong answers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from marserve.cli.main import main
from marserve.web.feedback import Feedback, ReportedClass
from tests.unit.web.test_feedback import PICTURE, report

FOX = ReportedClass(5, None, "red fox")


def picture(number: int) -> bytes:
    return PICTURE + bytes([number])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tenches, a fox, one that is contested and one that is none of the classes."""
    store = Feedback(tmp_path / "reports", 10**7)
    store.add(report(picture(0), id="a"), picture(0))
    store.add(report(picture(1), id="b", time="2020-01-01T00:00:00.000+00:00"), picture(1))
    store.add(report(picture(2), FOX, id="c", note="=HYPERLINK(1)", other=""), picture(2))
    store.add(report(picture(3), id="d"), picture(3))
    store.add(report(picture(3), FOX, id="e"), picture(3))
    store.add(report(picture(4), None, id="f", other="an owl"), picture(4))
    monkeypatch.setenv("MARSERVE_FEEDBACK_DIR", str(store.folder))
    return store.folder


def test_the_mistakes_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["feedback"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{folder}: 6 reports"
    assert "     3  resnet18: shark is tench" in lines
    assert "     1  resnet18: shark is none of its classes" in lines


def test_pictures_are_exported_by_class_and_what_is_not_sure_is_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["feedback", "--export", str(tmp_path / "out"), "--model", "resnet18"]) == 0
    said = capsys.readouterr()
    assert {path.name: len(list(path.iterdir())) for path in (tmp_path / "out").iterdir()} == {
        "n01440764": 2,
        "red fox": 1,
    }
    assert said.out == f"3 pictures in {tmp_path / 'out'}\n"
    assert "1 picture left out, since reports name different classes" in said.err
    assert "1 picture left out: of none of the model's classes" in said.err
    assert main(["feedback", "--export", str(tmp_path / "empty"), "--model", "other"]) == 0


def test_a_folder_that_holds_something_is_not_exported_into(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["feedback", "--export", str(folder)])
    assert end.value.code == 2
    assert "give a new folder" in capsys.readouterr().err


def test_models_of_different_classes_are_not_mixed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Feedback(folder, 10**7).add(report(model="flowers"), PICTURE)
    with pytest.raises(SystemExit):
        main(["feedback", "--export", str(tmp_path / "out")])
    assert "flowers, resnet18" in capsys.readouterr().err


def test_tables_have_every_report_and_no_formula(folder: Path, tmp_path: Path) -> None:
    assert main(["feedback", "--export", str(tmp_path / "t.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["right_label"] for row in rows] == ["tench", "tench", "red fox", "tench", "red fox", ""]
    assert (rows[2]["note"], rows[5]["other"], rows[0]["predicted_probability"]) == ("'=HYPERLINK(1)", "an owl", "0.5")
    assert main(["feedback", "--export", str(tmp_path / "t.jsonl")]) == 0
    content = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in content] == list("abcdef")


def test_reports_are_deleted_by_id_and_by_age_once_that_is_confirmed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["feedback", "--delete", "a"]) == 2  # nobody to ask
    assert main(["feedback", "--delete", "a", "unknown", "--yes"]) == 1
    assert "no report unknown; nothing was deleted" in capsys.readouterr().err
    assert main(["feedback", "--delete", "a", "--yes"]) == 0
    assert main(["feedback", "--delete-older-than", "365", "--yes"]) == 0
    assert [one.id for one in Feedback(folder).read()] == ["c", "d", "e", "f"]
    assert main(["feedback", "--delete-older-than", "0", "--model", "resnet18", "--yes"]) == 0
    assert not list(folder.rglob("*.jpg"))
    assert main(["feedback", "--delete-older-than", "0", "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "There is nothing to delete."


def test_a_folder_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MARSERVE_FEEDBACK_DIR", raising=False)
    with pytest.raises(SystemExit):
        main(["feedback"])
    assert "MARSERVE_FEEDBACK_DIR" in capsys.readouterr().err
    monkeypatch.setenv("MARSERVE_FEEDBACK_DIR", str(tmp_path / "nothing"))
    assert main(["feedback"]) == 1
    assert "nothing has been reported yet" in capsys.readouterr().err
