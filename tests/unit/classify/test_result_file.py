"""Results on disk: a run that goes on asks about nothing twice and leaves exactly one result a picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marserve.classify.results import Csv, JsonLines, ResultFile, ResultFileError, ResultFormat
from marserve.client.inference import Classification, Prediction
from marserve.pictures import PictureFile

FORMATS: dict[str, Callable[[int], ResultFormat]] = {"jsonl": JsonLines, "csv": Csv}
PICTURES = [
    PictureFile("a.jpg", 10, 1),
    PictureFile('fol,der/with "quotes".jpg', 20, 2),
    PictureFile("line\nbreak.jpg", 30, 3),
    PictureFile("Katze\udcff.jpg", 40, 4),  # a name that is no UTF-8
]
ANSWER = Classification("resnet18", "1.0", "trained", (Prediction(281, "n02123045", 'tabby, "cat"', 0.83),))

pytestmark = pytest.mark.parametrize("name", FORMATS)


def form(name: str, top_k: int = 1) -> ResultFormat:
    return FORMATS[name](top_k)


def run(
    file: Path, name: str, pictures: list[PictureFile], *, top_k: int = 1, model: str | None = None, answer: bool = True
) -> list[str]:
    """Ask about ``pictures``; the paths that were really asked about."""
    with ResultFile(file, form(name, top_k), model=model) as results:
        left = results.open(pictures)
        for picture in left if answer else []:
            results.add(picture, ANSWER)
    return [picture.path for picture in left]


def paths_in(file: Path, name: str) -> list[str]:
    """As any reader of such a file sees them."""
    with file.open(encoding="utf-8", errors="surrogateescape", newline="") as text:
        if name == "csv":
            return [row["path"] for row in csv.DictReader(text)]
        return [json.loads(line)["path"] for line in text]


def test_what_has_a_result_is_not_asked_again(tmp_path: Path, name: str) -> None:
    file = tmp_path / "results"
    assert run(file, name, PICTURES[:2]) == [picture.path for picture in PICTURES[:2]]
    assert run(file, name, PICTURES) == [picture.path for picture in PICTURES[2:]]
    assert run(file, name, PICTURES) == []
    assert paths_in(file, name) == [picture.path for picture in PICTURES]


def test_a_run_killed_at_any_byte_goes_on_to_one_result_each(tmp_path: Path, name: str) -> None:
    file = tmp_path / "results"
    run(file, name, PICTURES)
    whole = file.read_bytes()
    for cut in range(0, len(whole), 3):
        file.write_bytes(whole[:cut])
        run(file, name, PICTURES)
        assert sorted(paths_in(file, name)) == sorted(picture.path for picture in PICTURES), f"cut at byte {cut}"


@pytest.mark.parametrize("change", [{"size": 11}, {"mtime_ns": 5}])
def test_a_picture_that_changed_has_its_new_result_only(tmp_path: Path, name: str, change: dict[str, Any]) -> None:
    file = tmp_path / "results"
    run(file, name, PICTURES)
    changed = replace(PICTURES[0], **change)
    assert run(file, name, [changed, *PICTURES[1:]]) == ["a.jpg"]
    assert sorted(paths_in(file, name)) == sorted(picture.path for picture in PICTURES)


def test_results_of_pictures_not_asked_about_now_stay(tmp_path: Path, name: str) -> None:
    file = tmp_path / "results"
    run(file, name, PICTURES[:2])
    run(file, name, PICTURES[3:])
    assert paths_in(file, name) == ["a.jpg", PICTURES[1].path, PICTURES[3].path]


def test_another_model_is_asked_anew(tmp_path: Path, name: str) -> None:
    file = tmp_path / "results"
    run(file, name, PICTURES[:2])
    assert run(file, name, PICTURES[:2], model="resnet18") == []
    assert len(run(file, name, PICTURES[:2], model="other")) == 2
    assert len(paths_in(file, name)) == 2


@pytest.mark.parametrize("content", ["my diary\n", "[1, 2]", "\x89PNG\r\n"])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, name: str, content: str) -> None:
    file = tmp_path / "results"
    file.write_bytes(content.encode())
    with pytest.raises(ResultFileError, match="another --output"):
        run(file, name, PICTURES)
    assert file.read_bytes() == content.encode()


def test_two_runs_do_not_share_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "results"
    with ResultFile(file, form(name), model=None) as first:
        first.open(PICTURES)
        with pytest.raises(ResultFileError, match="Another run"):
            run(file, name, PICTURES)


def test_another_top_k_is_not_mixed_in(tmp_path: Path, name: str) -> None:
    file = tmp_path / "results"
    run(file, name, PICTURES[:1])
    if name == "csv":
        with pytest.raises(ResultFileError, match="--top-k"):
            run(file, name, PICTURES[:1], top_k=2)
    else:
        assert run(file, name, PICTURES[:1], top_k=2) == ["a.jpg"]
        assert paths_in(file, name) == ["a.jpg"]
