"""Files that processes share.

They are replaced in one step: a reader, or whoever starts after a crash, finds the old content or the new. Some are
locks: the system releases one when its holder ends, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from marserve.errors import MarserveError
from marserve.system.waiting import wait_until


def failure_of(error: OSError) -> str:
    """``error`` as a sentence, with what to do where the disk is full."""
    where = ", ".join(os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes))
    what = f"{where}: {error.strerror or error}" if where else f"{error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full ({what}): free some space, then run the same command again."
    if error.errno == errno.EFBIG:
        return f"A file may not grow any further ({what}): raise the limit (ulimit -f)."
    return f"{what}."


@contextmanager
def replacing(path: Path, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """A file beside ``path``, to be written in the block; at its end it takes the place of ``path``.

    Content and name are on the disk by then, so that a power failure leaves the old file or the new one. An exception
    in the block leaves ``path`` as it was. ``mode`` is for the permissions; None keeps those of the file replaced, else
    the umask decides.
    """
    # A name of its own for each writer, so that two at once never write to the same file; cut, since names have limits.
    beside = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}")
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
        _sync_directory(path.parent)
    except BaseException as exc:
        beside.unlink(missing_ok=True)
        if isinstance(exc, OSError) and exc.filename is None:  # a write does not know whereto
            exc.filename = str(path)
        raise


def _sync_directory(directory: Path) -> None:
    """Have the names in ``directory`` on the disk, where its file system knows how."""
    with suppress(OSError):
        number = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def replace_text(path: Path, text: str) -> None:
    """Replace the content of ``path`` by ``text``, in UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())


@contextmanager
def locked(
    file: Path, *, on_wait: Callable[[], None] = lambda: None, timeout_s: float = math.inf, shared: bool = False
) -> Iterator[None]:
    """Hold the lock ``file``, or with ``shared`` one beside others. ``on_wait`` is called once if another process
    holds it.

    Raises MarserveError when ``timeout_s`` seconds have passed without getting it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:

        def is_mine() -> bool:
            try:
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not is_mine():
            on_wait()
            if not wait_until(is_mine, timeout_s):
                raise MarserveError(f"Another process still holds {file} after {timeout_s:.0f} seconds.")
        yield


def is_held(file: Path) -> bool:
    """Whether another process holds the lock ``file``, or may: the system may refuse another open file for now."""
    try:
        with file.open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
