"""From the chosen weights to a state dict that a network of the architecture takes as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from marserve.archive.weights.content import read_tensors
from marserve.archive.weights.fit import fit
from marserve.archive.weights.untrained import seeded_state_dict
from marserve.archive.weights.weights_file import WeightsFile

if TYPE_CHECKING:
    import torch

#: ImageNet's, which the labels of this project name.
DEFAULT_CLASS_COUNT = 1000


@dataclass(frozen=True)
class LoadedWeights:
    """A complete state dict for ``build_network(architecture, class_count)``: float32, finite, on the CPU."""

    state_dict: dict[str, torch.Tensor]
    class_count: int


def load_state_dict(file: WeightsFile, architecture: str, *, class_count: int | None = None) -> LoadedWeights:
    """Read ``file``, whose class count is its own; ``class_count`` says how many classes seeded weights have.

    Raises WeightsError for a file that does not hold weights of ``architecture``.
    """
    if file.path is None:
        count = DEFAULT_CLASS_COUNT if class_count is None else class_count
        return LoadedWeights(seeded_state_dict(architecture, count), count)
    state_dict, count = fit(read_tensors(file.path), architecture, file.path)
    return LoadedWeights(state_dict, count)
