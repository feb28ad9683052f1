"""A .mar file and its place in the stack's own model store."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from marserve.errors import MarserveError
from marserve.manage.running_stack import RunningStack
from marserve.system.files import replace_by_copy

MANIFEST = "MAR-INF/MANIFEST.json"
#: What becomes part of a file name and of addresses.
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


@dataclass(frozen=True)
class ArchiveFile:
    """An archive that is to be deployed."""

    path: Path
    version: str

    @classmethod
    def read(cls, path: Path) -> ArchiveFile:
        """Read the manifest of ``path``. Raises MarserveError where that is no archive."""
        try:
            with zipfile.ZipFile(path) as mar:
                version = json.loads(mar.read(MANIFEST))["model"]["modelVersion"]
        except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as exc:
            raise MarserveError(
                f"{path} is no TorchServe archive that names its version ({exc}): build one with "
                "./scripts/build_archive.py --version 2.0 --output DIR"
            ) from exc
        if not _SAFE.fullmatch(str(version)):
            raise MarserveError(f"{path} has version {version!r}: build it with one such as 2.0.")
        return cls(path, str(version))

    def put_into_store(self, stack: RunningStack, model: str) -> str:
        """Copy it in one step, under a name of its own; answers the name."""
        name = f"{model}-{self.version}.mar"
        with writable(stack.run_directory.model_store) as store:
            replace_by_copy(store / name, self.path)
        return name


def remove_from_store(stack: RunningStack, name: str) -> None:
    """Remove an archive that TorchServe no longer serves; it has unpacked those it serves."""
    with writable(stack.run_directory.model_store) as store:
        (store / os.path.basename(name)).unlink(missing_ok=True)  # noqa: PTH119 - a name, not a path


@contextmanager
def writable(store: Path) -> Iterator[Path]:
    """The store is read-only for TorchServe, which runs as the same user."""
    mode = store.stat().st_mode & 0o777
    store.chmod(0o700)
    try:
        yield store
    finally:
        store.chmod(mode)
