"""A tensor of a weights file, which is read only when it is asked for."""

from __future__ import annotations

import pickle  # nosec B403 # for the names of its errors
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from marserve.archive.weights.files import WeightsError

if TYPE_CHECKING:
    import torch

#: What parsers raise for damaged files, found by damaging files.
DAMAGED = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file. ``kind`` is its dtype, such as ``torch.float16``, or what makes it unusable."""

    shape: tuple[int, ...]
    kind: str
    #: None where the file holds no plain values for it.
    read: Callable[[], torch.Tensor] | None
    #: Whether a number leads to it, as in lists and in the state of optimizers, and not names alone.
    numbered: bool = False


@dataclass(frozen=True)
class Content:
    """What a file holds: its tensors, by all names that lead there joined with dots."""

    tensors: dict[str, StoredTensor]
    #: Names on top without any tensor below them, such as ``epoch``.
    rest: tuple[str, ...] = ()
    #: What a training program wrote down as the name of the architecture.
    architecture: str | None = None


def read_stored(tensor: StoredTensor, name: str, path: Path) -> torch.Tensor:
    """The values of ``tensor``, called ``name`` in messages. Raises WeightsError."""
    if tensor.read is None:
        raise WeightsError.of_file(path, f"has values of an unusable kind ({tensor.kind}) in {name}", "plain numbers")
    try:
        return tensor.read()
    except DAMAGED as exc:
        raise damaged_file(path, exc) from exc


def damaged_file(path: Path, exc: BaseException) -> WeightsError:
    reason = str(exc).partition("\n")[0] or type(exc).__name__
    return WeightsError.of_file(path, f"is truncated, damaged or no state dict ({reason})")
