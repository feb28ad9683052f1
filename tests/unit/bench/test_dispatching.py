"""The dispatcher answers nearly as many in time as an all-knowing scheduler, and never more."""

from __future__ import annotations

import pytest

from bench.simulation import __main__ as command
from bench.simulation.dispatching import WAY_S, capacity_per_s, compare, queued
from bench.simulation.server import SimulatedMachine
from marserve.plan.arrivals import arrival_process

MACHINE = SimulatedMachine(batch_size=8, batch_s=0.001, picture_s=0.005, spread=0.1)


def test_queue_alone_answers_in_batches_in_the_order_of_arrival() -> None:
    machine = SimulatedMachine(batch_size=2, batch_s=0.0, picture_s=0.01, spread=0.0)
    took = queued([0.0, 0.001, 0.002, 0.003], machine, 1, seed=1)
    # The first goes alone; two wait for it together, then the last.
    assert took == pytest.approx([0.01 + WAY_S, 0.029 + WAY_S, 0.028 + WAY_S, 0.037 + WAY_S])


@pytest.mark.parametrize("name", ["poisson", "gamma-4"])
@pytest.mark.parametrize("load", [0.5, 0.85, 1.2])
def test_dispatcher_is_between_a_queue_and_who_knows_everything(name: str, load: float) -> None:
    arrivals = arrival_process(name).times(4000, load * capacity_per_s(MACHINE, 2), seed=7)
    found = compare(arrivals, MACHINE, workers=2, deadline_s=0.1, seed=7)
    assert found.by_queue - 0.001 * found.requests <= found.by_dispatcher <= found.all_knowing
    assert found.by_dispatcher >= 0.9 * found.all_knowing
    assert found.by_dispatcher + found.refused + found.late == found.requests
    assert found.late <= 0.02 * found.requests


def test_nothing_is_late_where_times_are_as_they_are_known() -> None:
    machine = SimulatedMachine(batch_size=8, batch_s=0.001, picture_s=0.005, spread=0.0)
    arrivals = arrival_process("gamma-4").times(4000, 0.85 * capacity_per_s(machine, 2), seed=7)
    found = compare(arrivals, machine, workers=2, deadline_s=0.1, seed=7)
    assert (found.late, found.worst_late_s) == (0, 0.0)


def test_command_compares_answers_in_time(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "REQUESTS", 300)
    monkeypatch.setattr("sys.argv", ["bench.simulation", "--cores", "2", "--deadline-ms", "100"])
    assert command.main() == 0
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[2:]] == [name for name in ("poisson", "gamma-2", "gamma-4") for _ in range(5)]
    assert [float(line[1]) for line in lines[2:7]] == [0.5, 0.7, 0.85, 1.0, 1.2]
