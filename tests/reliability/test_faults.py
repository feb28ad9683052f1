"""The most telling faults under load, in one stack: ``python -m tests.reliability faults`` has them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reliability.faults import ROWS
from tests.reliability.stage import Stage, opened

pytestmark = pytest.mark.needs("two-cores")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with opened() as stage:
        yield stage


@pytest.mark.parametrize(
    "fault",
    ["workers-killed", "java-killed", "web-killed", "supervisor-killed", "key-file-garbage"],
)
def test_callers_lose_nothing_but_time(stage: Stage, fault: str) -> None:
    row = ROWS[fault](stage)
    assert row.holds, row
