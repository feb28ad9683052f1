#!/usr/bin/env -S python3 -I
"""The old name of ``marserve build``."""

import os
import sys
from pathlib import Path

door = str(Path(__file__).resolve().with_name("marserve"))
print("scripts/build_archive.py is now: scripts/marserve build", file=sys.stderr, flush=True)
os.execv("/bin/bash", ["bash", door, "build", *sys.argv[1:]])  # noqa: S606
