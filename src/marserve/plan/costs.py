"""What the processes of a pod, and the load generator, spend on pictures, by their clocks before and after loads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from marserve.plan.groups import groups_of
from marserve.plan.load import OpenLoad
from marserve.plan.measurement import Cost, Processors
from marserve.plan.stages import Stage

#: Seconds without a request or an answer after which the web service has nothing to do, and must wake up for the next.
ASLEEP_S = 0.002
#: Rounds of the least squares, each of which is some microseconds: groups and wakes rise together.
STEPS = 2000


def processors(stages: Sequence[Stage]) -> Processors | None:
    """By least squares over the loads, whose groups have other sizes; each load counts as much as any other."""
    if not all(stage.cpu_s for stage in stages):
        return None
    counts = [
        (float(stage.done.status.count(200)), float(len(groups_of(stage.done))), float(_wakes(stage.done)))
        for stage in stages
    ]

    def cost(name: str) -> Cost:
        spent = [stage.done.cpu_s if name == "generator" else stage.cpu_s[name] for stage in stages]
        # Only the web service is told of each picture as it comes.
        picture_s, group_s, wake_s = _least_squares(counts, spent, 3 if name == "web" else 2)
        return Cost(picture_s=picture_s, group_s=group_s, wake_s=wake_s)

    return Processors(
        web=cost("web"), torchserve=cost("torchserve"), worker=cost("workers"), generator=cost("generator")
    )


def _wakes(done: OpenLoad) -> int:
    """Requests that came while nothing else did."""
    answers = [at for at, status in zip(done.answered, done.status, strict=True) if status == 200]
    moments = sorted([*((at, True) for at in done.due), *((at, False) for at in answers)])
    before = [(-ASLEEP_S, False), *moments]
    return sum(is_request and at - earlier > ASLEEP_S for (earlier, _), (at, is_request) in pairwise(before))


def _least_squares(counts: Sequence[tuple[float, ...]], spent: Sequence[float], used: int) -> tuple[float, ...]:
    """Seconds of each of the first ``used`` counts, none of them negative; of the others 0. One after the other is
    fitted to what the others leave, as shares of what was spent.
    """
    shares = [
        tuple(count / seconds for count in each) for each, seconds in zip(counts, spent, strict=True) if seconds > 0
    ]
    found = [0.0] * len(counts[0])
    for _ in range(STEPS):
        for kind in range(used):
            squares = sum(each[kind] ** 2 for each in shares)
            left = sum(
                each[kind] * (1 - sum(one * seconds for one, seconds in zip(each, found, strict=True)))
                for each in shares
            )
            found[kind] = max(found[kind] + left / squares, 0.0) if squares else 0.0
    return tuple(found)
