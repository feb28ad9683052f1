"""Each command as the first one on a machine of every kind: it answers, or says what to do."""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cases.machines import (
    AWKWARD,
    COMMANDS,
    FIRST_COMMANDS,
    WRITES,
    Command,
    Machine,
    Write,
    foreign_modules,
    machines,
    variables_of,
)
from tests.clones import fresh_clone, ready_clone
from tests.unit.fake_server import FakeServer

TIMEOUT_S = 60


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which nothing was set up, in a directory with an awkward name."""
    return fresh_clone(tmp_path_factory.mktemp("fresh") / AWKWARD / "clone")


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that is set up."""
    return ready_clone(tmp_path_factory.mktemp("ready") / AWKWARD / "clone")


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign_modules(tmp_path_factory.mktemp("foreign") / "modules")


def shell(line: str, machine: Machine, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-c", f"{machine.before or ':'}; {line}"],
        cwd=cwd,
        env=variables_of(machine),
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )


def door(clone: Path, words: str) -> str:
    """The shell's words for a command of ``clone``."""
    name, *arguments = words.split()
    program = "" if name.endswith(".py") else "bash "
    return f"{program}{shlex.join([str(clone / 'scripts' / name), *arguments])}"


@pytest.mark.parametrize("command", FIRST_COMMANDS, ids=lambda command: command.words)
def test_as_the_first_one_it_answers_and_installs_nothing(command: Command, clone: Path) -> None:
    done = shell(door(clone, command.words), Machine("usual"), clone)
    assert done.returncode == command.status, done.stderr
    assert command.says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("machine", machines(Path("/nonexistent")), ids=lambda machine: machine.name)
def test_every_machine_gets_the_same_answers(machine: Machine, clone: Path, foreign: Path) -> None:
    found = next(there for there in machines(foreign) if there.name == machine.name)
    for command in COMMANDS:
        done = shell(door(clone, command.words), found, clone)
        assert done.returncode == command.status, (command.words, done.stderr)
        assert command.says in done.stdout + done.stderr
        assert (done.stderr == "") == (command.status == 0)


@pytest.mark.parametrize("write", WRITES, ids=lambda write: f"{write.words} {write.to}")
def test_output_that_goes_nowhere_is_a_sentence_or_nothing(write: Write, clone: Path) -> None:
    done = shell(f"{door(clone, write.words)} {write.to}", Machine("usual"), clone)
    assert (done.returncode, done.stdout, done.stderr) == (write.status, "", write.says)


def test_an_old_door_runs_beside_foreign_modules(clone: Path, foreign: Path) -> None:
    door = shlex.quote(str(clone / "scripts" / "classify.py"))
    done = shell(f"python3 -S {door} --help", machines(foreign)[1], clone)
    assert done.returncode == 0, done.stderr
    assert "foreign" not in done.stderr


def test_a_directory_that_is_gone_is_no_hindrance(ready: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = shell(f"cd {gone}; rmdir {gone}; {door(ready, 'token')}", Machine("usual"), tmp_path)
    assert done.returncode == 1
    assert "Nothing is running on web port 5999: start it with " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "machine", [machine for machine in machines(Path("/nonexistent")) if machine.name != "no file may grow"],
    ids=lambda machine: machine.name,
)  # fmt: skip
def test_pictures_are_classified_on_every_machine(
    machine: Machine, ready: Path, foreign: Path, server: FakeServer, tmp_path: Path
) -> None:
    found = next(there for there in machines(foreign) if there.name == machine.name)
    picture = tmp_path / AWKWARD / "猫.jpg"
    picture.parent.mkdir()
    picture.write_bytes(b"a picture")
    results = picture.with_name("ergebnisse ü.csv")
    line = f"{door(ready, 'marserve classify')} --url {server.url} --top-k 1 {shlex.quote(str(picture))}"
    done = shell(f"{line} --output {shlex.quote(str(results))}", found, tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    with results.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["label_1"]) == (str(picture), "tabby")


def test_a_clone_that_was_moved_goes_on(tmp_path: Path) -> None:
    first = ready_clone(tmp_path / "first")
    moved = tmp_path / "moved"
    shutil.move(first, moved)
    where = shlex.quote("import marserve; print(marserve.__file__)")
    done = shell(f"{moved}/.venv/bin/python -c {where}", Machine("usual"), tmp_path)
    assert done.stdout == f"{moved}/src/marserve/__init__.py\n"
    done = shell(door(moved, "marserve status"), Machine("usual"), tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"start it with MARSERVE_WEB_PORT=5999 {moved}/scripts/serve" in done.stderr


@pytest.mark.needs("git")
def test_a_checkout_has_no_carriage_returns_whatever_git_is_set_to(clone: Path, tmp_path: Path) -> None:
    source, converted = tmp_path / "source", tmp_path / "converted"
    source.mkdir()
    shutil.copytree(clone / "scripts", source / "scripts")
    shutil.copy(Path(__file__).parents[3] / ".gitattributes", source)
    git = "git -c core.autocrlf=true -c user.name=x -c user.email=x@x"
    line = f"cd {source} && git init -q && {git} add . && {git} commit -qm x && {git} clone -q . {converted}"
    done = shell(line, Machine("usual"), tmp_path)
    assert done.returncode == 0, done.stderr
    for file in (converted / "scripts").iterdir():
        assert b"\r" not in file.read_bytes()
        assert os.access(file, os.X_OK)


@pytest.mark.parametrize("name", ["serve", "stop", "token", "marserve", "test", "bench", "check", "lock"])
@pytest.mark.parametrize("shell_name", ["sh", "bash"])
def test_a_door_that_has_lost_its_run_bits_is_opened_by_any_shell(shell_name: str, name: str, clone: Path) -> None:
    done = shell(f"cd scripts; {shell_name} {name} --help", Machine("usual"), clone)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")
