"""Which pictures a command is about: files, folders and patterns, each picture once."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: What is taken from a folder; a file that is named itself is taken whatever it is called.
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})


class NothingFound(Exception):  # noqa: N818
    """A name that leads to no picture; the message names it."""


@dataclass(frozen=True)
class PictureFile:
    """A picture as it was when it was found; with another size or time it counts as another picture."""

    path: str
    size: int
    mtime_ns: int


def find_pictures(names: Iterable[str]) -> list[PictureFile]:
    """The pictures in the order of ``names``, those of a folder or pattern sorted by path.

    Folders are searched with all folders below, except hidden ones and links to folders. Raises NothingFound.
    """
    found: dict[str, PictureFile] = {}
    for name in names:
        paths = list(_expand(name))
        if not paths:
            raise NothingFound(f"{name}: no picture found. Name a picture, a folder with pictures, or a pattern.")
        for path in paths:
            key = os.path.abspath(path)  # noqa: PTH100 - a linked picture stays one of its own
            if key not in found:
                found[key] = _picture(path)
    return list(found.values())


def _expand(name: str) -> Iterator[str]:
    path = os.path.normpath(name)
    if os.path.isdir(path):  # noqa: PTH112 - strings throughout: a Path for each of a million files is slow
        yield from _search(path)
    elif os.path.exists(path):  # noqa: PTH110 - first, since a file's name may hold brackets
        yield path
    else:
        for match in sorted(glob.glob(path, recursive=True)):  # noqa: PTH207
            if os.path.isdir(match):  # noqa: PTH112
                continue  # ** also matches every folder on the way
            if "**" not in path or _is_picture(match):
                yield match


def _search(folder: str) -> Iterator[str]:
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.normpath(os.path.join(directory, name)) for name in sorted(files) if _is_picture(name))  # noqa: PTH118


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES and not os.path.basename(name).startswith(".")  # noqa: PTH119, PTH122


def _picture(path: str) -> PictureFile:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:  # a dangling link, or gone since: the failure shows when it is read
        return PictureFile(path, -1, -1)
    return PictureFile(path, status.st_size, status.st_mtime_ns)
