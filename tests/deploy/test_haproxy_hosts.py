"""Two real stacks behind haproxy: ``python -m tests.reliability several-hosts`` has more, and writes what it saw."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reliability.several_hosts import NEEDS, ROWS
from tests.reliability.stage import Stage, opened

pytestmark = pytest.mark.needs(*NEEDS)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with opened() as stage:
        yield stage


@pytest.mark.parametrize("what", ["quiet", "host-killed", "host-cut", "host-stopped"])
def test_nothing_fails_but_what_a_lost_host_had_begun(stage: Stage, what: str) -> None:
    row = ROWS[what](stage)
    assert row.holds, row
