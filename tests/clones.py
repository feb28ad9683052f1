"""Small clones in places of a test's choice: the project's files, and the packages that the tests run with."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from marserve.setup.environment import clone_lock, write_stamps
from tests.support import REPOSITORY


def fresh_clone(directory: Path) -> Path:
    """``directory`` as a clone in which nothing has been set up."""
    for name in ("scripts", "src", "handler", "config", "examples"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, directory / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(REPOSITORY / name, directory)
    return directory


def ready_clone(directory: Path) -> Path:
    """``directory`` as a clone whose ``.venv`` is complete: made of links to what this process runs with."""
    clone = fresh_clone(directory)
    here, there = Path(sys.prefix), clone / ".venv"
    packages = Path("lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
    (there / packages).mkdir(parents=True)
    for entry in (here / packages).iterdir():
        if not entry.name.endswith("_marserve.pth"):
            (there / packages / entry.name).symlink_to(entry)
    (there / packages / "_marserve.pth").write_text(f"{os.path.relpath(clone / 'src', there / packages)}\n")
    (there / "bin").mkdir()
    (there / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    shutil.copy(here / "pyvenv.cfg", there)
    write_stamps(there, "serve", clone_lock(clone))
    return clone
