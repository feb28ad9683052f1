"""Imported first by the Python scripts here, so that ``./scripts/NAME.py`` works from anywhere with any Python.

Puts the repository's packages on the path, and continues in the project's virtual environment where there is one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = REPOSITORY / ".venv"

if Path(sys.prefix) != ENVIRONMENT and (ENVIRONMENT / "bin" / "python").exists():
    os.execv(ENVIRONMENT / "bin" / "python", [str(ENVIRONMENT / "bin" / "python"), *sys.argv])  # noqa: S606

sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "handler")]
