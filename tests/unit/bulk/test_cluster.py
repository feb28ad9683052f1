"""What can be said of a cluster before Ray is started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from marserve.bulk import cluster
from marserve.bulk.cluster import PREFIX, ClusterError, _foreign, _remove_left_behind, _why_not
from marserve.system.loopback import LOOPBACK, free_ports


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://head:10001", r"give HOST:PORT, and start this on one of its hosts"),
        ("head", r"give HOST:PORT, such as 10\.0\.0\.1:6379, or auto"),
        ("head:ray", r"give HOST:PORT"),
        (f"{LOOPBACK}:99999", r"Nothing answers at"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(monkeypatch: pytest.MonkeyPatch, address: str, said: str) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_NUM_REDIS_GET_RETRIES"):
        monkeypatch.setenv(name, "disabled")
    with pytest.raises(ClusterError, match=said), _foreign(address):
        pass


def test_nobody_waits_for_ray_where_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    for name in ("RAY_AUTH_MODE", "RAY_NUM_REDIS_GET_RETRIES"):
        monkeypatch.setenv(name, "disabled")
    with pytest.raises(ClusterError, match=rf"Nothing answers at {LOOPBACK}:{port}"), _foreign(f"{LOOPBACK}:{port}"):
        pass


class AuthenticationError(Exception):
    """As Ray calls it."""


def test_a_wrong_token_is_told_from_a_host_that_is_none_of_the_cluster() -> None:
    error = RuntimeError("No raylet.\nAnd more.")
    assert _why_not("head:6379", error) == ("Ray cannot join head:6379: No raylet. Is this one of the cluster's hosts?")
    error.__cause__ = AuthenticationError("Wrong token.")
    assert "wants another token: set RAY_AUTH_TOKEN" in _why_not("head:6379", error)
    assert "wants another token" in _why_not("head:6379", ConnectionError("AuthenticationError: wrong token."))


def test_what_killed_runs_have_left_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_place", lambda: tmp_path)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        ended = process.pid
    left, *others = (
        tmp_path / name for name in (f"{PREFIX}{ended}-a", f"{PREFIX}{os.getpid()}-a", f"{PREFIX}none-a", "ray")
    )
    for directory in (left, *others):
        directory.mkdir()
    with (
        process_with_log("ray::Agent", left) as agent,
        process_with_log("less", left) as reader,
        process_with_log("ray::Agent", others[0]) as other_agent,
    ):
        _remove_left_behind()
        assert agent.wait(60) == -signal.SIGKILL
        assert (reader.poll(), other_agent.poll()) == (None, None)
    assert sorted(tmp_path.iterdir()) == sorted(others)


@contextmanager
def process_with_log(name: str, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that calls itself so, and has a file open in ``directory``."""
    with (directory / f"{name}.log").open("wb") as log:
        command = [name, "-c", "import time; time.sleep(600)"]
        process = subprocess.Popen(command, executable=sys.executable, stdout=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
