"""A network's parameters by name and shape, without the memory and the time that their values would take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from marserve.handler.resnet18.network import build_network

if TYPE_CHECKING:
    import torch


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
