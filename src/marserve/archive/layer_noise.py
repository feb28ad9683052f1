"""Which layers lose most when their weights become int8, each tried alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from marserve.archive.answers import answer
from marserve.archive.quantization import layers_with_weights
from marserve.handler.resnet18.engines.base import Pixels
from marserve.terminal import counted

if TYPE_CHECKING:
    import openvino

#: Enough to tell the noisiest layers from the others, which differ by factors.
PICTURES = 32
#: Largest integer of symmetric int8.
LEVELS = 127


def noisiest_first(graph: openvino.Model, pixels: Pixels) -> list[str]:
    """Names of the layers of ``graph`` with weights, by the Kullback-Leibler divergence that rounding them causes.

    A depthwise layer on large maps is often first by far: each of its outputs depends on few weights, rounded alike.
    """
    pixels = pixels[:PICTURES]
    expected = answer(graph, pixels)
    names = [node.get_friendly_name() for node in layers_with_weights(graph)]
    noise: dict[str, float] = {}
    with counted("  Layers tried alone", "layers") as show:
        for name in names:
            noise[name] = _divergence(expected, answer(_with_rounded_weights(graph, name), pixels))
            show(len(noise), len(names))
    return sorted(names, key=lambda name: -noise[name])


def _with_rounded_weights(graph: openvino.Model, name: str) -> openvino.Model:
    from openvino import opset15 as operations

    changed = graph.clone()
    layer = next(node for node in changed.get_ordered_ops() if node.get_friendly_name() == name)
    weights = layer.input_value(1).get_node()
    if weights.get_type_name() == "Constant":
        # Grouped convolutions have (groups, outputs, inputs, ...), the others (outputs, inputs, ...).
        channel_axes = 2 if layer.get_type_name() == "GroupConvolution" else 1
        rounded = operations.constant(_round(weights.data, channel_axes))
        weights.output(0).replace(rounded.output(0))
    return changed


def _round(weights: NDArray[np.float32], channel_axes: int) -> NDArray[np.float32]:
    """``weights`` as int8 with one scale a channel represents them."""
    largest = np.abs(weights).max(axis=tuple(range(channel_axes, weights.ndim)), keepdims=True)
    scale = np.where(largest > 0, largest, 1) / LEVELS
    return (np.round(weights / scale) * scale).astype(np.float32)


def _divergence(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    tiny = np.finfo(np.float32).tiny
    return float((expected * (np.log(expected + tiny) - np.log(found + tiny))).sum(axis=1).mean())
