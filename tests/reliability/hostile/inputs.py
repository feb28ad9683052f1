"""Hostile inputs without end: the one with a number is the same in every run with the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.reliability.hostile.bodies import form_body, group, json_body, picture, protocol_body
from tests.reliability.hostile.files import archive, configuration, labels, weights

#: By row, and which share of all inputs each row has.
GENERATORS: dict[str, tuple[Callable[[random.Random], Any], float]] = {
    "pictures": (picture, 0.25),
    "forms": (form_body, 0.08),
    "json": (json_body, 0.20),
    "protocol": (protocol_body, 0.18),
    "groups": (group, 0.17),
    "archives": (archive, 0.003),
    "weights": (weights, 0.005),
    "labels": (labels, 0.005),
    "configuration": (configuration, 0.037),
}


def hostile(row: str, seed: int, number: int) -> Any:
    """The input with this ``number``, the same in every run."""
    return GENERATORS[row][0](chance_of(row, seed, number))


def chance_of(row: str, seed: int, number: int) -> random.Random:
    return random.Random(f"{row} {seed} {number}")  # noqa: S311 - the same each time
