"""Stamps in the virtual environment: which dependency groups it holds, as of which pins, for which Python."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

#: A group and the ones that it includes.
GROUPS = {
    "client": ("client",),
    "serve": ("serve", "client"),
    "int8": ("int8", "serve", "client"),
    "bench": ("bench", "int8", "serve", "client"),
    "dev": ("dev", "bench", "int8", "serve", "client"),
}


def venv_version(venv: Path) -> str:
    """Python version that ``venv`` was made with, such as 3.11.7; empty where there is no usable environment."""
    try:
        settings = (venv / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return ""
    match = re.search(r"^version(?:_info)? = (\S+)", settings, re.MULTILINE)
    return match.group(1) if match and (venv / "bin" / "python").exists() else ""


def is_current(venv: Path, group: str, lock: str) -> bool:
    """Whether ``group`` was installed completely, with the pins of today and the Python that is there."""
    try:
        return _file(venv, group).read_text(encoding="ascii") == _digest(venv, lock)
    except OSError:
        return False


def write_stamps(venv: Path, group: str, lock: str) -> None:
    """Note that ``group``, and what it includes, is installed completely."""
    for name in GROUPS[group]:
        _file(venv, name).write_text(_digest(venv, lock), encoding="ascii")


def _file(venv: Path, group: str) -> Path:
    return venv / f"installed-{group}.stamp"


def _digest(venv: Path, lock: str) -> str:
    return hashlib.sha256(f"{venv_version(venv)}\n{lock}".encode()).hexdigest()
