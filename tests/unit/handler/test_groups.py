"""The framing of several pictures in one request, and of their answers in one reply."""

from __future__ import annotations

import contextlib
import random
import struct

import pytest

from marserve.handler.resnet18.errors import InvalidRequest
from marserve.handler.resnet18.groups import Buffer, decode_answers, decode_group, encode_answers, encode_group
from tests.mutations import mutate

PICTURES: list[tuple[int, Buffer]] = [(5, b"\xff\xd8\xff first"), (1000, b""), (0, bytes(300)), (2**32 - 1, b"x")]
ANSWERS = [(200, b'{"model":"resnet18"}'), (400, b'{"code":400}'), (413, b"")]
GROUP_BODY = b"".join(encode_group(PICTURES))
ANSWERS_BODY = encode_answers(0.0123456, ANSWERS)


def test_a_group_comes_back_as_it_was() -> None:
    assert [*decode_group(GROUP_BODY, 4)] == PICTURES


def test_the_framing_is_the_documented_one() -> None:
    assert b"".join(encode_group([(3, b"ab"), (5, b"c")])) == struct.pack("<II2sII1s", 3, 2, b"ab", 5, 1, b"c")
    assert encode_answers(0.25, [(200, b"{}")]) == struct.pack("<III2s", 250_000, 200, 2, b"{}")


def test_pictures_are_not_copied() -> None:
    picture = bytearray(b"a picture")
    assert encode_group([(5, picture)])[1] is picture
    body = bytearray(b"".join(encode_group([(5, picture)])))
    ((_, view),) = decode_group(body, 1)
    body[-1] ^= 1
    assert view.obj is body
    assert view != picture


def test_answers_come_back_as_they_were() -> None:
    assert decode_answers(ANSWERS_BODY) == (0.012346, ANSWERS)
    assert decode_answers(encode_answers(0, [])) == (0, [])


@pytest.mark.parametrize(("seconds", "found"), [(-1.0, 0.0), (1e9, 4294.967295)])
def test_a_time_that_has_no_room_becomes_the_nearest_that_has(seconds: float, found: float) -> None:
    assert decode_answers(encode_answers(seconds, []))[0] == found


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "it has no picture"),
        (GROUP_BODY[:7], "it ends within the head of picture 1"),
        (GROUP_BODY + bytes(7), "it ends within the head of picture 5"),
        (GROUP_BODY[:10], "picture 1 should have 9 bytes and has 2"),
        (GROUP_BODY[:-1], "picture 4 should have 1 bytes and has 0"),
        (struct.pack("<II", 5, 2**32 - 1), "picture 1 should have 4294967295 bytes and has 0"),
        (GROUP_BODY + bytes(8), "it has more than 4 pictures"),
    ],
)
def test_what_is_no_group_is_refused_with_what_is_wrong(body: bytes, fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        decode_group(body, 4)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"abc", "it ends within the worker's time, after 3 bytes"),
        (ANSWERS_BODY[:11], "it ends within the head of answer 1"),
        (ANSWERS_BODY[:20], "answer 1 should have 20 bytes and has 8"),
    ],
)
def test_what_is_no_reply_is_refused_with_what_is_wrong(body: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        decode_answers(body)


def test_every_cut_is_noticed_or_falls_between_two_pictures() -> None:
    whole = {len(b"".join(encode_group(PICTURES[:count]))): count for count in range(1, len(PICTURES))}
    for end in range(len(GROUP_BODY)):
        if end in whole:
            assert [*decode_group(GROUP_BODY[:end], 4)] == PICTURES[: whole[end]]
        else:
            with pytest.raises(InvalidRequest):
                decode_group(GROUP_BODY[:end], 4)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bodies_are_refused_or_mean_exactly_what_they_hold(seed: int) -> None:
    """What is read is what would be written as the same bytes: nothing is lost, made up or read twice."""
    chance = random.Random(seed)  # noqa: S311
    for _ in range(200):
        group, answers = mutate(GROUP_BODY, chance), mutate(ANSWERS_BODY, chance)
        with contextlib.suppress(InvalidRequest):
            assert b"".join(encode_group(decode_group(group, 100))) == group
        with contextlib.suppress(ValueError):
            assert encode_answers(*decode_answers(answers)) == answers
