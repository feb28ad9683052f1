"""What is left to compute: the pieces whose files are not there, and each picture that has no row yet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from marserve.bulk.output import Results, as_text
from marserve.bulk.pieces import SHARD_PART, Cut, Piece, ShardPiece, rows_written
from marserve.bulk.sources import Sources
from marserve.bulk.storage import is_address

#: Bytes of a picture in a shard, before any has been read.
USUAL_PICTURE_BYTES = 100_000
#: How many pieces each actor has at least of local shards.
PIECES_OF_SHARDS = 2


@dataclass(frozen=True)
class Missing:
    #: Shards first, the largest before the others, since they take longest.
    pieces: list[Piece]
    #: Pictures that have a row already.
    known: int
    #: Pictures that are files of their own and have none.
    files: int

    @property
    def shard_bytes(self) -> dict[str, float]:
        """Of each piece that is a shard or falls to one."""
        shards = (piece for piece in self.pieces if isinstance(piece, ShardPiece))
        return {piece.name: max(1, piece.size) / piece.of for piece in shards}

    def dealt(self, actors: int) -> Missing:
        """The same, where there are few shards each in several pieces, so that all ``actors`` have some."""
        shards = sum(isinstance(piece, ShardPiece) for piece in self.pieces)
        pieces: list[Piece] = []
        for piece in self.pieces:
            if isinstance(piece, ShardPiece):
                # One in an object store is read anew by each.
                of = math.ceil((1 if is_address(piece.path) else PIECES_OF_SHARDS) * actors / shards)
                pieces += [replace(piece, of=of, index=index) for index in range(of)]
            else:
                pieces.append(piece)
        return replace(self, pieces=pieces)


def usual_cut(sources: Sources, actors: int) -> Cut:
    """Where the user names no number of pictures for a file of results."""
    return Cut.usual(sources.pictures + sum(sources.shards.values()) // USUAL_PICTURE_BYTES, actors)


def find_missing(
    sources: Sources,
    results: Results,
    *,
    cut: Cut,
    picture_column: str | None = None,
    path_column: str | None = None,
) -> Missing:
    """Raises OSError where ``results`` cannot be read."""
    written = results.written()
    pieces = list(cut.pieces(sources.files))
    shards = [
        ShardPiece(path, size, cut.part_rows, picture_column=picture_column, path_column=path_column)
        for path, size in sources.shards.items()
    ]
    ours = {piece.name for piece in pieces}
    digests = {shard.digest for shard in shards}
    others = {name for name in written - ours if (part := SHARD_PART.fullmatch(name)) is None or part[1] not in digests}
    # Where pictures have come or gone, pieces are others than they were, and only paths say what is there.
    known = results.paths(others) if others else {}
    left = [piece for piece in pieces if piece.name not in written]
    if known:
        paths_known = set(known.get(None, ()))
        unknown = {
            root: [path for one in left if one.root == root for path in one.paths if as_text(path) not in paths_known]
            for root in sources.files
        }
        left = list(cut.pieces(unknown))
    files = sum(len(piece.paths) for piece in left)
    shard_pieces, shard_rows = _missing_shards(shards, written, known)
    return Missing([*shard_pieces, *left], sources.pictures - files + shard_rows, files)


def _missing_shards(
    shards: list[ShardPiece], written: set[str], known: Mapping[str | None, list[str]]
) -> tuple[list[ShardPiece], int]:
    """The shards that are not whole, and how many rows there are of all."""
    parts: dict[str, list[tuple[int, int | None]]] = {}
    for name in written:
        if match := SHARD_PART.fullmatch(name):
            parts.setdefault(match[1], []).append((int(match[2]), int(match[3]) if match[3] else None))
    rows, left = 0, []
    for shard in shards:
        if shard.path in known:
            shard = replace(shard, known=sorted(known[shard.path]))
            rows += len(shard.known)
        there = parts.get(shard.digest, [])
        count, is_whole = rows_written(shard.rows, there)
        rows += count
        if not is_whole:
            left.append(replace(shard, written=sorted(number for number, _ in there)))
    return sorted(left, key=lambda shard: -shard.size), rows
