"""Which pictures int8 is fitted to, and which judge it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from marserve.archive import calibration
from marserve.archive.calibration import calibration_digest, calibration_pictures, split_pictures
from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.labels import Label
from tests.generated_pictures import write_pictures
from tests.support import report

LABELS = [Label(None, "cat"), Label(None, "dog")]
SMALL = Preprocessing(resize_size=16, crop_size=16)


def test_equal_folders_are_split_equally_wherever_they_lie(tmp_path: Path) -> None:
    first = write_pictures(tmp_path / "first", 101)
    second = tmp_path / "second"
    second.mkdir()
    for number, file in enumerate(sorted(first.iterdir(), reverse=True)):
        shutil.copyfile(file, second / f"{number}.png")
    files = [calibration_pictures(directory, LABELS, report) for directory in (first, second)]
    assert calibration_digest(files[0]) == calibration_digest(files[1])
    splits = [split_pictures(found, SMALL, report) for found in files]
    assert [len(part) for part in splits[0]] == [50, 51]
    for one, other in zip(*splits, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_a_copy_of_a_picture_cannot_be_in_both_halves(tmp_path: Path) -> None:
    directory = write_pictures(tmp_path / "pictures", 3)
    shutil.copyfile(directory / "0.png", directory / "copy.png")
    assert len(calibration_pictures(directory, LABELS, report)) == 3


def test_a_changed_picture_or_label_changes_the_digest(tmp_path: Path) -> None:
    directory = write_pictures(tmp_path / "cat", 2)
    before = calibration_digest(calibration_pictures(directory, LABELS, report))
    relabelled = directory.rename(tmp_path / "dog")
    after = calibration_digest(calibration_pictures(relabelled, LABELS, report))
    (relabelled / "1.png").write_bytes(b"changed")
    assert len({before, after, calibration_digest(calibration_pictures(relabelled, LABELS, report))}) == 3


def test_files_that_are_no_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    directory = write_pictures(tmp_path / "pictures", 100)
    (directory / "README.md").write_text("not a picture")
    (directory / "damaged.png").write_text("not a picture")
    (directory / ".hidden").write_text("not looked at")
    lines: list[str] = []
    calibrating, judging = split_pictures(calibration_pictures(directory, LABELS, lines.append), SMALL, lines.append)
    assert (len(calibrating), len(judging)) == (50, 50)
    assert lines == [
        "  --calibration: 1 file skipped: 1 .md",
        "  1 files of the calibration folder cannot be read; they are left out.",
    ]


def test_too_few_pictures_are_refused_with_how_many_it_takes(tmp_path: Path) -> None:
    files = calibration_pictures(write_pictures(tmp_path / "pictures", 20), LABELS, report)
    with pytest.raises(ConfigurationError, match=r"holds 20 different pictures .* int8 needs 100 or more"):
        split_pictures(files, SMALL, report)


def test_a_folder_may_be_named_by_a_detour_and_hold_links_that_lead_nowhere(tmp_path: Path) -> None:
    directory = write_pictures(tmp_path / "pictures", 3)
    (directory / "gone.png").symlink_to(tmp_path / "absent.png")
    detour = directory / ".." / "pictures"
    assert calibration_pictures(detour, LABELS, report) == calibration_pictures(directory, LABELS, report)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="give a folder of pictures"):
        calibration_pictures(tmp_path / "absent", LABELS, report)


def test_of_many_pictures_a_fixed_choice_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MOST_PICTURES", 5)
    directory = write_pictures(tmp_path / "pictures", 20)
    found = calibration_pictures(directory, LABELS, report)
    assert len(found) == 5
    assert found == calibration_pictures(directory, LABELS, report)
