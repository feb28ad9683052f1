"""Changes of versions and workers that fail, or are interrupted, at each of their steps: all is as it was before."""

from __future__ import annotations

import json
import os
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from marserve.client.errors import ClientError
from marserve.errors import MarserveError, StopRequestedError
from marserve.manage import draining, scaling
from marserve.manage.change import DeclinedError, always_yes
from marserve.manage.deployment import Plan, archive_version, deploy, roll_back
from marserve.manage.settling import changing
from marserve.stack.deployments import Deployments, PendingChange, switched
from tests.unit.manage.fake_stack import MODEL, FakeStack, FakeVersion, Fault

Command = Callable[[FakeStack, list[str]], object]

INTERRUPTION = StopRequestedError(2)
FAILURE = ClientError("TorchServe is gone.")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "POLL_S", 0.0)
    monkeypatch.setattr(scaling, "CONFIRM_S", 0.0)


def an_archive(directory: Path, version: str) -> Path:
    path = directory / f"{version}.mar"
    with zipfile.ZipFile(path, "w") as mar:
        mar.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": {"modelVersion": version}}))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return an_archive(tmp_path, "2.0")


def deploy_command(archive: Path, *, remove_old: bool = False, confirm: Callable[[str], None] = always_yes) -> Command:
    plan = Plan(MODEL, archive, archive_version(archive), [archive], 0.9, None, remove_old, force=True)

    def command(stack: FakeStack, reported: list[str]) -> object:
        with changing(stack, confirm=confirm, report=reported.append) as change:
            return deploy(change, plan)

    return command


def roll_back_command(stack: FakeStack, reported: list[str]) -> object:
    with changing(stack, confirm=always_yes, report=reported.append) as change:
        return roll_back(change, MODEL, [Path("cat.jpg")])


def drain_command(stack: FakeStack, reported: list[str]) -> object:
    timeout_s = 0.05 if stack.torchserve.queued else 30.0
    with changing(stack, confirm=always_yes, report=reported.append) as change:
        return draining.drain(change, MODEL, None, timeout_s=timeout_s)


def scale_command(stack: FakeStack, reported: list[str]) -> object:
    with changing(stack, confirm=always_yes, report=reported.append) as change:
        return scaling.scale(change, MODEL, None, 4, force=True)


def recover_command(stack: FakeStack, reported: list[str]) -> object:
    with changing(stack, confirm=always_yes, report=reported.append) as change:
        return scaling.recover(change)


def a_stack(directory: Path) -> FakeStack:
    """1.0 is the default and has two workers."""
    shutil.rmtree(directory, ignore_errors=True)
    return FakeStack.made_in(directory)


def a_deployed_stack(directory: Path) -> FakeStack:
    """2.0 is the default and has two workers; 1.0 keeps one for a rollback."""
    stack = a_stack(directory)
    stack.torchserve.versions = {
        "1.0": FakeVersion("resnet18.mar", [9000]),
        "2.0": FakeVersion("new.mar", [9001, 9002]),
    }
    stack.torchserve.default = "2.0"
    source = directory.parent / "built-2.0.mar"
    source.write_text("version 2.0")
    second = replace(stack.store.add(source, MODEL, "2.0"), by_deploy=True)
    stack.store.update(lambda record: record.with_model(MODEL, switched(second, record.models[MODEL].current, 2)))
    return stack


def on_record(stack: FakeStack) -> tuple[str, str | None, int | None]:
    """The version that a start would serve, the one that a rollback would bring back, and the workers of that."""
    record = stack.store.read()
    assert record is not None
    assert record.pending is None
    model = record.models[MODEL]
    before = model.before
    return (
        (model.current.version, None, None) if before is None else (model.current.version, before.version, before.had)
    )


def test_a_deployment_keeps_the_version_before_and_removes_the_one_before_that(tmp_path: Path) -> None:
    stack = a_stack(tmp_path / "run")
    deploy_command(an_archive(tmp_path, "2.0"))(stack, [])
    default, workers, files = stack.snapshot
    assert (default, workers) == ("2.0", {"1.0": 1, "2.0": 2})
    assert names(files) == {"deployments.json", "resnet18-1.0", "resnet18-2.0"}
    assert on_record(stack) == ("2.0", "1.0", 2)
    for version, before in (("3.0", "2.0"), ("4.0", "3.0")):
        stack.torchserve.registered = FakeVersion("")
        deploy_command(an_archive(tmp_path, version))(stack, [])
        default, workers, files = stack.snapshot
        assert (default, workers) == (version, {before: 1, version: 2})
        assert names(files) == {"deployments.json", f"resnet18-{before}", f"resnet18-{version}"}


def names(files: dict[str, bytes]) -> set[str]:
    """Those of a store, without digests."""
    return {name.rpartition("-")[0] or name for name in files}


@pytest.mark.parametrize("late", [False, True], ids=["at", "after"])
@pytest.mark.parametrize("error", [FAILURE, INTERRUPTION], ids=["failure", "interruption"])
@pytest.mark.parametrize("name", ["deploy", "roll back", "drain", "scale"])
def test_a_change_that_fails_at_any_of_its_steps_leaves_everything_as_it_was(
    name: str, error: BaseException, late: bool, tmp_path: Path, archive: Path
) -> None:
    make, command = {
        "deploy": (a_stack, deploy_command(archive)),
        "roll back": (a_deployed_stack, roll_back_command),
        "drain": (a_deployed_stack, drain_command),
        "scale": (a_stack, scale_command),
    }[name]
    stack = make(tmp_path / "run")
    command(stack, [])
    calls = stack.torchserve.calls
    assert any(call.startswith(("set_default", "scale")) for call in calls)
    for number, call in enumerate(calls):
        stack = make(tmp_path / "run")
        before = stack.snapshot
        stack.torchserve.fault = Fault(number, error, late)
        with pytest.raises(type(error)):
            command(stack, [])
        assert stack.snapshot == before, f"{call}, number {number}"


@contextmanager
def full_disk() -> Iterator[None]:
    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        yield


def test_workers_are_scaled_and_brought_back_on_a_full_disk_and_that_does_not_last(tmp_path: Path) -> None:
    for command, workers in ((scale_command, 4), (recover_command, 2)):
        stack = a_stack(tmp_path / "run")
        before = stack.store.read()
        said: list[str] = []
        with full_disk():
            command(stack, said)
        assert len(stack.torchserve.versions["1.0"].workers) == workers
        assert any("This will not last" in line and "The disk is full" in line for line in said)
        assert stack.store.read() == before


def test_a_rollback_that_would_not_last_changes_nothing(tmp_path: Path) -> None:
    stack = a_deployed_stack(tmp_path / "run")
    before = stack.snapshot
    with full_disk(), pytest.raises(MarserveError, match="The disk is full"):
        roll_back_command(stack, [])
    assert stack.snapshot == before


def test_a_version_before_that_torchserve_does_not_have_is_named(tmp_path: Path) -> None:
    stack = a_deployed_stack(tmp_path / "run")
    del stack.torchserve.versions["1.0"]
    before = stack.snapshot
    with pytest.raises(MarserveError, match=r"1\.0 is on record, but TorchServe could not load it"):
        roll_back_command(stack, [])
    assert stack.snapshot == before


def test_workers_that_are_dead_stay_listed_where_new_ones_cannot_be_started(tmp_path: Path) -> None:
    stack = a_stack(tmp_path / "run")  # no process of its workers is there
    recover_command(stack, [])
    for number, call in enumerate(stack.torchserve.calls):
        stack = a_stack(tmp_path / "run")
        stack.torchserve.fault = Fault(number, INTERRUPTION)
        with pytest.raises(StopRequestedError):
            recover_command(stack, [])
        assert stack.snapshot[:2] == ("1.0", {"1.0": 2}), f"{call}, number {number}"


@pytest.mark.parametrize("name", ["deploy", "scale", "recover"])
def test_why_a_worker_cannot_start_is_told_whole_and_undone(name: str, tmp_path: Path, archive: Path) -> None:
    stack = a_stack(tmp_path / "run")
    before = stack.snapshot
    served = stack.torchserve.registered if name == "deploy" else stack.torchserve.versions["1.0"]
    served.can_start = False
    command = {"deploy": deploy_command(archive), "scale": scale_command, "recover": recover_command}[name]
    with pytest.raises(MarserveError, match=r"ConfigurationError: handler\.x = 1:\n +give 2"):
        command(stack, [])
    if name != "recover":  # which has taken the dead workers off the list
        assert stack.snapshot == before


def test_a_version_that_answers_otherwise_is_removed(tmp_path: Path, archive: Path) -> None:
    stack = a_stack(tmp_path / "run")
    before = stack.snapshot
    stack.torchserve.registered.answer = 1
    with pytest.raises(MarserveError, match=r"labels differ|agrees on 0"):
        deploy_command(archive)(stack, [])
    assert stack.snapshot == before


def test_a_no_to_the_switch_removes_the_new_version(tmp_path: Path, archive: Path) -> None:
    def no(_question: str) -> None:
        raise DeclinedError("Nothing was changed.")

    stack = a_stack(tmp_path / "run")
    before = stack.snapshot
    with pytest.raises(DeclinedError):
        deploy_command(archive, confirm=no)(stack, [])
    assert stack.snapshot == before


@pytest.mark.parametrize("error", [OSError("No space left on device"), INTERRUPTION], ids=["failure", "interruption"])
@pytest.mark.parametrize("written", ["archive", "history"])
def test_half_written_files_are_removed_from_the_store(
    written: str, error: BaseException, tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = a_stack(tmp_path / "run")
    before = stack.snapshot
    replace = Path.replace

    def fail_once(self: Path, target: Path) -> Path:
        if target.suffix == (".mar" if written == "archive" else ".json"):
            monkeypatch.setattr(Path, "replace", replace)
            raise error
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_once)
    with pytest.raises((MarserveError, StopRequestedError)):
        deploy_command(archive)(stack, [])
    assert stack.snapshot == before


def test_a_version_that_does_not_become_idle_stays_the_default_with_its_workers(tmp_path: Path) -> None:
    stack = a_deployed_stack(tmp_path / "run")
    before = stack.snapshot
    stack.torchserve.queued["2.0"] = 3
    with pytest.raises(MarserveError, match="still has work"):
        drain_command(stack, [])
    assert stack.snapshot == before


def test_where_the_way_back_fails_as_well_the_present_state_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = a_deployed_stack(tmp_path / "run")
    stack.torchserve.queued["2.0"] = 3
    reported: list[str] = []
    real = stack.torchserve.set_default

    def refuse_to_go_back(model: str, version: str) -> None:
        if version == "2.0":
            raise ClientError("TorchServe refuses.")
        real(model, version)

    monkeypatch.setattr(stack.torchserve, "set_default", refuse_to_go_back)
    with pytest.raises(MarserveError, match="still has work"):
        drain_command(stack, reported)
    told = "\n".join(reported)
    assert "TorchServe refuses." in told
    assert "resnet18 1.0 (the default): 1 of 1 workers READY" in told
    assert "resnet18 2.0: 2 of 2 workers READY" in told


def test_the_record_of_another_start_is_not_undone(tmp_path: Path) -> None:
    """A deployment outlives its stack for as long as it waits: stop and serve may have come and gone meanwhile."""
    stack = a_deployed_stack(tmp_path / "run")
    started = Deployments({"weights": "untrained"})
    reported: list[str] = []

    def roll_back_too_late() -> None:
        with changing(stack, confirm=always_yes, report=reported.append) as change:
            change.begin(PendingChange("rollback", MODEL, "1.0", 1))
            change.commit(MODEL, lambda _: None)
            stack.store.write(started)
            raise FAILURE

    with pytest.raises(ClientError):
        roll_back_too_late()
    assert stack.store.read() == started
    assert "It has been written anew meanwhile." in "\n".join(reported)


def test_ctrl_c_on_the_way_back_does_not_cut_it_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = a_deployed_stack(tmp_path / "run")
    before = stack.snapshot
    stack.torchserve.queued["2.0"] = 3
    real = stack.torchserve.set_default

    def interrupted_on_the_way_back(model: str, version: str) -> None:
        if version == "2.0":
            signal.raise_signal(signal.SIGINT)
        real(model, version)

    monkeypatch.setattr(stack.torchserve, "set_default", interrupted_on_the_way_back)
    handler = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored where a shell runs this in the background
    try:
        with pytest.raises(MarserveError, match="still has work"):
            drain_command(stack, [])
        assert stack.snapshot == before
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)


def test_where_torchserve_is_gone_the_way_back_says_so_and_ends(tmp_path: Path, archive: Path) -> None:
    stack = a_stack(tmp_path / "run")
    deploy_command(archive)(stack, [])
    number = stack.torchserve.calls.index("set_default 2.0")
    stack = a_stack(tmp_path / "run")
    stack.torchserve.fault = Fault(number, FAILURE, for_good=True)
    reported: list[str] = []
    with pytest.raises(ClientError, match="is gone"):
        deploy_command(archive)(stack, reported)
    assert "marserve status" in reported[-1]


def test_a_report_that_nobody_reads_any_more_does_not_keep_the_way_back_from_its_end(
    tmp_path: Path, archive: Path
) -> None:
    stack = a_stack(tmp_path / "run")
    before = stack.snapshot
    plan = Plan(MODEL, archive, archive_version(archive), [archive], 0.9, None, False, force=True)

    def report(_line: str) -> None:
        if "register 2.0" in stack.torchserve.calls:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError), changing(stack, confirm=always_yes, report=report) as change:
        deploy(change, plan)
    assert stack.snapshot == before


@pytest.mark.parametrize("error", [FAILURE, INTERRUPTION], ids=["failure", "interruption"])
def test_once_old_versions_are_being_removed_the_new_one_stays(
    error: BaseException, tmp_path: Path, archive: Path
) -> None:
    stack = a_stack(tmp_path / "run")
    deploy_command(archive, remove_old=True)(stack, [])
    assert stack.snapshot[:2] == ("2.0", {"2.0": 2})
    number = stack.torchserve.calls.index("unregister 1.0")
    stack = a_stack(tmp_path / "run")
    stack.torchserve.fault = Fault(number, error)
    reported: list[str] = []
    try:
        deploy_command(archive, remove_old=True)(stack, reported)
    except StopRequestedError:
        assert error is INTERRUPTION
    assert stack.snapshot[:2] == ("2.0", {"1.0": 2, "2.0": 2})
    assert any("2.0 is in place" in line for line in reported)
