"""Mutants: one change each, drawn by weight."""

from __future__ import annotations

import ast
import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_string

#: How much likelier a mutant in an error path, at a limit or in an undo is drawn than any other.
WEIGHT = 3.0
LIMITS = re.compile(r"max|limit|timeout|deadline|_(s|ms|bytes|pixels|depth)\b", re.IGNORECASE)
UNDO = re.compile(r"undo|rollback|restore|release|close|cancel|stop|discard|forget|__a?exit__")
#: Nothing here decides anything: texts for people and for type checkers.
SKIPPED = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom, cst.FormattedString, cst.ConcatenatedString)


@dataclass(frozen=True)
class Mutant:
    """One change of one file."""

    path: str
    first_line: int
    last_line: int
    before: str
    after: str
    #: Whether it stands in an error path, at a limit or in an undo.
    matters: bool
    #: The module and the node to replace in it.
    change: tuple[cst.Module, cst.CSTNode, cst.CSTNode] = field(repr=False, compare=False)

    def code(self) -> str:
        """The changed file."""
        module, node, changed = self.change
        return cst.ensure_type(module.deep_replace(node, changed), cst.Module).code


def mutants_of(path: str, code: str) -> Iterator[Mutant]:
    """Every mutant of a file."""
    module = MetadataWrapper(cst.parse_module(code), unsafe_skip_copy=True)
    positions = module.resolve(PositionProvider)
    important = _important_lines(code)
    for node in _nodes(module.module):
        position = positions.get(node)
        if position is None:
            continue
        before = _source(node)
        for changed in _changes(node):
            lines = range(position.start.line, position.end.line + 1)
            matters = not important.isdisjoint(lines)
            texts = before, _source(changed)
            yield Mutant(path, lines[0], lines[-1], *texts, matters, (module.module, node, changed))


def _nodes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """All that may be changed: neither docstrings nor what ``SKIPPED`` holds."""
    for child in node.children:
        if isinstance(child, SKIPPED) or (isinstance(child, cst.Expr) and isinstance(child.value, cst.SimpleString)):
            continue
        if isinstance(child, cst.If) and _source(child.test) == "TYPE_CHECKING":
            continue
        # The name of a type that limits nothing: Reader = Callable[...], Picture = Image | Pixels.
        if isinstance(child, cst.Assign) and re.match(r"_?[A-Z]\w*[a-z]\w* = [^(]*$", _source(child)):
            continue
        yield child
        yield from _nodes(child)


def _changes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for kind, operator in mutation_operators:
        if isinstance(node, kind):
            if operator is not operator_string:
                yield from operator(node)
            # Names of headers, fields and codes; a sentence is for a person, and its capitals are nobody's contract.
            elif isinstance(node, cst.SimpleString) and " " not in node.value:
                yield from list(operator(node))[:1]
    # What mutmut lacks: a statement that is not executed at all.
    if isinstance(node, cst.Raise | cst.AugAssign) or (
        isinstance(node, cst.Expr) and isinstance(node.value, cst.Call | cst.Await)
    ):
        yield cst.Pass()


def _source(node: cst.CSTNode) -> str:
    return " ".join(cst.Module(body=()).code_for_node(node).split())


def _important_lines(code: str) -> set[int]:
    """Lines of error paths, limits and undo."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(code)):
        is_important = False
        if isinstance(node, ast.ExceptHandler | ast.Raise):
            is_important = True
        elif isinstance(node, ast.Compare | ast.Assign | ast.AnnAssign):
            is_important = bool(LIMITS.search(ast.unparse(node)))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            is_important = bool(UNDO.search(node.name))
        elif isinstance(node, ast.Try):
            for statement in node.finalbody:
                lines.update(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
        if is_important:
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))  # type: ignore[attr-defined]
    return lines


def drawn(mutants: Iterable[Mutant], sample: int, seed: int) -> list[Mutant]:
    """A sample without replacement, by weights (Efraimidis and Spirakis, 2006); what a mutant is decides its chance.

    Each line of code has the same share, however many mutants it has.
    """
    same: Counter[tuple[str, ...]] = Counter()
    keys: list[tuple[float, Mutant]] = []
    by_place: defaultdict[tuple[str, int], list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        by_place[mutant.path, mutant.first_line].append(mutant)
    for found in by_place.values():
        for mutant in found:
            what = (mutant.path, mutant.before, mutant.after)
            same[what] += 1
            digest = hashlib.sha256(repr((seed, *what, same[what])).encode()).digest()
            uniform = (int.from_bytes(digest[:8], "big") + 1) / (2**64 + 1)
            weight = (WEIGHT if mutant.matters else 1.0) / len(found)
            keys.append((math.log(uniform) / weight, mutant))
    keys.sort(key=lambda pair: pair[0], reverse=True)
    return sorted((mutant for _, mutant in keys[:sample]), key=lambda mutant: (mutant.path, mutant.first_line))
