"""The exported graph of an archive becomes int8 (NNCF), or the build ends: with the figures that say what it costs.

Plans of quantization are tried, cheapest first, and judged on pictures kept apart from calibration.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from marserve.archive.calibration import (
    CalibrationPicture,
    Pictures,
    calibration_digest,
    calibration_pictures,
    split_pictures,
)
from marserve.archive.export import layers_to_keep_precise, name_nodes, save_graph
from marserve.archive.package import BuildOptions
from marserve.errors import MarserveError
from marserve.handler.resnet18.cpu import usable_cores
from marserve.handler.resnet18.description import Description, Preprocessing, Quantization
from marserve.handler.resnet18.engines.base import Pixels
from marserve.handler.resnet18.engines.openvino_engine import GRAPH_FILE
from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.labels import Label
from marserve.terminal import Report

if TYPE_CHECKING:
    import openvino

#: Asymmetric ranges for activations that have both signs.
PRESET = "mixed"
#: Agreement with f32 at which the search ends.
TARGET_AGREEMENT = 0.98
LEAST_AGREEMENT = 0.97
MOST_TOP1_LOSS = 0.01
#: One picture of fewer is more than the point that may be lost.
LEAST_LABELLED = 100
BATCH = 8


class AccuracyError(MarserveError):
    """int8 changes too many answers; nothing was written."""


def find_calibration(
    options: BuildOptions, precision: str, labels: list[Label], report: Report
) -> list[CalibrationPicture] | None:
    """The pictures of ``--calibration``, None where it was not given; ConfigurationError where nobody needs them."""
    if options.calibration is None:
        return None
    if precision != "int8":
        raise ConfigurationError(f"--calibration goes with --precision int8; the precision is {precision}.")
    return calibration_pictures(options.calibration, labels, report)


def quantization_inputs(files: list[CalibrationPicture] | None, current: Description | None) -> dict[str, str]:
    """What int8 depends on besides; for pictures not given and NNCF not installed, what ``current`` was built with."""
    earlier = current.quantization if current is not None else None
    try:
        nncf = metadata.version("nncf")
    except metadata.PackageNotFoundError:
        nncf = earlier.nncf if earlier is not None else ""
    if files is not None:
        pictures = calibration_digest(files)
    else:
        pictures = earlier.calibration_sha256 if earlier is not None else ""
    return {"nncf": nncf, "pictures": pictures}


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
    # NNCF shows its progress on stdout, where ``--json`` promises nothing else.
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
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
    report: Report,
    *,
    until_it_agrees: bool = True,
) -> Found:
    """Quantize ``graph`` by one plan after the other, cheapest first, until the answers are those of f32.

    Where no plan reaches TARGET_AGREEMENT, the best one is taken; unless ``until_it_agrees``, the first. ``judging``
    decides, because accurate bias correction makes the calibration's own pictures agree too well (100 % where others
    did 97 %). The figures of the best of several plans flatter it a little, so their number is reported with them.
    """
    expected = answer(graph, judging.pixels)
    found: list[Found] = []
    for plan in plans(graph):
        quantized = quantize(graph, calibration.pixels, plan)
        accuracy = compare(expected, answer(quantized, judging.pixels), judging.class_ids)
        report(f"  {plan}: {accuracy.agreement:.1%} agreement with f32 on {len(judging)} pictures kept apart")
        found.append(Found(quantized, plan, accuracy, len(found) + 1))
        if accuracy.agreement >= TARGET_AGREEMENT or not until_it_agrees:
            break
    return replace(max(found, key=lambda one: one.accuracy.agreement), plans_tried=len(found))


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


def quantize_export(
    directory: Path,
    files: list[CalibrationPicture],
    preprocessing: Preprocessing,
    *,
    trained: bool,
    accept_accuracy_loss: bool,
    report: Report,
) -> Quantization:
    """Replace the f32 graph in ``directory`` by one in int8 that takes and answers the same.

    Raises AccuracyError where the pictures kept apart show that it costs too much, unless that is accepted. Random
    weights are never refused: their best classes lie so close together that any rounding changes the first one, and
    their answers mean nothing either way.
    """
    import openvino

    nncf_module()  # missing, it should be missed before the work
    calibration, judging = split_pictures(files, preprocessing, report)
    report(f"Quantizing to int8 with {len(calibration)} pictures ...")
    graph = openvino.Core().read_model(directory / GRAPH_FILE)
    found = search(graph, calibration, judging, report, until_it_agrees=trained)
    accuracy = found.accuracy
    problem = objection(accuracy)
    if problem is not None and not trained:
        report("  The weights are random, so their answers mean nothing and are not held against int8.")
    elif problem is not None and accept_accuracy_loss:
        report(f"  Accepted, as requested: {problem}.")
    elif problem is not None:
        raise AccuracyError(
            f"{problem}. Calibrate with more pictures, or with pictures more like those to be classified; or accept it "
            "with --accept-accuracy-loss; or use --precision bf16."
        )
    name_nodes(found.graph)
    # Beside the graph that was read, whose weights are mapped from its file, and then in its place.
    save_graph(found.graph, directory / f"int8-{GRAPH_FILE}")
    for suffix in (".xml", ".bin"):
        target = (directory / GRAPH_FILE).with_suffix(suffix)
        (directory / f"int8-{target.name}").replace(target)
    return Quantization(
        **asdict(found.plan),
        **asdict(accuracy),
        preset=PRESET,
        plans_tried=found.plans_tried,
        calibration_pictures=len(calibration),
        calibration_sha256=calibration_digest(files),
        accuracy_loss_accepted=problem is not None and trained,
        nncf=metadata.version("nncf"),
    )
