"""The simulation: its server obeys queueing theory, and the autoscaler beats what it is compared with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import REPOSITORY
from bench.simulation.server import SimulatedMachine, simulate
from marserve.autoscale.rules import Rules
from marserve.plan import arrivals as traffic

MACHINE = SimulatedMachine()
RULES = Rules(1, 8)


def test_the_simulated_server_waits_as_theory_says() -> None:
    # M/D/1 at 60 % load: the mean wait is load / (2 (1 - load)) service times; 0.75 of 10 ms.
    machine = SimulatedMachine(batch_size=1, max_in_flight=10**6, batch_s=0.0, picture_s=0.01, spread=0.0)
    arrivals = list(traffic.steady(60.0, 2000.0, seed=1))
    outcome = simulate(arrivals, machine, 1, cores=1)
    assert outcome.wait_mean_s == pytest.approx(0.0075, rel=0.05)
    assert (outcome.refused, outcome.mean_workers) == (0, 1.0)


def test_equal_seeds_give_equal_outcomes() -> None:
    outcomes = [simulate(traffic.burst(20.0, 300.0, 400.0, seed=3), MACHINE, RULES, cores=8) for _ in range(2)]
    assert outcomes[0] == outcomes[1]


def test_under_steady_traffic_it_finds_a_number_and_keeps_it() -> None:
    outcome = simulate(traffic.steady(200.0, 600.0, seed=3), MACHINE, RULES, cores=8)
    assert outcome.wait_mean_s < 0.05, "the first seconds with one worker included"
    assert 3.9 <= outcome.mean_workers <= outcome.most_workers <= 6
    assert outcome.changes <= 5


def test_over_a_day_it_waits_less_than_the_mean_number_of_workers_would() -> None:
    arrivals = list(traffic.daily(25.0, 400.0, 900.0, seed=3))
    autoscaled = simulate(arrivals, MACHINE, RULES, cores=8)
    fixed = simulate(arrivals, MACHINE, round(autoscaled.mean_workers), cores=8)
    assert autoscaled.mean_workers < 6.5
    assert autoscaled.wait_p99_s < fixed.wait_p99_s / 2
    assert autoscaled.refused <= fixed.refused


def test_it_never_uses_more_than_the_cores() -> None:
    outcome = simulate(traffic.steady(300.0, 60.0, seed=3), MACHINE, RULES, cores=3)
    assert outcome.most_workers == 3
    assert outcome.refused > 0


def test_the_command_compares_the_autoscaler_with_fixed_numbers_of_workers(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("time,requests\n0,200\n10,0\n20,0\n")
    command = [sys.executable, "-m", "bench.simulation", str(tmp_path / "r.csv"), "--cores", "2"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    assert [row[1] for row in table] == ["workers", "---", "1", "2", "autoscaled 1..2"]
