"""``scripts/*``: from anywhere, through links, without run bits, and in an environment that is not ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"
DOORS = [path for path in sorted(SCRIPTS.iterdir()) if path.is_file()]
#: Commands that neither start nor install anything.
QUICK = [
    ("serve", "--help"),
    ("stop", "--help"),
    ("token", "--help"),
    ("marserve", "--version"),
    ("marserve", "build", "-h"),
]
OLD = [("manage.py", "status"), ("build_archive.py", "build"), ("classify.py", "classify")]


def run(*command: str | Path, cwd: Path = REPOSITORY, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("door", DOORS, ids=lambda path: path.name)
def test_a_door_is_thin(door: Path) -> None:
    assert len(door.read_text(encoding="utf-8").splitlines()) <= 20


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_a_door_works_from_anywhere_through_a_link_and_without_run_bits(words: tuple[str, ...], tmp_path: Path) -> None:
    name, *arguments = words
    expected = run(SCRIPTS / name, *arguments, cwd=tmp_path)
    assert (expected.returncode, expected.stderr) == (0, "")
    assert expected.stdout
    links = tmp_path / "my links"
    links.mkdir()
    (links / "first").symlink_to(SCRIPTS / name)
    (links / "second").symlink_to("first")
    for door in (SCRIPTS / name, links / "second"):
        done = run("bash", door, *arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, expected.stdout), done.stderr


@pytest.mark.parametrize("words", [*QUICK, ("manage.py", "status", "-h")], ids=" ".join)
def test_an_environment_of_another_python_changes_nothing(words: tuple[str, ...], tmp_path: Path) -> None:
    for module in ("argparse", "marserve", "requests", "sitecustomize"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('a foreign module')")
    name, *arguments = words
    foreign = dict.fromkeys(("PYTHONPATH", "PYTHONHOME"), str(tmp_path))
    done = run(SCRIPTS / name, *arguments, cwd=tmp_path, **foreign)
    assert done.returncode == 0, done.stderr
    assert "foreign" not in done.stderr


@pytest.mark.parametrize(("old", "new"), OLD)
def test_an_old_command_works_and_names_the_new_one(old: str, new: str) -> None:
    arguments = [new, "--help"] if old == "manage.py" else ["--help"]
    for command in ([SCRIPTS / old], [sys.executable, SCRIPTS / old]):
        done = run(*command, *arguments)
        assert done.returncode == 0
        assert done.stdout.startswith(f"usage: ./scripts/marserve {new}")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"scripts/{old}")
        assert "is now: scripts/marserve" in line


def test_stopping_twice_before_anything_is_set_up_is_no_failure(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(SCRIPTS, clone / "scripts")
    shutil.copytree(REPOSITORY / "src", clone / "src", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", clone)
    for _ in range(2):
        done = run(clone / "scripts" / "stop", cwd=tmp_path, MARSERVE_WEB_PORT="5999")
        assert (done.returncode, done.stdout, done.stderr) == (0, "Nothing is running on web port 5999.\n", "")
    refused = run(clone / "scripts" / "token", cwd=tmp_path, MARSERVE_WEB_PORT="5999")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"start it with MARSERVE_WEB_PORT=5999 {clone}/scripts/serve" in refused.stderr
    assert not (clone / ".venv").exists()
