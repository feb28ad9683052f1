"""Class names in JSON, YAML or what Python prints: lists, index to name, name to index, also inside larger files."""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import yaml

from marserve.archive.labels.entries import INDEX, Entry, Found, UnsureError, in_class_order, plain, quoted, shown
from marserve.archive.labels.lines import columns

#: Keys that hold class names, the surer ones first: id2label, idx_to_class; names, classes; class_to_idx, label2id.
KEYS = (
    re.compile(r"(id|idx|index|int|i)s?(to|2)\w+"),
    re.compile(r"names?|class(es|names?)|labels?(names?)?|categories|vocab"),
    re.compile(r"\w+(to|2)(id|idx|index|int|i)s?|classind(ex|ices)"),
)
#: Of a YAML file with what its aliases stand for, which two lines double each time.
MOST_NODES = 1_000_000
EXAMPLE = '["cat", "dog"] or {"0": "cat", "1": "dog"}'


def from_json(text: str) -> Found:
    """JSON, or a list or dict as Python prints it; UnsureError."""
    try:
        return _from_tree(json.loads(text, object_pairs_hook=_mapping), "JSON")
    except ValueError as exc:
        with suppress(ValueError, SyntaxError, MemoryError):
            return _from_tree(_python_literal(text), "Python")
        raise UnsureError(f"it is not valid JSON: {exc}.") from exc


def from_json_lines(lines: list[Entry]) -> Found | None:
    """A JSON value in each of several ``lines``; None where one holds none."""
    if len(lines) < 2 or not all(line.name[:1] in {"{", "[", '"'} for line in lines):
        return None
    try:
        values = [json.loads(line.name, object_pairs_hook=_mapping) for line in lines]
    except ValueError:
        return None
    return _from_list([line._replace(name=value) for line, value in zip(lines, values, strict=True)], "JSON lines")


def from_yaml(text: str) -> Found:
    """YAML, of which nothing is taken but texts, as they are written; UnsureError."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as exc:
        reason = str(exc)
        if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark is not None:
            reason = f"{exc.problem} in line {exc.problem_mark.line + 1}"
        raise UnsureError(f"it is not valid YAML: {shown(reason)}.") from exc
    return _from_tree(_texts(node, itertools.count(1)), "YAML")


def _texts(node: yaml.Node | None, counter: Iterator[int]) -> Any:
    """The tree of ``node``; a YAML reader would take ``no`` for false. ``counter`` counts its nodes."""
    if next(counter) > MOST_NODES:
        raise UnsureError("its aliases make more of it than any file of class names has.")
    if node is not None and node.tag not in yaml.SafeLoader.yaml_constructors:
        raise UnsureError(f"it has a value of the kind {node.tag}; give texts.")
    if isinstance(node, yaml.MappingNode):
        return _mapping((_texts(key, counter), _texts(value, counter)) for key, value in node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_texts(item, counter) for item in node.value]
    return node.value if node is not None else None


def _python_literal(text: str) -> Any:
    node = ast.parse(text, mode="eval").body
    if not isinstance(node, ast.Dict):
        return ast.literal_eval(node)
    keys = [ast.literal_eval(key) for key in node.keys if key is not None]
    return _mapping(zip(keys, map(ast.literal_eval, node.values), strict=True))


def _mapping(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A dict; UnsureError for keys that stand there twice, of which readers keep the last in silence."""
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if not isinstance(key, (str, int)):
            raise UnsureError(f"{shown(key)} is no class index and no name.")
        if key in found:
            raise UnsureError(f'"{shown(key)}" stands there twice, as "{shown(found[key])}" and "{shown(value)}".')
        found[key] = value
    return found


def _from_tree(tree: Any, kind: str) -> Found:
    if isinstance(tree, (list, tuple)) and tree:
        return _from_list(_numbered(tree), f"{kind} list")
    if not isinstance(tree, dict) or not tree:
        raise UnsureError(f"it holds no class names; give {EXAMPLE}.")
    if found := _from_mapping(tree, inverted=False):
        return Found(found.entries, f"{kind}, {found.form}")
    for key_pattern in KEYS:
        inside = [
            (key, found)
            for key, value in _keyed(tree, key_pattern)
            if (found := _from_value(value, inverted=key_pattern is KEYS[-1]))
        ]
        orders = [[entry.name for entry in in_class_order(found.entries)[0]] for _, found in inside]
        if any(order != orders[0] for order in orders):
            raise UnsureError(
                f"{quoted(key for key, _ in inside)} hold different class names; give a file with one of them."
            )
        if inside:
            key, found = inside[0]
            return Found(found.entries, f"{kind}, {key}")
    raise UnsureError(
        f"no class names were found under its keys {quoted(list(tree)[:5])}; give {EXAMPLE}, alone or under a key such "
        "as id2label, names or class_to_idx."
    )


def _keyed(tree: dict[Any, Any], pattern: re.Pattern[str], above: str = "") -> Iterator[tuple[str, Any]]:
    """What stands in ``tree`` under keys that fit ``pattern``, with all keys that lead there."""
    for key, value in tree.items():
        if pattern.fullmatch(plain(str(key))):
            yield f"{above}{key}", value
        if isinstance(value, dict):
            yield from _keyed(value, pattern, f"{above}{key}.")


def _from_value(value: Any, *, inverted: bool) -> Found | None:
    """What stands under a key that may hold class names; None where it holds something else."""
    if isinstance(value, dict) and value:
        return _from_mapping(value, inverted=inverted)
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, (str, list, tuple, dict)) for item in value):
        return _from_list(_numbered(value), "list")
    return None


def _numbered(values: Iterable[Any]) -> list[Entry]:
    return [Entry(f"entry {number}", value) for number, value in enumerate(values, 1)]


def _from_list(entries: list[Entry], kind: str, *, ordered: bool = False) -> Found:
    values = [entry.name for entry in entries]
    if all(isinstance(value, dict) for value in values):
        titles = [title for title in values[0] if all(title in value for value in values)]
        if not titles:
            raise UnsureError("its objects have no key in common; give index and name in each.")
        rows = [entry._replace(name=[entry.name[title] for title in titles]) for entry in entries]
        found = columns([str(title) for title in titles], rows, ordered=ordered)
        return Found(found.entries, f"{kind} of objects, {found.form}")
    if all(isinstance(value, (list, tuple)) and len(value) == 2 and any(map(_is_index, value)) for value in values):
        return Found(columns(None, entries).entries, f"{kind} of pairs")
    return Found(entries, kind)


def _from_mapping(mapping: dict[Any, Any], *, inverted: bool) -> Found | None:
    """Index to name, or name to index; ``inverted`` says which where both are texts of digits. None: neither."""
    keys_are_indices, values_are_indices = all(map(_is_index, mapping)), all(map(_is_index, mapping.values()))
    if all(map(_is_number, mapping.values())) or (values_are_indices and (inverted or not keys_are_indices)):
        return Found([Entry(f'"{shown(key)}"', str(key), int(mapping[key])) for key in mapping], "name to index")
    if not keys_are_indices:
        return None
    indices = {f'"{key}"': int(key) for key in mapping}
    entries = [Entry(place, value) for place, value in zip(indices, mapping.values(), strict=True)]
    if all(isinstance(entry.name, dict) for entry in entries):
        entries = _from_list(entries, "objects", ordered=True).entries
    return Found([entry._replace(class_index=indices[entry.place]) for entry in entries], "index to name")


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_index(value: Any) -> bool:
    return _is_number(value) or (isinstance(value, str) and INDEX.fullmatch(value) is not None)
