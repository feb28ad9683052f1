"""Where the pictures are: files, folders, patterns and lists, here or in an object store, and shards that hold many."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from marserve.bulk.storage import is_address, open_file_system
from marserve.errors import MarserveError
from marserve.pictures import NoPictureFoundError, describe_skipped, find_files, suffix_of

#: Files that hold many pictures, by how their names end.
TAR_ENDS = (".tar", ".tgz", ".tar.gz")
PARQUET_END = ".parquet"
#: What is taken from a folder; what else is packed ends in .gz too, so that a .tar.gz is named itself or by a pattern.
SHARD_SUFFIXES = frozenset({".tar", ".tgz", PARQUET_END})
MAGIC = re.compile(r"[*?[]")
#: What a list in Parquet may call its column of paths.
PATH_COLUMNS = ("path", "file_path", "file", "file_name", "filename", "uri", "url")


@dataclass
class Sources:
    """Each picture once, in the order that pieces are cut in."""

    #: Files that are a picture each, by the local folder that they were found in; None: they were named one by one.
    files: dict[str | None, list[str]] = field(default_factory=dict)
    #: Tar files and Parquet files, with their bytes.
    shards: dict[str, int] = field(default_factory=dict)
    #: The suffixes of files that were passed over.
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def pictures(self) -> int:
        """Files that are a picture each."""
        return sum(map(len, self.files.values()))


def is_shard(path: str) -> bool:
    return path.lower().endswith((*TAR_ENDS, PARQUET_END))


def find_sources(names: Iterable[str], listed: Iterable[str], suffixes: frozenset[str], *, output: str) -> Sources:
    """The pictures and shards that ``names`` mean, and then those that are ``listed`` one by one.

    Nothing in ``output`` is a source. Raises NoPictureFoundError, or MarserveError for a storage that does not answer.
    """
    sources = Sources()
    taken: set[str] = set()
    inside = f"{output.rstrip('/')}/"

    def take(path: str, root: str | None, size: int | None = None) -> None:
        if path in taken or path.startswith(inside):
            return
        taken.add(path)
        if is_shard(path):
            sources.shards[path] = _size(path) if size is None else size
        else:
            sources.files.setdefault(root, []).append(path)

    wanted = suffixes | SHARD_SUFFIXES
    for name in names:
        if is_address(name):
            for path, size in _find_remote(name, wanted, sources.skipped):
                take(path, None, size)
        else:
            found, skipped = find_files([name], wanted)
            sources.skipped += skipped
            root = os.path.abspath(name) if os.path.isdir(name) else None  # noqa: PTH100, PTH112
            for path in found:
                take(path, root)
    for name in listed:
        take(name if is_address(name) else os.path.abspath(name), None)  # noqa: PTH100
    if not taken:
        raise NoPictureFoundError("No picture found outside of --output.")
    return sources


def read_list(name: str) -> list[str]:
    """The paths in a list: text with one a line, or with NUL between them, or Parquet with a column of paths.

    Raises MarserveError.
    """
    try:
        if not is_address(name):
            name = os.path.abspath(name)  # noqa: PTH100
        system, path = open_file_system(name)
        if name.lower().endswith(PARQUET_END):
            return _column_of_paths(name)
        with system.open_input_stream(path, compression=None) as stream:
            content = bytes(stream.read())
    except OSError as exc:
        raise MarserveError(f"--files-from {name}: {exc}.") from exc
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(line) for line in lines if line]


def _column_of_paths(name: str) -> list[str]:
    import pyarrow.parquet as pq

    system, path = open_file_system(name)
    with system.open_input_file(path) as stream:
        file = pq.ParquetFile(stream)
        for column in PATH_COLUMNS:
            if column in file.schema_arrow.names:
                return [str(value) for value in file.read([column])[column].to_pylist() if value]
    raise MarserveError(
        f"--files-from {name}: it has no column of paths ({', '.join(PATH_COLUMNS)}). A Parquet file that has pictures "
        "in it is a SOURCE."
    )


def _find_remote(name: str, suffixes: frozenset[str], skipped: Counter[str]) -> Iterator[tuple[str, int]]:
    """Addresses with their bytes, sorted."""
    from pyarrow.fs import FileSelector, FileType

    if name.startswith(("http://", "https://")):
        raise NoPictureFoundError(f"{name}: pictures are not fetched from addresses of the web: download them first.")
    magic = MAGIC.search(name)
    folder = name[: magic.start()].rpartition("/")[0] if magic else name.rstrip("/")
    scheme, _, rest = folder.partition("://")
    system, root = open_file_system(folder)
    try:
        info = system.get_file_info(root)
        if info.type == FileType.File:
            yield folder, info.size
            return
        found = [] if info.type == FileType.NotFound else system.get_file_info(FileSelector(root, recursive=True))
    except OSError as exc:
        raise MarserveError(f"{name}: {exc}") from exc
    pattern = re.compile(translate(name[len(folder) + 1 :])) if magic else None
    nothing: Counter[str] = Counter()
    any_found = False
    for one in sorted((one for one in found if one.type == FileType.File), key=lambda one: one.path):
        below = one.path[len(root) :].lstrip("/")
        if any(part.startswith(".") for part in below.split("/")) or (pattern and not pattern.fullmatch(below)):
            continue
        if (pattern is None or "**" in name) and suffix_of(below) not in suffixes:
            nothing[suffix_of(below)] += 1
            continue
        any_found = True
        yield f"{scheme}://{rest}/{below}", one.size
    skipped += nothing
    if not any_found:
        told = describe_skipped(nothing)
        raise NoPictureFoundError(f"{name}: no picture found{f'; {told}' if told else ''}.")


def translate(pattern: str) -> str:
    """A shell's pattern as a regular expression: ``**`` is any number of folders, ``*`` stays in one."""
    result, place = "", 0
    while place < len(pattern):
        if pattern.startswith("**/", place):
            result, place = f"{result}(?:[^/]+/)*", place + 3
        elif pattern.startswith("**", place):
            result, place = f"{result}.*", place + 2
        elif pattern[place] in "*?":
            result, place = f"{result}[^/]{'*' if pattern[place] == '*' else ''}", place + 1
        elif pattern[place] == "[" and (end := pattern.find("]", place + 2)) > 0:
            inside = pattern[place + 1 : end].replace("\\", "\\\\")
            inside = f"^{inside[1:]}" if inside[0] == "!" else inside
            result, place = f"{result}[{inside}]", end + 1
        else:
            result, place = result + re.escape(pattern[place]), place + 1
    return result


def _size(path: str) -> int:
    if is_address(path):
        system, place = open_file_system(path)
        return int(system.get_file_info(place).size or 0)
    try:
        return os.path.getsize(path)  # noqa: PTH202
    except OSError:
        return 0
