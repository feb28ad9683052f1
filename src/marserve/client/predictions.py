"""What is on a picture, as the servers answer it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marserve.client.errors import InvalidAnswer


@dataclass(frozen=True)
class Prediction:
    """One class."""

    class_id: int
    #: WordNet id; None for classes that are not ImageNet's.
    wnid: str | None
    label: str
    #: From 0 to 1; over all classes they add up to 1.
    probability: float


@dataclass(frozen=True)
class Explanation:
    """Where in the picture the most probable class was seen."""

    #: Rows of numbers from 0 to 1, top to bottom.
    map: list[list[float]]
    #: The part of the picture that the map covers, as fractions of its sides.
    crop: dict[str, float]


@dataclass(frozen=True)
class Classification:
    """The answer to one picture."""

    model: str
    #: None where the server does not say: TorchServe, where the request named no version.
    version: str | None
    #: ``trained``, ``untrained``, ``demonstration`` or ``unknown``; None at the level of TorchServe.
    weights: str | None
    #: The most probable first.
    predictions: tuple[Prediction, ...]
    #: Only where it was requested.
    explanation: Explanation | None = None


def parse_classification(body: bytes, *, version: str | None = None) -> Classification:
    """Read an answer of /classify, /explain or TorchServe. Raises InvalidAnswer."""
    try:
        content: Mapping[str, Any] = json.loads(body)
        explanation = content.get("explanation")
        return Classification(
            model=content["model"],
            version=content.get("version", version),
            weights=content.get("weights"),
            predictions=tuple(
                Prediction(entry["class_id"], entry["wnid"], entry["label"], entry["probability"])
                for entry in content["predictions"]
            ),
            explanation=None if explanation is None else Explanation(explanation["map"], explanation["crop"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise InvalidAnswer(
            "The answer is no classification: is this the address of the classification service?"
        ) from exc
