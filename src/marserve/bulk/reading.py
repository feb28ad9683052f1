"""The pictures of a piece, one after the other: files, members of a tar file, cells of a Parquet file."""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import os
import tarfile
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, count, islice
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from marserve.bulk.pieces import FilesPiece, Piece, ShardPiece
from marserve.bulk.sources import PARQUET_END, PATH_COLUMNS
from marserve.bulk.storage import is_address, open_file_system
from marserve.errors import MarserveError
from marserve.handler.resnet18.errors import ImageTooLarge, RequestError
from marserve.pictures import picture_suffixes, suffix_of

if TYPE_CHECKING:
    import pyarrow as pa

#: Which of some pictures of a shard are to be read, by their paths.
Wanted = Callable[[Sequence[str]], list[bool]]

#: Pictures that are read ahead of the network, at the same time: one from an object store takes some 50 ms.
READ_AHEAD = 16
#: Bytes that are read at a time of a shard in an object store, and of each column of a Parquet file.
TAR_BUFFER_BYTES, PARQUET_BUFFER_BYTES = 1 << 22, 1 << 20
#: Pictures of a Parquet file that are in memory at a time.
PARQUET_ROWS = 32
#: What a Parquet file may call its column of pictures, where it has several with bytes.
PICTURE_COLUMNS = ("image", "picture", "bytes", "content", "data", "image_bytes", "jpg", "jpeg", "png")
#: What a shard that is cut off or no shard raises; Arrow's own is a ValueError.
DAMAGED = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError)
#: How often a file of an object store is tried, and the seconds before the second try, which double.
TRIES, FIRST_WAIT_S = 4, 1.0
#: What a local file answers that cannot be read however often it is tried. Others, such as of a network file system
#: that has gone away, end the run: every picture would fail.
LASTING = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EIO}
    | {errno.ENXIO, errno.ENODEV, errno.EINVAL}
)


class CannotRead(RequestError):  # noqa: N818 - beside InvalidImage in the column of errors
    """The file is not there, may not be read, or is no shard to its end."""


class Source(NamedTuple):
    """One picture, by the name that its row has, and its bytes or why there are none."""

    path: str
    content: bytes | RequestError


class EndOfPart(NamedTuple):
    """The rows since the last one are a file of this name."""

    name: str


class Reader:
    """Reads pieces, within ``max_bytes`` for each picture."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pool = ThreadPoolExecutor(READ_AHEAD, thread_name_prefix="read")
        self._suffixes = picture_suffixes(heic=True)
        #: How much of the piece has been read, 0 to 1.
        self.share = 0.0

    def read(self, piece: Piece) -> Iterator[Source | EndOfPart]:
        """Its pictures in order, with the ends of its files. Raises MarserveError, or OSError where storage fails."""
        self.share = 0.0
        if isinstance(piece, ShardPiece):
            yield from self._read_shard(piece)
            return
        for number, source in enumerate(self._read_files(piece)):
            self.share = number / len(piece.paths)
            yield source
        yield EndOfPart(piece.name)

    def _read_files(self, piece: FilesPiece) -> Iterator[Source]:
        if not any(map(is_address, piece.paths)):
            # The system reads ahead, and a thread would cost more than it saves.
            yield from (Source(path, self._read_local(path, piece.root)) for path in piece.paths)
            return
        rest = iter(piece.paths)
        ahead: deque[tuple[str, Future[bytes | RequestError]]] = deque()
        ahead.extend((path, self._pool.submit(self._read_file, path)) for path in islice(rest, READ_AHEAD))
        while ahead:
            path, content = ahead.popleft()
            yield Source(path, content.result())
            ahead.extend((path, self._pool.submit(self._read_file, path)) for path in islice(rest, 1))

    def _read_file(self, path: str) -> bytes | RequestError:
        return self._read_remote(path) if is_address(path) else self._read_local(path, None)

    def _read_local(self, path: str, root: str | None) -> bytes | RequestError:
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
        return content if len(content) <= self._max_bytes else self._too_large(os.path.getsize(path))  # noqa: PTH202

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
                return bytes(file.read()) if size <= self._max_bytes else self._too_large(size)
        except FileNotFoundError:
            return CannotRead("No such file or directory.")

    def _read_shard(self, piece: ShardPiece) -> Iterator[Source | EndOfPart]:
        known = set(piece.known)
        number = 0

        def wanted(paths: Sequence[str]) -> list[bool]:
            following = count(number)
            return [path not in known and piece.is_wanted(next(following) // piece.rows) for path in paths]

        for path, content in self._pictures(piece, wanted):
            if path in known:
                continue
            part, place = divmod(number, piece.rows)
            if part and not place and piece.is_wanted(part - 1):
                yield EndOfPart(piece.part(part - 1))
            if content is not None:
                yield Source(path, content)
            number += 1
        last = max(0, number - 1) // piece.rows
        if piece.is_wanted(last):
            yield EndOfPart(piece.part(last, number - last * piece.rows))

    def _pictures(self, piece: ShardPiece, wanted: Wanted) -> Iterator[tuple[str, bytes | RequestError | None]]:
        """Every picture of a shard, with its content where it is wanted; last a row for a shard that is damaged.

        In an object store it is opened again where that fails.
        """
        begun, wait_s = 0, FIRST_WAIT_S
        is_parquet = piece.path.lower().endswith(PARQUET_END)
        for attempt in range(TRIES):
            try:
                found = self._cells(piece, wanted) if is_parquet else self._members(piece, wanted)
                for picture in islice(found, begun, None):
                    yield picture
                    begun += 1
                return
            except (*DAMAGED, FileNotFoundError, PermissionError) as exc:  # noqa: PERF203
                why = str(exc) or type(exc).__name__
                yield piece.path, CannotRead(f"After {begun:,} pictures the shard cannot be read: {why}.")
                return
            except OSError:
                if not is_address(piece.path) or attempt == TRIES - 1:
                    raise
                time.sleep(wait_s)
                wait_s *= 2

    def _members(self, piece: ShardPiece, wanted: Wanted) -> Iterator[tuple[str, bytes | RequestError | None]]:
        with _opened(piece.path) as stream, tarfile.open(fileobj=stream, mode="r:*") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined] # else it keeps all of them
                if not member.isreg() or suffix_of(member.name) not in self._suffixes:
                    continue
                self.share = stream.tell() / max(1, piece.size)
                path = f"{piece.path}/{member.name}"
                if not wanted([path])[0]:
                    yield path, None
                elif member.size > self._max_bytes:
                    yield path, self._too_large(member.size)
                else:
                    content = tar.extractfile(member)
                    yield path, content.read() if content else CannotRead("It is no file.")

    def _cells(self, piece: ShardPiece, wanted: Wanted) -> Iterator[tuple[str, bytes | RequestError | None]]:
        import pyarrow.parquet as pq

        with _opened(piece.path) as stream, pq.ParquetFile(stream, buffer_size=PARQUET_BUFFER_BYTES) as file:
            picture, named = columns_of(piece, file.schema_arrow)
            row = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                names = file.read_row_group(group, [named])[named].to_pylist() if named else [None] * rows
                paths = [name or f"{piece.path}#{row + index}" for index, name in enumerate(names)]
                row += rows
                self.share = row / file.metadata.num_rows
                flags = wanted(paths)
                if not any(flags):
                    yield from ((path, None) for path in paths)
                    continue
                cells = chain.from_iterable(
                    batch.column(0) for batch in file.iter_batches(PARQUET_ROWS, row_groups=[group], columns=[picture])
                )
                for path, is_wanted, cell in zip(paths, flags, cells, strict=True):
                    yield path, _content_of(cell.as_py()) if is_wanted else None

    def _too_large(self, size: int) -> ImageTooLarge:
        return ImageTooLarge(f"The picture has {size:,} bytes, more than the {self._max_bytes:,} that are allowed.")


def columns_of(piece: ShardPiece, schema: pa.Schema) -> tuple[str, str | None]:
    """The columns of a Parquet file with pictures, and with their paths, if any. Raises MarserveError."""
    import pyarrow.types as types

    def is_binary(column: pa.DataType) -> bool:
        if types.is_struct(column):  # as Hugging Face's datasets have it
            index = column.get_field_index("bytes")
            return index >= 0 and is_binary(column.field(index).type)
        return bool(types.is_binary(column) or types.is_large_binary(column) or types.is_fixed_size_binary(column))

    names = list(schema.names)
    binary = [name for name in names if is_binary(schema.field(name).type)]
    usual = [name for name in PICTURE_COLUMNS if name in binary]
    picture = piece.picture_column or (binary[0] if len(binary) == 1 else usual[0] if usual else None)
    if picture is None or picture not in binary:
        raise MarserveError(
            f"{piece.path}: which column has the pictures? Give --picture-column; there are: {', '.join(names)}."
        )
    path = piece.path_column or next((name for name in PATH_COLUMNS if name in names), None)
    if path is not None and path not in names:
        raise MarserveError(f"{piece.path}: there is no column {path}; there are: {', '.join(names)}.")
    return picture, path


def _content_of(cell: bytes | dict[str, Any] | None) -> bytes | RequestError:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return CannotRead("The cell is empty.") if content is None else content


def _opened(path: str) -> IO[bytes]:
    if not is_address(path):
        return open(path, "rb")  # noqa: PTH123
    system, place = open_file_system(path)
    return cast("IO[bytes]", io.BufferedReader(system.open_input_file(place), TAR_BUFFER_BYTES))
