"""The one place where an engine is chosen, and one that uses all cores while nobody else needs them."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..cpu import threads_of_worker, usable_cores
from ..description import Description
from ..engines.base import Engine, FeatureMap, Pixels, Probabilities
from ..occupancy import Occupancy
from ..settings import ModelConfig

logger = logging.getLogger(__name__)

#: Threads for a picture while no other worker is at work. A bound, not an optimum: more than two were not measured.
MOST_THREADS = 8


def create_engine(
    directory: Path, description: Description, config: ModelConfig, gpu_id: int | None, occupancy: Occupancy
) -> Engine:
    """The engine for an archive unpacked in ``directory``, on GPU ``gpu_id`` (None: on the CPU).

    It has computed batches of 1 and of the greatest size once: the first of a size allocates and compiles, which is
    better done now than in a caller's request.
    """
    side = description.preprocessing.crop_size
    batch = np.zeros((config.batchSize, side, side, 3), dtype=np.uint8)
    given = config.handler.threads
    threads = threads_of_worker(config.minWorkers) if given == "auto" else given
    all_cores = max(threads, min(usable_cores(), MOST_THREADS)) if given == "auto" else threads
    engine = _choose_engine(directory, description, config, gpu_id, threads, all_cores)
    for size in {1, config.batchSize}:
        engine.infer(batch[:size])
    if all_cores == threads or engine.info.engine != "openvino":
        return engine
    from ..engines.openvino_engine import OpenVinoEngine

    faster = OpenVinoEngine(directory, config.handler.precision, all_cores)
    faster.infer(batch[:1])
    return ElasticEngine(engine, faster, occupancy)


def _choose_engine(
    directory: Path, description: Description, config: ModelConfig, gpu_id: int | None, threads: int, all_cores: int
) -> Engine:
    settings = config.handler
    if gpu_id is not None and settings.engine != "openvino":
        from ..engines.torch_engine import can_use_gpu

        if not can_use_gpu(gpu_id):
            logger.warning(
                "PyTorch cannot use GPU %d, which this worker was given: computing on the processor.", gpu_id
            )
            gpu_id = None
    if settings.engine == "torch" or (settings.engine == "auto" and gpu_id is not None):
        from ..engines.torch_engine import TorchEngine

        # It computes with the weights as they were before quantization.
        precision = "auto" if settings.precision == "int8" else settings.precision
        # Beside a GPU threads only decode, so that a worker that is alone can do it on all cores without more ado.
        when_alone = all_cores if gpu_id is not None and all_cores > threads else None
        return TorchEngine(
            directory, description, precision, threads, gpu_id,
            batch_size=config.batchSize, threads_when_alone=when_alone,
        )  # fmt: skip
    from ..engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(directory, settings.precision, threads)


class ElasticEngine:
    """A worker's own threads for whole batches; all cores, a picture at a time, while no other worker is at work.

    Under load each worker's own threads give the most throughput. A lone picture is answered sooner by all cores, and
    with it the few that one worker was given while the others have none.
    """

    def __init__(self, own: Engine, all_cores: Engine, occupancy: Occupancy) -> None:
        """Both engines run the same network, in the same precision."""
        self._own = own
        self._all_cores = all_cores
        self._occupancy = occupancy
        self.info = replace(own.info, threads_when_alone=all_cores.info.threads)

    def infer(self, pixels: Pixels) -> tuple[Probabilities, FeatureMap | None]:
        parts = []
        done = 0
        while done < len(pixels) and self._occupancy.alone():
            probabilities, feature_map = self._all_cores.infer(pixels[done : done + 1])
            done += 1
            if done < len(pixels) and feature_map is not None:
                feature_map = feature_map.copy()  # the next picture overwrites it
            parts.append((probabilities, feature_map))
        if done < len(pixels):
            parts.append(self._own.infer(pixels[done:]))
        if len(parts) == 1:
            return parts[0]
        feature_maps = [feature_map for _, feature_map in parts if feature_map is not None]
        return (
            np.concatenate([probabilities for probabilities, _ in parts]),
            np.concatenate(feature_maps) if feature_maps else None,
        )
