"""Fixtures of several folders."""

from __future__ import annotations

from tests.unit.fake_server import server

__all__ = ["server"]
