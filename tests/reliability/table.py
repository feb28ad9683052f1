"""What a row of an experiment answers, and its table in docs/reliability.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import REPOSITORY

PAGE = REPOSITORY / "docs" / "reliability.md"
#: Characters of one complaint, some of which have a whole log.
MOST_TOLD = 500
UNMEASURED = "not measured yet" + " | —" * 5
HEADING = "| row | what was done | callers saw | healthy after | lost | | measured |\n|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """What one row came to."""

    #: What was done, in words and figures.
    name: str
    #: Answers by status, and the longest of them.
    callers_saw: str
    #: From the fault until every answer is good again; None where nothing was to recover.
    seconds_until_healthy: float | None
    #: What did not survive; "nothing" is the best of all.
    lost: str
    holds: bool

    def cells(self, key: str, measured: str) -> str:
        """Its line in the table."""
        after = "—" if self.seconds_until_healthy is None else f"{self.seconds_until_healthy:.1f} s"
        verdict = "holds" if self.holds else "**BROKEN**"
        texts = (f"`{key}`", self.name, self.callers_saw, after, self.lost, verdict, measured)
        return f"| {' | '.join(text.replace('|', chr(92) + '|').replace(chr(10), ' ') for text in texts)} |"


class CannotRunHereError(Exception):
    """A row's machine lacks what it needs; the text says what. Its old line stays."""


def written(page: str, experiment: str, lines: Mapping[str, str], order: Sequence[str]) -> str:
    """``page`` with the table of ``experiment`` renewed: new ``lines`` by row, others of ``order`` as they were.

    A row that was never run has a line that says so.
    """
    begin, end = f"<!-- {experiment} -->", f"<!-- end of {experiment} -->"
    before, found, rest = page.partition(begin)
    table, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"the page lacks the markers {begin} and {end}")
    old = {key: line for line in table.splitlines() if (key := _key(line))}
    kept = [lines.get(key) or old.get(key) or f"| `{key}` | {UNMEASURED} |" for key in order]
    return "\n".join([f"{before}{begin}", HEADING, *kept, f"{end}{after}"])


def _key(line: str) -> str | None:
    found = re.match(r"\| `([^`]+)` \|", line)
    return found[1] if found else None


def write(experiment: str, lines: Mapping[str, str], order: Sequence[str], page: Path = PAGE) -> None:
    """Renew the table of ``experiment`` in ``page``."""
    page.write_text(written(page.read_text(encoding="utf-8"), experiment, lines, order), encoding="utf-8")
