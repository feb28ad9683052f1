"""The chart on the throw-away cluster that KUBECONFIG names: ``python -m tests.deploy.cluster`` writes the table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.cluster.release import Stage
from tests.deploy.cluster.rows import ROWS
from tests.reliability.table import CannotRunHereError

pytestmark = [pytest.mark.needs("kubernetes-cluster"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.clear()


@pytest.mark.parametrize("name", ROWS)
def test_what_callers_see_holds(stage: Stage, name: str) -> None:
    try:
        row = ROWS[name](stage)
    except CannotRunHereError as exc:
        pytest.xfail(str(exc))
    assert row.holds, row
