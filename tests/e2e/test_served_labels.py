"""True labels over HTTP: the demonstration model on 200 labelled photographs, against eager torch."""

from __future__ import annotations

import pytest

from tests.e2e.serving import Stack
from tests.photographs import reference_classes, true_class
from tests.support import PHOTOS


@pytest.mark.needs("photographs")
def test_top_1_equals_the_reference_and_is_right(served: Stack) -> None:
    photographs = sorted(PHOTOS.glob("*.JPEG"))
    assert len(photographs) == 200
    found = []
    for photograph in photographs:
        answer = served.predict("efficientnet_lite0", data=photograph.read_bytes(), headers={"X-Top-K": "1"})
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["predictions"][0]["class_id"])
    expected = reference_classes(photographs)
    same = sum(one == other for one, other in zip(found, expected, strict=True))
    right = sum(one == true_class(photograph) for one, photograph in zip(found, photographs, strict=True))
    assert same >= 199
    assert right >= 0.86 * len(photographs)
