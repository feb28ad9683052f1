#!/usr/bin/env -S python3 -I
"""The old name of ``marserve classify``."""

import os
import sys
from pathlib import Path

door = str(Path(__file__).resolve().with_name("marserve"))
print("scripts/classify.py is now: scripts/marserve classify", file=sys.stderr, flush=True)
os.execv("/bin/bash", ["bash", door, "classify", *sys.argv[1:]])  # noqa: S606
