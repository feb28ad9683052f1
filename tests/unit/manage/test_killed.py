"""A process that is killed at any moment of a change: the version before or the new one, whole, and nothing between.

The command runs in a child process that ends, as by SIGKILL, right before one of the things that it does outside of
itself: a call of TorchServe, or an operation on a file. Each of them has its turn. What a killed process leaves is the
disk, and TorchServe where that lives on.
"""

from __future__ import annotations

import os
import pickle  # nosec B403 # of what the test has written itself
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from marserve.manage import draining, scaling
from marserve.manage.change import always_yes
from marserve.manage.settling import changing, is_interrupted, settle_interrupted
from marserve.stack import archives
from marserve.stack.archives import Archive, archives_to_start
from marserve.stack.model_store import DeploymentStore
from marserve.stack.options import Options
from tests.unit.manage.fake_stack import MODEL, FakeStack
from tests.unit.manage.test_way_back import (
    Command,
    a_deployed_stack,
    a_stack,
    an_archive,
    deploy_command,
    drain_command,
    names,
    on_record,
    roll_back_command,
    scale_command,
)

KILLED = 9
DONE = 0
#: What Python tells of work on files before it is done.
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.chmod", "os.mkdir", "os.link")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "POLL_S", 0.0)
    monkeypatch.setattr(scaling, "CONFIRM_S", 0.0)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # nothing here outlives the machine


def killed_at(number: int, stack: FakeStack, command: Callable[[], object], saved: Path) -> bool:
    """Run ``command`` and kill its process before its event ``number``; false where it has been done before that.

    ``saved`` has TorchServe as the command left it.
    """
    pid = os.fork()
    if pid == 0:
        events, torchserve = 0, b""
        directory = str(stack.run_directory.path)

        def count() -> None:
            nonlocal events
            if events == number:
                saved.write_bytes(torchserve)
                os._exit(KILLED)
            events += 1

        def audit(event: str, arguments: tuple[object, ...]) -> None:
            if event in FILE_EVENTS and str(arguments[0]).startswith(directory):
                count()

        real = stack.torchserve.call

        def call(name: str, work: Callable[[], object] = lambda: None) -> object:
            nonlocal torchserve
            if name != "describe":
                count()
            result = real(name, work)
            torchserve = pickle.dumps((stack.torchserve.versions, stack.torchserve.default))
            return result

        status = 1
        try:
            torchserve = pickle.dumps((stack.torchserve.versions, stack.torchserve.default))
            stack.torchserve.call = call  # type: ignore[method-assign]
            sys.addaudithook(audit)
            command()
            number = -1
            saved.write_bytes(torchserve)
            status = DONE
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (KILLED, DONE)
    stack.torchserve.versions, stack.torchserve.default = pickle.loads(saved.read_bytes())  # noqa: S301 - our own
    return status == KILLED


def every_kill(make: Callable[[Path], FakeStack], command: Command, directory: Path) -> Iterator[FakeStack]:
    """The stack as each kill of ``command`` leaves it, and last as it is when all is done."""
    for number in range(10_000):
        stack = make(directory / "run")
        was_killed = killed_at(number, stack, lambda: command(stack, []), directory / "torchserve")  # noqa: B023
        yield stack
        if not was_killed:
            assert number > 3, "nothing was done"
            return


def start_again(store: DeploymentStore, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """The version that a start would serve, and its archive; one that is built has version 1.0."""

    def build(_options: Options, *, check: bool = False) -> list[Archive]:
        assert not check
        built = store.path.parent / "built.mar"
        built.write_text("version 1.0")
        return [Archive(MODEL, built, "1.0", "weights", trained=True)]

    monkeypatch.setattr(archives, "archives_to_serve", build)
    archives_to_start(Options(), store)
    record = store.read()
    assert record is not None
    assert record.pending is None
    current = record.models[MODEL].current
    return current.version, store.path / current.archive


def changes(directory: Path) -> dict[str, tuple[Callable[[Path], FakeStack], Command, set[str]]]:
    """Each change: the stack that it begins with, the command, and the versions that a start may serve."""
    archive = an_archive(directory, "2.0")
    third = deploy_command(an_archive(directory, "3.0"))
    return {
        "deploy": (a_stack, deploy_command(archive), {"1.0", "2.0"}),
        "deploy over a deployed one": (a_deployed_stack, third, {"2.0", "3.0"}),
        "deploy --remove-old": (a_stack, deploy_command(archive, remove_old=True), {"1.0", "2.0"}),
        "rollback": (a_deployed_stack, roll_back_command, {"1.0", "2.0"}),
        "drain": (a_deployed_stack, drain_command, {"1.0", "2.0"}),
        "scale": (a_deployed_stack, scale_command, {"2.0"}),
    }


CHANGES = ["deploy", "deploy over a deployed one", "deploy --remove-old", "rollback", "drain", "scale"]


@pytest.mark.parametrize("name", CHANGES)
def test_a_start_after_a_kill_of_everything_serves_one_of_the_two_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, command, versions = changes(tmp_path)[name]
    served: list[str] = []
    for stack in every_kill(make, command, tmp_path):
        before = stack.store.read()
        assert before is not None
        capsys.readouterr()
        version, archive = start_again(stack.store, monkeypatch)
        said = capsys.readouterr()
        assert said.err == ""  # every archive that is named is whole
        if before.pending is not None:
            assert f"The {before.pending} was interrupted, and " in said.out
        assert version == before.models[MODEL].current.version
        assert version in versions
        assert archive.is_file()
        record = stack.store.read()
        assert record is not None
        named = {one.archive for one in record.models[MODEL].versions}
        assert {file.name for file in stack.store.path.iterdir()} == {"deployments.json", *named}
        served.append(version)
    assert set(served) == versions
    switches = sum(one != other for one, other in pairwise(served))
    assert switches == len(versions) - 1, "once the new one is served, every later kill leaves it so"


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("replaces", [False, True])
def test_a_start_that_is_killed_leaves_what_was_deployed_or_what_takes_its_place(
    replaces: bool, damaged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another archive takes its place where other options are given, or the version before where it is damaged."""

    def build(_options: Options, *, check: bool = False) -> list[Archive]:
        assert not check
        return [Archive(MODEL, other, "1.0", "weights", trained=True)]

    def make(directory: Path) -> FakeStack:
        stack = a_deployed_stack(directory)
        if damaged:
            (directory.parent / "built-2.0.mar").unlink()
            (archive,) = stack.store.path.glob("resnet18-2.0-*")
            archive.chmod(0o600)
            archive.write_bytes(b"damaged")
        return stack

    def start(stack: FakeStack, _said: list[str]) -> None:
        archives_to_start(Options(weights=Path("/other.pth")) if replaces else Options(), stack.store)

    other = tmp_path / "other.mar"
    other.write_text("other weights")
    monkeypatch.setattr(archives, "archives_to_serve", build)
    outcomes: list[tuple[str, bytes]] = []
    for stack in every_kill(make, start, tmp_path):
        record = stack.store.check(lambda _: None)  # as the next start of TorchServe, which takes what is on record
        current = record.models[MODEL].current
        assert stack.store.damage(current) is None
        outcome = (current.version, (stack.store.path / current.archive).read_bytes())
        if not outcomes or outcomes[-1] != outcome:
            outcomes.append(outcome)
    was = ("1.0", b"version 1.0") if damaged else ("2.0", b"version 2.0")
    assert outcomes == [was, ("1.0", b"other weights")] if replaces else outcomes == [was]


@pytest.mark.parametrize("name", CHANGES)
def test_the_next_command_settles_what_a_killed_one_left(name: str, tmp_path: Path) -> None:
    make, command, versions = changes(tmp_path)[name]
    untouched = make(tmp_path / "run").snapshot
    for stack in every_kill(make, command, tmp_path):
        record = stack.store.read()
        assert record is not None
        assert is_interrupted(stack) == (record.pending is not None)
        said: list[str] = []
        assert settle_interrupted(stack, said.append) == (record.pending is not None)
        assert not is_interrupted(stack)
        if record.pending is not None:
            doing = "Finishing" if record.pending.committed else "Undoing"
            assert said[0] == f"The {record.pending} was interrupted. {doing} it ..."
        stack.store.update(lambda latest: latest)  # closes a store that was open for writing
        default, workers, files = stack.snapshot
        assert on_record(stack)[0] == default
        assert default in versions
        assert workers[default] >= (1 if name == "drain" else 2)  # who takes over from a drained one has what it has
        if default in untouched[1] and record.models == stack_models(make(tmp_path / "other")):
            assert workers == untouched[1]
        assert names(files) - {"deployments.json"} == {f"{MODEL}-{version}" for version in workers}


def stack_models(stack: FakeStack) -> object:
    record = stack.store.read()
    assert record is not None
    return record.models


def test_what_somebody_is_at_work_on_is_left_to_him(tmp_path: Path) -> None:
    stack = a_stack(tmp_path / "run")
    archive = an_archive(tmp_path, "2.0")

    def no_interruption(question: str) -> None:
        assert "Make resnet18 2.0 the default" in question
        record = stack.store.read()
        assert record is not None
        assert record.pending is not None
        assert not is_interrupted(stack)
        assert not settle_interrupted(stack, print)

    deploy_command(archive, confirm=no_interruption)(stack, [])
    assert on_record(stack)[0] == "2.0"


def test_settling_happens_before_the_next_change_begins(tmp_path: Path) -> None:
    for stack in every_kill(a_deployed_stack, roll_back_command, tmp_path):
        with changing(stack, confirm=always_yes, report=lambda _: None) as change:
            record = stack.store.read()
            assert record is not None
            assert record.pending is None
            default = next(version for version in change.versions(MODEL) if version.is_default)
            assert default.version == record.models[MODEL].current.version
