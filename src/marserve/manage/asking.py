"""Yes or no before a step that is hard to take back."""

from __future__ import annotations

import sys
from collections.abc import Callable


class NeedsConsentError(Exception):
    """Nobody can be asked, and ``--yes`` was not given."""


class DeclinedError(Exception):
    """The answer was no; nothing was changed by the step that was asked about."""


#: Returns where the step may be taken; else raises one of the errors above.
Ask = Callable[[str], None]


def agree(_question: str) -> None:
    """The answer of ``--yes``."""


def ask_on_terminal(question: str) -> None:
    """Ask the person at the terminal; whatever is not a yes is a no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise NeedsConsentError(f"{question} There is no terminal to ask on: give --yes to agree.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DeclinedError("Nothing was changed.")
