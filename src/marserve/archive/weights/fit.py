"""Whether tensors are the weights of an architecture, and of how many classes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from marserve.archive.weights.errors import WeightsError
from marserve.archive.weights.legacy import current_name
from marserve.archive.weights.skeleton import class_axes, skeleton

if TYPE_CHECKING:
    import torch

#: GoogLeNet's and Inception's extra heads run only in training; fine-tuned files lack them or keep the old classes.
_TRAINING_ONLY = re.compile(r"(?:aux1|aux2|AuxLogits)\.")
#: A counter that checkpoints older than PyTorch 0.4.1 lack and that only training reads.
_COUNTER = ".num_batches_tracked"
_NAMED_AT_MOST = 3


def fit(tensors: dict[str, torch.Tensor], architecture: str, path: Path) -> tuple[dict[str, torch.Tensor], int]:
    """``tensors`` as the complete float32 state dict of ``architecture``, and their class count.

    ``path`` is only named in messages. Raises WeightsError where they are not weights of this architecture, or not
    numbers that a network can compute with.
    """
    found = {current_name(name): tensor for name, tensor in tensors.items() if not _TRAINING_ONLY.match(name)}
    heads = [
        found[name].shape[axis]
        for name, axis in class_axes(architecture).items()
        if name in found and found[name].dim() > axis
    ]
    # Without a head nothing tells the class count; any will do to say what is missing.
    class_count = heads[0] if heads else 1
    if class_count < 1:
        raise WeightsError.of_file(path, "has no classes", f"weights of {architecture} with at least one class")
    expected = skeleton(architecture, class_count)
    _check_names(found, expected, architecture, path)
    _check_shapes(found, expected, architecture, path)
    for name, wanted in expected.items():
        # Assigning keeps the dict's order and its `_metadata`.
        expected[name] = _converted(name, found[name], wanted, path) if name in found else _unused(wanted)
    return expected, class_count


def _check_names(
    found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], architecture: str, path: Path
) -> None:
    missing = [n for n in expected if n not in found and not _TRAINING_ONLY.match(n) and not n.endswith(_COUNTER)]
    unexpected = [name for name in found if name not in expected]
    if missing or unexpected:
        faults = [
            f"{what} {_some(names)}" for what, names in (("lacks", missing), ("has the unknown", unexpected)) if names
        ]
        raise WeightsError.of_file(
            path, f"does not fit {architecture}: it {' and '.join(faults)}", f"weights of {architecture}"
        )


def _check_shapes(
    found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], architecture: str, path: Path
) -> None:
    wrong = [
        f"{name} is {tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
        for name, tensor in found.items()
        if tensor.shape != expected[name].shape
    ]
    if wrong:
        raise WeightsError.of_file(
            path, f"does not fit {architecture}: {_some(wrong)}", f"weights of {architecture} with its own shapes"
        )


def _converted(name: str, tensor: torch.Tensor, wanted: torch.Tensor, path: Path) -> torch.Tensor:
    """``tensor`` in the dtype that the network has; refused where its values would not survive that."""
    import torch

    dense = tensor.layout is torch.strided and tensor.device.type == "cpu"
    if not dense or tensor.is_floating_point() != wanted.is_floating_point():
        kind = tensor.dtype if dense else f"{tensor.layout} on {tensor.device}"
        raise WeightsError.of_file(path, f"has values of an unusable kind ({kind}) in {name}", str(wanted.dtype))
    converted = tensor.detach().to(wanted.dtype)
    if not torch.isfinite(converted).all():
        raise WeightsError.of_file(path, f"has NaN or infinite values in {name}", "finite float32 numbers")
    return converted


def _unused(wanted: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.zeros(wanted.shape, dtype=wanted.dtype)


def _some(things: list[str]) -> str:
    """The first of ``things``, and how many more there are."""
    more = len(things) - _NAMED_AT_MOST
    return ", ".join(things[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
