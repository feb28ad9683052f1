"""Which pictures a command is about: files, folders and patterns, each picture once."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from marserve.errors import MarserveError
from marserve.handler.resnet18.errors import HOW_TO_READ_HEIC
from marserve.paths import door

#: What is taken from a folder; a file that is named itself is taken whatever it is called.
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
#: Taken besides where the decoder is installed.
HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
#: Photographs that nothing here can read: of newer or rarer formats, as an editor keeps them, as the sensor saw them.
FOREIGN_SUFFIXES = frozenset(
    {".jxl", ".jp2", ".j2k", ".jxr", ".psd", ".xcf"}
    | {".dng", ".arw", ".cr2", ".cr3", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw", ".x3f", ".3fr"}
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
        """How many of the skipped files are photographs nevertheless."""
        return sum(count for suffix, count in self.skipped.items() if suffix in FOREIGN_SUFFIXES | HEIC_SUFFIXES)

    @property
    def has_heic(self) -> bool:
        return any(suffix_of(picture.path) in HEIC_SUFFIXES for picture in self.pictures)


def find_pictures(names: Iterable[str], *, heic: bool, listed: Iterable[str] = ()) -> FoundPictures:
    """The pictures in the order of ``names``, those of a folder or pattern sorted by path, and then ``listed``.

    ``heic``: whether that can be read, too. What a program has listed is no pattern, and is missed when it is to be
    read. Folders are searched with all folders below, except hidden ones and links
    to folders. Raises NoPictureFoundError.
    """
    found, skipped = find_files(names, picture_suffixes(heic=heic), listed=listed)
    return FoundPictures([_picture(path) for path in found.values()], skipped)


def picture_suffixes(*, heic: bool) -> frozenset[str]:
    """Of what is taken from a folder; ``heic``: whether that can be read, too."""
    return SUFFIXES | HEIC_SUFFIXES if heic else SUFFIXES


def find_files(
    names: Iterable[str], suffixes: Collection[str], *, listed: Iterable[str] = ()
) -> tuple[dict[str, str], Counter[str]]:
    """As ``find_pictures``, for files of other ``suffixes`` as well: absolute paths, and for each how it was named.

    Beside them the suffixes of files that were passed over.
    """
    found: dict[str, str] = {}
    skipped: dict[str, str] = {}
    named = ((name, _candidates(os.path.normpath(name))) for name in names)
    from_list = ((name, _candidates(os.path.normpath(name), literal=True)) for name in listed)
    for name, (candidates, only_pictures) in chain(named, from_list):
        passed_over: dict[str, str] = {}
        taken = 0
        for path in candidates:
            key = os.path.abspath(path)  # noqa: PTH100 - a linked picture stays one of its own
            if only_pictures and suffix_of(path) not in suffixes:
                passed_over[key] = suffix_of(path)
            else:
                found.setdefault(path if key == path else key, path)  # a million paths are not kept twice
                taken += 1
        if not taken:
            raise NoPictureFoundError(_nothing(name, Counter(passed_over.values())))
        skipped |= passed_over
    return found, Counter(suffix for key, suffix in skipped.items() if key not in found)


def describe_skipped(skipped: Counter[str]) -> str:
    """Such as ``2 files skipped: 1 .dng (cannot be read: export as JPEG), 1 .txt``; empty for none."""
    advice = dict.fromkeys(FOREIGN_SUFFIXES, " (cannot be read: export as JPEG)")
    advice |= dict.fromkeys(HEIC_SUFFIXES, f" (needs a decoder where the service runs: {HOW_TO_READ_HEIC})")
    kinds = [
        f"{skipped[suffix]} {suffix or 'without suffix'}{advice.get(suffix, '')}"
        for suffix in sorted(skipped, key=lambda suffix: (suffix not in advice, suffix))
    ]
    total = sum(skipped.values())
    return f"{total} {'file' if total == 1 else 'files'} skipped: {', '.join(kinds)}" if kinds else ""


def _nothing(name: str, passed_over: Counter[str]) -> str:
    if skipped := describe_skipped(passed_over):
        return f"{name}: no picture found; {skipped}."
    if os.path.isdir(name):  # noqa: PTH112
        return f"{name}: no picture found; the folder holds no file."
    if re.match(r"https?://", name):
        return f"{name}: pictures are not fetched from addresses; pipe it: curl -sL {name} | {door('classify -')}"
    if glob.has_magic(name):
        return f"{name}: nothing has such a name."
    return f"{name} does not exist."


def _candidates(path: str, *, literal: bool = False) -> tuple[Iterable[str], bool]:
    """The files that ``path`` may mean, and whether only those with a picture's suffix are meant."""
    if os.path.isdir(path):  # noqa: PTH112 - strings throughout: a Path for each of a million files is slow
        return _files_below(path), True
    if literal or os.path.exists(path):  # noqa: PTH110 - before the pattern, since a file's name may hold brackets
        return [path], False
    matches = sorted(glob.glob(path, recursive=True))  # noqa: PTH207
    return [match for match in matches if not os.path.isdir(match)], "**" in path  # noqa: PTH112


def _files_below(folder: str) -> Iterator[str]:
    for directory, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.normpath(os.path.join(directory, name))  # noqa: PTH118


def suffix_of(path: str) -> str:
    """Such as ``.jpg``, in small letters."""
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


def _picture(path: str) -> PictureFile:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:  # a dangling link, or gone since: the failure shows when it is read
        return PictureFile(path, -1, -1)
    return PictureFile(path, status.st_size, status.st_mtime_ns)
