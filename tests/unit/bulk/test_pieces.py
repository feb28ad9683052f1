"""What an actor takes at a time, and what its files are called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marserve.bulk.pieces import FilesPiece, ShardPiece, as_json, cut, from_json, rows_per_file, rows_written

SHARD = ShardPiece("/a/1.tar", 1000, 10)


@pytest.mark.parametrize(
    ("pictures", "actors", "rows"),
    [
        (3, 2, 8),
        (500, 2, 15),
        (2000, 2, 62),
        (100_000, 2, 100),
        (10**6, 2, 1000),
        (10**9, 2, 20_000),
        (10**6, 2000, 31),
    ],
)
def test_files_stay_few_and_every_actor_has_several(pictures: int, actors: int, rows: int) -> None:
    assert rows_per_file(pictures, actors) == rows


def test_pieces_are_named_after_what_is_in_them() -> None:
    paths = [f"/a/{number}.jpg" for number in range(10)]
    first, second, third = cut(paths, 4)
    assert [len(piece.paths) for piece in (first, second, third)] == [4, 4, 2]
    assert first.name == FilesPiece(paths[:4]).name
    assert len({first.name, second.name, third.name, FilesPiece([*paths[:3], "/a/3.jpg/a/4.jpg"]).name}) == 4


@pytest.mark.parametrize("change", [{"size": 1001}, {"rows": 11}, {"known": ["/a/1.tar/1.jpg"]}, {"path": "/a/2.tar"}])
def test_another_shard_has_files_of_other_names(change: dict[str, object]) -> None:
    assert replace(SHARD, **change).digest != SHARD.digest  # type: ignore[arg-type]


def test_how_a_shard_is_dealt_out_does_not_show_in_the_names() -> None:
    dealt = [replace(SHARD, of=3, index=index, written=[4]) for index in range(3)]
    assert {piece.part(7) for piece in dealt} == {SHARD.part(7)}
    assert len({piece.name for piece in dealt}) == 3
    assert [[number for number in range(9) if piece.is_wanted(number)] for piece in dealt] == [
        [0, 3, 6],
        [1, 7],
        [2, 5, 8],
    ]


@pytest.mark.parametrize("piece", [FilesPiece([b"/a/caf\xe9.jpg".decode("utf-8", "surrogateescape")], "/a"), SHARD])
def test_pieces_travel_even_with_names_that_are_no_text(piece: FilesPiece | ShardPiece) -> None:
    again = from_json(as_json(piece))
    assert (again.name, as_json(again)) == (piece.name, as_json(piece))


@pytest.mark.parametrize(
    ("parts", "rows", "whole"),
    [
        ([], 0, False),
        ([(0, None), (2, None)], 20, False),
        ([(0, None), (1, 3)], 13, True),
        ([(1, 3)], 3, False),
        ([(0, 0)], 0, True),
    ],
)
def test_a_shard_is_whole_when_the_last_part_and_all_before_are_there(
    parts: list[tuple[int, int | None]], rows: int, whole: bool
) -> None:
    assert rows_written(10, parts) == (rows, whole)
