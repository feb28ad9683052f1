"""_launch.py NAME [ARGUMENT...]: run stack/NAME.py.

A script and not ``python -m``, which would first look for ``stack`` in the directory where the user happens to be.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

name = sys.argv.pop(1)
sys.path[0:1] = [str(ROOT), str(ROOT / "handler")]
runpy.run_module(f"stack.{name}", run_name="__main__")
