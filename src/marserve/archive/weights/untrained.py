"""Seeded weights: the same on every machine, so that they are good for tests, and for nothing else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from marserve.handler.resnet18.network import build_network

if TYPE_CHECKING:
    import torch

SEED = 18


def seeded_state_dict(architecture: str, class_count: int) -> dict[str, torch.Tensor]:
    """A state dict of ``architecture`` whose values depend on SEED, the architecture and the class count alone.

    What torch draws depends on the processor: without AVX2 its normal distribution gives other numbers. So weights are
    drawn with numpy's PCG64 from a uniform distribution, whose arithmetic is exact everywhere. Other parameters stay as
    they are where torch sets them to a constant, such as the scale of a normalisation, else they become 0.
    """
    import numpy as np
    import torch

    generator = np.random.Generator(np.random.PCG64(SEED))
    with torch.random.fork_rng(devices=[]):
        state_dict = build_network(architecture, class_count).state_dict()
    for name, tensor in state_dict.items():
        if not tensor.is_floating_point():
            continue
        if tensor.dim() >= 2 and name.endswith("weight"):
            # Variance 1 / fan-in: with He's, twice that, a residual network whose normalisations have learned nothing
            # yet grows from block to block until its answers are 0 and 1 (ResNet18's on photographs: 0.005 to 0.08).
            bound = np.float32(math.sqrt(3 / tensor[0].numel()))
            uniform = 2 * generator.random(tuple(tensor.shape), dtype=np.float32) - 1
            state_dict[name] = torch.from_numpy(uniform * bound)
        elif bool((tensor != tensor.flatten()[0]).any()):
            tensor.zero_()
    return state_dict
