"""Files here and in object stores: local paths, and addresses such as ``s3://bucket/folder`` for what Arrow opens."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from marserve.errors import MarserveError
from marserve.system.files import replacing

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.DOTALL)


def is_address(name: str) -> bool:
    """Whether ``name`` is no path of this machine."""
    return ADDRESS.match(name) is not None


def open_file_system(name: str) -> tuple[FileSystem, str]:
    """The file system of address ``name``, and its path there. Raises MarserveError."""
    match = ADDRESS.match(name)
    if match is None:
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem(), name
    scheme, rest = match.groups()
    bucket, slash, key = rest.partition("/")
    system, root = _system_of(f"{scheme}://{bucket}")
    return system, f"{root}{slash}{key}"


@lru_cache(maxsize=64)
def _system_of(root: str) -> tuple[FileSystem, str]:
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

    try:
        # What is opened late and closed soon is one request instead of three.
        options = "?allow_delayed_open=true" if root.startswith("s3://") else ""
        system, path = FileSystem.from_uri(root + options)
        return system, path.rstrip("/")
    except (ArrowException, OSError, ValueError) as exc:
        unknown = exc
    scheme, _, bucket = root.partition("://")
    try:
        import fsspec

        return PyFileSystem(FSSpecHandler(fsspec.filesystem(scheme))), bucket
    except (ImportError, ValueError) as exc:
        raise MarserveError(f"{root}: no file system is known for this ({unknown}; {exc}).") from exc


class Folder:
    """Where results go. A file appears there under its name when it is whole."""

    def __init__(self, name: str) -> None:
        self.name = name.rstrip("/") or name
        self._local = None if is_address(name) else Path(name)

    @property
    def local(self) -> Path | None:
        """The directory; None in an object store."""
        return self._local

    def create(self) -> None:
        """Make the directory; an object store has none."""
        if self._local is not None:
            self._local.mkdir(parents=True, exist_ok=True)

    def files(self) -> list[str]:
        """The names of the files directly in it."""
        if self._local is not None:
            return [file.name for file in self._local.iterdir()]
        from pyarrow.fs import FileSelector

        system, path = open_file_system(self.name)
        return [found.base_name for found in system.get_file_info(FileSelector(path, allow_not_found=True))]

    def read(self, file: str) -> bytes:
        """Raises FileNotFoundError, or another OSError."""
        if self._local is not None:
            return (self._local / file).read_bytes()
        system, path = open_file_system(f"{self.name}/{file}")
        with system.open_input_stream(path) as stream:
            return bytes(stream.read())

    def write(self, file: str, content: bytes) -> None:
        """Raises OSError; then ``file`` is not there, or as it was before."""
        if self._local is not None:
            with replacing(self._local / file) as beside:
                beside.write(content)
            return

        def upload() -> None:
            system, path = open_file_system(f"{self.name}/{file}")
            with system.open_output_stream(path) as stream:
                stream.write(content)

        # An object appears when its stream is closed, which Python does as well where a block is left early: an actor
        # that is ended after the opening would leave an empty one. No signal raises in a thread.
        with ThreadPoolExecutor(1, thread_name_prefix="upload") as thread:
            thread.submit(upload).result()
