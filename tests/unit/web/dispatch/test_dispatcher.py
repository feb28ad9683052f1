"""The dispatcher among callers and workers in simulated time."""

from __future__ import annotations

import math
import random

import pytest

from marserve.web.dispatch.dispatcher import Dispatcher
from marserve.web.dispatch.jobs import Job
from marserve.web.dispatch.urgency import Urgency
from marserve.web.dispatch.worker_capacity import WorkerCapacity
from marserve.web.errors import WouldBeLate
from tests.unit.web.dispatch.simulation import Picture, Simulation, Workers, gamma, poisson

SEEDS = [1, 2, 3]
MAX_GROUP_BYTES = 4_000_000


def percentile(pictures: list[Picture], share: float) -> float:
    """Seconds that ``share`` of the answered ones took at most."""
    took = sorted(picture.took_s for picture in pictures if picture.answered_at is not None)
    return took[math.ceil(len(took) * share) - 1]


def mixed(seed: int, seconds: float = 5.0, rate: float = 300.0) -> list[Picture]:
    """Callers of all kinds: three of them, short and long deadlines, bulk, large pictures, and some who leave."""
    chance = random.Random(seed)  # noqa: S311
    pictures = gamma(rate, seconds, 3, seed)
    for picture in pictures:
        picture.caller = chance.choice("abc")
        picture.deadline_s = chance.choice([0.05, 0.1, 0.3, 2.0])
        picture.is_bulk = chance.random() < 0.2
        picture.size_bytes = chance.choice([5_000, 100_000, 100_000, 900_000, 6_000_000])
        picture.goes_alone = chance.random() < 0.05
        if chance.random() < 0.3:
            picture.leaves_at = picture.arrives_at + chance.expovariate(20)
    return pictures


def test_a_lone_picture_goes_to_an_idle_worker_at_once() -> None:
    (picture,) = pictures = [Picture(1.0)]
    Simulation(Workers(), pictures).run()
    assert picture.sent_at == 1.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("load", [50, 200, 500])
def test_every_picture_of_an_open_stream_is_answered_once(seed: int, load: float) -> None:
    pictures = poisson(load, 5, seed, deadline_s=60)
    simulation = Simulation(Workers(noise=0.2), pictures, seed).run()
    assert all(picture.answered_at is not None for picture in pictures)
    sent = [job for group in simulation.groups for job in group.jobs]
    assert len(sent) == len(set(sent)) == len(pictures)


@pytest.mark.parametrize("seed", SEEDS)
def test_limits_of_groups_hold_and_each_picture_is_answered_or_refused(seed: int) -> None:
    """The simulation itself checks that nothing is sent whose time is over or whose caller has left."""
    pictures = mixed(seed)
    simulation = Simulation(Workers(noise=0.2), pictures, seed, max_group_bytes=MAX_GROUP_BYTES).run()
    for picture in pictures:
        assert (picture.answered_at is None) != (picture.refusal is None)
    assert {picture.refusal for picture in pictures} >= {None, "refused", "left"}
    for group in simulation.groups:
        assert 1 <= len(group.jobs) <= 8
        assert len(group.jobs) == 1 or sum(job.size_bytes for job in group.jobs) <= MAX_GROUP_BYTES
        assert len(group.jobs) == 1 or not any(job.goes_alone for job in group.jobs)
        kinds = {job.content.is_bulk for job in group.jobs}
        assert len(kinds) == 1
    assert simulation.dispatcher.is_idle


@pytest.mark.parametrize("seed", SEEDS)
def test_no_worker_is_idle_while_an_interactive_picture_waits(seed: int) -> None:
    def check(simulation: Simulation) -> None:
        dispatcher = simulation.dispatcher
        assert len(dispatcher.on_way) <= dispatcher.capacity.workers + 1
        if dispatcher.waiting and len(dispatcher.on_way) < dispatcher.capacity.workers:
            # Only while a worker might take two groups at once.
            assert dispatcher.wake_at - simulation.now <= dispatcher.capacity.gather_s + 1e-9

    Simulation(Workers(count=3, noise=0.3), gamma(400, 5, 4, seed), seed, check=check).run()


@pytest.mark.parametrize("seed", SEEDS)
def test_each_group_has_a_worker_for_itself(seed: int) -> None:
    """TorchServe gives one worker what comes within its batch delay; another one would be idle meanwhile."""
    simulation = Simulation(Workers(count=3, noise=0.2), gamma(500, 5, 4, seed), seed).run()
    shared = sum(len(batch) > 1 for batch in simulation.batches)
    assert shared <= 0.01 * len(simulation.batches)


def test_pictures_that_come_together_are_shared_among_the_idle_workers() -> None:
    simulation = Simulation(Workers(count=4), [Picture(1.0) for _ in range(8)])
    simulation.together = True
    simulation.run()
    assert [len(group.jobs) for group in simulation.groups] == [2, 2, 2, 2]


def test_the_earliest_deadline_goes_first() -> None:
    chance = random.Random(1)  # noqa: S311
    warm = [Picture(0.1 * i) for i in range(10)]
    pictures = [Picture(2 + i / 1e6, deadline_s=chance.uniform(5, 9)) for i in range(40)]
    Simulation(Workers(count=1), warm + pictures).run()
    waited = pictures[2:]  # the first was sent alone, the second is at hand
    in_order = sorted(waited, key=lambda picture: picture.arrives_at + picture.deadline_s)
    assert [picture.sent_at for picture in in_order] == sorted(picture.sent_at or 0 for picture in waited)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flood_of_one_caller_delays_the_others_by_a_bounded_time(seed: int) -> None:
    def sparse() -> list[Picture]:
        return [Picture(1 + i * 1.003, caller="sparse", deadline_s=10) for i in range(20)]

    alone = sparse()
    Simulation(Workers(noise=0.1), alone, seed).run()
    pictures = sparse()
    flood = [Picture(1 + i / 600, caller="flood", deadline_s=3) for i in range(12_600)]
    Simulation(Workers(noise=0.1), pictures + flood, seed).run()
    assert all(picture.in_time for picture in pictures)
    assert percentile(pictures[1:], 0.99) <= 3 * percentile(alone, 0.99)


def test_callers_with_the_same_appetite_get_the_same() -> None:
    pictures = [Picture(i / 2000, caller=caller, deadline_s=100) for caller in "ab" for i in range(4000)]
    pictures += [Picture(0.5 + i / 2000, caller="late", deadline_s=50) for i in range(2000)]
    simulation = Simulation(Workers(), pictures)
    simulation.run()
    served = dict.fromkeys("ab", 0)
    for group in simulation.groups:
        if not 1 <= group.sent_at <= 10:
            continue
        for job in group.jobs:
            if job.content.caller in served:
                served[job.content.caller] += 1
    assert abs(served["a"] - served["b"]) <= 4


@pytest.mark.parametrize("seed", SEEDS)
def test_bulk_fills_gaps_and_delays_the_others_by_little(seed: int) -> None:
    without = poisson(60, 20, seed)
    Simulation(Workers(noise=0.1), without, seed).run()
    pictures = poisson(60, 20, seed)
    bulk = [Picture(i / 200, caller="job", is_bulk=True, deadline_s=60) for i in range(2000)]
    simulation = Simulation(Workers(noise=0.1), pictures + bulk, seed).run()
    assert all(picture.answered_at is not None for picture in bulk)
    assert percentile(pictures, 0.99) <= percentile(without, 0.99) + 0.02
    for group in simulation.groups:
        assert not group.jobs[0].content.is_bulk or group.company <= 2, "bulk takes no place at hand"


def test_bulk_has_all_workers_where_nobody_else_wants_them() -> None:
    bulk = [Picture(1 + i / 2000, is_bulk=True) for i in range(500)]
    Simulation(Workers(), bulk).run()
    took = max(picture.answered_at or 0 for picture in bulk) - 1
    assert took <= 1.2 * 500 * 1.5 * 0.003 / 2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("load", [200, 400, 800])
def test_what_is_known_to_be_late_is_not_computed(seed: int, load: float) -> None:
    """Where services take as long as they did before, next to nothing that is sent comes late."""
    pictures = gamma(load, 10, 2, seed, deadline_s=0.1)
    Simulation(Workers(), pictures, seed).run()
    answered = [picture for picture in pictures if picture.answered_at is not None]
    late = sum(not picture.in_time for picture in answered if picture.arrives_at > 0.2)  # nothing was known before
    assert late <= 0.002 * len(answered)
    assert sum(picture.in_time for picture in pictures) >= 0.9 * most_in_time(pictures)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_bursts_are_answered_in_time_nearly_as_often_as_can_be(seed: int, noise: float) -> None:
    """Gamma arrivals, CV 4, at 0.85 of what the workers can do, with 100 ms for each."""
    pictures = gamma(0.85 * CAPACITY, 30, 4, seed, deadline_s=0.1)
    Simulation(Workers(noise=noise), pictures, seed).run()
    assert sum(picture.in_time for picture in pictures) >= 0.9 * most_in_time(pictures)


#: Pictures a second that ``Workers()`` compute in full batches.
CAPACITY = 2 * 8 / (8 * 1.5 * 0.003 + 0.001 + 0.001)
#: Seconds of the fastest answer: the way, and half of the cores' time for one picture.
FASTEST_S = 0.001 + 0.001 + 0.001 + 1.5 * 0.003 / 2


def most_in_time(pictures: list[Picture]) -> int:
    """How many anybody could answer in time: full batches without any being full, in the order of arrival."""
    backlog_s, before, count = 0.0, 0.0, 0
    for picture in pictures:
        backlog_s = max(backlog_s - (picture.arrives_at - before), 0)
        before = picture.arrives_at
        if backlog_s + FASTEST_S <= picture.deadline_s:
            backlog_s += 1 / CAPACITY
            count += 1
    return count


def test_retry_after_is_true() -> None:
    """A flood fills the queue; what is refused is answered in time if it is sent again then, and nothing more comes."""
    warm = [Picture(i * 0.02, deadline_s=5) for i in range(100)]
    flood = [Picture(3 + i / 5000, deadline_s=4) for i in range(3000)]
    first = Simulation(Workers(), warm + flood).run()
    refused = [picture for picture in flood if picture.refusal == "refused"]
    assert refused
    error = first.errors[-1]
    assert error.retry_after_s is not None
    again = Picture(refused[-1].arrives_at + error.retry_after_s, deadline_s=4)
    warm = [Picture(i * 0.02, deadline_s=5) for i in range(100)]
    flood = [Picture(picture.arrives_at, deadline_s=4) for picture in flood if picture.refusal is None]
    Simulation(Workers(), warm + flood + [again]).run()
    assert again.in_time


def test_nothing_is_refused_for_ever_by_what_was_once_true() -> None:
    """Workers that were slow when they were last seen may be fast now: whoever is refused does not find out."""
    workers = Workers(unit_s=0.3)
    pictures = [Picture(float(i), deadline_s=0.1) for i in range(30)]
    simulation = Simulation(workers, pictures)

    def check(_: Simulation) -> None:
        if simulation.now > 3:
            workers.unit_s = 0.003

    simulation.check = check
    simulation.run()
    assert any(picture.refusal == "refused" for picture in pictures)
    assert all(picture.in_time for picture in pictures[-15:])


def test_more_workers_are_used_and_fewer_are_not_flooded() -> None:
    def check(simulation: Simulation) -> None:
        assert len(simulation.dispatcher.on_way) <= max(simulation.dispatcher.capacity.workers, most.pop()) + 1
        most.append(len(simulation.dispatcher.on_way))

    most = [0]
    pictures = poisson(1000, 9, deadline_s=60)
    scaling = [(3.0, 4), (6.0, 1)]
    simulation = Simulation(Workers(count=1), pictures, scaling=scaling, catalogue_s=0.5, check=check).run()
    assert all(picture.answered_at is not None for picture in pictures)
    company = {
        second: [group.company for group in simulation.groups if second <= group.sent_at < second + 1]
        for second in (2, 5, 8)
    }
    assert max(company[2]) == 2
    assert max(company[5]) == 5
    assert max(company[8]) == 2


@pytest.mark.parametrize("catalogue_s", [0.5, 6.0])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_picture_that_kills_its_worker_harms_nobody_else(workers: int, catalogue_s: float) -> None:
    """Also as long as the worker that ended is believed to be READY."""
    pictures = [Picture(0.5 + i / 40, deadline_s=30) for i in range(1200)]
    for picture in pictures[50::600]:
        picture.kills = True
    simulation = Simulation(Workers(workers, noise=0.1), pictures, catalogue_s=catalogue_s).run()
    assert {picture.refusal for picture in pictures if not picture.kills} == {None}
    assert {picture.refusal for picture in pictures if picture.kills} == {"killed"}
    for batch in simulation.batches:
        suspects = [group for group in batch if group.is_suspect]
        assert not suspects or len(batch) == len(batch[0].jobs) == 1


def test_archive_without_groups_gets_single_pictures_that_fill_torchserves_batches() -> None:
    pictures = [Picture(1 + i / 5000, deadline_s=60) for i in range(400)]
    simulation = Simulation(Workers(reads_groups=False), pictures).run()
    assert {len(group.jobs) for group in simulation.groups} == {1}
    assert max(group.company for group in simulation.groups) == 24
    assert sum(len(batch) == 8 for batch in simulation.batches) >= 40


def test_without_known_workers_one_request_waits_at_torchserve() -> None:
    simulation = Simulation(Workers(), [Picture(1.0), Picture(1.0001), Picture(1.5)], told=0).run()
    assert max(group.company for group in simulation.groups) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_workers_compute_little_that_comes_too_late(seed: int) -> None:
    """Their times are known but roughly, and what they have begun is computed to its end."""
    pictures = gamma(400, 30, 4, seed, deadline_s=0.1)
    Simulation(Workers(noise=0.15), pictures, seed).run()
    answered = [picture for picture in pictures if picture.answered_at is not None]
    assert sum(not picture.in_time for picture in answered) <= 0.02 * len(answered)
    assert sum(picture.in_time for picture in pictures) >= 0.79 * len(pictures)


def test_a_picture_that_is_larger_than_any_before_is_tried_and_not_refused_by_what_small_ones_took() -> None:
    dispatcher = Dispatcher(max_group_bytes=MAX_GROUP_BYTES, on_drop=lambda *_: None)
    dispatcher.capacity = WorkerCapacity(1, 8, reads_groups=True)
    now = 0.0
    for size_bytes, took in ((10_000, 0.1), (22_000_000, 2.0)):
        dispatcher.submit(Job(None, size_bytes), Urgency("a", now + 10), now)
        group = dispatcher.take(now)
        assert group is not None
        dispatcher.finish(group, now + took, took)
        now += took
    with pytest.raises(WouldBeLate):
        dispatcher.submit(Job(None, 22_000_000), Urgency("a", now + 1), now)


def test_after_overload_a_lone_picture_is_tried_and_not_refused_by_what_groups_took() -> None:
    """Refused, it would teach nothing, and everyone after it would be refused as well."""
    dispatcher = Dispatcher(max_group_bytes=MAX_GROUP_BYTES, on_drop=lambda *_: None)
    dispatcher.capacity = WorkerCapacity(2, 8, reads_groups=True)
    chance, now = random.Random(1), 0.0  # noqa: S311
    for _ in range(60):
        for _ in range(8):
            dispatcher.submit(Job(None, 100_000), Urgency("a", now + 10), now)
        while (group := dispatcher.take(now)) is not None:
            took = chance.uniform(0.05, 0.25)
            dispatcher.finish(group, now + took, took)
            now += took + 0.01
    assert dispatcher.is_idle
    lone = Job(None, 100_000)
    dispatcher.submit(lone, Urgency("a", now + 0.1), now)
    group = dispatcher.take(now)
    assert group is not None
    assert group.jobs == [lone]
    dispatcher.finish(group, now + 0.02, 0.01)
    with pytest.raises(WouldBeLate):
        dispatcher.submit(Job(None, 100_000), Urgency("a", now + 0.02 + 0.001), now + 0.02)
