"""Pieces of work: what an actor takes at a time, and the names of the files that it writes.

A name says what is in the file. So what is computed again, since a host was lost, replaces its own file, and the names
that are there show what is missing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

#: Into how many pieces a run is cut, between these numbers of pictures for one.
PIECES, USUAL_ROWS, MOST_ROWS = 1000, 256, 20_000
#: A piece has no more than an actor's share of what is left, over this, so that all actors end at about the same time;
#: nor fewer pictures than the last number.
SHARES, LEAST_ROWS = 2, 8
#: Parts of shards, which are dealt out beforehand: how many each actor has at least.
PARTS_EACH = 16
#: Part of a shard: which, and for the last one how many rows it has.
SHARD_PART = re.compile(r"part-([0-9a-f]{32})-(\d{6,})(?:-last-(\d+))?\.parquet")


@dataclass(frozen=True)
class FilesPiece:
    """Some pictures, each a file of its own, whose rows become one file."""

    kind: ClassVar[str] = "files"
    paths: Sequence[str]
    #: A local folder that they were found in; a host without it has not got the pictures.
    root: str | None = None

    @property
    def name(self) -> str:
        """Of the file with its rows."""
        return f"part-{digest_of(self.paths)}.parquet"


@dataclass(frozen=True)
class ShardPiece:
    """Those parts of a tar or Parquet file, of ``rows`` pictures each, that are missing and fall to this piece."""

    kind: ClassVar[str] = "shard"
    path: str
    #: Bytes: with another length it is another shard.
    size: int
    #: Pictures of a part; the last has what is left.
    rows: int
    #: Parts are dealt out to so many pieces, of which this is that.
    of: int = 1
    index: int = 0
    #: Parts that are there.
    written: Sequence[int] = ()
    #: Pictures that have a row from before the shard changed.
    known: Sequence[str] = ()
    #: Columns of a Parquet file; None: by what it holds.
    picture_column: str | None = None
    path_column: str | None = None

    @property
    def name(self) -> str:
        """For the run, not of a file."""
        return f"{self.digest}-{self.index}"

    @property
    def digest(self) -> str:
        """In the name of each part."""
        return digest_of([self.path, str(self.size), str(self.rows), *self.known])

    def part(self, number: int, last_rows: int | None = None) -> str:
        """The name of a part; ``last_rows`` are those of the last one."""
        last = "" if last_rows is None else f"-last-{last_rows}"
        return f"part-{self.digest}-{number:06}{last}.parquet"

    def is_wanted(self, number: int) -> bool:
        """Whether part ``number`` is to be computed here."""
        return number % self.of == self.index and number not in self.written


Piece = FilesPiece | ShardPiece


def as_json(piece: Piece) -> str:
    """Names of files are bytes, which need not be UTF-8; JSON keeps what is none."""
    return json.dumps({"kind": piece.kind, **asdict(piece)})


def from_json(text: str) -> Piece:
    content = json.loads(text)
    return FilesPiece(**content) if content.pop("kind") == "files" else ShardPiece(**content)


def digest_of(names: Iterable[str]) -> str:
    """Of the names in their order; 128 bits, so that no two pieces share a name."""
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        digest.update(name.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


@dataclass(frozen=True)
class Cut:
    """How many pictures each file of results has: the same cut of the same pictures has the same files."""

    rows: int
    #: Pictures of a part of a shard.
    part_rows: int
    #: Those who share the pieces of files; None: each piece has ``rows``.
    actors: int | None = None

    @classmethod
    def usual(cls, pictures: int, actors: int) -> Cut:
        """Files of a thousandth of the ``pictures``, so that they stay few and little is lost by a kill."""
        rows = min(MOST_ROWS, max(USUAL_ROWS, pictures // PIECES))
        return cls(rows, max(LEAST_ROWS, min(rows, pictures // (actors * PARTS_EACH))), actors)

    def pieces(self, files: Mapping[str | None, Sequence[str]]) -> Iterator[FilesPiece]:
        """The pictures of each root, in their order."""
        left = sum(map(len, files.values()))
        for root, paths in files.items():
            begin = 0
            while begin < len(paths):
                share = left if self.actors is None else max(LEAST_ROWS, left // (self.actors * SHARES))
                piece = FilesPiece(paths[begin : begin + min(self.rows, share)], root)
                begin += len(piece.paths)
                left -= len(piece.paths)
                yield piece


def rows_written(rows: int, parts: Collection[tuple[int, int | None]]) -> tuple[int, bool]:
    """How many rows the ``parts`` of a shard have, each its number and the rows of the last, and whether all are there.

    ``rows`` are those of every other part.
    """
    numbers = {number for number, _ in parts}
    last = [(number, count) for number, count in parts if count is not None]
    if not last:
        return rows * len(numbers), False
    ((number, count),) = last[:1]
    return rows * (len(numbers) - 1) + count, numbers >= set(range(number + 1))
