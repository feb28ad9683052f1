"""The parts of a picture's time are the whole of it, and workers' seconds are compared size by size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.planned.spent import PARTS, spent
from tests.unit.plan.measurements import POD, open_stage


@pytest.mark.parametrize("factor", [1.0, 1.2])
def test_pod_that_is_slower_than_the_simulated_one_is_seen_by_its_workers(factor: float) -> None:
    stage = open_stage(replace(POD, pace=(factor,)), "poisson", 0.6, 90.0, 5, 2000)
    found = spent(POD, stage)
    assert found.worker_ratio == pytest.approx(factor, rel=0.03)
    latencies = stage.done.latencies_ms()
    assert sum(found.real_ms) == pytest.approx(sum(latencies) / len(latencies), rel=0.001)
    worker = PARTS.index("worker")
    if factor == 1.0:
        assert found.real_ms == pytest.approx(found.simulated_ms, rel=0.15)
    else:
        assert found.real_ms[worker] > 1.1 * found.simulated_ms[worker]
