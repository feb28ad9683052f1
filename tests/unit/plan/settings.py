"""One pod of a hundred pictures a second, one at a time, and what is wanted of it."""

from __future__ import annotations

import pytest

from marserve.plan.arrivals import arrival_process
from marserve.plan.planning import Goal, Setting
from marserve.plan.pod_spec import PodSpec

POISSON = arrival_process("poisson")
SETTING = Setting(
    PodSpec(1, ((0.01,),), max_in_flight=512, deadline_s=10.0), Goal(0.1, 0.99), POISSON, cold_start_s=10.0
)


@pytest.fixture
def few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan takes a second."""
    monkeypatch.setattr("marserve.plan.planning.REQUESTS", 3000)
    monkeypatch.setattr("marserve.plan.mishaps.LONG_REQUESTS", 20_000)
    monkeypatch.setattr(Setting.run, "__kwdefaults__", {"requests": 3000})
