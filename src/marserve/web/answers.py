"""The handler's answer to one picture: checked where it comes in, so that nothing after it meets garbage."""

from __future__ import annotations

import json
from typing import Any

#: Fields of each prediction and what they are; ``wnid`` is null for classes that are not ImageNet's.
FIELDS: dict[str, type | tuple[type, ...]] = {
    "class_id": int,
    "wnid": (str, type(None)),
    "label": str,
    "probability": (float, int),
}

#: ``predictions``, highest first, and for an explanation ``explanation``.
Answer = dict[str, Any]


class NotAnAnswer(ValueError):  # noqa: N818
    """This is not what the handler answers."""


def parse_answer(body: bytes, *, explain: bool) -> Answer:
    """The object in ``body``. Raises NotAnAnswer."""
    try:
        content = json.loads(body)
    except ValueError as exc:
        raise NotAnAnswer("not JSON") from exc
    if not isinstance(content, dict) or not isinstance(content.get("predictions"), list):
        raise NotAnAnswer('no list "predictions"')
    for prediction in content["predictions"]:
        if not isinstance(prediction, dict):
            raise NotAnAnswer("a prediction is no object")
        for name, kind in FIELDS.items():
            if not isinstance(prediction.get(name), kind):
                raise NotAnAnswer(f'"{name}" of a prediction is missing or of another type')
    if explain:
        _check_explanation(content.get("explanation"))
    return content


def _check_explanation(explanation: object) -> None:
    if not isinstance(explanation, dict):
        raise NotAnAnswer('no "explanation"')
    rows, crop = explanation.get("map"), explanation.get("crop")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise NotAnAnswer('no "map" in the explanation')
    if len({len(row) for row in rows}) != 1 or not all(isinstance(value, float | int) for row in rows for value in row):
        raise NotAnAnswer("the map is no rectangle of numbers")
    if not isinstance(crop, dict) or not all(isinstance(value, float | int) for value in crop.values()):
        raise NotAnAnswer('no "crop" in the explanation')
