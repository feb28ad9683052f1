"""The names and shapes that the weights of an architecture have, without their values."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from marserve.handler.resnet18.network import EFFICIENTNET_LITE0, build_network

if TYPE_CHECKING:
    import torch

#: A counter that checkpoints older than PyTorch 0.4.1 lack and that only training reads.
COUNTER = ".num_batches_tracked"
#: GoogLeNet's and Inception's extra heads run only in training; fine-tuned files lack them or keep the old classes.
TRAINING_ONLY = re.compile(r"(?:aux1|aux2|AuxLogits)\.")


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


@dataclass(frozen=True)
class Architecture:
    """What tells an architecture's weights from others'."""

    name: str
    #: Of a network for two classes.
    shapes: dict[str, tuple[int, ...]]
    #: The axis that is as long as there are classes, for each parameter of the last layer.
    class_axes: dict[str, int]
    #: Parameters that every file of trained weights has and whose shape is the same for all class counts.
    body: tuple[str, ...]
    #: The place of each part of the network among its parts, such as 4 for ResNet's layer1.
    places: dict[str, int]


def architectures() -> list[str]:
    """The names of all architectures."""
    import torchvision

    return [*torchvision.models.list_models(module=torchvision.models), EFFICIENTNET_LITE0]


@functools.cache
def architecture(name: str) -> Architecture:
    """Raises ConfigurationError for a name that is none."""
    with unallocated():
        network = build_network(name, 2)
    shapes = {parameter: tuple(tensor.shape) for parameter, tensor in network.state_dict().items()}
    axes = {
        parameter: next(axis for axis, length in enumerate(shapes[parameter]) if length != tensor.shape[axis])
        for parameter, tensor in skeleton(name, 3).items()
        if tensor.shape != shapes[parameter] and not TRAINING_ONLY.match(parameter)
    }
    body = tuple(n for n in shapes if n not in axes and not n.endswith(COUNTER) and not TRAINING_ONLY.match(n))
    places = {child: index for index, (child, _) in enumerate(network.named_children())}
    return Architecture(name, shapes, axes, body, places)


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
