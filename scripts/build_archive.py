#!/usr/bin/env python3
"""The old name of ``marserve build``."""

import os
import sys
from pathlib import Path

os.execv("/bin/bash", ["bash", str(Path(__file__).resolve().with_name("marserve")), "build", *sys.argv[1:]])  # noqa: S606
