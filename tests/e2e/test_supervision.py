"""A real stack under systemd's rules: what is killed or stopped is back, and callers hardly notice."""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest
import requests

from marserve.stack.restarts import Restart, Restarts
from marserve.stack.torchserve_answers import using_temp
from marserve.system.processes import running
from tests.e2e import serving
from tests.e2e.serving import ANSWER_S, START_S, Stack, stack_on_free_ports, wait_for
from tests.e2e.systemd import Systemd
from tests.support import CAT, REPOSITORY

SERVE = (*serving.SERVE, "--workers", "1")


@contextmanager
def started_unit() -> Iterator[tuple[Stack, Systemd]]:
    """A stack that systemd has started."""
    stack = stack_on_free_ports()
    with tempfile.TemporaryDirectory() as directory:
        command = [str(REPOSITORY / "scripts" / "serve"), *SERVE]
        systemd = Systemd(command, stack.environment, Path(directory))
        systemd.start()
        try:
            wait_for(systemd.is_ready, START_S)
            yield stack, systemd
        finally:
            systemd.stop()
            print(stack.logs())
            stack.end()


@pytest.fixture(scope="module")
def unit() -> Iterator[tuple[Stack, Systemd]]:
    with started_unit() as unit:
        yield unit


class Callers:
    """One that sends a new picture again and again, and notes what it is answered with."""

    def __init__(self, stack: Stack) -> None:
        self.statuses: list[int] = []
        self._stop = Event()
        self._thread = Thread(target=self._call, args=(f"{stack.web}/classify",))

    def __enter__(self) -> Callers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _call(self, url: str) -> None:
        for number in itertools.count():
            if self._stop.wait(0.02):
                return
            picture = CAT.read_bytes() + b"%d" % number  # no cache has it
            self.statuses.append(requests.post(url, data=picture, timeout=ANSWER_S).status_code)


def restarts_of(stack: Stack, service: str) -> list[Restart]:
    restarts = Restarts.read(stack.run_directory.supervision).latest
    return [restart for restart in restarts if restart.service == service]


def is_back(stack: Stack, service: str) -> bool:
    return bool(restarts_of(stack, service)) and restarts_of(stack, service)[-1].seconds is not None


def test_callers_do_not_notice_that_the_supervisor_is_killed(unit: tuple[Stack, Systemd]) -> None:
    stack, systemd = unit
    services = stack.processes()
    first = stack.state().serve
    starts = systemd.starts
    with Callers(stack) as callers:
        os.kill(first.pid, signal.SIGKILL)
        wait_for(lambda: stack.state().serve != first)
        wait_for(systemd.is_ready)
        answered = len(callers.statuses)
        wait_for(lambda: len(callers.statuses) > answered)
    assert systemd.starts == starts + 1
    assert set(callers.statuses) == {200}
    assert all(process.is_running() for process in services)
    assert stack.run("token").returncode == 0


def test_java_that_is_killed_is_back_and_serves_the_same(unit: tuple[Stack, Systemd]) -> None:
    stack, _ = unit
    before = stack.predict().json()
    old = stack.process("TorchServe")
    os.kill(old.pid, signal.SIGKILL)
    wait_for(lambda: not old.is_running() or old.status() == psutil.STATUS_ZOMBIE)
    wait_for(lambda: is_back(stack, "torchserve"))
    assert stack.predict().json() == before
    wait_for(lambda: stack.readiness() == requests.codes.ok)
    server = stack.process("TorchServe")
    temp = stack.state().temp
    assert {one.pid for one in using_temp(temp)} == {server.pid, *(one.pid for one in server.children(recursive=True))}
    status = stack.run("marserve", "status")
    assert "Restarts: " in status.stdout
    assert "torchserve 1" in status.stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_is_killed_or_stopped_is_back(unit: tuple[Stack, Systemd], number: signal.Signals) -> None:
    stack, _ = unit
    (old,) = stack.worker_pids("resnet18")
    os.kill(old, number)
    wait_for(lambda: stack.described("resnet18").ready_pids - {old})
    assert stack.predict().status_code == requests.codes.ok


def test_stopping_the_unit_ends_everything_with_status_0() -> None:
    with started_unit() as (stack, systemd):
        state = stack.state()
        assert systemd.stop() == 0
        assert "STOPPING=1" in systemd.heard
        assert systemd.starts == 1
        assert not [process for process in state.processes if running(process)]
        assert not using_temp(state.temp)
        assert not stack.run_directory.state.exists()
