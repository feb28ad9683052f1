"""The cheapest plan of quantization that keeps a network's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from marserve.archive.accuracy_guard import Accuracy, compare
from marserve.archive.answers import answer
from marserve.archive.calibration import Pictures
from marserve.archive.export import layers_to_keep_precise
from marserve.archive.layer_noise import noisiest_first
from marserve.archive.quantization import QuantizationPlan, quantize
from marserve.handler.resnet18.engines.base import Pixels

if TYPE_CHECKING:
    import openvino

#: Agreement with f32 at which the search ends.
TARGET_AGREEMENT = 0.98


@dataclass(frozen=True)
class Found:
    """The graph in int8, how it was made, and how well it answers."""

    graph: openvino.Model
    plan: QuantizationPlan
    accuracy: Accuracy
    plans_tried: int


def search(
    graph: openvino.Model,
    calibration: Pictures,
    judging: Pictures,
    report: Callable[[str], None],
    *,
    until_it_agrees: bool = True,
) -> Found:
    """Quantize ``graph`` by one plan after the other, cheapest first, until the answers are those of f32.

    Where no plan reaches TARGET_AGREEMENT, the best one is taken; unless ``until_it_agrees``, the first. ``judging``
    decides, because accurate bias correction makes the calibration's own pictures agree too well (100 % where others
    did 97 %). The figures of the best of several plans flatter it a little, so their number is told with them.
    """
    expected = answer(graph, judging.pixels)
    best: Found | None = None
    for tried, plan in enumerate(plans(graph, calibration.pixels), start=1):
        quantized = quantize(graph, calibration.pixels, plan)
        accuracy = compare(expected, answer(quantized, judging.pixels), judging.class_ids)
        report(f"  {plan}: {accuracy.agreement:.1%} agreement with f32 on {len(judging)} pictures kept apart")
        if best is None or accuracy.agreement > best.accuracy.agreement:
            best = Found(quantized, plan, accuracy, tried)
        best = replace(best, plans_tried=tried)
        if accuracy.agreement >= TARGET_AGREEMENT or not until_it_agrees:
            break
    assert best is not None  # noqa: S101 - there is always a first plan
    return best


def plans(graph: openvino.Model, pixels: Pixels) -> Iterator[QuantizationPlan]:
    """Plans in the order of what they cost: the time of a build first, then that of each answer.

    Measured with the demonstration model: agreement of 200 photographs that were not calibrated with (two halves, each
    judged by the other), and ms a picture on one thread, batch 8 (f32 4.5, bf16 3.4). NNCF's defaults: 190 and 1.9 ms;
    logits kept in f32: 191; ranges from histograms: 193; the noisiest layer, a depthwise one on maps of 112 x 112, in
    f32: 195 and 2.1 ms; accurate bias correction as well: 198, or 196 of other halves, and 2.3 ms; the layers that bf16
    spares as well: 197, or 196 of other halves, and 2.9 ms. Leaving more in f32 made the probabilities more alike, but
    not the first classes: what still changes are close calls. Nothing was won by leaving the rest in bf16 rather than
    f32, by symmetric activations, SmoothQuant, or keeping head or residual sums alone in f32.
    """
    yield QuantizationPlan()
    yield QuantizationPlan(bias_correction="accurate")
    noisiest = noisiest_first(graph, pixels)[:1]
    yield QuantizationPlan(bias_correction="accurate", excluded_layers=tuple(noisiest))
    precise = dict.fromkeys([*noisiest, *layers_to_keep_precise(graph)])
    yield QuantizationPlan(bias_correction="accurate", excluded_layers=tuple(precise))
