"""Which tests run which lines, by a coverage measurement with contexts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import coverage

from tests.mutants.changes import Mutant

#: Tests that read what stands in the code, such as the defaults of settings, and run none of it.
READERS = ("tests/unit/test_readme.py", "tests/unit/monitoring/test_metrics_table.py")


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

    def by(self, mutant: Mutant, most: int) -> list[str]:
        """Tests that run the lines of ``mutant``, at most so many: those that run least else, which come first."""
        tests = self._tests.get(mutant.path, {})
        # Coverage counts all lines of a simple statement to its first.
        first = max((line for line in tests if line <= mutant.first_line), default=0)
        found = {test for line in range(first, mutant.last_line + 1) for test in tests.get(line, [])}
        runs_at_import = not found and first > 0
        if runs_at_import:
            for name in _assigned_at(self._sources[mutant.path], mutant.first_line):
                found |= self._of_what_uses(name)
            found = found or {test for line in tests.values() for test in line}
        chosen = sorted(found, key=lambda test: (self._breadth[test], test))[:most]
        return [*chosen, *READERS] if runs_at_import else chosen

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


def _assigned_at(source: Sequence[str], line: int) -> set[str]:
    """The names that a line outside all functions gives something to: a field's, a constant's, a class's."""
    names = set(re.findall(r"^\s+(\w+)\s*(?::[^=]*)?=", source[line - 1]))
    start = next(number for number in range(line, 0, -1) if re.match(r"[A-Za-z_@]", source[number - 1]))
    for text in source[start - 1 :]:  # decorators stand before a name
        if found := re.match(r"(?:class\s+|def\s+|async def\s+)?(\w+)", text):
            return names | {found[1]}
    return names
