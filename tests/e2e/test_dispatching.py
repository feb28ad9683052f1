"""One caller's flood, departure or deadly picture is no other's problem: order and counts, of a stack under load."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.dispatching import (
    SETTINGS,
    caller,
    edited_to_die,
    hurry,
    leave_at_once,
    send_killers,
    share,
)
from tests.e2e.operating import MODEL, done, rename_labels, variant
from tests.e2e.serving import SERVE, SharedStack, Stack, shared_stack, wait_for
from tests.e2e.steady_load import SteadyLoad

pytestmark = pytest.mark.needs("two-cores")

WORKERS = 2
#: Pictures that are on their way at most: a group for each worker and one at hand.
ON_THEIR_WAY = (WORKERS + 1) * 8
BULK = {"X-Priority": "bulk"}


@pytest.fixture(scope="module")
def dispatching(request: pytest.FixtureRequest) -> Iterator[SharedStack]:
    """A stack of this module's own: it bears a crowd, takes archives, and tells callers apart by their address."""
    with shared_stack(request, *SERVE, "--workers", str(WORKERS), "--model-api", **SETTINGS) as stack:
        yield stack


@pytest.fixture
def stack(dispatching: SharedStack) -> Stack:
    return dispatching.as_started()


def test_a_picture_that_kills_its_worker_fails_nobody_else(stack: Stack, tmp_path: Path) -> None:
    deadly = variant(stack, tmp_path, "6.6", edited_to_die)
    done(stack, "deploy", MODEL, "--archive", str(deadly), "--yes")
    with SteadyLoad(stack).running() as load:
        statuses = send_killers(stack, WORKERS, times=3)
        load.wait_for(load.clients)
    assert load.failures == []
    assert statuses == [requests.codes.unprocessable_entity] * 3, "each was found after two workers, and refused"
    done(stack, "rollback", MODEL, "--yes")


def test_a_caller_overtakes_the_backlog_of_another(stack: Stack) -> None:
    shared = asyncio.run(share(stack, connections=64, requests_alone=1, requests_beside=10, pause_s=0.2))
    # What is on its way, and the group that it goes with itself; more only where the client was slow to look.
    assert sorted(shared.overtaken_by)[5] <= ON_THEIR_WAY + 8, shared.overtaken_by
    assert set(shared.flood_statuses) == {requests.codes.ok}


def test_bulk_fills_the_gaps_and_delays_nobody(stack: Stack) -> None:
    shared = asyncio.run(
        share(
            stack, connections=64, requests_alone=1, requests_beside=10, pause_s=0.2, flood_headers=BULK,
            same_caller=True,
        )
    )  # fmt: skip
    assert sorted(shared.overtaken_by)[5] <= ON_THEIR_WAY, shared.overtaken_by
    assert set(shared.flood_statuses) == {requests.codes.ok}
    assert shared.flood_per_s > 0


def test_bulk_goes_behind_everything_that_waits(stack: Stack) -> None:
    async def order() -> list[float]:
        async with caller(stack, "192.0.2.1") as asking:
            await asking.send()
            bulk = [asyncio.create_task(asking.send(BULK)) for _ in range(64)]
            await asyncio.sleep(0.1)
            urgent = [asyncio.create_task(asking.send()) for _ in range(32)]
            last_urgent = max([reply.answered_at for reply in await asyncio.gather(*urgent)])
            replies = await asyncio.gather(*bulk)
            assert {reply.status for reply in replies} == {requests.codes.ok}
            return [reply.answered_at for reply in replies if reply.answered_at < last_urgent]

    # What had been answered or was on its way before, and nothing of the rest.
    assert len(asyncio.run(order())) <= ON_THEIR_WAY + 16


def test_who_has_left_is_not_computed_for(stack: Stack) -> None:
    left = asyncio.run(leave_at_once(stack, stay=64, leave=64))
    assert left.computed - left.answered <= ON_THEIR_WAY, left
    assert left.in_vain == 0, left


def test_what_is_accepted_is_in_time_and_what_is_refused_learns_when_to_come_back(stack: Stack) -> None:
    async def usual_s() -> float:
        async with caller(stack, "192.0.2.1") as asking:
            return sorted([(await asking.send()).seconds for _ in range(9)])[4]

    deadline_s = 8 * asyncio.run(usual_s())
    hurried = asyncio.run(hurry(stack, connections=96, deadline_s=deadline_s, seconds=6))
    assert hurried.statuses[requests.codes.ok], hurried
    assert set(hurried.statuses) <= {requests.codes.ok, requests.codes.unavailable, requests.codes.gateway_timeout}
    assert hurried.untruthful == 0, hurried
    # A second is this client's own: 96 connections of one process, on cores that the workers keep busy.
    assert hurried.accepted_s[-1] < deadline_s + 1, hurried


def test_no_request_of_a_crowd_is_lost_or_wrong_while_the_stack_changes(stack: Stack, tmp_path: Path) -> None:
    second = variant(stack, tmp_path, "2.0", rename_labels)
    with SteadyLoad(stack, clients=256).running() as load:
        for workers in (1, 2):
            done(stack, "scale", MODEL, "--workers", str(workers), "--yes")
        done(stack, "deploy", MODEL, "--archive", str(second), "--no-compare", "--yes")
        wait_for(lambda: load.versions["2.0"] > 0)
    assert load.failures == []
    assert set(load.versions) == {"1.0", "2.0"}
    done(stack, "rollback", MODEL, "--yes")
