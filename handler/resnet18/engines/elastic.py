"""An engine that uses all cores while nobody else needs them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..engines.base import Engine, FeatureMap, Pixels, Probabilities
from ..occupancy import Occupancy


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
        """See ``Engine``."""
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
