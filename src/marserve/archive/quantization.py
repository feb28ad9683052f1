"""A graph becomes int8: NNCF's post-training quantization, by the cheapest plan that keeps the network's answers."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from marserve.archive.accuracy import Accuracy, answer, compare
from marserve.archive.calibration import Pictures
from marserve.archive.export import layers_to_keep_precise
from marserve.handler.resnet18.engines.base import Pixels
from marserve.handler.resnet18.errors import ConfigurationError

if TYPE_CHECKING:
    import openvino

#: Asymmetric ranges for activations that have both signs.
PRESET = "mixed"
#: Agreement with f32 at which the search ends.
TARGET_AGREEMENT = 0.98


@dataclass(frozen=True)
class QuantizationPlan:
    """Settings of NNCF that decide between speed and accuracy."""

    #: ``accurate`` computes every layer's mean error on all pictures, after that of the layers before it.
    bias_correction: Literal["fast", "accurate"] = "fast"
    #: Names of layers that stay in f32.
    excluded_layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        kept = f"{', '.join(self.excluded_layers)} in f32" if self.excluded_layers else "every layer"
        return f"{kept}, {self.bias_correction} bias correction"


@dataclass(frozen=True)
class Found:
    """The graph in int8, how it was made, and how well it answers."""

    graph: openvino.Model
    plan: QuantizationPlan
    accuracy: Accuracy
    plans_tried: int


def nncf_module() -> Any:
    """NNCF, quiet and without the usage data that it would send. Raises ConfigurationError where it is missing."""
    # Read when NNCF is imported: makes it keep usage data to itself.
    os.environ.setdefault("NNCF_CI", "1")
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it looks for a compiler nobody needs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies' making
            import nncf
    except ImportError as exc:
        raise ConfigurationError('--precision int8 needs NNCF: pip install "marserve[int8]"') from exc
    nncf.set_log_level(logging.ERROR)
    return nncf


def quantize(graph: openvino.Model, pixels: Pixels, plan: QuantizationPlan) -> openvino.Model:
    """A copy of ``graph`` in int8, its ranges found on ``pixels`` (N, H, W, 3).

    What comes after the last layer with weights stays in f32 whatever the plan: NNCF would round the logits, of which
    close ones would become equal. Equal arguments give equal graphs.
    """
    nncf = nncf_module()
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    ignored = nncf.IgnoredScope(names=[*plan.excluded_layers, *after_the_head(graph)])
    with _progress_on_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nncf.quantize(
            graph,
            nncf.Dataset([pixels[index : index + 1] for index in range(len(pixels))]),
            preset=nncf.QuantizationPreset(PRESET),
            subset_size=len(pixels),
            fast_bias_correction=plan.bias_correction == "fast",
            ignored_scope=ignored,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # Where the error is least, instead of the mean of each picture's extremes.
                activations_range_estimator_params=RangeEstimatorParametersSet.HISTOGRAM
            ),
        )


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
    did 97 %). The figures of the best of several plans flatter it a little, so their number is reported with them.
    """
    expected = answer(graph, judging.pixels)
    best: Found | None = None
    for tried, plan in enumerate(plans(graph), start=1):
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


def plans(graph: openvino.Model) -> Iterator[QuantizationPlan]:
    """Plans in the order of what they cost: the time of a build first, then that of each answer.

    Measured with the demonstration model: agreement of 200 photographs that were not calibrated with (two halves, each
    judged by the other), and ms a picture on one thread, batch 8 (f32 4.5, bf16 3.4). NNCF's defaults: 190 and 1.9 ms;
    logits kept in f32: 191; ranges from histograms: 193; accurate bias correction as well: 197; and the layers that
    bf16 spares in f32: 196 (98 of either half) and 2.9 ms. Trying each layer alone and keeping the noisiest in f32 gave
    196 (97 and 99). Leaving more in f32 made the probabilities more alike, but not the first classes: what still
    changes are close calls. Nothing was won by leaving the rest in bf16 rather than f32, by symmetric activations,
    SmoothQuant, or keeping head or residual sums alone in f32.
    """
    yield QuantizationPlan()
    yield QuantizationPlan(bias_correction="accurate")
    yield QuantizationPlan(bias_correction="accurate", excluded_layers=tuple(layers_to_keep_precise(graph)))


def after_the_head(graph: openvino.Model) -> list[str]:
    """Names of what is computed from the logits on."""
    kinds = {"Convolution", "GroupConvolution", "MatMul"}
    weighted = [node for node in graph.get_ordered_ops() if node.get_type_name() in kinds]
    found: list[str] = []
    waiting = [weighted[-1]] if weighted else []
    while waiting:
        for output in waiting.pop().outputs():
            for target in output.get_target_inputs():
                node = target.get_node()
                name = node.get_friendly_name()
                if node.get_type_name() != "Result" and name not in found:
                    found.append(name)
                    waiting.append(node)
    return found


@contextlib.contextmanager
def _progress_on_stderr() -> Iterator[None]:
    """NNCF shows its progress on stdout, where ``--json`` promises nothing else."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
