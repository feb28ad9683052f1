"""The commands on a running stack, and what they print."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from marserve.cli import logs
from marserve.cli import status as status_command
from marserve.cli.main import read
from marserve.cli.operating import web_port
from marserve.errors import MarserveError, StopRequestedError
from marserve.handler.resnet18 import cpu
from marserve.manage import scaling
from marserve.manage.change import DeclinedError, NeedsConsentError, confirm_on_terminal
from marserve.manage.reading import StackMetrics, read_status
from marserve.manage.running_stack import RunningStack
from marserve.manage.settling import settle_interrupted
from marserve.manage.status import Status, VersionStatus, render_status
from marserve.stack.deployments import PendingChange
from marserve.system.files import locked
from marserve.system.machine import Machine
from marserve.torchserve.metrics import Rates
from marserve.torchserve.worker_process import WorkerReport
from marserve.web.models import Weights
from marserve.web.rollout.files import Order
from tests.support import CAT
from tests.unit.cgroup_trees import SYSTEMS, cpu_quota, make_tree, memory_limit
from tests.unit.manage.fake_stack import FakeStack
from tests.unit.manage.test_way_back import a_deployed_stack

READY = WorkerReport("9000", 41, "ready", 250_000_000, 190_000_000, 1.5)
DEAD = WorkerReport("9001", 42, "dead", None, None, None)


def a_status(
    *workers: WorkerReport, queued: int = 0, reasons: tuple[str, ...] = (), weights: Weights = "trained"
) -> Status:
    version = VersionStatus("resnet18", "1.0", True, "resnet18.mar", weights, workers, queued, 384, Rates(12.5, 3.25))
    return Status(5000, False, reasons, {"2xx": 12.5, "5xx": 0.0}, [version])


@pytest.mark.parametrize(
    ("variables", "colored"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
    ],
)
def test_colors_are_for_terminals_and_as_the_person_wants_them(
    variables: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    shown = render_status(a_status(READY, DEAD))
    assert (re.search(r"\x1b\[3\dm", shown) is not None) is colored  # bold is no color
    assert "NO_COLOR" in variables or ("\x1b" in shown) is colored


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["scale", "resnet18"], "--workers"),
        (["scale", "resnet18", "--workers", "-1"], "'-1' is not a number from 0 to 999"),
        (["scale", "resnet18", "--workers", "two"], "'two' is not a number"),
        (["deploy", "resnet18"], "--archive"),
        (["deploy", "resnet18", "--archive", str(CAT), "--workers", "0"], "'0' is not a number from 1 to 999"),
        (["deploy", "resnet18", "--archive", str(CAT), "--min-agreement", "90"], "'90' is not a number from 0 to 1"),
        (["status", "--interval", "nan"], "'nan' is not a number"),
        (["status", "--port", "0"], "'0' is not a number from 1 to 65535"),
        (["status", "--wat"], "--wat"),
    ],
)
def test_wrong_arguments_are_refused_with_what_is_right(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read(arguments[0], arguments[1:])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "scale", "deploy", "rollback", "drain", "recover", "logs"])
def test_every_command_explains_itself_and_speaks_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read(command, ["--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_the_stack_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARSERVE_WEB_PORT", "5001")
    assert web_port(read("status", [])) == 5001
    assert web_port(read("status", ["--port", "5002"])) == 5002


def test_without_a_stack_it_says_how_to_start_one() -> None:
    with pytest.raises(MarserveError, match=r"Nothing is running on web port 1: start it with \./scripts/serve"):
        status_command.run(read("status", ["--port", "1"]))


def test_one_screen_shows_every_worker_and_that_all_is_well() -> None:
    shown = render_status(a_status(READY))
    for part in ("resnet18", "1.0 *", "9000", "41", "READY", "190 MB", "0/384", "3.2 ms", "12.5/s", "All is well."):
        assert part in shown


def test_what_rollback_would_bring_back_and_what_is_left_half_done_is_shown(tmp_path: Path) -> None:
    def status() -> Status:
        return read_status(stack, stack.management(), StackMetrics(), StackMetrics())

    stack = a_deployed_stack(tmp_path / "run")
    assert "rollback resnet18 brings back 1.0." in render_status(status())
    pending = PendingChange("deployment", "resnet18", "3.0", workers=0)
    stack.store.update(lambda record: replace(record, pending=pending))
    with locked(stack.run_directory.change_lock):
        assert "Under way: deployment of resnet18 3.0." in render_status(status())
        given = {"id": "x", "model": "resnet18", "stable": "2.0", "candidate": "3.0", "mode": "canary", "share": 0.05}
        for left_s, trial in ((3.0, ", 3.0 on trial as canary with 5 % of the live pictures"), (-1.0, "")):
            Order.model_validate({**given, "expires": time.monotonic() + left_s}).write(stack.run_directory.rollout)
            assert f"Under way: deployment of resnet18 3.0{trial}." in " ".join(render_status(status()).split())
    problem = "The deployment of resnet18 3.0 was interrupted: ./scripts/marserve recover settles it"
    assert problem in status().problems
    assert "Under way" not in render_status(status())
    settle_interrupted(stack, print)
    assert problem not in status().problems
    stack.run_directory.model_store.chmod(0o700)
    (stack.run_directory.model_store / "deployments.json").write_text("{")
    assert any("is damaged" in found for found in status().problems)


def test_what_waits_in_the_web_service_stands_before_torchserves_queue() -> None:
    status = a_status(READY, queued=1)
    waiting = replace(status, versions=[replace(status.versions[0], waiting=96)])
    assert "96 + 1/384" in render_status(waiting)


def test_pictures_that_are_refused_are_told() -> None:
    status = a_status(READY)
    (version,) = status.versions
    shown = render_status(replace(status, versions=[replace(version, quarantined=2)]))
    assert "resnet18 1.0: workers ended under 2 pictures, refused from now on; quarantine.json names them." in shown


def test_a_model_that_is_untrained_is_not_called_well() -> None:
    status = a_status(READY, weights="untrained")
    assert status.problems == []  # since somebody may want it so
    shown = render_status(status)
    assert "resnet18 1.0 is untrained: its labels mean nothing." in shown
    assert "All is well." not in shown


@pytest.mark.parametrize(
    ("description", "weights"),
    [
        ({"architecture": "resnet18", "weights": {"trained": True}}, "trained"),
        ({"architecture": "resnet18", "weights": {"trained": False}}, "untrained"),
        ({"architecture": "efficientnet_lite0", "weights": {"trained": True}}, "demonstration"),
        ({}, "unknown"),
        (None, "unknown"),
    ],
)
def test_the_archive_tells_what_its_weights_are_worth(description: object, weights: Weights, tmp_path: Path) -> None:
    stack = FakeStack.made_in(tmp_path)
    store = stack.run_directory.model_store
    store.chmod(0o700)
    if description is not None:
        with zipfile.ZipFile(store / "resnet18.mar", "w") as mar:
            mar.writestr("description.json", json.dumps(description))
    status = read_status(stack, stack.management(), StackMetrics(), StackMetrics())
    assert [version.weights for version in status.versions] == [weights]


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (a_status(READY, DEAD), "worker 9001, which is dead"),
        (a_status(DEAD), "has no READY worker"),
        (a_status(), "has no READY worker: scale it"),
        (a_status(READY, queued=300), "300 of 384 places"),
        (a_status(READY, reasons=("stopping",)), "not ready: stopping"),
    ],
)
def test_problems_are_named(status: Status, problem: str) -> None:
    assert any(problem in found for found in status.problems)
    assert problem in render_status(status)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_watch_writes_over_what_it_has_shown_until_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, intervals = Terminal(), iter([1, 2])

    def sleep(_seconds: float) -> None:
        if next(intervals, None) is None:
            raise StopRequestedError(2)

    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    stack = FakeStack.made_in(tmp_path)
    monkeypatch.setattr(RunningStack, "find", lambda _port, **_: stack)
    monkeypatch.setattr(status_command, "time", SimpleNamespace(sleep=sleep))  # no other thread's
    assert status_command.run(read("status", ["--watch"])) == 0
    first, *again = stream.getvalue().split("Web port 5000: NOT READY")
    assert len(again) >= 2
    assert "\x1b[1A" not in first
    assert all("\x1b[1A" in part for part in again[:-1])  # a line up


@pytest.mark.parametrize(
    ("typed", "agrees"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_only_a_yes_is_a_yes(typed: str, agrees: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    monkeypatch.setattr("sys.stderr", Terminal())
    if agrees:
        confirm_on_terminal("Sure?")
    else:
        with pytest.raises(DeclinedError):
            confirm_on_terminal("Sure?")


def test_without_a_terminal_yes_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(NeedsConsentError, match="--yes"):
        confirm_on_terminal("Sure?")


@pytest.mark.parametrize("system", SYSTEMS)
def test_inside_a_container_its_cores_and_memory_count_and_not_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    files = cpu_quota(system, "/pod/container", 100_000)
    files |= memory_limit(system, "/pod/container", 2_000_000_000, 700_000_000, 0)
    monkeypatch.setattr(cpu, "PROC", make_tree(tmp_path, system, files))
    scaling.check_cores(1)
    with pytest.raises(MarserveError, match="1 usable core"):
        scaling.check_cores(2)
    scaling.check_memory(2, [READY])
    with pytest.raises(
        MarserveError, match=r"4 more workers of 250 MB do not fit into the 1300 MB of memory .* 500 MB stay free; 3 do"
    ):
        scaling.check_memory(4, [READY])


def test_what_does_not_fit_the_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "read_machine", lambda: Machine(2, 10**10, 10**10))
    scaling.check_cores(2)
    with pytest.raises(MarserveError, match="2 usable cores"):
        scaling.check_cores(3)
    scaling.check_memory(1, [WorkerReport("1", 1, "ready", 1, 1, 0.0)])
    with pytest.raises(MarserveError, match="--force"):
        scaling.check_memory(1000, [WorkerReport("1", 1, "ready", 10**12, 1, 0.0)])


def test_a_missing_log_directory_is_told() -> None:
    with pytest.raises(MarserveError, match="nothing was started on web port 1"):
        logs.run(read("logs", ["--port", "1"]))
