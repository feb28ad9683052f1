#!/usr/bin/env -S python3 -I
"""The old name of ``marserve classify``."""

import os
import sys

door = os.path.realpath(__file__).rpartition("/")[0] + "/marserve"  # without pathlib, which may be a foreign one
print("scripts/classify.py is now: scripts/marserve classify", file=sys.stderr, flush=True)
os.execv("/bin/bash", ["bash", door, "classify", *sys.argv[1:]])  # noqa: S606
