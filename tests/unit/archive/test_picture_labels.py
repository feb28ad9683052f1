"""The class of a labelled picture, by the names of file and folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from marserve.archive.calibration import PictureLabels
from marserve.handler.resnet18.labels import Label

LABELS = [
    Label("n01440764", "tench"),
    Label("n02012849", "crane"),
    Label("n03126707", "crane"),
    Label("n02123045", "tabby"),
    Label("n02124075", "Egyptian cat"),
]


@pytest.mark.parametrize(
    ("path", "class_id"),
    [
        ("0000_n01440764_tench.JPEG", 0),
        ("n01440764/ILSVRC2012_val_00000293.JPEG", 0),
        ("n03126707_1.JPEG", 2),
        ("tabby/1.jpg", 3),
        ("Egyptian_cat/1.jpg", 4),
        ("egyptian cat.png", 4),
        ("tabby_12.jpg", 3),
        ("tabby (3).jpg", 3),
        ("crane/1.jpg", None),
        ("n99999999_1.jpg", None),
        ("holiday/IMG_1234.jpg", None),
        ("a tabby on a sofa.jpg", None),
    ],
)
def test_only_names_that_mean_one_class_label_a_picture(path: str, class_id: int | None) -> None:
    assert PictureLabels(LABELS)(Path("/pictures", path)) == class_id
