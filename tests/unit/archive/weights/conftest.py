"""Weights tests touch neither the internet nor the real torch hub cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from marserve.archive.weights import locate
from tests.unit.archive.weights.weights_server import WeightsServer, running_server

#: Nothing listens on the port that TCP reserves for this.
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The torch hub cache of this test, not yet there; every https connection goes to a proxy that does not exist."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", NOWHERE)
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(locate, "RUN", tmp_path / "run")
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def server() -> Iterator[WeightsServer]:
    with running_server() as server:
        yield server
