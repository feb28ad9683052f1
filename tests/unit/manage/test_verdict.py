"""What live pictures show of a version: how often the tests are wrong, and how many pictures they take."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Callable

import pytest

from marserve.manage.verdict import ERROR, Judge, Limits, SequentialTest, Verdict, median, wilson
from marserve.web.rollout.files import Counts, Seen

LIMITS = Limits(max_disagreement=0.01, max_latency_ratio=1.25, max_error_rate=0.001, max_ended_workers=1)
#: Simulated trials of each row, and how far from the truth their share of wrong decisions may be: four deviations.
TRIALS = 1000
SLACK = 4 * math.sqrt(ERROR * (1 - ERROR) / TRIALS)


def seeded() -> random.Random:
    return random.Random(7)  # noqa: S311 - no secret


def decide(usual: float, too_many: float, is_event: Callable[[], bool]) -> tuple[str, int]:
    """How a trial ends, and after how many pictures."""
    test = SequentialTest(usual, too_many)
    pictures = 0
    while test.state == "undecided":
        pictures += 1
        event = is_event()
        test.observe(event, not event)
    return test.state, pictures


@pytest.mark.parametrize(
    ("share", "state", "most_pictures"),
    [
        (0.0, "passed", 310),
        (0.0025, "passed", 450),
        (0.005, "passed", 650),
        (0.02, "failed", 480),
        (0.05, "failed", 120),
    ],
)
def test_a_version_that_answers_2_percent_differently_is_caught_and_an_equal_one_passes(
    share: float, state: str, most_pictures: float
) -> None:
    chance = seeded()
    ends = [decide(0.005, 0.02, lambda: chance.random() < share) for _ in range(TRIALS)]
    assert sum(end != state for end, _ in ends) / TRIALS <= ERROR + SLACK
    assert statistics.mean(pictures for _, pictures in ends) <= most_pictures


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.5])
@pytest.mark.parametrize(("ratio", "state"), [(1.0, "passed"), (1.5, "failed")])
def test_a_version_that_is_slower_by_half_is_caught_however_restless_the_machine_is(
    ratio: float, state: str, sigma: float
) -> None:
    chance = seeded()
    ends = [decide(0.4, 0.6, lambda: ratio * math.exp(chance.gauss(0, sigma)) > 1.25) for _ in range(TRIALS)]
    assert sum(end != state for end, _ in ends) / TRIALS <= ERROR + SLACK
    assert statistics.mean(pairs for _, pairs in ends) <= 60


def test_a_version_that_fails_1_picture_in_500_is_caught() -> None:
    chance = seeded()
    ends = [decide(0.0005, 0.002, lambda: chance.random() < 1 / 500)[0] for _ in range(100)]
    assert ends.count("passed") <= 5
    assert decide(0.0005, 0.002, lambda: False) == ("passed", 3060)


def test_a_version_that_ends_a_worker_on_1_picture_in_500_does_not_live_until_its_failures_have_passed() -> None:
    pictures, share = 3060, 1 / 500
    none, one = (1 - share) ** pictures, pictures * share * (1 - share) ** (pictures - 1)
    assert none + one < 0.02, "with the one that may be anybody's fault"
    assert none < 0.003, "with --max-ended-workers 0"


def test_one_that_becomes_bad_after_it_has_passed_is_caught_as_soon() -> None:
    test = SequentialTest(0.005, 0.02)
    test.observe(0, 100_000)
    states = [test.state]
    for events, others in ((20, 300), (0, 10_000)):
        test.observe(events, others)
        states.append(test.state)
    assert states == ["passed", "failed", "failed"]


@pytest.mark.parametrize(
    ("events", "of", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 100, 0.0, 0.037), (50, 100, 0.404, 0.596), (7, 345, 0.0098, 0.0413)],
)
def test_intervals_of_shares_are_wilsons(events: int, of: int, low: float, high: float) -> None:
    assert wilson(events, of) == pytest.approx((low, high), abs=5e-4)


def test_the_median_lies_in_its_interval_19_times_of_20() -> None:
    chance = seeded()
    hits = 0
    for _ in range(TRIALS):
        middle, (low, high) = median([math.exp(chance.gauss(0, 0.3)) for _ in range(50)])
        assert low <= middle <= high
        hits += low <= 1 <= high
    assert 0.94 <= hits / TRIALS <= 0.98
    assert median([1.5]) == (1.5, (0.0, math.inf))


def seen(instance: str = "a", /, **counts: object) -> Seen:
    return Seen(instance=instance, order="one", counts=Counts.model_validate(counts))


def test_what_was_seen_adds_up_over_a_restart_of_the_web_service() -> None:
    judge = Judge(LIMITS)
    judge.observe(seen(live=10, answered=5, compared=4, disagreed=1, failed={"slow": 1}, pairs=[(10, 20)]))
    judge.observe(seen(live=20, answered=9, compared=8, disagreed=1, failed={"slow": 1}, pairs=[(10, 20), (10, 10)]))
    failed = {"slow": 1, "refused": 1, "worker_died": 4, "no_worker": 5}
    judge.observe(seen("b", live=3, answered=2, compared=1, failed=failed, ended_workers=1))
    assert (judge.live, judge.answered, judge.failed, judge.compared, judge.disagreed) == (23, 11, 3, 9, 1)
    assert (judge.ratios, judge.ended_workers, judge.without_worker) == ([2.0, 1.0], 1, 9)


@pytest.mark.parametrize(
    ("counts", "failed"),
    [
        ({"compared": 400, "disagreed": 8, "answered": 4000, "pairs": [(100, 101)] * 40}, "other answers"),
        ({"compared": 400, "answered": 4000, "pairs": [(100, 150)] * 40}, "time"),
        ({"compared": 400, "answered": 4000, "failed": {"failed": 12}, "pairs": [(100, 101)] * 40}, "failures"),
        ({"compared": 400, "answered": 4000, "ended_workers": 2, "pairs": [(100, 101)] * 40}, "workers ended"),
        ({"compared": 400, "answered": 4000, "ended_workers": 1, "pairs": [(100, 101)] * 40}, None),
    ],
)
def test_each_thing_that_is_compared_can_fail_a_version_by_itself(
    counts: dict[str, object], failed: str | None
) -> None:
    judge = Judge(LIMITS)
    judge.observe(seen(live=8000, **counts))
    assert [one.name for one in judge.findings() if one.state == "failed"] == ([failed] if failed else [])
    assert all(one.state != "undecided" for one in judge.findings())


def test_intended_answers_pass_and_are_told() -> None:
    judge = Judge(Limits(None, 1.25, 0.001, 1))
    judge.observe(seen(compared=400, disagreed=300))
    answers = judge.findings()[0]
    assert (answers.state, answers.value) == ("passed", 0.75)
    assert "they are intended" in answers.text


def test_a_verdict_is_json_without_infinities() -> None:
    judge = Judge(LIMITS)
    judge.observe(seen(pairs=[(10, 20)]))
    verdict = Verdict("resnet18", "2.0", "back", "time", 1.0, 0, 0, 0, judge.findings())
    content = json.loads(json.dumps(verdict.as_json(), allow_nan=False))
    assert content["findings"][1]["interval"] == [0.0, None]
