"""A process that is left behind: what is seen of it until it is ready, and nothing later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from marserve.supervision.notify import Notifier
from marserve.system.waiting import wait_until

DETACHED = """
import os, pathlib, signal, sys, time
from marserve.running import run_command
from marserve.supervision.notify import detached

def run(notifier):
    pathlib.Path("pid").write_text(str(os.getpid()))
    print("building", flush=True)
    if sys.argv[1] == "fails":
        print("no room", file=sys.stderr, flush=True)
        return 7
    while sys.argv[1] == "waits":
        time.sleep(0.1)
    print("ready", flush=True)
    notifier.ready()
    print("said later", flush=True)
    os.close(0)
    time.sleep(60)
    return 0

def fork(original=os.fork):
    pid = original()
    if pid and sys.argv[1:] == ["waits", "interrupted"]:
        os.kill(os.getpid(), signal.SIGINT)
    return pid

os.fork = fork
sys.exit(run_command(lambda: detached(run, lambda: pathlib.Path("later.log"))))
"""
PATIENCE_S = 30.0


def start(how: str, directory: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DETACHED, how, *more],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_behind(directory: Path) -> psutil.Process:
    assert wait_until(lambda: (directory / "pid").exists() and (directory / "pid").read_text(), PATIENCE_S)
    return psutil.Process(int((directory / "pid").read_text()))


def test_it_returns_when_ready_and_leaves_a_process_of_a_session_of_its_own(tmp_path: Path) -> None:
    with start("works", tmp_path) as process:
        output, errors = process.communicate(timeout=PATIENCE_S)  # nobody else holds the pipes any more
        assert (process.returncode, output, errors) == (0, "building\nready\n", "")
        left = left_behind(tmp_path)
        assert os.getsid(left.pid) == left.pid
        assert wait_until((tmp_path / "later.log").read_text, PATIENCE_S) == "said later\n"
        left.kill()


def test_a_start_that_fails_says_why_and_its_status_is_handed_on(tmp_path: Path) -> None:
    with start("fails", tmp_path) as process:
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, output, errors) == (7, "building\n", "no room\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_start(tmp_path: Path, number: signal.Signals) -> None:
    with start("waits", tmp_path) as process:
        left = left_behind(tmp_path)
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (128 + number, "Stopped before it was done.\n")
    assert not left.is_running()


def test_a_signal_in_the_very_moment_of_the_start_ends_it_too(tmp_path: Path) -> None:
    with start("waits", tmp_path, "interrupted") as process:
        _, errors = process.communicate(timeout=PATIENCE_S)  # the one left behind would hold the pipes
    assert (process.returncode, errors) == (128 + signal.SIGINT, "Stopped before it was done.\n")


def test_a_start_that_is_killed_says_so(tmp_path: Path) -> None:
    with start("waits", tmp_path) as process:
        left_behind(tmp_path).kill()
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGKILL
    assert errors.endswith("it was ended by SIGKILL.\n")


def test_the_terminal_is_left_even_where_no_log_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "later.log").mkdir()
    with start("works", tmp_path) as process:
        output, errors = process.communicate(timeout=PATIENCE_S)
    left_behind(tmp_path).kill()
    assert (process.returncode, output, errors) == (0, "building\nready\n", "")


def test_the_watchdog_of_another_process_is_not_ours() -> None:
    environ = {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1", "HOME": "/"}
    Notifier(environ).alive()
    assert environ == {"HOME": "/"}
