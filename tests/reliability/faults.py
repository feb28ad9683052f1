"""Faults under load: what breaks in production, one thing after the other, while 16 clients check every answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.reliability.table import Row

ROWS: Mapping[str, Callable[[Any], Row]] = {}
