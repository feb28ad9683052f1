"""From the chosen weights to a state dict that a network of the architecture takes as it is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from marserve.archive.weights.architecture import architecture, skeleton
from marserve.archive.weights.content import read_content
from marserve.archive.weights.files import WeightsError, WeightsFile
from marserve.archive.weights.matching import find_network, mismatch
from marserve.archive.weights.tensors import StoredTensor, read_stored
from marserve.handler.resnet18.network import build_network
from marserve.terminal import Report

if TYPE_CHECKING:
    import torch

#: ImageNet's, which the labels of this project name.
SEEDED_CLASS_COUNT = 1000


def load_state_dict(
    file: WeightsFile, name: str, key: str | None = None, *, report: Report = lambda _: None
) -> tuple[dict[str, torch.Tensor], int]:
    """A complete state dict of architecture ``name``, float32, finite and on the CPU, and its class count.

    ``key`` chooses among several networks in the file. ``report`` gets a line for each thing that is taken otherwise
    than it stands in the file. Raises WeightsError for a file that does not hold weights of ``name``.
    """
    if file.path is None:
        return seeded_state_dict(name, SEEDED_CLASS_COUNT), SEEDED_CLASS_COUNT
    content = read_content(file.path)
    return fit(find_network(content, name, key, file.path, report=report), name, file.path)


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


def fit(tensors: dict[str, StoredTensor], name: str, path: Path) -> tuple[dict[str, torch.Tensor], int]:
    """``tensors`` as the complete float32 state dict of architecture ``name``, and their class count.

    ``path`` is only named in messages. Raises WeightsError where they are not weights of this architecture, or not
    numbers that a network can compute with.
    """
    import torch

    axes = architecture(name).class_axes
    heads = [tensors[p].shape[axis] for p, axis in axes.items() if p in tensors and len(tensors[p].shape) > axis]
    # Without a head nothing tells the class count; any will do to say what is missing.
    class_count = heads[0] if heads else 1
    if class_count < 1:
        raise WeightsError.of_file(path, "has no classes", f"weights of {name} with at least one class")
    expected = skeleton(name, class_count)
    shapes = {parameter: tensor.shape for parameter, tensor in tensors.items()}
    if differs := mismatch(shapes, {parameter: tuple(tensor.shape) for parameter, tensor in expected.items()}):
        raise WeightsError.of_file(path, f"does not fit {name}: {differs}", f"weights of {name}")
    for parameter, wanted in expected.items():
        # Assigning keeps the dict's order and its `_metadata`.
        expected[parameter] = (
            _converted(parameter, tensors[parameter], wanted, path)
            if parameter in tensors
            else torch.zeros_like(wanted, device="cpu")
        )
    return expected, class_count


def _converted(name: str, stored: StoredTensor, wanted: torch.Tensor, path: Path) -> torch.Tensor:
    """``stored`` in the dtype that the network has; refused where its values would not survive that."""
    import torch

    tensor = read_stored(stored, name, path)
    if tensor.is_floating_point() != wanted.is_floating_point():
        raise WeightsError.of_file(
            path, f"has values of an unusable kind ({tensor.dtype}) in {name}", str(wanted.dtype)
        )
    converted = tensor.to(wanted.dtype)
    if not torch.isfinite(converted).all():
        raise WeightsError.of_file(path, f"has NaN or infinite values in {name}", "finite float32 numbers")
    return converted
