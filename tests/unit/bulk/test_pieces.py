"""What an actor takes at a time, and what its files are called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from marserve.bulk.pieces import Cut, FilesPiece, ShardPiece, as_json, from_json, rows_written

SHARD = ShardPiece("/a/1.tar", 1000, 10)


@pytest.mark.parametrize(
    ("pictures", "actors", "first", "files", "part_rows"),
    [
        (3, 2, 3, 1, 8),
        (500, 2, 125, 14, 15),
        (2000, 2, 256, 21, 62),
        (100_000, 2, 256, 403, 256),
        (10**6, 2, 1000, 1017, 1000),
        (10**6, 2000, 250, 18_014, 31),
    ],
)
def test_files_stay_few_and_every_actor_has_several(
    pictures: int, actors: int, first: int, files: int, part_rows: int
) -> None:
    cut = Cut.usual(pictures, actors)
    sizes = sizes_of(cut, pictures)
    assert (sizes[0], len(sizes), cut.part_rows) == (first, files, part_rows)
    assert sum(sizes) == pictures


def test_a_billion_pictures_are_fifty_thousand_files() -> None:
    assert Cut.usual(10**9, 2).rows == 20_000


@pytest.mark.parametrize("actors", [2, 16])
def test_actors_of_which_one_is_slow_at_times_end_at_about_the_same_time(actors: int) -> None:
    """Each takes the next piece when it has one left; the time of a picture is one."""
    ends = [0.0] * actors
    for number, size in enumerate(sizes_of(Cut.usual(1000 * actors, actors), 1000 * actors)):
        first = ends.index(min(ends))
        ends[first] += size * (2 if number % 3 == 0 else 1)
    assert max(ends) - min(ends) <= 0.02 * max(ends)


def test_where_a_number_is_named_each_file_has_so_many() -> None:
    assert sizes_of(Cut(4, 4), 10) == [4, 4, 2]


def test_pictures_of_several_roots_share_no_piece() -> None:
    pieces = list(Cut(4, 4, actors=1).pieces({"/a": ["/a/1", "/a/2"], "/b": ["/b/1"]}))
    assert [(piece.root, piece.paths) for piece in pieces] == [("/a", ["/a/1", "/a/2"]), ("/b", ["/b/1"])]


def sizes_of(cut: Cut, pictures: int) -> list[int]:
    return [len(piece.paths) for piece in cut.pieces({None: [str(number) for number in range(pictures)]})]


def test_pieces_are_named_after_what_is_in_them() -> None:
    paths = [f"/a/{number}.jpg" for number in range(10)]
    first, second, third = Cut(4, 4).pieces({None: paths})
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
