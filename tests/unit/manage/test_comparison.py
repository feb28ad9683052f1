"""Whether a new version answers as the old one does."""

from __future__ import annotations

import pytest

from marserve.client.inference import Classification, Prediction
from marserve.manage.comparison import compare


def answer(*probabilities: float, labels: str = "abcdefgh") -> Classification:
    predictions = [Prediction(i, None, labels[i], share) for i, share in enumerate(probabilities)]
    predictions.sort(key=lambda prediction: -prediction.probability)
    return Classification("resnet18", "1.0", None, tuple(predictions))


def test_equal_answers_agree_wholly() -> None:
    comparison = compare([answer(0.9, 0.1)], [answer(0.9, 0.1)])
    assert (comparison.agreement, comparison.mean_difference, comparison.label_change) == (1.0, 0.0, None)
    assert comparison.objection(1.0) is None


def test_the_share_of_equal_top_classes_decides() -> None:
    old = [answer(0.9, 0.1), answer(0.4, 0.6)]
    new = [answer(0.8, 0.2), answer(0.6, 0.4)]
    comparison = compare(old, new)
    assert comparison.agreement == 0.5
    assert comparison.mean_difference == pytest.approx(0.15)
    assert comparison.objection(0.5) is None
    assert "50.0%" in (comparison.objection(0.9) or "")


@pytest.mark.parametrize(
    ("new", "change"),
    [
        (answer(0.9, 0.1, labels="xb"), 'class 0 is "x", was "a"'),
        (answer(0.8, 0.1, 0.1), "3 classes instead of 2"),
        (answer(1.0), "1 classes instead of 2"),
    ],
)
def test_other_labels_are_an_objection_however_well_the_classes_agree(new: Classification, change: str) -> None:
    comparison = compare([answer(0.9, 0.1)], [new])
    assert comparison.label_change == change
    assert change in (comparison.objection(0.0) or "")
