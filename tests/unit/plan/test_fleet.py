"""Pods behind a load balancer: by hand where that can be, and more of them never answer fewer in time."""

from __future__ import annotations

import math

import pytest

from marserve.plan.arrivals import arrival_process
from marserve.plan.fleet import BALANCES, NOTICE_S, REPLACE_S, Fleet, LostZone
from marserve.plan.hpa import HpaRules
from marserve.plan.pod import simulate
from marserve.plan.pod_spec import PodSpec

SPEC = PodSpec(1, ((1.0,),))


def poisson(count: int, per_s: float, seed: int = 1) -> list[float]:
    return arrival_process("poisson").times(count, per_s, seed)


@pytest.mark.parametrize("balance", BALANCES)
def test_a_lone_pod_answers_as_by_itself(balance: str) -> None:
    due = poisson(500, 0.8)
    run = Fleet(SPEC, 1, due, balance=balance).run()  # type: ignore[arg-type]
    assert run.took == simulate(SPEC, due)


def test_the_pod_with_the_fewest_requests_gets_the_next() -> None:
    # Two at once go to two pods; the third waits for neither for longer than the first needs.
    run = Fleet(SPEC, 2, [0.0, 0.0, 0.5, 1.2, 1.3]).run()
    assert run.took == pytest.approx([1.0, 1.0, 1.5, 1.0, 1.7]) or run.took == pytest.approx([1.0, 1.0, 1.5, 1.0, 1.2])
    assert run.percentile_s(50) == pytest.approx(1.0)


def test_fewest_requests_beats_turns_and_turns_beat_chance() -> None:
    due = poisson(8000, 4 * 0.8, seed=3)
    spec = PodSpec(1, ((1.0,),), noise=((0.2, 0.4, 2.4),))
    means = [sum(filter(None, Fleet(spec, 4, due, balance=balance).run().took)) for balance in BALANCES]
    assert means == sorted(means)


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("name", ["poisson", "gamma-4"])
def test_more_pods_never_answer_fewer_in_time(name: str, balance: str) -> None:
    due = arrival_process(name).times(4000, 1.5, seed=2)
    shares = [Fleet(SPEC, pods, due, balance=balance).run().share(4.0) for pods in (2, 3, 5, 8)]  # type: ignore[arg-type]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


def test_equal_seeds_repeat() -> None:
    due = poisson(500, 2.0)
    runs = [Fleet(SPEC, 3, due, balance="random", seed=seed).run().took for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_a_zone_that_is_lost_takes_what_it_had_and_what_comes_until_that_is_noticed() -> None:
    due = [float(second) for second in range(100)]
    spec = PodSpec(1, ((0.1,),))
    run = Fleet(spec, 2, due, balance="round-robin", lost=LostZone(2, 19.5), cold_start_s=5.0).run()
    lost = [at for at, took in zip(due, run.took, strict=True) if took is None]
    # By turns, every other of those ten seconds.
    assert lost == [21.0, 23.0, 25.0, 27.0, 29.0]
    assert run.unanswered(19.5, 19.5 + NOTICE_S) == 0.5
    assert [ready for _, _, ready in run.pods if ready != 2][:1] == [1]
    assert next(at for at, _, ready in run.pods if at > 20 and ready == 2) == 19.5 + NOTICE_S + REPLACE_S + 5.0


def test_the_autoscaler_adds_pods_after_a_sync_and_a_cold_start() -> None:
    due = poisson(3000, 30.0, seed=1)  # three times what one pod can do, for 100 s
    spec = PodSpec(1, ((0.1,),))
    alone = Fleet(spec, 1, due).run()
    scaled = Fleet(spec, 1, due, autoscaled=HpaRules(1, 6), cold_start_s=5.0).run()
    # The first sync knows nothing yet; the second sees a queue, adds four, and they answer 5 s later.
    assert next((at, there) for at, there, _ in scaled.pods if there > 1) == (30.0, 5)
    assert next(at for at, _, ready in scaled.pods if ready == 5) == 35.0
    assert scaled.share(1.0, since_s=80.0) > 0.99 > alone.share(1.0, since_s=80.0) == 0.0
    assert scaled.pod_seconds == pytest.approx(
        sum(there * (later - at) for (at, there, _), (later, _, _) in zip(scaled.pods, scaled.pods[1:], strict=False))
    )
    assert 30 + 5 * 60 < scaled.pod_seconds < 6 * 100


def test_nobody_answers_where_there_is_no_pod() -> None:
    run = Fleet(SPEC, 1, [0.0, 30.0, 31.0], lost=LostZone(1, 10.0)).run()
    assert run.took == [1.0, None, None]
    assert run.percentile_s(99) == 1.0
    assert Fleet(SPEC, 1, []).run().percentile_s(50) == math.inf
