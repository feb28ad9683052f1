"""Weights for an archive: finding them, downloading them, and reading them without running anything from the file."""

from marserve.archive.weights.errors import WeightsError
from marserve.archive.weights.load import LoadedWeights, load_state_dict
from marserve.archive.weights.locate import UNTRAINED, Sources, locate_weights
from marserve.archive.weights.published import PublishedFile
from marserve.archive.weights.weights_file import WeightsFile

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
