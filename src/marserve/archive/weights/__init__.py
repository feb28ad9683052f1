"""Weights for an archive: finding them, downloading them, and reading them without running anything from the file."""

from marserve.archive.weights.files import WeightsError, WeightsFile
from marserve.archive.weights.locate import UNTRAINED, Sources, locate_weights
from marserve.archive.weights.published import PublishedFile
from marserve.archive.weights.state_dict import LoadedWeights, load_state_dict

__all__ = [
    "UNTRAINED",
    "LoadedWeights",
    "PublishedFile",
    "Sources",
    "WeightsError",
    "WeightsFile",
    "load_state_dict",
    "locate_weights",
]
