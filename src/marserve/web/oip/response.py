"""Answers become tensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marserve.web.answers import Answer
from marserve.web.oip.request import CLASS_ID, LABEL, PROBABILITIES, InferenceRequest, Output
from marserve.web.oip.tensors import to_binary


@dataclass(frozen=True)
class Encoded:
    """A body, and the length of its JSON where tensors follow it."""

    body: bytes
    header_length: int | None


def needed_top_k(request: InferenceRequest, class_count: int) -> int:
    """How many classes of each picture the outputs need: all of them only for the plain probabilities."""
    needs = [
        (output.classification or class_count) if output.name == PROBABILITIES else request.top_k
        for output in request.outputs
    ]
    return min(max(needs), class_count)


def encode_response(
    request: InferenceRequest, answers: Sequence[Answer], *, model: str, version: str, class_count: int
) -> Encoded:
    """The response to ``request`` with the answer of each of its pictures."""
    tensors = [_tensor(output, request.top_k, answers, class_count) for output in request.outputs]
    content: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": []}
    if request.id is not None:
        content["id"] = request.id
    binary = []
    for output, (datatype, rows) in zip(request.outputs, tensors, strict=True):
        values = [value for row in rows for value in row]
        tensor: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": [len(rows), len(rows[0])]}
        if output.is_binary:
            binary.append(to_binary(datatype, values))
            tensor["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            tensor["data"] = values
        content["outputs"].append(tensor)
    header = json.dumps(content, separators=(",", ":")).encode()
    return Encoded(b"".join([header, *binary]), len(header) if binary else None)


def _tensor(output: Output, top_k: int, answers: Sequence[Answer], class_count: int) -> tuple[str, list[list[Any]]]:
    """Datatype and rows, one a picture."""
    predictions = [answer["predictions"] for answer in answers]
    if output.classification:
        return "BYTES", [
            [f"{entry['probability']:f}:{entry['class_id']}:{entry['label']}" for entry in row[: output.classification]]
            for row in predictions
        ]
    if output.name == CLASS_ID:
        return "INT64", [[entry["class_id"] for entry in row[:top_k]] for row in predictions]
    if output.name == LABEL:
        return "BYTES", [[entry["label"] for entry in row[:top_k]] for row in predictions]
    rows = []
    for row in predictions:
        probabilities = [0.0] * class_count
        for entry in row:
            probabilities[entry["class_id"]] = entry["probability"]
        rows.append(probabilities)
    return "FP32", rows
