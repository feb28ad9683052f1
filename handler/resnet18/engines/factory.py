"""The one place where an engine is chosen."""

from __future__ import annotations

from pathlib import Path

from resnet18.cpu import threads_per_worker
from resnet18.description import Description
from resnet18.engines.base import Engine
from resnet18.settings import ModelConfig


def create_engine(directory: Path, description: Description, config: ModelConfig, gpu_id: int | None) -> Engine:
    """The engine for an archive unpacked in ``directory``, on the GPU that TorchServe assigned (None: on the CPU)."""
    settings = config.handler
    threads = threads_per_worker(config.minWorkers) if settings.threads == "auto" else settings.threads
    if settings.engine == "torch" or (settings.engine == "auto" and gpu_id is not None):
        from resnet18.engines.torch_engine import TorchEngine

        # It computes with the weights as they were before quantization.
        precision = "auto" if settings.precision == "int8" else settings.precision
        return TorchEngine(directory, description, precision, threads, gpu_id, batch_size=config.batchSize)
    from resnet18.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(directory, settings.precision, threads)
