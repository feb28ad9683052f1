"""When the search for a plan ends, and with which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from marserve.archive import int8
from marserve.archive.calibration import Pictures
from marserve.archive.int8 import QuantizationPlan, search
from tests.support import report

PLANS = [QuantizationPlan(excluded_layers=tuple("abc"[:count])) for count in range(4)]
PICTURES = Pictures(np.zeros((100, 1, 1, 3), np.uint8), np.full(100, -1))


@pytest.mark.parametrize(
    ("agreeing", "until_it_agrees", "chosen", "tried"),
    [
        ((99, 100, 100, 100), True, 0, 1),
        ((97, 98, 100, 100), True, 1, 2),
        ((95, 97, 96, 97), True, 1, 4),
        ((10, 100, 100, 100), False, 0, 1),
    ],
)
def test_the_first_plan_that_agrees_is_taken_else_the_best(
    monkeypatch: pytest.MonkeyPatch, agreeing: tuple[int, ...], until_it_agrees: bool, chosen: int, tried: int
) -> None:
    def answer(graph: Any, _pixels: object) -> object:
        """One-hot answers, of which as many are those of the graph in f32 (100) as ``graph`` says."""
        return np.eye(2)[[0] * graph + [1] * (100 - graph)]

    monkeypatch.setattr(int8, "plans", lambda *_: iter(PLANS))
    monkeypatch.setattr(int8, "quantize", lambda _graph, _pixels, plan: agreeing[PLANS.index(plan)])
    monkeypatch.setattr(int8, "answer", answer)
    graph: Any = 100
    found = search(graph, PICTURES, PICTURES, report, until_it_agrees=until_it_agrees)
    assert (found.plan, found.plans_tried) == (PLANS[chosen], tried)
    assert found.accuracy.agreement == agreeing[chosen] / 100
