#!/usr/bin/env -S python3 -I
"""The old name of ``marserve status``, ``scale``, ``deploy``, ``rollback``, ``drain``, ``recover`` and ``logs``."""

import os
import sys

door = os.path.realpath(__file__).rpartition("/")[0] + "/marserve"  # without pathlib, which may be a foreign one
print("scripts/manage.py COMMAND is now: scripts/marserve COMMAND", file=sys.stderr, flush=True)
os.execv("/bin/bash", ["bash", door, *sys.argv[1:]])  # noqa: S606
