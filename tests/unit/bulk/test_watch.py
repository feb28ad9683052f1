"""A run that gets nothing done is noticed, told and ended."""

from __future__ import annotations

import pytest

from marserve.bulk.watch import FIRST_S, LOOK_S, SLOWER, TOLD_S, StalledError, Standing, Watch


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Ray:
    """What it says when it is asked."""

    standing = Standing(frozenset({"head", "a"}), 2, 0)

    def __call__(self) -> Standing:
        return self.standing


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ray() -> Ray:
    return Ray()


@pytest.fixture
def watch(clock: Clock, ray: Ray) -> Watch:
    return Watch(ray, 1000, clock=clock)


def pass_by(watch: Watch, clock: Clock, seconds: float) -> None:
    end = clock.now + seconds
    while clock.now < end:
        clock.now = min(end, clock.now + LOOK_S)
        watch.check()


def test_nothing_is_said_while_pieces_are_finished(
    watch: Watch, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    pass_by(watch, clock, FIRST_S - 1)
    for _ in range(10):
        watch.finished(0.5 * TOLD_S)
        pass_by(watch, clock, SLOWER * 0.5 * TOLD_S - 1)
    assert capsys.readouterr().err == ""


def test_a_stall_is_told_less_and_less_often(watch: Watch, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    watch.finished(1)
    pass_by(watch, clock, TOLD_S)
    assert capsys.readouterr().err == (
        "Nothing was finished for 60 s: 2 of 2 actors work (hosts: 2). "
        "The run ends after 1000 s of this (--stall-limit).\n"
    )
    pass_by(watch, clock, 900 - TOLD_S)
    assert capsys.readouterr().err.count("Nothing was finished") == 3, "after 120, 240 and 480 s"


def test_a_lost_host_is_told_at_once_and_named_where_its_actors_have_no_room(
    watch: Watch, clock: Clock, ray: Ray, capsys: pytest.CaptureFixture[str]
) -> None:
    pass_by(watch, clock, LOOK_S)
    watch.finished(1)
    ray.standing = Standing(frozenset({"head"}), 1, 1)
    pass_by(watch, clock, LOOK_S)
    assert capsys.readouterr().err == "Host a is lost. What it had not written is computed again by others.\n"
    pass_by(watch, clock, TOLD_S)
    assert "1 of 2 actors work, 1 load the archive or wait for room on a host (hosts: 1, a lost)." in (
        capsys.readouterr().err
    )
    ray.standing = Standing(frozenset({"head", "a"}), 2, 0)  # another of that name
    watch.finished(1)
    pass_by(watch, clock, TOLD_S)
    assert "(hosts: 2)" in capsys.readouterr().err


def test_the_run_ends_at_the_limit_and_says_why(watch: Watch, clock: Clock) -> None:
    with pytest.raises(
        StalledError, match=r"Nothing was finished for 1000 s: 2 of 2 actors work .* the same command goes on"
    ):
        pass_by(watch, clock, 2000)
    assert clock.now == 2000
    assert StalledError.exit_status == 3


def test_a_short_limit_leaves_actors_the_time_to_begin(clock: Clock, ray: Ray) -> None:
    watch = Watch(ray, 20, clock=clock)
    pass_by(watch, clock, FIRST_S - 1)
    watch.finished(1)
    with pytest.raises(StalledError, match="for 20 s"):
        pass_by(watch, clock, 100)
