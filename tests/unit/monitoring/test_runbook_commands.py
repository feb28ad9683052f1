"""The commands that the runbook names are there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", sorted(set(re.findall(r"\./(scripts/[\w.]+)", DOCUMENT))))
def test_the_script_is_there(script: str) -> None:
    assert (REPOSITORY / script).is_file()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"scripts/marserve (\w+)", DOCUMENT))))
def test_the_command_is_there(command: str) -> None:
    help_of = [sys.executable, "-m", "marserve", command, "--help"]
    finished = subprocess.run(help_of, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
