"""What int8 may cost."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from marserve.archive.int8 import Accuracy, compare, objection


def one_hot(classes: list[int]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.eye(4, dtype=np.float32)[classes]


def test_shares_are_over_all_pictures_and_over_those_with_a_label() -> None:
    found = compare(one_hot([0, 1, 2, 3]), one_hot([0, 1, 2, 2]), np.array([0, 3, -1, 3]))
    assert astuple(found) == (4, 0.75, 3, pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_without_labels_there_is_no_top1() -> None:
    assert compare(one_hot([0]), one_hot([0]), np.array([-1])) == Accuracy(1, 1.0, 0, None, None)


@pytest.mark.parametrize(
    ("accuracy", "reason"),
    [
        (Accuracy(100, 1.0, 0, None, None), None),
        (Accuracy(100, 0.97, 0, None, None), None),
        (Accuracy(1000, 0.969, 0, None, None), "96.9% of 1000 pictures"),
        (Accuracy(100, 0.97, 100, 0.88, 0.87), None),
        (Accuracy(100, 0.97, 100, 0.88, 0.86), "right on 86.0% of 100 labelled pictures where f32 is on 88.0%"),
        (Accuracy(100, 0.97, 100, 0.86, 0.88), None),
        (Accuracy(100, 0.97, 99, 0.88, 0.86), None),
    ],
)
def test_more_than_may_be_lost_is_objected_to(accuracy: Accuracy, reason: str | None) -> None:
    found = objection(accuracy)
    assert found is None if reason is None else reason in (found or "")
