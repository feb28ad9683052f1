"""The loop around real processes, small ones: what ends or hangs is started again, and that is written down."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from marserve.stack.restarts import Restarts
from marserve.stack.run_directory import State
from marserve.supervision.kept import ServiceProcess
from marserve.supervision.notify import Notifier
from marserve.system.processes import ProcessRecord
from marserve.system.waiting import wait_until
from tests.unit.supervision.fake_services import PATIENCE_S, FakeStack, looking_after


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[FakeStack]:
    stack = FakeStack(tmp_path)
    assert wait_until(stack.answers, PATIENCE_S)
    yield stack
    stack.end()


def restarts_of(stack: FakeStack) -> Restarts:
    return Restarts.read(stack.run_directory.supervision)


def test_a_service_that_is_killed_is_back_with_its_reason_and_its_seconds(stack: FakeStack) -> None:
    with looking_after(stack.supervisor()):
        old = stack.answers()
        os.kill(old, signal.SIGKILL)
        assert stack.answers_anew(old)
        assert wait_until(lambda: restarts_of(stack).latest[-1].seconds, PATIENCE_S)
    (restart,) = restarts_of(stack).latest
    assert (restart.service, restart.attempt, restart.reason) == ("web", 1, "it was ended by SIGKILL")
    assert restarts_of(stack).counts == {"web": 1}
    assert stack.process().pid == stack.answers()  # for stop, and for another supervisor
    assert stack.service.cleared == 1
    first, second = (json.loads(line) for line in stack.log().splitlines())
    assert first["message"] == "The web service is started again now: it was ended by SIGKILL."
    assert (first["service"], first["attempt"], first["level"]) == ("web", 1, "WARNING")
    assert second["message"].startswith("The web service is back after ")


def test_a_service_that_is_stopped_is_ended_and_started_again(stack: FakeStack) -> None:
    stack.service.limit_s = PATIENCE_S  # as with the real ones, that it is stopped is seen first
    with looking_after(stack.supervisor()):
        old = stack.answers()
        os.kill(old, signal.SIGSTOP)
        assert stack.answers_anew(old)
    assert "was stopped (SIGSTOP) for 2 s" in restarts_of(stack).latest[0].reason


def test_a_service_that_does_not_answer_is_ended_and_started_again(stack: FakeStack) -> None:
    silent = stack.run_directory.path / "silent"
    with looking_after(stack.supervisor()):
        old = stack.process().pid
        silent.touch()
        assert wait_until(lambda: restarts_of(stack).latest, PATIENCE_S)
        silent.unlink()
        assert stack.answers_anew(old)
    assert restarts_of(stack).latest[0].reason == "it did not answer for 1 s"


def test_one_that_cannot_start_is_tried_until_it_can_and_says_why(stack: FakeStack) -> None:
    broken = stack.run_directory.path / "broken"
    with looking_after(stack.supervisor()):
        old = stack.answers()
        broken.touch()
        os.kill(old, signal.SIGKILL)
        assert wait_until(lambda: len(restarts_of(stack).latest) >= 3, PATIENCE_S)
        broken.unlink()
        assert stack.answers_anew(old)
    latest = restarts_of(stack).latest
    assert [one.attempt for one in latest] == list(range(1, len(latest) + 1))
    why = "it ended by itself with exit status 1; the last in its log: the disk is on fire"
    assert latest[1].reason == why


def test_processes_of_another_supervisor_are_gone_on_with(stack: FakeStack) -> None:
    pid = stack.answers()
    with looking_after(stack.supervisor(adopts=True)):
        assert wait_until(lambda: "All services work" in stack.log() or stack.answers() == pid, PATIENCE_S)
        os.kill(pid, signal.SIGKILL)
        stack.child.wait()
        assert stack.answers_anew(pid)
    assert "how is not known" in restarts_of(stack).latest[0].reason


def test_a_process_that_is_not_on_record_does_not_keep_its_port(stack: FakeStack) -> None:
    """A supervisor was killed between its start and the record of it: the next one knows of the one before it only."""
    supervisor = stack.supervisor(adopts=True)
    supervisor.kept[0].process = ServiceProcess(ProcessRecord("the web service", 2**30, 0.0))
    old = stack.answers()
    with looking_after(supervisor):
        assert stack.answers_anew(old)
        assert wait_until(lambda: restarts_of(stack).latest[-1].seconds, PATIENCE_S)
    assert restarts_of(stack).counts == {"web": 1}
    assert stack.child.wait(PATIENCE_S) == -signal.SIGKILL


def test_whoever_started_it_is_told_that_it_is_ready_how_it_is_and_that_it_lives(
    stack: FakeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("notify")
        systemd.settimeout(PATIENCE_S)
        environ = {"NOTIFY_SOCKET": "notify", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}
        with looking_after(stack.supervisor(Notifier(environ))):
            assert environ == {}  # no service speaks for the supervisor
            heard: list[bytes] = []
            wanted = {b"READY=1", b"STATUS=All services work; restarts so far: 0", b"WATCHDOG=1"}
            while not wanted <= set(heard):
                heard.append(systemd.recv(1000))
            os.kill(stack.answers(), signal.SIGKILL)
            while not heard[-1].startswith(b"STATUS=the web service is being restarted: it was ended by SIGKILL"):
                heard.append(systemd.recv(1000))


def test_one_that_has_lost_its_stack_to_another_leaves_it_alone(stack: FakeStack) -> None:
    supervisor = stack.supervisor()
    with looking_after(supervisor):
        state = State.read(stack.run_directory.state)
        assert state is not None
        other = State(state.ports, state.temp, ProcessRecord("serve", 1, 0.0), processes=state.processes, ready=True)
        other.write(stack.run_directory.state)
        assert wait_until(lambda: "Another supervisor has taken over." in stack.log(), PATIENCE_S)
    assert stack.answers()


def test_a_full_disk_keeps_nothing_from_being_restarted(stack: FakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("marserve.stack.restarts.replace_text", full)
        patched.setattr("marserve.stack.run_directory.replace_text", full)
        with looking_after(stack.supervisor()):
            old = stack.answers()
            os.kill(old, signal.SIGKILL)
            assert stack.answers_anew(old)
            patched.undo()
            assert wait_until(lambda: restarts_of(stack).latest, PATIENCE_S)  # once there is room
    assert stack.process().pid == stack.answers()


def test_what_the_system_refuses_for_a_while_does_not_end_the_supervisor(
    stack: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(24, "Too many open files")

    supervisor = stack.supervisor()
    with looking_after(supervisor):
        with monkeypatch.context() as patched:
            patched.setattr(supervisor.kept[0], "look", refuse)
            assert wait_until(lambda: "cannot be looked after" in stack.log(), PATIENCE_S)
        old = stack.answers()
        os.kill(old, signal.SIGKILL)
        assert stack.answers_anew(old)
    assert stack.log().count("cannot be looked after: [Errno 24] Too many open files.") == 1


def test_a_bug_in_a_check_does_not_end_all_further_ones(stack: FakeStack, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [ValueError("a bug"), OSError("no file left")]

    def ask() -> bool:
        if answers:
            raise answers.pop(0)
        return False

    monkeypatch.setattr(stack.service, "is_ready", ask)
    with looking_after(stack.supervisor()):
        assert wait_until(lambda: restarts_of(stack).latest, PATIENCE_S)
        monkeypatch.undo()
    assert restarts_of(stack).latest[0].reason == "it did not answer for 1 s"
    assert "A bug failed this check of the web service: it did not answer" in stack.log()
    assert "ValueError: a bug" in stack.log()
