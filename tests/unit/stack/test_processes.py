"""A stack's processes are recognised for certain, and only those are ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from marserve.stack import lifecycle
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, StackModel, State
from marserve.system import processes

SLEEP = "import time; time.sleep(120)"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as process:
        yield process
        process.kill()


def state_of(process: subprocess.Popen[bytes], temp: Path) -> State:
    recorded = processes.record("TorchServe", process.pid)
    return State(Ports(), str(temp), recorded, [StackModel("resnet18", True)], [recorded])


def test_a_recorded_process_is_recognised_and_ended(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert lifecycle.end(state_of(sleeper, tmp_path)) == [f"TorchServe (pid {sleeper.pid})"]
    assert sleeper.wait(10) == -signal.SIGTERM


def test_another_process_with_a_recorded_id_is_left_alone(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    state = state_of(sleeper, tmp_path)
    stale = replace(state.processes[0], created=state.processes[0].created - 60)
    assert processes.running(stale) is None
    assert lifecycle.end(replace(state, processes=[stale])) == []
    assert sleeper.poll() is None


def test_a_worker_whose_server_is_gone_is_found_by_its_directory(tmp_path: Path) -> None:
    with (
        subprocess.Popen([sys.executable, "-c", SLEEP, f"{tmp_path}/.ts.sock.9000"]) as orphan,
        subprocess.Popen([sys.executable, "-c", SLEEP, f"{tmp_path}-other/.ts.sock.9000"]) as other,
    ):
        gone = processes.record("TorchServe", orphan.pid)
        state = State(Ports(), str(tmp_path), gone, [], [])
        try:
            (ended,) = lifecycle.end(state)
            assert f"pid {orphan.pid}" in ended
            assert orphan.wait(10) == -signal.SIGTERM
            assert other.poll() is None
        finally:
            orphan.kill()
            other.kill()


def test_a_state_survives_being_written_and_anything_else_is_none(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    file = tmp_path / "state.json"
    assert State.read(file) is None
    state = state_of(sleeper, tmp_path)
    state.write(file)
    assert State.read(file) == state
    for text in ("", "{", "[]", "{}", '{"ports": {"unknown": 1}}'):
        file.write_text(text)
        assert State.read(file) is None


def test_what_was_started_and_not_written_down_is_found_by_where_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (sys.executable, "-S", "-c", SLEEP)
    monkeypatch.setattr(lifecycle, "WEB", command)
    run_directory = RunDirectory(5000, tmp_path / "run")
    run_directory.prepare()
    with (
        subprocess.Popen(command, cwd=run_directory.path) as stray,
        subprocess.Popen(command, cwd=tmp_path) as another_stack_s,
    ):
        try:
            state = State(Ports(), str(tmp_path / "temp"), processes.ProcessRecord("serve", 1, 0.0), [], [])
            assert lifecycle.clear(state, run_directory) == [f"what was not on record (pid {stray.pid})"]
            assert stray.wait(10) == -signal.SIGTERM
            assert another_stack_s.poll() is None
        finally:
            stray.kill()
            another_stack_s.kill()
