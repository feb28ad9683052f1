"""A graph becomes int8: NNCF's post-training quantization with one plan of settings."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from marserve.handler.resnet18.engines.base import Pixels
from marserve.handler.resnet18.errors import ConfigurationError

if TYPE_CHECKING:
    import openvino

#: Asymmetric ranges for activations that have both signs.
PRESET = "mixed"


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
        raise ConfigurationError(
            "--precision int8 needs NNCF: pip install --group int8 (pip 25.1 or newer, in the project's folder)."
        ) from exc
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


def layers_with_weights(graph: openvino.Model) -> list[openvino.Node]:
    """The layers that int8 makes faster, in the order of computation."""
    kinds = {"Convolution", "GroupConvolution", "MatMul"}
    return [node for node in graph.get_ordered_ops() if node.get_type_name() in kinds]


def after_the_head(graph: openvino.Model) -> list[str]:
    """Names of what is computed from the logits on."""
    weighted = layers_with_weights(graph)
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
