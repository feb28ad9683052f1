"""Fixtures of several folders."""

from __future__ import annotations

from tests.unit.fake_server import server
from tests.unit.plan.settings import few_requests

__all__ = ["few_requests", "server"]
