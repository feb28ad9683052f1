"""The places in a checkpoint where the names of an architecture follow, whatever stands before them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from marserve.archive.weights.architecture import TRAINING_ONLY, Architecture, current_name
from marserve.archive.weights.tensors import StoredTensor

#: What leads to a network whose names begin without any key.
TOP = "."
#: Whose names they are, where they are those of transformers' ResNet.
TRANSFORMERS = "Hugging Face's"
#: Names that thop leaves in every layer.
_COUNTED_BY_THOP = {"total_ops", "total_params"}

Tensors = dict[str, StoredTensor]


@dataclass(frozen=True)
class Place:
    """A place in a file where names of an architecture begin, and in whose spelling they follow."""

    prefix: str
    #: Empty where they are the architecture's own.
    whose: str
    #: From the architecture's names to those behind ``prefix``.
    names: dict[str, str]

    def __str__(self) -> str:
        return self.prefix.rstrip(".") or TOP

    def reached_by(self, key: str) -> str | None:
        """The beginning of the place that ``key`` names, with its dot; None where it names none."""
        if key == TOP:
            return "" if not self.prefix else None
        ends = [match.start() for match in re.finditer(r"\.", self.prefix)]
        return next((self.prefix[: e + 1] for e in ends if f".{self.prefix[:e]}".endswith(f".{key}")), None)


def renamed(tensors: Tensors, wanted: Architecture) -> Tensors:
    """``tensors`` without the parts that wrappers put into names, and with today's names for old ones.

    By convention such parts begin with ``_``: ``_orig_mod`` of torch.compile, ``_fsdp_wrapped_module``, and
    ``_modules`` and ``_parameters`` of modules that were pickled as a whole.
    """
    own = {part for name in wanted.shapes for part in name.split(".")}
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        short = ".".join(part for part in name.split(".") if part in own or not part.startswith("_"))
        renamed[name if current_name(short) in renamed else current_name(short)] = tensor
    return renamed


def _namings(wanted: Architecture) -> Iterator[Place]:
    """The spellings of the names of ``wanted``, at no place yet."""
    yield Place("", "", {name: name for name in wanted.shapes})
    # torch.nn.Sequential(*network.children()), with or without the last ones.
    numbered = {}
    for name in wanted.shapes:
        child, dot, rest = name.partition(".")
        numbered[name] = f"{wanted.places.get(child, child)}{dot}{rest}"
    yield Place("", "those of numbered children", numbered)
    if "layer1.0.conv1.weight" in wanted.shapes:
        yield Place("", TRANSFORMERS, {name: _hugging_face_name(name) for name in wanted.shapes})


def _hugging_face_name(name: str) -> str:
    """What transformers' ResNetModel calls the parameter ``name`` of torchvision's ResNet."""
    name = re.sub(r"^conv1\.", "embedder.embedder.convolution.", name)
    name = re.sub(r"^bn1\.", "embedder.embedder.normalization.", name)
    name = re.sub(r"^layer(\d)\.(\d+)\.", lambda m: f"encoder.stages.{int(m[1]) - 1}.layers.{m[2]}.", name)
    name = re.sub(r"\.conv(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.convolution.", name)
    name = re.sub(r"\.bn(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.normalization.", name)
    return name.replace(".downsample.0.", ".shortcut.convolution.").replace(
        ".downsample.1.", ".shortcut.normalization."
    )


def find_places(tensors: Tensors, wanted: Architecture, share: float) -> list[Place]:
    """Where at least ``share`` of the architecture's names follow, the most first."""
    found: list[tuple[int, Place]] = []
    for naming in _namings(wanted):
        known = set(naming.names.values())
        hits = Counter(name[:at] for name in tensors for at in beginnings(name) if name[at:] in known)
        found += [
            (count, Place(prefix, naming.whose, naming.names))
            for prefix, count in hits.items()
            if count >= share * len(wanted.body)
        ]
    return [place for _, place in sorted(found, key=lambda one: -one[0])]


def beginnings(name: str) -> Iterator[int]:
    """Where a part of ``name`` begins."""
    yield 0
    yield from (dot.end() for dot in re.finditer(r"\.", name))


def fits(tensors: Tensors, wanted: Architecture, place: Place) -> bool:
    """Whether all but the last layer is there, and nothing else within its parts."""
    return all(
        (tensor := tensors.get(place.prefix + place.names[name])) is not None and tensor.shape == wanted.shapes[name]
        for name in wanted.body
    ) and not foreign_names(tensors, wanted, place)


def foreign_names(tensors: Tensors, wanted: Architecture, place: Place) -> list[str]:
    """Names behind ``place`` that lie within parts of the architecture, and that it lacks."""
    parts = {part for name in wanted.body for part in parents(place.names[name])}
    known = set(place.names.values())
    behind = (
        (name.removeprefix(place.prefix), tensor) for name, tensor in tensors.items() if name.startswith(place.prefix)
    )
    return [
        name
        for name, tensor in behind
        if name not in known
        and not TRAINING_ONLY.match(name)
        and not parts.isdisjoint(parents(name))
        and not only_counts(name, tensor)
    ]


def parents(name: str) -> list[str]:
    """``a`` and ``a.b`` for ``a.b.weight``."""
    return [name[: dot.start()] for dot in re.finditer(r"\.", name)]


def only_counts(name: str, tensor: StoredTensor) -> bool:
    counted = re.match(r"torch\.(?:u?int|bool)", tensor.kind) is not None
    return counted or name.rpartition(".")[2] in _COUNTED_BY_THOP
