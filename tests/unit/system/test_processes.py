"""Processes are recognised for certain and ended by one policy."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from marserve.system import processes
from marserve.system.waiting import wait_until

SLEEP = "import time; time.sleep(120)"


def test_a_process_is_recognised_until_it_ends_and_never_by_its_id_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as process:
        recorded = processes.record("x", process.pid)
        assert processes.running(recorded) == psutil.Process(process.pid)
        assert processes.running(replace(recorded, created=recorded.created - 60)) is None
        process.kill()
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, 10)
        assert processes.running(recorded) is None, "nobody has waited for it yet, but it has ended"
    assert processes.running(recorded) is None


def test_a_process_is_recognised_when_the_clock_has_been_set_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as process:
        recorded = processes.record("x", process.pid)
        kernel = sys.modules[psutil.boot_time.__globals__["_psplatform"].__name__]
        as_told = kernel.boot_time
        monkeypatch.setattr(kernel, "boot_time", lambda: as_told() + 7200)
        assert processes.running(recorded) == psutil.Process(process.pid)
        assert processes.running(replace(recorded, boot="another")) is None, "an id of before the machine was restarted"
        process.kill()


def test_a_process_that_an_earlier_version_recorded_is_recognised() -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as process:
        created = psutil.Process(process.pid).create_time()
        assert processes.running(processes.ProcessRecord("x", process.pid, created)) is not None
        recorded = processes.record("x", process.pid)
        assert processes.running(replace(recorded, boot=recorded.boot.partition(" ")[0])) is not None
        process.kill()


@pytest.mark.parametrize("changed", ["namespace", "first process", "nothing"])
def test_a_process_of_another_container_or_of_this_one_before_is_not_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """Ids begin anew in each, and what is started at once has nearly the same time of creation."""
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "1").mkdir()

    def in_container(namespace: str, begun: int) -> None:
        (tmp_path / "self/ns/pid").unlink(missing_ok=True)
        (tmp_path / "self/ns/pid").symlink_to(f"pid:[{namespace}]")
        (tmp_path / "1/stat").write_text(f"1 (a (name)) S {' '.join(['0'] * 18)} {begun} 0 0\n")

    in_container("4026532001", 123)
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as process:
        recorded = processes.record("x", process.pid)
        in_container("4026532002" if changed == "namespace" else "4026532001", 123 + (changed == "first process"))
        assert (processes.running(recorded) is not None) is (changed == "nothing")
        process.kill()


def test_a_process_that_ignores_the_request_is_ended(tmp_path: Path) -> None:
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); {SLEEP}"
    with subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = processes.running(processes.record("x", process.pid))
        assert found is not None
        processes.end_processes([found], grace_s=0.5)
        assert process.wait(10) == -signal.SIGKILL


@pytest.mark.timeout(60)
def test_nobody_waits_for_the_parent_of_an_ended_process() -> None:
    negligent = f"import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', '{SLEEP}'])\n"
    negligent += "print(p.pid, flush=True); time.sleep(120)"
    with subprocess.Popen([sys.executable, "-c", negligent], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        processes.end_processes([child], grace_s=300)
        assert child.status() == psutil.STATUS_ZOMBIE
        parent.kill()


def test_what_starts_meanwhile_is_killed_too() -> None:
    sent: list[signal.Signals] = []
    processes.end(sent.append, lambda: sent.count(signal.SIGKILL) == 2, grace_s=0.2)
    assert sent == [signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]


def test_a_child_and_its_own_children_end_with_the_block_that_fails(tmp_path: Path) -> None:
    started = tmp_path / "started"
    code = f"import pathlib, subprocess, sys; p = subprocess.Popen([sys.executable, '-c', '{SLEEP}'])\n"
    code += f"pathlib.Path({str(started)!r}).write_text(str(p.pid)); p.wait()"
    with pytest.raises(KeyboardInterrupt), processes.child([sys.executable, "-c", code]) as process:
        interrupt_once_there(started)
    grandchild = int(started.read_text())
    assert process.returncode is not None
    assert wait_until(lambda: not is_alive(grandchild), 10)


STOPPED = """
import os, signal, subprocess, sys
from marserve.running import run_command
from marserve.system.processes import child

def popen(*arguments, original=subprocess.Popen, **options):
    process = original(*arguments, **options)
    print(process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    return process

def start():
    nowhere = subprocess.DEVNULL
    with child([sys.executable, "-c", "import time; time.sleep(120)"], stdout=nowhere, stderr=nowhere):
        return 0

subprocess.Popen = popen
sys.exit(run_command(start))
"""


def test_a_child_that_is_just_being_started_ends_too() -> None:
    stopped = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True, check=False)
    assert (stopped.returncode, stopped.stderr) == (128 + signal.SIGTERM, "Stopped before it was done.\n")
    assert not is_alive(int(stopped.stdout))


def interrupt_once_there(file: Path) -> None:
    assert wait_until(lambda: file.exists() and file.read_text(), 20)
    raise KeyboardInterrupt


def is_alive(pid: int) -> bool:
    try:
        return processes.is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False
