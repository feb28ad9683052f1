"""What an exported graph answers, computed at build time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from marserve.handler.resnet18.cpu import usable_cores
from marserve.handler.resnet18.engines.base import Pixels

if TYPE_CHECKING:
    import openvino

BATCH = 8


def answer(graph: openvino.Model | Path, pixels: Pixels) -> NDArray[np.float32]:
    """Probabilities (N, classes) for ``pixels`` (N, H, W, 3), on all cores, in f32 where the graph is not int8."""
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": usable_cores(), "NUM_STREAMS": 1}
    request = openvino.Core().compile_model(graph, "CPU", options).create_infer_request()
    batches = [np.array(request.infer({0: pixels[start : start + BATCH]})[0]) for start in range(0, len(pixels), BATCH)]
    return np.concatenate(batches)
