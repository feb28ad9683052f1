"""Probabilities become the answer that a caller reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .labels import Label

#: Enough that 1000 rounded probabilities still sum to 1 within 5e-6, and no digits that float32 does not have.
DECIMALS = 8


def top_classes(probabilities: NDArray[np.float32], top_k: int) -> NDArray[np.intp]:
    """Indices of the ``top_k`` largest of ``probabilities`` (classes,), highest first; ties by lower index."""
    if top_k < probabilities.size:
        candidates = np.sort(np.argpartition(-probabilities, top_k)[:top_k])
    else:
        candidates = np.arange(probabilities.size)
    return candidates[np.argsort(-probabilities[candidates], kind="stable")]


def describe_predictions(
    probabilities: NDArray[np.float32], top_k: int, labels: Sequence[Label]
) -> list[dict[str, object]]:
    """The ``predictions`` of one picture; fewer than ``top_k`` where the network has fewer classes."""
    return [
        {
            "class_id": int(index),
            "wnid": labels[index].wnid,
            "label": labels[index].name,
            "probability": round(float(probabilities[index]), DECIMALS),
        }
        for index in top_classes(probabilities, top_k)
    ]
