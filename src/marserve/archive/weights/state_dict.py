"""From the chosen weights to a state dict that a network of the architecture takes as it is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marserve.archive.weights.files import WeightsError, WeightsFile, read_tensors
from marserve.handler.resnet18.network import build_network

if TYPE_CHECKING:
    import torch

#: ImageNet's, which the labels of this project name.
SEEDED_CLASS_COUNT = 1000


def load_state_dict(file: WeightsFile, architecture: str) -> tuple[dict[str, torch.Tensor], int]:
    """A complete state dict of ``architecture``, float32, finite and on the CPU, and its class count.

    Raises WeightsError for a file that does not hold weights of ``architecture``.
    """
    if file.path is None:
        return seeded_state_dict(architecture, SEEDED_CLASS_COUNT), SEEDED_CLASS_COUNT
    return fit(read_tensors(file.path), architecture, file.path)


@contextmanager
def unallocated() -> Iterator[None]:
    """Networks that are built inside have weights on torch's "meta" device; the global generator is left alone.

    Only what layers allocate for their weights goes there: RegNet computes its widths with tensors while it is
    built, which "meta" as the default device would forbid.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class EmptyOnMeta(TorchFunctionMode):
        def __torch_function__(
            self,
            func: Callable[..., Any],
            types: Iterable[type],
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> Any:
            kwargs = kwargs or {}
            if func is torch.empty:
                kwargs["device"] = "meta"
            return func(*args, **kwargs)

    with torch.random.fork_rng(devices=[]), EmptyOnMeta():
        yield


def skeleton(architecture: str, class_count: int) -> dict[str, torch.Tensor]:
    """The state dict that ``build_network(architecture, class_count)`` has; most of its tensors hold no values.

    It carries a state dict's ``_metadata``, without which some networks refuse to load it.
    """
    with unallocated():
        return build_network(architecture, class_count).state_dict()


def class_axes(architecture: str) -> dict[str, int]:
    """The parameters whose shape follows the class count, each with the axis that has that length."""
    two, three = skeleton(architecture, 2), skeleton(architecture, 3)
    return {
        name: next(axis for axis, size in enumerate(tensor.shape) if size != three[name].shape[axis])
        for name, tensor in two.items()
        if tensor.shape != three[name].shape
    }


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


_RENAMED = (
    # DenseNet: a module's name could contain a dot.
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)"), r"\1\2"),
    # Vision Transformer: the layers of a block's MLP are numbered by their place.
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(encoder_layer_\d+\.mlp)\.linear_2\."), r"\1.3."),
)


def current_name(name: str) -> str:
    """The name that a parameter called ``name`` has today."""
    for old, new in _RENAMED:
        name = old.sub(new, name)
    return name


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
    import torch

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
    if mismatch := _mismatch(found, expected):
        raise WeightsError.of_file(path, f"does not fit {architecture}: {mismatch}", f"weights of {architecture}")
    for name, wanted in expected.items():
        # Assigning keeps the dict's order and its `_metadata`.
        expected[name] = (
            _converted(name, found[name], wanted, path) if name in found else torch.zeros_like(wanted, device="cpu")
        )
    return expected, class_count


def _mismatch(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> str:
    """How names or shapes differ; empty where they do not."""
    missing = [n for n in expected if n not in found and not _TRAINING_ONLY.match(n) and not n.endswith(_COUNTER)]
    unexpected = [name for name in found if name not in expected]
    if missing or unexpected:
        lists = (("lacks", missing), ("has the unknown", unexpected))
        return "it " + " and ".join(f"{what} {_some(names)}" for what, names in lists if names)
    return _some(
        [
            f"{name} is {tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
            for name, tensor in found.items()
            if tensor.shape != expected[name].shape
        ]
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


def _some(things: list[str]) -> str:
    """The first of ``things``, and how many more there are."""
    more = len(things) - _NAMED_AT_MOST
    return ", ".join(things[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
