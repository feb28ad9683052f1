"""Pieces of work: what an actor takes at a time and writes as a file of its own, named after what is in it.

So a piece that is computed again, since a host was lost, replaces its own file, and the names that are there show which
pieces are missing.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Literal, NamedTuple

from marserve.bulk.storage import is_address, open_file_system
from marserve.errors import MarserveError
from marserve.handler.resnet18.errors import ImageTooLarge, RequestError

#: Into how many pieces a run is cut, between these numbers of pictures for one; and how many pieces each actor has at
#: least where there are fewer pictures, down to the last number.
PIECES, USUAL_ROWS, MOST_ROWS = 1000, 64, 20_000
PIECES_EACH, LEAST_ROWS = 8, 8
#: Pictures that are read ahead of the network, at the same time: one from an object store takes some 50 ms.
READ_AHEAD = 16
#: How often a file of an object store is tried, and the seconds before the second try, which double.
TRIES, FIRST_WAIT_S = 4, 1.0
#: What a local file answers that cannot be read however often it is tried. Others, such as of a network file system
#: that has gone away, end the run: every picture would fail.
LASTING = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EIO}
    | {errno.ENXIO, errno.ENODEV, errno.EINVAL}
)


class CannotRead(RequestError):  # noqa: N818 - beside InvalidImage in the column of errors
    """The file is not there, or may not be read."""


class Source(NamedTuple):
    """One picture, by the name that its row has, and its bytes or why there are none."""

    path: str
    content: bytes | RequestError


@dataclass(frozen=True)
class Piece:
    """Some pictures, each a file of its own."""

    paths: Sequence[str]
    #: A local folder that they were found in; a host without it has not got the pictures.
    root: str | None = None
    kind: Literal["files"] = "files"

    @property
    def name(self) -> str:
        """Of the file with its results."""
        return f"part-{digest_of(self.paths)}.parquet"

    def as_json(self) -> str:
        """Names of files are bytes, which need not be UTF-8; JSON keeps what is none."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Piece:
        return cls(**json.loads(text))


def digest_of(names: Iterable[str]) -> str:
    """Of the names in their order; 128 bits, so that no two pieces share a name."""
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        digest.update(name.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def rows_per_file(pictures: int, actors: int) -> int:
    """How many pictures a piece has: a thousandth of them, so that files stay few and little is lost by a kill.

    Fewer of few pictures: each actor has several pieces, so that all end at about the same time.
    """
    rows = min(MOST_ROWS, max(USUAL_ROWS, pictures // PIECES))
    return max(LEAST_ROWS, min(rows, pictures // (actors * PIECES_EACH)))


def cut(paths: Sequence[str], rows: int, root: str | None = None) -> Iterator[Piece]:
    """``paths`` in pieces of ``rows``; the last has what is left."""
    for begin in range(0, len(paths), rows):
        yield Piece(paths[begin : begin + rows], root)


class FileReader:
    """Reads files ahead, within ``max_bytes`` for each. Use it in ``with``."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pool = ThreadPoolExecutor(READ_AHEAD, thread_name_prefix="read")

    def __enter__(self) -> FileReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read(self, piece: Piece) -> Iterator[Source]:
        """Its pictures in order. Raises MarserveError or OSError where not one picture but the storage fails."""
        if not any(map(is_address, piece.paths)):
            # The system reads ahead, and a thread would cost more than it saves.
            for path in piece.paths:
                yield Source(path, self._read_local(path, piece.root))
            return
        rest = iter(piece.paths)
        ahead: deque[tuple[str, Future[bytes | RequestError]]] = deque()
        ahead.extend((path, self._pool.submit(self._read_remote, path)) for path in islice(rest, READ_AHEAD))
        while ahead:
            path, content = ahead.popleft()
            yield Source(path, content.result())
            ahead.extend((path, self._pool.submit(self._read_remote, path)) for path in islice(rest, 1))

    def _read_local(self, path: str, root: str | None) -> bytes | RequestError:
        if is_address(path):
            return self._read_remote(path)
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - a Path for each of a million files is slow
                content = file.read(self._max_bytes + 1)
        except OSError as exc:
            if exc.errno not in LASTING:
                raise
            if root is not None and not os.path.isdir(root):  # noqa: PTH112
                raise MarserveError(
                    f"Folder {root} is not there on host {os.uname().nodename}: on a cluster it must be on every host, "
                    "or the pictures in an object store (s3://...)."
                ) from exc
            return CannotRead(f"{exc.strerror}.")
        return content if len(content) <= self._max_bytes else _too_large(os.path.getsize(path), self._max_bytes)  # noqa: PTH202

    def _read_remote(self, path: str) -> bytes | RequestError:
        wait_s = FIRST_WAIT_S
        for _ in range(TRIES - 1):
            with suppress(OSError):
                return self._try_remote(path)
            time.sleep(wait_s)
            wait_s *= 2
        return self._try_remote(path)

    def _try_remote(self, path: str) -> bytes | RequestError:
        system, place = open_file_system(path)
        try:
            with system.open_input_file(place) as file:
                size = file.size()
                return bytes(file.read()) if size <= self._max_bytes else _too_large(size, self._max_bytes)
        except FileNotFoundError:
            return CannotRead("No such file or directory.")


def _too_large(size: int, most: int) -> ImageTooLarge:
    return ImageTooLarge(f"The picture has {size:,} bytes, more than the {most:,} that are allowed.")
