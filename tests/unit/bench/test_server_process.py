"""All processes of a server are found, measured and ended, wherever they went."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import server_process
from bench.server_process import marked, started_process
from marserve.system.waiting import wait_until

#: A server that leaves its session, its parent and a child behind; the grandchild ignores SIGTERM.
FORKS = """
import os, signal, subprocess, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        block = bytearray(30_000_000)
        for i in range(0, len(block), 4096):
            block[i] = 1
        open("grandchild", "w").close()
        time.sleep(60)
    os._exit(0)
os.wait()
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process.end, "__defaults__", (0.5,))


def test_server_that_forks_is_measured_as_a_whole_and_leaves_nothing(tmp_path: Path) -> None:
    with marked("server") as mark:
        with started_process([sys.executable, "-c", FORKS], mark, {}, tmp_path, tmp_path / "log"):
            _wait_for(tmp_path / "grandchild")
            assert len(server_process.members(mark)) == 2
            memory = server_process.memory(mark)
            assert len(memory.processes) == 2
            assert 30 < memory.total_mb < 200
        assert server_process.members(mark) == []


def test_process_of_another_server_is_left_alone(tmp_path: Path) -> None:
    with marked("one") as one, marked("other") as other:
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        with started_process(command, one, {}, tmp_path, tmp_path / "log") as running:
            _wait_until_marked(one)
            assert server_process.end(other) == []
            assert server_process.members(one) == [running.pid]


def test_what_a_server_says_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "server.log"
    command = [sys.executable, "-c", "print('hello')"]
    with marked("server") as mark, started_process(command, mark, {}, tmp_path, log) as running:
        running.wait(20)
    assert log.read_text(encoding="utf-8") == "hello\n"


def _wait_for(file: Path) -> None:
    assert wait_until(file.exists, 20), subprocess.check_output(["ps", "x"], text=True)  # noqa: S607


def _wait_until_marked(mark: str) -> None:
    assert wait_until(lambda: server_process.members(mark), 20)
