"""Which pictures a command is about: files, folders and patterns, each picture once."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from marserve.errors import MarserveError

#: What is taken from a folder; a file that is named itself is taken whatever it is called.
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
#: Pictures that nothing here can read.
FOREIGN_SUFFIXES = frozenset(
    {".heic", ".heif", ".jxl", ".jp2", ".psd", ".dng", ".arw", ".cr2", ".cr3", ".nef", ".orf", ".raf", ".rw2"}
)


class NoPictureFoundError(MarserveError):
    """A name that leads to no picture; the message names it."""


@dataclass(frozen=True)
class PictureFile:
    """A picture as it was when it was found; with another size or time it counts as another picture."""

    path: str
    size: int
    mtime_ns: int

    def __fspath__(self) -> str:
        return self.path


@dataclass(frozen=True)
class FoundPictures:
    """The pictures, and the suffixes of files that were passed over in folders and patterns."""

    pictures: list[PictureFile]
    skipped: Counter[str]

    @property
    def foreign(self) -> int:
        """How many of the skipped files are pictures nevertheless."""
        return sum(count for suffix, count in self.skipped.items() if suffix in FOREIGN_SUFFIXES)


def find_pictures(names: Iterable[str]) -> FoundPictures:
    """The pictures in the order of ``names``, those of a folder or pattern sorted by path.

    Folders are searched with all folders below, except hidden ones and links to folders. Raises NoPictureFoundError.
    """
    found: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for name in names:
        candidates, only_pictures = _candidates(os.path.normpath(name))
        passed_over: dict[str, str] = {}
        taken = 0
        for path in candidates:
            key = os.path.abspath(path)  # noqa: PTH100 - a linked picture stays one of its own
            suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122
            if only_pictures and suffix not in SUFFIXES:
                passed_over[key] = suffix
            else:
                found.setdefault(key, path)
                taken += 1
        if not taken:
            advice = describe_skipped(Counter(passed_over.values())) or "name a picture, a folder or a pattern"
            raise NoPictureFoundError(f"{name}: no picture found; {advice}.")
        skipped |= passed_over
    pictures = [_picture(path) for path in found.values()]
    return FoundPictures(pictures, Counter(suffix for key, suffix in skipped.items() if key not in found))


def describe_skipped(skipped: Counter[str]) -> str:
    """Such as ``2 files skipped: 1 .heic (cannot be read here: export as JPEG), 1 .txt``; empty for none."""
    kinds = [
        f"{skipped[suffix]} {suffix or 'without suffix'}"
        f"{' (cannot be read here: export as JPEG)' if suffix in FOREIGN_SUFFIXES else ''}"
        for suffix in sorted(skipped, key=lambda suffix: (suffix not in FOREIGN_SUFFIXES, suffix))
    ]
    total = sum(skipped.values())
    return f"{total} {'file' if total == 1 else 'files'} skipped: {', '.join(kinds)}" if kinds else ""


def _candidates(path: str) -> tuple[Iterable[str], bool]:
    """The files that ``path`` may mean, and whether only those with a picture's suffix are meant."""
    if os.path.isdir(path):  # noqa: PTH112 - strings throughout: a Path for each of a million files is slow
        return _files_below(path), True
    if os.path.exists(path):  # noqa: PTH110 - before the pattern, since a file's name may hold brackets
        return [path], False
    matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207
    return [match for match in matches if not os.path.isdir(match)], "**" in path  # noqa: PTH112


def _files_below(folder: str) -> Iterator[str]:
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.normpath(os.path.join(directory, name))  # noqa: PTH118


def _picture(path: str) -> PictureFile:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:  # a dangling link, or gone since: the failure shows when it is read
        return PictureFile(path, -1, -1)
    return PictureFile(path, status.st_size, status.st_mtime_ns)
