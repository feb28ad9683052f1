"""The tensors of a weights file by name; nothing in the file is ever executed."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from marserve.archive.weights.errors import WeightsError
from marserve.archive.weights.formats import Format, recognise

if TYPE_CHECKING:
    import torch

#: Under these names training programs keep the state dict in a larger checkpoint.
_CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")
#: What DataParallel, torch.compile and Lightning modules put before every name.
_PREFIXES = ("module.", "_orig_mod.", "model.")
#: What the parsers of torch raise for damaged files, found by damaging files.
_DAMAGED = (
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


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in ``path``, out of its checkpoint and without the prefixes of wrappers.

    Raises WeightsError for a file that is damaged, is not weights, or asks for code to be run.
    """
    content = _read_safetensors(path) if (kind := recognise(path)) is Format.SAFETENSORS else _read_torch(path, kind)
    for key in _CHECKPOINT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    return _without_prefixes(_check_state_dict(path, content))


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as exc:
        raise WeightsError.of_file(path, f"is truncated or damaged ({exc})") from exc


def _read_torch(path: Path, kind: Format) -> object:
    import torch

    try:
        with warnings.catch_warnings(), path.open("rb") as opened:
            warnings.simplefilter("ignore")  # advice to programmers; the file is read or it is refused
            # A path lets torch.load map the file into memory, but one that ends in .safetensors is not read as a zip.
            mapped = kind is Format.TORCH and path.suffix != ".safetensors"
            return torch.load(path if mapped else opened, map_location="cpu", weights_only=True, mmap=mapped)
    except _DAMAGED as exc:
        code = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", str(exc))
        if code is None:
            raise WeightsError.of_file(path, f"is truncated, damaged or no state dict ({_cause(exc)})") from exc
        found = f"holds a Python object ({code[1]}), and loading that would run code from the file"
        raise WeightsError.of_file(path, found) from exc


def _cause(exc: BaseException) -> str:
    """The first sentence of what went wrong, without torch's advice on how to load unsafely."""
    text = str(exc)
    if isinstance(exc, pickle.UnpicklingError):
        text = text.rpartition("\n\nCheck the documentation")[0].rpartition("\n\n")[2] or text
    return re.split(r"\.\s|\n", text)[0] or type(exc).__name__


def _check_state_dict(path: Path, content: object) -> Mapping[str, torch.Tensor]:
    import torch

    if not isinstance(content, Mapping):
        raise WeightsError.of_file(path, f"holds a {type(content).__name__}, not tensors by name")
    others = [
        f"{name!r} ({type(value).__name__})"
        for name, value in content.items()
        if not (isinstance(name, str) and isinstance(value, torch.Tensor))
    ]
    if others or not content:
        found = f"under {', '.join(others[:3])}" if others else "in an empty dict"
        raise WeightsError.of_file(path, f"holds something other than tensors by name: {found}")
    return cast("Mapping[str, torch.Tensor]", content)


def _without_prefixes(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = {name: name for name in tensors}
    while prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in names)), None):
        names = {name.removeprefix(prefix): original for name, original in names.items()}
    return {name: tensors[original] for name, original in names.items()}
