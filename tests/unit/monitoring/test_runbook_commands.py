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


@pytest.mark.parametrize("command", sorted(set(re.findall(r"scripts/manage\.py (\w+)", DOCUMENT))))
def test_manage_knows_the_command(command: str) -> None:
    manage = [sys.executable, str(REPOSITORY / "scripts" / "manage.py"), command, "--help"]
    finished = subprocess.run(manage, capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
