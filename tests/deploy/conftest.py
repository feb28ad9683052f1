"""Fixtures of several files."""

from __future__ import annotations

from tests.deploy.fake_hosts import hosts

__all__ = ["hosts"]
