"""What a session has kept is read as it was, and its loads take turns."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.planned import session
from marserve.errors import MarserveError
from marserve.plan import measure, stages
from marserve.plan.arrivals import arrival_process
from marserve.plan.measure import PodFacts
from marserve.plan.service import ServiceAddress
from tests.unit.plan.fake_service import BATCH, FakeService

PICTURES = [b"\xff\xd8" + bytes([number]) * 100 for number in range(5)]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a service that computes nothing, in some seconds."""
    for module, name, seconds in [
        (measure, "WARM_UP_S", 0.2), (measure, "PART_S", 0.4), (measure, "FEWEST", 5), (stages, "ROUND_S", 0.6),
        (stages, "RAMP_S", 0.1),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, seconds)

    with FakeService().running() as url:

        @contextmanager
        def own_pod(archive: Path | None, workers: int) -> Any:
            yield 5001, 4.5

        monkeypatch.setattr(session, "own_pod", own_pod)
        monkeypatch.setattr(session, "service_of", lambda _: ServiceAddress(url))
        monkeypatch.setattr(session, "facts_of", lambda *_: PodFacts(batch_size=BATCH))
        pairs = session.order([arrival_process("poisson"), arrival_process("gamma-4")], [0.4])
        session.run(tmp_path / "kept", PICTURES, pairs, 0.8, None)
    return tmp_path / "kept"


def test_everything_is_kept_and_read_again(kept: Path) -> None:
    found = session.read(kept)
    assert [part.stage.arrivals for part in found.parts] == ["poisson", "gamma-4", "gamma-4", "poisson"]
    assert len({part.stage.seed for part in found.parts}) == 2
    assert len(found.recording.stages) == measure.STAGES
    capacity = found.recording.evaluated().capacity
    for part in found.parts:
        assert 0.4 * min(capacity.rounds_per_s) <= part.stage.per_s <= 0.4 * max(capacity.rounds_per_s)
    for part in found.parts:
        assert part.stage.done.status.count(200) > 0
        assert any("worker;dur=" in kept for kept in part.stage.done.kept)
    again = session.Part(stages.Stage.from_json(asdict(found.parts[1].stage)), found.parts[1].disturbance)
    assert again == found.parts[1]


def test_loads_stand_between_the_stages_of_the_measurement() -> None:
    begun = [session.begun_after(stages, 12) for stages in range(measure.STAGES + 1)]
    between = [later - earlier for earlier, later in pairwise(begun)]
    assert begun[-1] == sum(between) == 12
    # None before the first stage or after the last one, by which the capacity is known and the machine seen again.
    assert (between[-1], begun[0]) == (0, 0)
    assert set(between[:-1]) == {1, 2}


def test_loads_and_arrivals_take_turns() -> None:
    processes = [arrival_process("poisson"), arrival_process("gamma-4")]
    pairs = session.order(processes, [0.5, 0.7, 0.85])
    assert Counter(load for _, load in pairs) == {0.5: 2, 0.7: 2, 0.85: 2}
    assert len(pairs) == len(set(pairs))
    assert all(one is not other for (one, _), (other, _) in pairwise(pairs))
    assert len(session.order([*processes, arrival_process("gamma-2")], [0.5])) == 3


@pytest.mark.parametrize(("seconds", "count"), [(0.8, 2), (100.0, 2), (120.0, 2), (121.0, 3), (360.0, 6)])
def test_long_loads_come_in_more_parts_each_with_arrivals_of_its_own(seconds: float, count: int) -> None:
    pairs = session.order([arrival_process("poisson")], [0.5, 0.7])
    parts = session.parts_of(pairs, seconds)
    assert Counter(pair for pair, _ in parts) == dict.fromkeys(pairs, count)
    assert len(set(parts)) == len(parts)
    # There and back, so that a machine that grows slower does so for all of them.
    assert [pair for pair, _ in parts[:4]] == [*pairs, *pairs[::-1]]


def test_folder_that_is_no_session_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MarserveError, match="no session"):
        session.read(tmp_path)
