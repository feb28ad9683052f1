"""The house's walls besides the order of the rooms, which import-linter holds in scripts/check."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY

SOURCE = REPOSITORY / "src"
IMPORT_ALL = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
"""
#: Code that changes where Python finds modules.
CHANGES_IMPORT_PATH = re.compile(
    r"sys\.path\.(insert|append|extend)|sys\.path\s*=|PYTHONPATH\"?[=:]|addsitedir|spec_from_file_location"
)
MAY_CHANGE_IMPORT_PATH = {
    "scripts/marserve",  # the one place: a clone before it is set up
    "src/marserve/archive/verify.py",  # loads an archive as TorchServe's worker does
    "bench/peer_server.py",  # servers of other projects, with our handler
    "tests/unit/handler/test_deferred_torch.py",  # stands for TorchServe's worker
    "tests/unit/bench/test_gpu.py",  # those servers' models, on a GPU and beside it
    "tests/e2e/test_bulk_cluster.py",  # a host of a cluster with another version
    "tests/cases/machines.py",  # what must change nothing
    "tests/mutants/judging.py",  # tests on changed copies of the code
    "tests/tracing_cost.py",  # another state of the project
    "deploy/container/steps/marserve",  # the build tool, in a stage that no image keeps
    "tests/unit/test_house.py",
}


def modules(*rooms: str) -> list[str]:
    files = [file for room in rooms for file in sorted((SOURCE / "marserve" / room).rglob("*.py"))]
    return [".".join(file.relative_to(SOURCE).with_suffix("").parts) for file in files]


def test_what_runs_before_set_up_imports_only_the_standard_library() -> None:
    names = modules("cli", "setup", "system")
    assert len(names) > 10
    command = [sys.executable, "-S", "-I", "-c", IMPORT_ALL, str(SOURCE), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_import_path_is_changed_in_one_place() -> None:
    found = {
        file.relative_to(REPOSITORY).as_posix()
        for folder in ("src", "handler", "scripts", "bench", "tests", "docs", "deploy", ".ci")
        for file in (REPOSITORY / folder).rglob("*")
        if file.is_file()
        and not {".environments", "results", "__pycache__"} & set(file.parts)
        and CHANGES_IMPORT_PATH.search(file.read_text(encoding="utf-8", errors="ignore"))
    }
    assert found == MAY_CHANGE_IMPORT_PATH


@pytest.mark.needs("git")
def test_scripts_run_in_a_clone_that_git_gave_the_line_ends_of_windows(tmp_path: Path) -> None:
    source, clone = tmp_path / "source", tmp_path / "clone"
    shutil.copytree(REPOSITORY / "scripts", source / "scripts")
    shutil.copytree(REPOSITORY / "src", source / "src", symlinks=True)
    for name in (".gitattributes", ".gitignore", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, source)
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    commands: list[list[str | Path]] = [
        [*git, "init", "--quiet", source],
        [*git, "-C", source, "add", "--all"],
        [*git, "-C", source, "commit", "--quiet", "--message", "all"],
        [*git, "clone", "--quiet", "--config", "core.autocrlf=true", source, clone],
    ]
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    shown = subprocess.run(["bash", clone / "scripts" / "serve", "--help"], capture_output=True, text=True, check=False)  # noqa: S607
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"usage: {clone}/scripts/serve")
