"""OpenVINO: the CPU engine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..engines.base import EngineInfo, FeatureMap, Pixels, Probabilities
from ..errors import ConfigurationError
from ..settings import Precision

logger = logging.getLogger(__name__)

#: The exported graph inside an archive; its weights lie beside it as network.bin.
GRAPH_FILE = "network.xml"


class OpenVinoEngine:
    def __init__(self, directory: Path, precision: Precision, threads: int) -> None:
        """Compile ``network.xml`` of ``directory``.

        Raises ConfigurationError where OpenVINO is not installed, the graph cannot be read, ``precision`` is not that
        of the graph, or it is bf16 and the processor does not compute it natively (it would be emulated, slower than
        f32).
        """
        try:
            import openvino
        except ImportError as exc:
            raise ConfigurationError(
                "handler.engine is openvino, which is not installed: pip install openvino, or set engine: torch."
            ) from exc
        core = openvino.Core()
        chosen = _choose(precision, _is_quantized(directory), core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        options: dict[str, Any] = {
            # What is left of an int8 graph is faster in f32: measured, with and without depthwise layers left out.
            "INFERENCE_PRECISION_HINT": "f32" if chosen == "int8" else chosen,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Pinned, the threads of every worker process would take the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            compiled = core.compile_model(str(directory / GRAPH_FILE), "CPU", options)
        except RuntimeError as exc:
            raise ConfigurationError(
                f"{GRAPH_FILE} of the archive cannot be compiled ({str(exc).splitlines()[0]}): build the archive again "
                "with marserve build."
            ) from exc
        self._request = compiled.create_infer_request()
        self.info = EngineInfo("openvino", str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip(), chosen, threads)

    def infer(self, pixels: Pixels) -> tuple[Probabilities, FeatureMap | None]:
        # The input is used in place. The outputs are views of the request's own memory, which the next batch
        # overwrites: the probabilities are copied out, the feature map is left to the few who need it.
        answers = self._request.infer({0: pixels}, share_inputs=True, share_outputs=True)
        return np.array(answers[0], dtype=np.float32), answers[1] if len(answers) > 1 else None


def _is_quantized(directory: Path) -> bool:
    """Whether the graph was built as int8, by its operations."""
    try:
        return 'type="FakeQuantize"' in (directory / GRAPH_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False  # compiling it says what is wrong


def _choose(precision: Precision, quantized: bool, capabilities: Sequence[str]) -> str:
    """What to compute in: int8 is decided when an archive is built, the others when it is loaded."""
    if quantized:
        if precision not in ("auto", "int8"):
            raise ConfigurationError(
                f"handler.precision = {precision!r}, but this archive was built as int8; use 'int8' or 'auto', or "
                f"build it with marserve build --precision {precision}."
            )
        if "INT8" not in capabilities:
            logger.warning("This processor has no fast int8 arithmetic: f32 or bf16 may be faster.")
        return "int8"
    if precision == "int8":
        raise ConfigurationError(
            "handler.precision = 'int8', but this archive was not built as int8; use 'auto', or build it with "
            "marserve build --precision int8 --calibration DIR."
        )
    native_bf16 = "BF16" in capabilities
    if precision == "bf16" and not native_bf16:
        raise ConfigurationError(
            "handler.precision = 'bf16', which this processor does not compute natively; use 'auto' or 'f32'."
        )
    return "bf16" if native_bf16 and precision != "f32" else "f32"
