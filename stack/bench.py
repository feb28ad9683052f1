"""``scripts/bench``."""

from __future__ import annotations

import os
import sys

from stack.commands import run_command
from stack.environment import ensure
from stack.paths import ROOT


def main() -> int:
    """Become the benchmark, in the repository's root."""
    python = ensure("bench")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "handler")])
    os.execv(python, [str(python), "-m", "bench", *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    sys.exit(run_command(main))
