"""The files of torch.save, in its zip format and the one before PyTorch 1.6, read without running any of them."""

from __future__ import annotations

import io
import mmap
import struct
import sys
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marserve.archive.weights.files import WeightsError
from marserve.archive.weights.inert import Inert, InertUnpickler, PersistentId
from marserve.archive.weights.tensors import Content, StoredTensor

if TYPE_CHECKING:
    import torch

#: The pickle of a checkpoint names its tensors and their storages: 50 kB for ResNet18, 2 MB with much else in it.
_MOST_PICKLE_BYTES = 1 << 26
#: Containers and tensors within one checkpoint, aliases included; a Lightning run has some thousands.
_MOST_ENTRIES = 1_000_000
#: A module pickled as a whole has two for each of its own.
_MOST_LEVELS = 200
#: What torch.save begins with before PyTorch 1.6.
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class _Storage:
    """Consecutive numbers in a file: the one at index 0, and how many bytes there are."""

    mapped: mmap.mmap
    begin: int
    length: int
    #: Such as ``torch.FloatStorage``; untyped ones are counted in bytes.
    type_name: str
    swapped: bool = False


def torch_content(path: Path, kind: str) -> Content:
    """The content of ``path`` in the format ``kind``: ``zip`` or ``pickle``. Raises DAMAGED errors and WeightsError."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    root, storage_of = _zip(path, mapped) if kind == "zip" else _old(mapped)
    tensors: dict[str, StoredTensor] = {}
    for place, value, numbered in _walk(root):
        tensors.setdefault(".".join(place), _tensor(value, storage_of, numbered=numbered))
    if not any(not name.replace(".", "").isdecimal() for name in tensors):
        raise WeightsError.of_file(path, f"holds {_without_names(root)}")
    holding = {name.partition(".")[0] for name in tensors}
    attributes = isinstance(root, Inert) and root.state is not None and not root.items
    rest = [] if attributes else [n for n, _, _ in _children(root) if n.partition(".")[0] not in holding]
    return Content(tensors, tuple(rest), _named_architecture(root))


def _zip(path: Path, mapped: mmap.mmap) -> tuple[Any, Callable[[Any], _Storage]]:
    """What torch.save's zip format holds, and what finds the storage of an id in it."""
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
    pickled = next(name for name in members if name.rpartition("/")[2] == "data.pkl")
    folder = pickled.removesuffix("data.pkl")

    def place(name: str) -> tuple[int, int]:
        member = members[name]
        if member.compress_type != zipfile.ZIP_STORED:  # torch.save compresses nothing
            raise ValueError(f"{name} in it is compressed")
        name_length, extra_length = struct.unpack_from("<HH", mapped, member.header_offset + 26)
        begin = member.header_offset + 30 + name_length + extra_length
        return begin, member.file_size

    def content(name: str) -> bytes:
        begin, length = place(name)
        if length > _MOST_PICKLE_BYTES:
            raise ValueError(f"{name} in it has {length} bytes")
        return mapped[begin : begin + length]

    swapped = f"{folder}byteorder" in members and content(f"{folder}byteorder").decode() != sys.byteorder

    def storage_of(pid: Any) -> _Storage:
        _, kind, key, *_ = pid
        return _Storage(mapped, *place(f"{folder}data/{key}"), kind.origin, swapped)

    return InertUnpickler(io.BytesIO(content(pickled))).load(), storage_of


def _old(mapped: mmap.mmap) -> tuple[Any, Callable[[Any], _Storage]]:
    """The same for the format before PyTorch 1.6: pickles in a row, then each storage after its length."""
    stream = io.BytesIO(mapped[:_MOST_PICKLE_BYTES])
    if InertUnpickler(stream).load() != _MAGIC_NUMBER:
        raise ValueError("torch.save did not write this pickle")
    for _ in ("version of the format", "kind of machine"):
        InertUnpickler(stream).load()
    unpickler = InertUnpickler(stream)
    root = unpickler.load()
    keys = InertUnpickler(stream).load()
    type_names = {pid[2]: pid[1].origin for pid in unpickler.ids}
    storages: dict[str, _Storage] = {}
    at = stream.tell()
    for key in keys:
        (count,) = struct.unpack_from("<q", mapped, at)
        begin, length = at + 8, count * _dtype(type_names[key]).itemsize
        if count < 0 or begin + length > len(mapped):
            raise EOFError("its end is missing")
        storages[key] = _Storage(mapped, begin, length, type_names[key], sys.byteorder != "little")
        at = begin + length

    def storage_of(pid: Any) -> _Storage:
        _, kind, key, _location, _count, view = pid
        whole = storages[key]
        if view is None:
            return whole
        _view_key, offset, count = view  # a part of another storage, as PyTorch 0.1 had it
        itemsize = _dtype(kind.origin).itemsize
        return replace(whole, begin=whole.begin + offset * itemsize, length=count * itemsize)

    return root, storage_of


def _dtype(type_name: str) -> torch.dtype:
    """The dtype of numbers in a storage, by the name of its type, such as ``torch.cuda.HalfStorage``."""
    import torch

    name = type_name.rpartition(".")[2].removesuffix("Storage").lower()
    others = {"bfloat16": torch.bfloat16, "byte": torch.uint8, "char": torch.int8, "untyped": torch.uint8}
    dtype = others.get(name) or getattr(torch, name)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{type_name} is no storage")
    return dtype


def _named_architecture(root: object) -> str | None:
    """``arch`` of a checkpoint or of the arguments kept in it, or their ``model``, as torchvision and timm call it."""
    top = {name: child for name, child, _ in _children(root)}
    arguments = {name: child for name, child, _ in _children(top.get("args"))}
    said = (top.get("arch"), arguments.get("arch"), arguments.get("model"))
    return next((name for name in said if isinstance(name, str)), None)


def _without_names(root: object) -> str:
    """What a file holds whose tensors, if any, have no names."""
    if isinstance(root, dict):
        others = ", ".join(f"{name!r} ({_kind(value)})" for name, value in list(root.items())[:3])
        return f"something other than tensors by name: {f'under {others}' if others else 'in an empty dict'}"
    if isinstance(root, Inert) and not root.origin.startswith(_REBUILDERS):
        return f"a Python object ({root.origin}) without tensors"
    return f"a {_kind(root)}, not tensors by name"


def _kind(value: object) -> str:
    if isinstance(value, Inert):
        return "Tensor" if value.origin.startswith(_REBUILDERS) else value.origin
    return type(value).__name__


#: What torch rebuilds tensors with; anything else in these modules is one that holds no plain values.
_REBUILDERS = ("torch._utils._rebuild_", "torch._tensor._rebuild_")


def _tensor(value: Inert, storage_of: Callable[[Any], _Storage], *, numbered: bool) -> StoredTensor:
    """What ``value`` would be if torch rebuilt it."""
    function = value.origin.rpartition(".")[2]
    match function, value.args:
        case "_rebuild_tensor" | "_rebuild_tensor_v2", (PersistentId() as storage, offset, size, stride, *_):
            return _strided(storage_of(storage.args[0]), None, (offset, size, stride), numbered=numbered)
        case "_rebuild_tensor_v3", (PersistentId() as storage, offset, size, stride, _, _, dtype, *_):
            return _strided(storage_of(storage.args[0]), dtype.origin, (offset, size, stride), numbered=numbered)
        case (
            "_rebuild_parameter" | "_rebuild_parameter_with_state" | "_rebuild_device_tensor_from_cpu_tensor",
            (Inert() as data, *_),
        ):
            return _tensor(data, storage_of, numbered=numbered)
        case "_rebuild_from_type_v2", (type() as inner, _, tuple() as inner_args, *_) if issubclass(inner, Inert):
            return _tensor(inner(*inner_args), storage_of, numbered=numbered)  # of a subclass of Tensor
        case "_rebuild_meta_tensor_no_storage", (_, tuple() as size, *_):
            return StoredTensor(size, "torch.strided on meta", None, numbered)
        case "_rebuild_sparse_tensor", (Inert() as layout, (*parts,)):
            sizes = [part.args[0] for part in parts if isinstance(part, Inert) and part.origin == "torch.Size"]
            return StoredTensor(tuple(sizes[0]), f"{layout.args[0]} on cpu", None, numbered)
    return StoredTensor((), function, None, numbered)


def _strided(
    storage: _Storage, dtype_name: str | None, place: tuple[int, tuple[int, ...], tuple[int, ...]], *, numbered: bool
) -> StoredTensor:
    """The tensor at ``place``: offset, size and stride, in numbers of its dtype. Raises where the file lacks it."""
    import torch

    offset, size, stride = place
    dtype = _dtype(storage.type_name) if dtype_name is None else getattr(torch, dtype_name.removeprefix("torch."))
    if len(size) != len(stride) or not all(type(number) is int and number >= 0 for number in (offset, *size, *stride)):
        raise ValueError("a tensor lies nowhere")
    count = 1 + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if all(size) else 0
    begin, length = storage.begin + offset * dtype.itemsize, count * dtype.itemsize
    end = storage.begin + storage.length
    if end > len(storage.mapped) or (count and begin + length > end):
        raise EOFError("the file ends within a tensor")

    def read() -> torch.Tensor:
        if not count:
            return torch.empty(size, dtype=dtype)
        content = np.frombuffer(storage.mapped, np.uint8, length, begin).reshape(count, dtype.itemsize)
        numbers = content[:, ::-1].copy() if storage.swapped else content.copy()
        return torch.from_numpy(numbers.reshape(-1)).view(dtype).as_strided(size, stride)

    return StoredTensor(tuple(size), str(dtype), read, numbered)


_Step = tuple[str, Any, bool]


def _walk(root: object) -> Iterator[tuple[tuple[str, ...], Inert, bool]]:
    """Each tensor within ``root``, nearest first: the names that lead to it, itself, whether a number is among them.

    What has been passed is not passed again, so that cycles and aliases end. What lies deeper than any program puts it
    is left out.
    """
    ahead: deque[tuple[tuple[str, ...], Any, bool]] = deque([((), root, False)])
    passed = {id(root)}
    entries = 0
    while ahead:
        place, value, numbered = ahead.popleft()
        for name, child, by_number in _children(value):
            entries += 1
            if entries > _MOST_ENTRIES:
                raise ValueError(f"it has more than {_MOST_ENTRIES} entries")
            there = (*place, name)
            if isinstance(child, Inert) and child.origin.startswith(_REBUILDERS):
                yield there, child, numbered or by_number
            elif (
                isinstance(child, (dict, list, tuple, set, Inert))
                and id(child) not in passed
                and len(there) < _MOST_LEVELS
            ):
                passed.add(id(child))
                ahead.append((there, child, numbered or by_number))


def _children(value: object) -> Iterator[_Step]:
    """What ``value`` holds directly: its name, itself, and whether the name is a number."""
    match value:
        case dict():
            for key, child in value.items():
                if isinstance(key, (str, int)):
                    yield str(key), child, not isinstance(key, str)
        case list() | tuple() | set():
            for index, child in enumerate(value):
                yield str(index), child, True
        case Inert(origin="collections.OrderedDict", args=([*pairs],)):  # as Python 2 wrote it
            yield from _children(dict(pairs))
        case Inert():
            yield from _children(value.items)
            # A state is the attributes, or those and the slots; of a dict's, such as _metadata, nobody asks.
            states = value.state if isinstance(value.state, tuple) else (value.state,)
            for state in () if value.items else states:
                yield from _children(state)
            yield from _children(value.elements)
            yield from _children(value.args)
