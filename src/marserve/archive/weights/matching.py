"""A network in a checkpoint, found by the names and shapes of its tensors, whatever they are wrapped in.

A tensor's name, with all keys that lead to it, ends in a name that the architecture has. What stands before that, the
same for all, is the network's place: ``state_dict.model.`` for a Lightning run.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from marserve.archive.weights.architecture import (
    COUNTER,
    TRAINING_ONLY,
    Architecture,
    architecture,
    architectures,
    skeleton,
)
from marserve.archive.weights.beside import check_arithmetic
from marserve.archive.weights.files import WeightsError
from marserve.archive.weights.places import (
    TOP,
    TRANSFORMERS,
    Place,
    Tensors,
    beginnings,
    find_places,
    fits,
    foreign_names,
    only_counts,
    parents,
    renamed,
)
from marserve.archive.weights.tensors import Content, StoredTensor, read_stored
from marserve.terminal import Report

_NAMED_AT_MOST = 3
#: Of what is ignored.
_LISTED_AT_MOST = 10
#: Parts of names of what only training computes.
_LOSSES = ("loss", "criterion")
#: A layer has more numbers than a mean or a standard deviation over the three channels of a picture.
_FEWEST_IN_LAYER = 4
#: A network of the same family has at least this share of the names.
_RELATED = 0.5
#: AlexNet's.
_FEWEST_TENSORS = 16
#: One of the same architecture has at least this share.
_ALIKE = 0.95

#: What names tell of a network that is none of torchvision's; they are matched behind its place.
_VARIANTS = (
    (r"conv1\.0\.weight", "it is a ResNet whose first layer is three (ResNet-D, such as timm's resnet18d)"),
    (r"layer1\.0\.se\.", "it is a ResNet with squeeze-and-excitation (such as timm's seresnet18)"),
    (r".*lora_", "it is a network with LoRA adapters, which must be merged into it first"),
    (r".*(?:_packed_params|zero_point)", "it is a quantized network: give the weights that it was made from"),
    (r".*(?:weight_(?:g|v|orig|mask)$|parametrizations\.)", "its parametrizations must be removed first"),
    (r".*_flat_param", "it is a piece of what FSDP has flattened: save its full state dict"),
)


def find_network(content: Content, name: str, key: str | None, path: Path, *, report: Report) -> Tensors:
    """The tensors of the network of architecture ``name`` in ``content``, by the names that the architecture has.

    ``key`` is a name that leads to the network, for files with several. ``path`` is only named in messages. ``report``
    gets a line for each thing that was taken otherwise than it stands there. Raises WeightsError where there is no such
    network, more than one, or layers that may belong to it and have no part in the architecture.
    """
    wanted = architecture(name)
    tensors = renamed(content.tensors, wanted)
    if key is not None and key != TOP:
        key = ".".join(part for part in key.split(".") if part and not part.startswith("_"))
    related = find_places(tensors, wanted, _RELATED)
    place = _choose(tensors, wanted, related, key, path)
    taken = {own: place.prefix + there for own, there in place.names.items() if place.prefix + there in tensors}
    head = None
    if not any(parameter in taken for parameter in wanted.class_axes):
        others = [other.prefix for other in related if not place.prefix.startswith(other.prefix)]
        head = _find_head(wanted, place, _outside(tensors, others, taken.values()), path)
        taken |= {parameter: head + parameter.rpartition(".")[2] for parameter in wanted.class_axes if head is not None}
    _refuse_layers_beside(tensors, wanted, related, place, taken, key, path)
    check_arithmetic(
        name,
        path,
        of_transformers=place.whose == TRANSFORMERS,
        bottlenecks="layer1.0.conv3.weight" in wanted.shapes,
    )
    for line in _notes(content, tensors, wanted, place, taken, head):
        report("".join(letter if letter.isprintable() else "?" for letter in line))
    return {own: tensors[there] for own, there in taken.items() if not TRAINING_ONLY.match(own)}


def mismatch(
    found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], unknown: Iterable[str] = ()
) -> str:
    """How names or shapes differ, besides ``unknown`` names; empty where nothing does."""
    missing = [n for n in expected if n not in found and not TRAINING_ONLY.match(n) and not n.endswith(COUNTER)]
    unexpected = [*(name for name in found if name not in expected), *unknown]
    if missing or unexpected:
        lists = (("lacks", missing), ("has the unknown", unexpected))
        return "it " + " and ".join(f"{what} {_some(names)}" for what, names in lists if names)
    return _some(
        [f"{name} is {shape} instead of {expected[name]}" for name, shape in found.items() if shape != expected[name]]
    )


def _some(things: list[str], most: int = _NAMED_AT_MOST) -> str:
    """The first of ``things``, and how many more there are."""
    more = len(things) - most
    return ", ".join(things[:most]) + (f" and {more} more" if more > 0 else "")


def _choose(tensors: Tensors, wanted: Architecture, related: list[Place], key: str | None, path: Path) -> Place:
    """The one place where the network is."""
    fitting = [place for place in related if fits(tensors, wanted, place)]
    if key is not None:
        reached = [place for place in fitting if place.reached_by(key) is not None]
        if fitting and not reached:
            found = f"holds no {wanted.name} under {key!r}"
            raise WeightsError.of_file(path, found, f"--weights-key with one of {', '.join(map(str, fitting))}")
        fitting = reached
    if not fitting:
        raise _no_network(tensors, wanted, related, path)
    first, *others = fitting
    others = [place for place in others if not _same(tensors, wanted, first, place, path)]
    if others:
        choices = ", ".join(str(place) for place in (first, *others))
        found = f"holds {1 + len(others)} networks that fit {wanted.name}: {choices}"
        raise WeightsError.of_file(path, found, "--weights-key with the one of these to take")
    return first


def _same(tensors: Tensors, wanted: Architecture, one: Place, other: Place, path: Path) -> bool:
    """Whether the network stands there twice: modules are often kept under two names."""
    pairs = ((one.prefix + one.names[name], other.prefix + other.names[name]) for name in wanted.shapes)
    return all(
        read_stored(tensors[a], a, path).equal(read_stored(tensors[b], b, path))
        for a, b in pairs
        if a in tensors and b in tensors
    )


def _no_network(tensors: Tensors, wanted: Architecture, related: list[Place], path: Path) -> WeightsError:
    """What the file has instead."""
    place = next(
        iter(related or find_places(tensors, wanted, 0)),
        Place("", "", {parameter: parameter for parameter in wanted.shapes}),
    )
    behind = {name.removeprefix(place.prefix): t for name, t in tensors.items() if name.startswith(place.prefix)}
    foreign = foreign_names(tensors, wanted, place)
    own_names = {there: own for own, there in place.names.items()}
    shapes = {own_names[name]: tensor.shape for name, tensor in behind.items() if name in own_names}
    # The last layer has as many classes as it has.
    expected = wanted.shapes | {name: shapes[name] for name in wanted.class_axes if name in shapes}
    if any(name not in shapes for name in wanted.body):
        foreign = [name for name in behind if name not in own_names and not TRAINING_ONLY.match(name)]
    found = f"does not fit {wanted.name}: {mismatch(shapes, expected, foreign)}"
    variant = next((what for pattern, what in _VARIANTS for name in behind if re.match(pattern, name)), None)
    if variant is not None:
        found += f"; {variant}"
    alike = None if variant is not None else _architecture_of(tensors, wanted.name, same_family=bool(related))
    expected_file = f"weights of {wanted.name}"
    if alike is not None:
        found += f"; it fits {alike}"
        expected_file += f", or marserve build --arch {alike}"
    return WeightsError.of_file(path, found, expected_file)


def _architecture_of(tensors: Tensors, other_than: str, *, same_family: bool) -> str | None:
    """An architecture that a network in ``tensors`` fits, if any; all are tried unless names tell the family."""
    if len(tensors) < _FEWEST_TENSORS:
        return None
    others = [name for name in architectures() if name != other_than]
    related = [name for name in others if other_than[:5] in name or name[:5] in other_than]
    for name in related if same_family else [*related, *(name for name in others if name not in related)]:
        if _are_named(tensors, skeleton(name, 2)):
            candidate = architecture(name)
            if any(fits(tensors, candidate, place) for place in find_places(tensors, candidate, _ALIKE)):
                return name
    return None


def _are_named(tensors: Tensors, names: Iterable[str]) -> bool:
    """Whether ``tensors`` has all ``names``, counters apart, behind one place: said sooner than what fits."""
    needed = [name for name in names if not name.endswith(COUNTER) and not TRAINING_ONLY.match(name)]
    prefixes = [name.removesuffix(needed[0]) for name in tensors if name.endswith(needed[0])]
    return any(sum(prefix + name in tensors for name in needed) >= _ALIKE * len(needed) for prefix in prefixes)


def _outside(tensors: Tensors, prefixes: Iterable[str], taken: Iterable[str]) -> Tensors:
    """``tensors`` without ``taken``, those behind ``prefixes``, and what numbers lead to: an optimizer's state."""
    without, beside = set(taken), tuple(prefixes)
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name not in without and not tensor.numbered and not name.startswith(beside)
    }


def _find_head(wanted: Architecture, place: Place, free: Tensors, path: Path) -> str | None:
    """The place of a last layer under another name, with its dot: the one, nearest to the network, whose shapes fit."""
    if len({name.rpartition(".")[0] for name in wanted.class_axes}) != 1:
        return None
    leaves = {name.rpartition(".")[2]: (wanted.shapes[name], axis) for name, axis in wanted.class_axes.items()}
    heads = []
    for name in free:
        prefix = name.removesuffix("weight")
        layer = {leaf: free.get(prefix + leaf) for leaf in leaves}
        if (not prefix or prefix.endswith(".")) and prefix != name and _is_head(layer, leaves):
            heads.append(prefix)
    for scope in (place.prefix, *(f"{part}." for part in reversed(parents(place.prefix[:-1]))), ""):
        if near := [head for head in heads if head.startswith(scope)]:
            if len(near) > 1:
                layers = _some([head[:-1] for head in near])
                found = f"has {len(near)} layers that may be the last one of {wanted.name}: {layers}"
                raise WeightsError.of_file(path, found, f"weights of {wanted.name}, whose last part is one layer")
            return near[0]
    return None


def _is_head(layer: Mapping[str, StoredTensor | None], leaves: Mapping[str, tuple[tuple[int, ...], int]]) -> bool:
    counts = set()
    for leaf, tensor in layer.items():
        shape, axis = leaves[leaf]
        if tensor is None or len(tensor.shape) != len(shape):
            return False
        if any(length != shape[at] for at, length in enumerate(tensor.shape) if at != axis):
            return False
        counts.add(tensor.shape[axis])
    return len(counts) == 1


def _refuse_layers_beside(
    tensors: Tensors,
    wanted: Architecture,
    related: list[Place],
    place: Place,
    taken: Mapping[str, str],
    key: str | None,
    path: Path,
) -> None:
    """Where other layers may come before or after the network, its answers would be wrong without them."""
    others = [other.prefix for other in related if not place.prefix.startswith(other.prefix)]
    free = _outside(tensors, others, taken.values())
    layers = [name for name, tensor in free.items() if _may_be_layer(name, tensor, free, wanted)]
    head = next((taken[name].rpartition(".")[0] + "." for name in wanted.class_axes if name in taken), None)
    if head is not None:
        container = head[:-1].rpartition(".")[0] + "."
        within = (head,) if place.prefix.startswith(container) or container == "." else (head, container)
        beside = [n for n in free if n.startswith(within) and not only_counts(n, free[n])]
        if beside:
            found = f"has a last part of more than one layer: {_some([head[:-1], *beside])}"
            raise WeightsError.of_file(path, found, f"weights of {wanted.name}, whose last part is one layer")
    scope = "" if key is None else place.reached_by(key) or ""
    layers = [name for name in layers if name.startswith(scope)]
    if layers:
        found = f"has layers beside its {wanted.name}, and does not tell what they compute: {_some(layers)}"
        expected = f"weights of {wanted.name} alone"
        if place.prefix and scope != place.prefix:
            expected += f"; --weights-key {place} takes what is there, and leaves them out"
        raise WeightsError.of_file(path, found, expected)


def _may_be_layer(name: str, tensor: StoredTensor, free: Tensors, wanted: Architecture) -> bool:
    """Whether pictures or features may pass through it."""
    if only_counts(name, tensor) or any(loss in name.lower() for loss in _LOSSES):
        return False
    if any(parent[at:] in wanted.shapes for parent in parents(name) for at in beginnings(parent)):
        return False  # what an optimizer or an average keeps for a parameter, by its name
    leaf = name.rpartition(".")[2]
    normalizes = leaf == "running_var" or (leaf == "weight" and f"{name.removesuffix(leaf)}bias" in free)
    if len(tensor.shape) < 2:
        return normalizes
    return normalizes or leaf == "weight" or math.prod(tensor.shape) >= _FEWEST_IN_LAYER


def _notes(
    content: Content, tensors: Tensors, wanted: Architecture, place: Place, taken: Mapping[str, str], head: str | None
) -> Iterator[str]:
    """What was taken, renamed and ignored."""
    kinds = {tensors[name].kind for own, name in taken.items() if not own.endswith(COUNTER)} - {"torch.float32"}
    stored = f", stored as {' and '.join(sorted(kinds)).replace('torch.', '')}" if kinds else ""
    if place.prefix or stored:
        yield f"Taken: {len(taken)} tensors under {place}{stored}."
    if place.whose:
        yield f"Names: {place.whose}, read as torchvision's."
    if head is not None:
        own = next(iter(wanted.class_axes)).rpartition(".")[0]
        yield f"Last layer: {head[:-1]}, read as {own}."
    if content.architecture is not None and content.architecture.partition(".")[0] != wanted.name:
        yield f"It calls itself {content.architecture}: where that computes otherwise, answers are wrong."
    used = set(taken.values())
    parts = {part for name in used for part in parents(name)}
    groups = Counter(_group(name, place.prefix, parts) for name in tensors if name not in used)
    ignored = [f"{group} ({count} tensors)" if count > 1 else group for group, count in groups.items()]
    if ignored or content.rest:
        yield f"Ignored: {_some([*ignored, *content.rest], _LISTED_AT_MOST)}."


def _group(name: str, prefix: str, parts: set[str]) -> str:
    """What stands for ``name`` in a list of what is ignored: where it leaves the way that leads to the network."""
    if name.rpartition(".")[0] in parts:  # beside what was taken, as thop's counts are
        return name.rpartition(".")[2]
    return next((part for part in parents(name) if part not in parts and not prefix.startswith(f"{part}.")), name)
