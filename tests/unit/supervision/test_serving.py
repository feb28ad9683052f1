"""Who watches a stack: the first `serve`, the next one where that is gone, and nobody once it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.stack.options import Concurrency, Options
from marserve.stack.restarts import Restarts
from marserve.stack.run_directory import State
from marserve.supervision import serving
from marserve.supervision.notify import Notifier
from marserve.supervision.supervisor import Supervisor
from marserve.system.files import locked
from marserve.system.processes import ProcessRecord, record
from marserve.system.waiting import wait_until
from tests.unit.supervision.fake_services import PATIENCE_S, FakeStack, looking_after

#: A process that ends only when it is killed.
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(120)"
GONE = ProcessRecord("serve", 1, 0.0)


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStack]:
    """A stack that nobody watches."""
    stack = FakeStack(tmp_path)
    monkeypatch.setattr(serving, "RunDirectory", lambda _: stack.run_directory)
    monkeypatch.setattr(serving, "find_java", lambda: Path("java"))
    monkeypatch.setattr(serving, "services_of", lambda *_: [stack.service])
    monkeypatch.setattr(serving, "stop_signals_set", threading.Event)
    monkeypatch.setattr(serving, "ignore_stop_signals", lambda: None)
    rewrite(stack, serve=GONE, concurrency=Concurrency(1, 1), choices={"--model-api": "True"})
    assert wait_until(stack.answers, PATIENCE_S)
    yield stack
    stack.end()


def rewrite(stack: FakeStack, **changes: object) -> None:
    stack.state = replace(stack.state, **changes)  # type: ignore[arg-type]
    stack.state.write(stack.run_directory.state)


def adopted(stack: FakeStack, choices: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[Supervisor]:
    """The supervisor that a `serve` with these choices would run."""
    watching: list[Supervisor] = []
    monkeypatch.setattr(serving, "chosen", lambda _: choices)
    monkeypatch.setattr(serving, "Notifier", lambda: Notifier({}))
    monkeypatch.setattr(serving, "start", lambda *_: pytest.fail("started anew"))

    def watch(supervisor: Supervisor, *_: object) -> int:
        watching.append(supervisor)
        return 0

    monkeypatch.setattr(serving, "_watch", watch)
    assert serving.serve(Options(), stack.state.ports) == 0
    stack.supervisors += watching
    return watching


def test_serve_goes_on_with_a_stack_that_nobody_watches(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pid = stack.answers()
    (supervisor,) = adopted(stack, {"--model-api": "True"}, monkeypatch)
    assert stack.answers() == pid
    state = State.read(stack.run_directory.state)
    assert state is not None
    assert state.serve.pid == os.getpid()
    assert "which nobody watched: the web service run" in capsys.readouterr().out
    with looking_after(supervisor):
        os.kill(pid, signal.SIGKILL)
        stack.child.wait()
        assert stack.answers_anew(pid)
    assert Restarts.read(stack.run_directory.supervision).counts == {"supervisor": 1, "web": 1}


def test_what_is_on_record_of_a_deployment_need_not_be_said_again(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(stack, choices={"--model-api": "True", "--weights": "untrained", "--workers": "2"})
    assert adopted(stack, {"--model-api": "True"}, monkeypatch)


def test_a_stack_whose_secrets_are_not_known_is_not_gone_on_with(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next web service would be open to everybody."""
    rewrite(stack, choices={"MARSERVE_API_KEYS": "keys with digest 12345678"})
    with pytest.raises(MarserveError, match=r"Nobody watches .*\n  MARSERVE_API_KEYS: keys with digest 12345678\n"):
        adopted(stack, {}, monkeypatch)
    assert stack.answers()


def test_a_stopped_supervisor_is_replaced(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen([sys.executable, "-c", STUBBORN]) as hung:
        hung.send_signal(signal.SIGSTOP)
        rewrite(stack, serve=record("serve", hung.pid))
        assert adopted(stack, {"--model-api": "True"}, monkeypatch)
        assert hung.wait(PATIENCE_S) == -signal.SIGKILL
    assert f"The supervisor (pid {hung.pid}) is stopped: another takes its place." in capsys.readouterr().out
    assert stack.answers()


@pytest.mark.parametrize("state", ["gone", "stopped", "stubborn"])
def test_stop_ends_the_stack_whatever_its_supervisor_does(
    stack: FakeStack, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "SUPERVISOR_GRACE_S", 0.5)
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        supervisor.stdout.readline()
        if state != "gone":
            rewrite(stack, serve=record("serve", supervisor.pid))
        if state == "stopped":
            supervisor.send_signal(signal.SIGSTOP)
        ended = serving.stop(stack.run_directory)
        assert (supervisor.poll() is None) is (state == "gone")
        supervisor.kill()
    assert f"the web service (pid {stack.child.pid})" in ended
    assert (len(ended) == 2) is (state != "gone")
    assert not stack.answers()
    assert not stack.run_directory.state.exists()


def test_stop_waits_for_no_supervisor_that_another_serve_has_become(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the end of the first supervisor and the lock, a `serve` may go on with the stack."""
    monkeypatch.setattr(serving, "SUPERVISOR_GRACE_S", 0.5)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"]) as next_one:

        def taken_over(*arguments: object, **options: object) -> object:
            monkeypatch.setattr(serving, "locked", locked)
            rewrite(stack, serve=record("serve", next_one.pid))
            return locked(*arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(serving, "locked", taken_over)
        serving.stop(stack.run_directory)
        assert next_one.wait(PATIENCE_S) == -signal.SIGTERM
    assert not stack.run_directory.state.exists()
