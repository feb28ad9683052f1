"""The table for people: columns line up whatever script a name or label is in."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from marserve.classify.results import LONGEST_PATH, Table, percent
from marserve.client.inference import Classification, Prediction
from marserve.pictures import PictureFile

LABELS = {"猫.jpg": ("虎斑猫", "tiger cat"), "dog.jpg": ("Kerry blue terrier", "狗")}
PICTURES = [PictureFile(path, 1, 1) for path in LABELS]


def answer(*labels: str, weights: str = "trained", model: str = "resnet18") -> Classification:
    return Classification(model, "1.0", weights, tuple(Prediction(1, None, label, 0.0004) for label in labels))


@pytest.mark.parametrize("columns", [None, 60, 100])
def test_columns_line_up_below_a_header_that_names_the_model(columns: int | None) -> None:
    table = Table(PICTURES, 2, columns=columns)
    text = "".join(table.line(picture, answer(*LABELS[picture.path])) for picture in PICTURES)
    header, *rows = text.splitlines()
    assert header == "PICTURE  MOST PROBABLE CLASSES (resnet18 1.0)"
    for part in ("<0.1%", LABELS["猫.jpg"][1], LABELS["dog.jpg"][1]):
        assert part in text
    starts = {tuple(cell_len(row[:i]) for i in range(len(row)) if row[i:].startswith("<0.1%")) for row in rows}
    assert len(starts) == 1
    assert columns is None or all(cell_len(row) <= columns for row in rows)


def test_on_a_terminal_what_is_too_long_is_cut_where_it_says_least() -> None:
    path = "一" * 40 + "/the end.jpg"
    row = (
        Table([PictureFile(path, 1, 1)], 1, columns=80).line(PictureFile(path, 1, 1), answer("长" * 40)).splitlines()[1]
    )
    assert row.startswith("…")
    assert "/the end.jpg" in row
    assert row.endswith("…")
    assert cell_len(row) <= 80
    assert cell_len(row.partition("<")[0].rstrip()) <= LONGEST_PATH
    whole = Table([PictureFile(path, 1, 1)], 1, columns=None).line(PictureFile(path, 1, 1), answer("长" * 40))
    assert path in whole
    assert "长" * 40 in whole


def test_another_model_gets_a_header_of_its_own_and_weights_are_named() -> None:
    table = Table(PICTURES, 2, columns=None)
    lines = [table.line(PICTURES[0], answer("a", weights=weights)) for weights in ("untrained", "untrained", "trained")]
    assert [line.count("\n") for line in lines] == [2, 1, 2]
    assert "(resnet18 1.0, untrained)" in lines[0]


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(0.397, "39.7%"), (1.0, "100.0%"), (0.001, "0.1%"), (0.00099, "<0.1%"), (1e-30, "<0.1%"), (0.0, "0.0%")],
)
def test_numbers_are_as_on_the_page(probability: float, shown: str) -> None:
    assert percent(probability) == shown
