"""The one place where an engine is chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..cpu import threads_of_worker, usable_cores
from ..description import Description
from ..engines.base import Engine
from ..occupancy import Occupancy
from ..settings import ModelConfig

#: Threads for a picture while no other worker is at work. A bound, not an optimum: more than two were not measured.
MOST_THREADS = 8


def create_engine(
    directory: Path, description: Description, config: ModelConfig, gpu_id: int | None, occupancy: Occupancy
) -> Engine:
    """The engine for an archive unpacked in ``directory``, on the GPU that TorchServe assigned (None: on the CPU).

    It has computed batches of 1 and of the greatest size once: the first of a size allocates and compiles, which is
    better done now than in a caller's request.
    """
    side = description.preprocessing.crop_size
    batch = np.zeros((config.batchSize, side, side, 3), dtype=np.uint8)
    engine = _choose_engine(directory, description, config, gpu_id)
    for size in {1, config.batchSize}:
        engine.infer(batch[:size])
    all_cores = min(usable_cores(), MOST_THREADS)
    if config.handler.threads != "auto" or engine.info.engine != "openvino" or engine.info.threads >= all_cores:
        return engine
    from ..engines.elastic import ElasticEngine
    from ..engines.openvino_engine import OpenVinoEngine

    faster = OpenVinoEngine(directory, config.handler.precision, all_cores)
    faster.infer(batch[:1])
    return ElasticEngine(engine, faster, occupancy)


def _choose_engine(directory: Path, description: Description, config: ModelConfig, gpu_id: int | None) -> Engine:
    settings = config.handler
    threads = threads_of_worker(config.minWorkers) if settings.threads == "auto" else settings.threads
    if settings.engine == "torch" or (settings.engine == "auto" and gpu_id is not None):
        from ..engines.torch_engine import TorchEngine

        # It computes with the weights as they were before quantization.
        precision = "auto" if settings.precision == "int8" else settings.precision
        return TorchEngine(directory, description, precision, threads, gpu_id, batch_size=config.batchSize)
    from ..engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(directory, settings.precision, threads)
