"""What a graph answers, what int8 costs on pictures kept apart from calibration, and whether that is acceptable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from marserve.handler.resnet18.cpu import usable_cores
from marserve.handler.resnet18.engines.base import Pixels

if TYPE_CHECKING:
    import openvino

LEAST_AGREEMENT = 0.97
MOST_TOP1_LOSS = 0.01
#: One picture of fewer is more than the point that may be lost.
LEAST_LABELLED = 100
BATCH = 8


def answer(graph: openvino.Model | Path, pixels: Pixels) -> NDArray[np.float32]:
    """Probabilities (N, classes) for ``pixels`` (N, H, W, 3), on all cores, in f32 where the graph is not int8."""
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": usable_cores(), "NUM_STREAMS": 1}
    request = openvino.Core().compile_model(graph, "CPU", options).create_infer_request()
    batches = [np.array(request.infer({0: pixels[start : start + BATCH]})[0]) for start in range(0, len(pixels), BATCH)]
    return np.concatenate(batches)


@dataclass(frozen=True)
class Accuracy:
    """int8 against f32 on the same pictures; shares are from 0 to 1."""

    judged_pictures: int
    #: Share of pictures with the same first class.
    agreement: float
    labelled_pictures: int
    #: Of the labelled pictures, the share whose first class is the true one; None where none is labelled.
    top1_f32: float | None
    top1_int8: float | None


def compare(f32: NDArray[np.float32], int8: NDArray[np.float32], class_ids: NDArray[np.int64]) -> Accuracy:
    """Accuracy from probabilities (N, classes) and true classes (N,), -1 where unknown."""
    first, second = f32.argmax(1), int8.argmax(1)
    labelled = class_ids >= 0
    return Accuracy(
        judged_pictures=len(class_ids),
        agreement=float((first == second).mean()),
        labelled_pictures=int(labelled.sum()),
        top1_f32=float((first == class_ids)[labelled].mean()) if labelled.any() else None,
        top1_int8=float((second == class_ids)[labelled].mean()) if labelled.any() else None,
    )


def objection(accuracy: Accuracy) -> str | None:
    """Why this costs too much; None where it does not."""
    if accuracy.agreement < LEAST_AGREEMENT:
        return (
            f"int8 answers the same first class as f32 on {accuracy.agreement:.1%} of {accuracy.judged_pictures} "
            f"pictures, and {LEAST_AGREEMENT:.0%} is the least"
        )
    if accuracy.top1_f32 is None or accuracy.top1_int8 is None or accuracy.labelled_pictures < LEAST_LABELLED:
        return None
    if accuracy.top1_f32 - accuracy.top1_int8 > MOST_TOP1_LOSS + 1e-9:  # shares are no exact fractions
        return (
            f"int8 is right on {accuracy.top1_int8:.1%} of {accuracy.labelled_pictures} labelled pictures where f32 is "
            f"on {accuracy.top1_f32:.1%}, and one point is the most that may be lost"
        )
    return None
