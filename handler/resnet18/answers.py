"""What a caller reads: the likeliest classes, and why: the class activation map of a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .engines.base import FeatureMap
from .engines.torch_engine import WEIGHTS_FILE
from .labels import Label

#: Enough that 1000 rounded probabilities still sum to 1 within 5e-6, and no digits that float32 does not have.
DECIMALS = 8


def top_classes(probabilities: NDArray[np.float32], top_k: int) -> list[tuple[int, float]]:
    """Indices and values of the ``top_k`` largest of ``probabilities`` (classes,), highest first; ties by lower index.

    All of them where there are no more. The probabilities must be numbers.
    """
    least = max(probabilities.size - top_k, 0)
    (candidates,) = (probabilities >= np.partition(probabilities, least)[least]).nonzero()
    likeliest = zip(candidates.tolist(), probabilities[candidates].tolist(), strict=True)
    return sorted(likeliest, key=lambda candidate: -candidate[1])[:top_k]


class AnswerWriter:
    """Writes answers as JSON; everything in them but the probabilities is written beforehand."""

    def __init__(self, model: str, labels: Sequence[Label]) -> None:
        self._head = f'{{"model":{json.dumps(model)},"predictions":['
        self._classes = [
            f'{{"class_id":{index},"wnid":{json.dumps(label.wnid)},"label":{json.dumps(label.name)},"probability":'
            for index, label in enumerate(labels)
        ]

    def write(
        self, probabilities: NDArray[np.float32], top_k: int, explanation: dict[str, object] | None = None
    ) -> str:
        """The answer about one picture, as ``json.dumps`` would write it without spaces.

        It has fewer than ``top_k`` predictions where the network has fewer classes.
        """
        predictions = [
            f"{self._classes[index]}{round(probability, DECIMALS)!r}}}"
            for index, probability in top_classes(probabilities, top_k)
        ]
        tail = "" if explanation is None else f',"explanation":{json.dumps(explanation, separators=(",", ":"))}'
        return f"{self._head}{','.join(predictions)}]{tail}}}"


class ClassActivationMaps:
    """Reads the rows of the head's weights that it needs from an unpacked archive."""

    def __init__(self, directory: Path, head: str) -> None:
        """``head`` is ``Description.head``: the name of the weights (classes, channels) in ``network.safetensors``."""
        self._weights_file = directory / WEIGHTS_FILE
        self._head = head

    def compute(self, feature_map: FeatureMap, class_id: int) -> NDArray[np.float32]:
        """The map (h, w) of one picture's ``feature_map`` (channels, h, w), from 0 (nothing speaks for the class) to 1.

        A pooled linear head adds up, over all places, the feature map weighted by the class: each place's share is the
        map (Zhou et al. 2016, equation 2). What speaks against the class counts as 0; the largest share as 1.
        """
        from safetensors import safe_open

        with safe_open(self._weights_file, framework="numpy") as weights:
            class_weights = weights.get_slice(self._head)[class_id]
        evidence = np.maximum(np.tensordot(class_weights, feature_map, axes=1), 0.0)
        largest = evidence.max()
        return np.asarray(evidence / largest if largest > 0 else evidence, dtype=np.float32)
