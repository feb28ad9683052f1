"""Where things are in the repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYPROJECT = ROOT / "pyproject.toml"
#: What running stacks and set-up leave behind; ignored by git.
RUN = ROOT / ".run"
#: Runs a command of this package, named by its first argument.
LAUNCHER = ROOT / "scripts" / "_launch.py"
CONFIG = ROOT / "config"
#: The picture that shows that a model really answers.
EXAMPLE_PICTURE = ROOT / "examples" / "cat.jpg"
