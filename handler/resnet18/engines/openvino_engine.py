"""OpenVINO: the CPU engine."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from resnet18.engines.base import EngineInfo, FeatureMap, Pixels, Probabilities
from resnet18.errors import ConfigurationError
from resnet18.settings import Precision

logger = logging.getLogger(__name__)

#: The exported graph inside an archive; its weights lie beside it as network.bin.
GRAPH_FILE = "network.xml"


class OpenVinoEngine:
    """Runs the exported graph of an archive on the CPU."""

    def __init__(self, directory: Path, precision: Precision, threads: int) -> None:
        """Compile ``network.xml`` of ``directory``.

        Raises ConfigurationError where OpenVINO is not installed, the graph cannot be read, or ``precision`` is bf16
        and the processor does not compute it natively (it would be emulated, slower than f32).
        """
        try:
            import openvino
        except ImportError as exc:
            raise ConfigurationError(
                "handler.engine is openvino, which is not installed: pip install openvino, or set engine: torch."
            ) from exc
        core = openvino.Core()
        native_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not native_bf16:
            raise ConfigurationError(
                "handler.precision = 'bf16', which this processor does not compute natively; use 'auto' or 'f32'."
            )
        chosen = "f32" if precision == "f32" or not native_bf16 else "bf16"
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": chosen,
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
                "with scripts/build_archive.py."
            ) from exc
        self._request = compiled.create_infer_request()
        self.info = EngineInfo("openvino", str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip(), chosen, threads)

    def infer(self, pixels: Pixels) -> tuple[Probabilities, FeatureMap | None]:
        # The input is used in place. The outputs are views of the request's own memory, which the next batch
        # overwrites: the probabilities are copied out, the feature map is left to the few who ask for it.
        answers = self._request.infer({0: pixels}, share_inputs=True, share_outputs=True)
        return np.array(answers[0], dtype=np.float32), answers[1] if len(answers) > 1 else None
