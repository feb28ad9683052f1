"""What a weights file holds, in whichever format; nothing in it is executed."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from marserve.archive.weights.files import WeightsError, recognise, shards_of
from marserve.archive.weights.tensors import DAMAGED, Content, StoredTensor, damaged_file
from marserve.archive.weights.torch_files import torch_content


def read_content(path: Path) -> Content:
    """Raises WeightsError for a file that is damaged or holds no tensors."""
    kind = recognise(path)
    try:
        match kind:
            case "safetensors":
                content = Content(_safetensors(path))
            case "index":
                content = Content(_shards(path))
            case _:
                content = torch_content(path, kind)
    except DAMAGED as exc:
        raise damaged_file(path, exc) from exc
    return content


#: By the names that the format has for them.
_SAFETENSORS_KINDS = {
    "F64": "torch.float64", "F32": "torch.float32", "F16": "torch.float16", "BF16": "torch.bfloat16",
    "I64": "torch.int64", "I32": "torch.int32", "I16": "torch.int16", "I8": "torch.int8", "U8": "torch.uint8",
    "BOOL": "torch.bool",
}  # fmt: skip


def _safetensors(path: Path) -> dict[str, StoredTensor]:
    from safetensors import SafetensorError, safe_open

    try:
        opened: Any = safe_open(path, "pt")
        stored = {}
        for name in opened.keys():  # noqa: SIM118 - not a mapping
            part = opened.get_slice(name)
            kind = _SAFETENSORS_KINDS.get(part.get_dtype(), part.get_dtype())
            stored[name] = StoredTensor(tuple(part.get_shape()), kind, functools.partial(opened.get_tensor, name))
    except (SafetensorError, OSError) as exc:
        raise WeightsError.of_file(path, f"is truncated or damaged ({exc})") from exc
    return stored


def _shards(index: Path) -> dict[str, StoredTensor]:
    """All tensors of the files that ``index``, a ``model.safetensors.index.json``, names."""
    stored: dict[str, StoredTensor] = {}
    for shard in shards_of(index):
        if recognise(shard) != "safetensors":
            raise WeightsError.of_file(shard, "is not the safetensors file that its index names")
        stored |= _safetensors(shard)
    missing = [name for name in json.loads(index.read_bytes())["weight_map"] if name not in stored]
    if missing:
        raise WeightsError.of_file(index, f"names {missing[0]}, and no file beside it holds that")
    return stored
