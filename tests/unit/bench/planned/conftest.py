"""What is drawn by chance is drawn less often: a figure is a little less exact, and no test looks at that."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest


@pytest.fixture(scope="module", autouse=True)
def fewer_simulations() -> Iterator[None]:
    with mock.patch.multiple("bench.planned.comparison", PREDICTIONS=5, DRAWS=50):
        yield
