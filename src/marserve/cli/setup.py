"""``marserve setup``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from marserve.setup.environment import GROUPS, ensure


def main(command: str, arguments: Sequence[str]) -> int:
    """Install a group of packages into the clone's environment, and print the environment's Python."""
    parser = argparse.ArgumentParser(prog=f"marserve {command}", description="In a clone: install a group into .venv.")
    parser.add_argument("group", choices=sorted(GROUPS))
    group = parser.parse_args(arguments).group
    with redirect_stdout(sys.stderr):  # standard output has the answer alone
        python = ensure(group)
    print(python)
    return 0
