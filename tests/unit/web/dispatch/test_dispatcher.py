"""The dispatcher in simulated time."""

from __future__ import annotations

import pytest

from tests.unit.web.dispatch.simulation import Picture, Simulation, Workers, gamma, poisson

SEEDS = [1, 2, 3]


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
    assert max(len(group.jobs) for group in simulation.groups) <= 8


@pytest.mark.parametrize("seed", SEEDS)
def test_each_group_has_a_worker_for_itself(seed: int) -> None:
    """TorchServe gives one worker what comes within its batch delay; another one would be idle meanwhile."""
    simulation = Simulation(Workers(count=3, noise=0.2), gamma(500, 5, 4, seed), seed).run()
    shared = sum(len(batch) > 1 for batch in simulation.batches)
    assert shared <= 0.01 * len(simulation.batches)


@pytest.mark.parametrize("seed", SEEDS)
def test_workers_compute_little_that_comes_too_late(seed: int) -> None:
    """Their times are known but roughly, and what they have begun is computed to its end."""
    pictures = gamma(400, 30, 4, seed, deadline_s=0.1)
    Simulation(Workers(noise=0.15), pictures, seed).run()
    answered = [picture for picture in pictures if picture.answered_at is not None]
    assert sum(not picture.in_time for picture in answered) <= 0.02 * len(answered)
    assert sum(picture.in_time for picture in pictures) >= 0.79 * len(pictures)
