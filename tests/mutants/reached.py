"""Which tests run which lines, by a coverage measurement with contexts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import coverage

from tests.mutants.changes import Mutant


class Reached:
    """Which tests run which lines."""

    def __init__(self, data_file: Path, clone: Path) -> None:
        data = coverage.CoverageData(str(data_file))
        data.read()
        #: Tests by line, by path. Lines that run at import have none: no test is running then.
        self._tests: dict[str, dict[int, list[str]]] = {}
        self._sources: dict[str, list[str]] = {}
        #: How many lines a test runs: the fewer, the more it is about each.
        self._breadth: Counter[str] = Counter()
        for name in data.measured_files():
            path = str(Path(name).resolve().relative_to(clone.resolve()))
            # A context of pytest-cov: "tests/unit/test_x.py::test_y|run".
            tests = {
                line: sorted({context.rpartition("|")[0] for context in contexts if "|" in context})
                for line, contexts in data.contexts_by_lineno(name).items()
            }
            self._tests[path] = tests
            self._sources[path] = (clone / path).read_text(encoding="utf-8").splitlines()
            self._breadth.update(test for found in tests.values() for test in found)

    def by(self, mutant: Mutant) -> list[str]:
        """Tests that run the lines of ``mutant``, those first that run least else."""
        tests = self._tests.get(mutant.path, {})
        # Coverage counts all lines of a simple statement to its first.
        first = max((line for line in tests if line <= mutant.first_line), default=0)
        found = {test for line in range(first, mutant.last_line + 1) for test in tests.get(line, [])}
        if not found and first:
            found = self._of_what_uses(_assigned_at(self._sources[mutant.path], mutant.first_line))
        return sorted(found, key=lambda test: (self._breadth[test], test))

    def _of_what_uses(self, name: str) -> set[str]:
        """Tests that run a line with ``name``, of a constant or a class."""
        word = re.compile(rf"\b{re.escape(name)}\b")
        return {
            test
            for path, tests in self._tests.items()
            for line, found in tests.items()
            if word.search(self._sources[path][line - 1])
            for test in found
        }


def _assigned_at(source: Sequence[str], line: int) -> str:
    """The name that a line outside all functions gives something to; that of its class where it is a field."""
    start = next(number for number in range(line, 0, -1) if re.match(r"[A-Za-z_@]", source[number - 1]))
    if found := re.match(r"(?:class\s+|def\s+|async def\s+)?(\w+)", source[start - 1]):
        return found[1]
    return next(
        (found[1] for text in source[start:] if (found := re.match(r"(?:class|def|async def)\s+(\w+)", text))), ""
    )
