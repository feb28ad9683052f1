"""Files that are replaced in one step: a reader, or whoever starts after a crash, finds the old content or the new."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """A file beside ``path``, to be written in the block; at its end it takes the place of ``path``.

    It is on the disk by then, so that a power failure leaves no empty file. An exception in the block leaves ``path``
    as it was. ``mode`` is for the permissions; None keeps those of the file replaced, else the umask decides.
    """
    # A name of its own for each writer, so that two at once never write to the same file.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    if mode is None and path.exists():
        mode = path.stat().st_mode & 0o777
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def replace_by_copy(path: Path, source: Path, *, mode: int | None = None) -> None:
    """Replace the content of ``path`` by that of ``source``, which may lie on another file system."""
    with replacing(path, mode=mode) as file, source.open("rb") as content:
        shutil.copyfileobj(content, file)


def replace_text(path: Path, text: str) -> None:
    """Replace the content of ``path`` by ``text``, in UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())
