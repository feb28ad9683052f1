"""``scripts/check``."""

from __future__ import annotations

import sys
from pathlib import Path

from stack.children import child
from stack.commands import run_command
from stack.environment import ensure
from stack.paths import ROOT, VENV
from stack.terminal import say


def main() -> int:
    """Run every check even after one has failed; status 1 if any did."""
    python = ensure("dev")
    checks: list[list[str | Path]] = [
        [python, "-m", "ruff", "check"],
        [python, "-m", "ruff", "format", "--check"],
        [python, "-m", "mypy"],
        [VENV / "bin" / "shellcheck", *_shell_scripts()],
    ]
    failed = False
    for command in checks:
        say("$ " + " ".join(str(part).replace(f"{ROOT}/", "") for part in command))
        with child(command) as process:
            pass
        failed = failed or process.returncode != 0
    return int(failed)


def _shell_scripts() -> list[Path]:
    candidates = [*ROOT.glob("scripts/*"), *ROOT.glob(".ci/*")]
    files = [file for file in candidates if file.is_file()]
    return sorted(file for file in files if file.read_bytes().startswith(b"#!/usr/bin/env bash"))


if __name__ == "__main__":
    sys.exit(run_command(main))
