"""Live traffic decides on a real stack, in a minute: ``python -m tests.reliability canaries`` has all of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from tests.reliability.canaries import DEPLOYMENT_S, ROWS, Trials, stage

pytestmark = [pytest.mark.needs("two-cores"), pytest.mark.timeout(DEPLOYMENT_S + 300)]


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    with stage(argparse.Namespace(), load=0.3) as trials:  # where the machine becomes slower there are gaps still
        yield trials


@pytest.mark.parametrize("trial", ["slower-by-half", "deploy-killed"])
def test_the_version_before_answers_all_again_and_callers_lose_nothing(trials: Trials, trial: str) -> None:
    row = ROWS[trial](trials)
    assert row.holds, row
