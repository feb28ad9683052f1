"""What every test of the handler needs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _log_levels_as_before() -> Iterator[None]:
    """The handler sets levels for its whole process, which here is pytest's."""
    names = (None, "ts.metrics", "resnet18", "resnet18_handler")
    before = [(name, logging.getLogger(name).level) for name in names]
    yield
    for name, level in before:
        logging.getLogger(name).setLevel(level)
