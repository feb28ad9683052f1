"""A copy of this working tree in which a stack is built and started: the tree's own archives stay as they are."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from bench.environments import ENVIRONMENTS
from bench.errors import BenchError
from bench.workspace import REPOSITORY

#: What a start needs besides the virtual environment, which is shared by a link.
_DIRECTORIES = ("config", "examples", "handler", "scripts", "src")
_FILES = ("LICENSE", "NOTICE", "README.md", "pyproject.toml", "requirements.lock")


def refresh_checkout(name: str, threads: int | None = None) -> Path:
    """The copy called ``name``, as of now, its built archives kept; ``threads`` replaces ``handler.threads``."""
    directory = ENVIRONMENTS / "checkouts" / name
    directory.mkdir(parents=True, exist_ok=True)
    for part in _DIRECTORIES:
        shutil.rmtree(directory / part, ignore_errors=True)
        if (REPOSITORY / part).exists():
            shutil.copytree(
                REPOSITORY / part, directory / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
    for part in _FILES:
        shutil.copyfile(REPOSITORY / part, directory / part)
    (directory / "model_store").mkdir(exist_ok=True)
    environment = directory / ".venv"
    if not environment.is_symlink():
        environment.symlink_to(REPOSITORY / ".venv")
    if threads is not None:
        _set_threads(directory / "config" / "model-config.yaml", threads)
    return directory


def _set_threads(file: Path, threads: int) -> None:
    text, replaced = re.subn(r"(?m)^(\s+threads:).*$", rf"\1 {threads}", file.read_text(encoding="utf-8"))
    if replaced != 1:
        raise BenchError(f"{file.name} needs one line 'threads: auto' in its handler section.")
    file.write_text(text, encoding="utf-8")
