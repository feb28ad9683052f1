"""Yes or no before a step that is hard to take back."""

from __future__ import annotations

import sys
from collections.abc import Callable


class NeedsConsentError(Exception):
    """There is no terminal to confirm on, and ``--yes`` was not given."""


class DeclinedError(Exception):
    """The answer was no; the step was not taken."""


#: Takes the question; returns where the step may be taken, else raises one of the errors above.
Confirm = Callable[[str], None]


def always_yes(_question: str) -> None:
    """The answer of ``--yes``."""


def confirm_on_terminal(question: str) -> None:
    """Whatever is not a yes is a no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NeedsConsentError(f"{question} There is no terminal to ask on: give --yes to agree.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DeclinedError("Nothing was changed.")
