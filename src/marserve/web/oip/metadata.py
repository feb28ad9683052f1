"""What the protocol tells about the server and its models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marserve.web.models import ServedModel
from marserve.web.oip.request import CLASS_ID, INPUT, LABEL, PROBABILITIES

SERVER: dict[str, Any] = {
    "name": "torchserve-resnet18",
    "version": "1",
    "extensions": ["binary_tensor_data", "classification"],
}


def model_metadata(model: ServedModel, versions: Sequence[str], class_count: int) -> dict[str, Any]:
    """Inputs and outputs; -1 is any size."""
    return {
        "name": model.name,
        "versions": list(versions),
        "platform": "torchserve",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1, 1]}],
        "outputs": [
            {"name": PROBABILITIES, "datatype": "FP32", "shape": [-1, class_count]},
            {"name": CLASS_ID, "datatype": "INT64", "shape": [-1, -1]},
            {"name": LABEL, "datatype": "BYTES", "shape": [-1, -1]},
        ],
    }
