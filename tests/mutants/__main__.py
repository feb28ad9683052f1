"""Would the tests notice? Change one thing in the code, run the tests that reach it: python -m tests.mutants --help

The changes are mutmut's. Its own runner makes them in functions alone, and in none with a decorator: neither in module
constants, where limits stand, nor in routes, validators and properties. Here a mutant is a file in a copy of the clone.
Coverage contexts choose its tests: a mutant meets every test that runs its lines, the most special ones first, and dies
with the first that fails. Where a whole run would take days, a sample speaks for it: the same seed draws the same
mutants from the same code, and most of them again after a change elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from marserve.terminal import say
from tests.mutants.changes import Mutant, drawn, mutants_of
from tests.mutants.judging import Verdict, begin_lane, copy_clone, judge, measure, preload
from tests.mutants.reached import Reached
from tests.support import REPOSITORY

#: What is changed where nothing is named, and the tests that must notice.
CODE = ("handler/resnet18", "src/marserve/web")
TESTS = ("tests/unit/handler", "tests/unit/web")


def score(verdicts: Sequence[Verdict]) -> str:
    """The share of mutants that a test noticed."""
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    parts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    return f"{outcomes['killed'] / max(1, len(verdicts)):.1%} of {len(verdicts)} noticed ({parts})"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("code", nargs="*", default=CODE, help=f"files and folders (default: {' '.join(CODE)})")
    parser.add_argument("--tests", nargs="+", default=TESTS, help=f"that must notice (default: {' '.join(TESTS)})")
    parser.add_argument("--sample", type=int, default=300, help="how many mutants (default: 300)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time, each in a copy of its own (default: 1)")
    parser.add_argument("--most", type=int, default=100, help="tests that judge one mutant (default: 100)")
    parser.add_argument("--coverage", type=Path, help="data of a run with --cov-context=test, instead of a new one")
    parser.add_argument("--output", type=Path, help="verdicts as JSON lines, for a closer look")
    options = parser.parse_args()
    os.nice(10)
    mutants = [
        mutant
        for given in map(REPOSITORY.__truediv__, options.code)
        for path in (sorted(given.rglob("*.py")) if given.is_dir() else [given])
        for mutant in mutants_of(str(path.relative_to(REPOSITORY)), path.read_text(encoding="utf-8"))
    ]
    sample = drawn(mutants, options.sample, options.seed)
    say(f"{len(sample)} of {len(mutants)} mutants")
    judged: list[tuple[Mutant, Verdict]] = []
    with tempfile.TemporaryDirectory() as temporary:
        if options.coverage:
            reached = Reached(options.coverage, REPOSITORY)
        else:
            clone = copy_clone(Path(temporary))
            reached = Reached(measure(clone, options.tests), clone)
        preload()
        with ProcessPoolExecutor(options.jobs, get_context("fork"), begin_lane, (temporary,)) as lanes:
            judges = [(mutant, reached.by(mutant, options.most)) for mutant in sample]
            path = sample[0].path
            first = sorted({tests[0] for _, tests in judges if tests})
            control = lanes.submit(judge, path, (REPOSITORY / path).read_text(encoding="utf-8"), first).result()
            if control.outcome != "survived":
                raise SystemExit("Tests fail in a copy where nothing is changed: no verdict would mean anything.")
            waiting = [(mutant, lanes.submit(judge, mutant.path, mutant.code(), tests)) for mutant, tests in judges]
            for mutant, future in waiting:
                judged.append((mutant, future.result()))
                _tell(*judged[-1], f"{len(judged)}/{len(sample)}", options.output)
    for part in options.code:
        say(f"{part}: {score([verdict for mutant, verdict in judged if mutant.path.startswith(part)])}")
    say(f"limits, error paths and undo: {score([verdict for mutant, verdict in judged if mutant.matters])}")
    say(f"all: {score([verdict for _, verdict in judged])}")
    return 0


def _tell(mutant: Mutant, verdict: Verdict, progress: str, output: Path | None) -> None:
    place = f"{mutant.path}:{mutant.first_line}"
    if output is not None:
        entry = {"place": place, "before": mutant.before, "after": mutant.after, "matters": mutant.matters}
        with output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry | asdict(verdict)) + "\n")
    if verdict.outcome in {"survived", "no test"}:
        say(f"{progress} {place}: {verdict.outcome} ({verdict.tests} tests)\n  - {mutant.before}\n  + {mutant.after}")


if __name__ == "__main__":
    sys.exit(main())
