"""How many actors have room for as long as a run lasts."""

from __future__ import annotations

import pytest

from marserve.bulk.fit import DoesNotFitError, Host, Share, actors_that_fit, largest, most

CORE = Share(1)
HEAD = Host("head", Share(4), can_be_lost=False)
SMALL, LARGE = Host("small", Share(4)), Host("large", Share(8))


@pytest.mark.parametrize(
    ("hosts", "actor", "spare_hosts", "number"),
    [
        ([HEAD, SMALL, LARGE], CORE, 1, 8),  # without the large one
        ([HEAD, SMALL, LARGE], CORE, 2, 4),  # without both that can be lost
        ([HEAD, SMALL, LARGE], CORE, 0, 16),
        ([HEAD], CORE, 1, 4),  # no other host to lose
        ([SMALL], CORE, 1, 4),  # likewise, whoever the driver's host is
        ([HEAD, Host("no-cpus", Share(0))], CORE, 1, 4),
        ([Host("idle-head", Share(0), can_be_lost=False), SMALL, LARGE], CORE, 1, 4),
        ([HEAD, SMALL], Share(1.5), 0, 4),  # two on each: none is split
        ([Host("gpus", Share(32, 4))], Share(1, 1), 1, 4),
        ([Host("memory", Share(32, 0, 8e9))], Share(1, 0, 1.5e9), 1, 5),
        ([Host("tenths", Share(0.3))], Share(0.1), 1, 3),  # 0.3 // 0.1 is 2
    ],
)
def test_as_many_as_still_have_room_when_the_largest_host_is_lost(
    hosts: list[Host], actor: Share, spare_hosts: int, number: int
) -> None:
    assert actors_that_fit(hosts, actor, spare_hosts=spare_hosts) == number
    assert actors_that_fit(hosts, actor, wanted=number, spare_hosts=spare_hosts) == number
    with pytest.raises(DoesNotFitError):
        actors_that_fit(hosts, actor, wanted=number + 1, spare_hosts=spare_hosts)


def test_the_largest_host_is_the_one_whose_loss_costs_most_actors() -> None:
    """With GPUs, not the one with most cores."""
    cores, gpus = Host("cores", Share(64, 1)), Host("gpus", Share(8, 4))
    assert largest([HEAD, cores, gpus], Share(1, 1), 1) == [gpus]


def test_a_refusal_says_what_would_fit() -> None:
    with pytest.raises(DoesNotFitError) as refusal:
        actors_that_fit([HEAD, SMALL, LARGE], CORE, wanted=10)
    assert str(refusal.value) == (
        "10 actors of 1 CPU have no room once large is lost, and Ray may wait for ever.\n"
        "  head: 4 CPUs free\n"
        "  small: 4 CPUs free\n"
        "  large: 8 CPUs free, may be lost\n"
        "What fits: --actors 8; or --spare-hosts 0 (where a host is lost, the run ends, and the same command goes "
        "on); or hosts with 2 CPUs more in all, none larger than large."
    )


def test_what_a_refusal_says_would_fit_does() -> None:
    hosts = [HEAD, SMALL, LARGE]
    with pytest.raises(DoesNotFitError, match=r"--actors 8; or --actors 16 --spare-hosts 0 .* 92 CPUs more"):
        actors_that_fit(hosts, CORE, wanted=100)
    assert actors_that_fit(hosts, CORE, wanted=16, spare_hosts=0) == 16
    assert actors_that_fit([*hosts, *[Host("more", Share(8))] * 12], CORE, wanted=100) == 100


def test_a_cluster_with_one_host_that_works_does_not_survive_its_loss() -> None:
    hosts = [Host("head", Share(0), can_be_lost=False), SMALL]
    with pytest.raises(
        DoesNotFitError, match=r"1 actor of 1 CPU has no room once small is lost.*\n.*\n.*\n.*: --spare"
    ):
        actors_that_fit(hosts, CORE)
    assert actors_that_fit(hosts, CORE, spare_hosts=0) == 4


def test_nothing_fits_where_other_work_has_taken_all() -> None:
    assert most([Host("busy", Share(0)), Host("overdrawn", Share(-1))], CORE) == 0
    with pytest.raises(DoesNotFitError, match="has no room, and Ray may wait for ever"):
        actors_that_fit([Host("busy", Share(0.5))], CORE)
